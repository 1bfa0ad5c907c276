"""What reuse gains and loses: the runs it times, the rows it makes, the plot."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch

from icnet_cli.benchmark.reuse import plot_reuse, reuse_report
from icnet_cli.benchmark.text import sheet_of
from icnet_cli.config import BenchConfig, SegmentConfig
from icnet_cli.errors import IcnetError
from icnet_cli.inference.environment import describe
from icnet_cli.pipeline.segment import segment
from icnet_cli.pixels.files import read_picture
from tests.benchmark.conftest import SMALL
from tests.benchmark.test_video import finish
from tests.inference.test_reuse import drive
from tests.pipeline.conftest import write_video


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "in.mp4", drive(50, 6), tuple(range(6)))


def config(video: Path, **options: Any) -> BenchConfig:
    return BenchConfig(video=video, reuse=("1", "3", "auto"), size=(32, 64), device="cpu", **options)


def test_each_way_is_run_in_each_round_and_measured_once(video: Path, tmp_path: Path) -> None:
    asked: list[str | None] = []

    def run(job: SegmentConfig, segmenter: Any) -> Generator[Any, None, dict[str, Any]]:
        asked.append(job.reuse)
        return (yield from segment(job, segmenter))

    _, report = finish(reuse_report(config(video), SMALL, run=run))
    assert asked == [None, "3", "auto"] * 3
    first, third, auto = report["rows"]
    assert (first["reuse"], third["reuse"], auto["reuse"]) == (1, 3, "auto")
    assert (first["speedup"], first["agreement"], first["network_runs"]) == (1, 1, 6)
    assert third["network_runs"] == 2
    assert len(third["rounds_fps"]) == 3
    assert report["frames"] == 6

    document = {"kind": "reuse", **report, "environment": describe(torch.device("cpu"))}
    sheet = sheet_of(document)
    assert [row[0] for row in sheet.rows] == ["1", "3", "auto"]
    assert "agrees with itself on neighbouring frames" in sheet.notes[1]
    plot_reuse(document, tmp_path / "trade.png")
    assert read_picture(tmp_path / "trade.png").shape[2] == 3


def test_quickly_there_is_one_round(video: Path) -> None:
    _, report = finish(reuse_report(config(video, frames=3, smooth=0.5), SMALL, quick=True))
    assert [len(row["rounds_fps"]) for row in report["rows"]] == [1, 1, 1]
    assert report["frames"] == 3
    assert report["rows"][1]["smooth"] == 0.5


def test_a_video_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(IcnetError, match="no video"):
        finish(reuse_report(config(tmp_path / "none.mp4"), SMALL))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reuse": ("2",)}, "--reuse is for --video"),
        ({"smooth": 0.5}, "are for --video FILE --reuse"),
        ({"video": Path("a.mp4"), "reuse": ("0",)}, "--reuse must be auto or a number"),
        ({"video": Path("a.mp4"), "plot": Path("a.png")}, "nothing to draw with --video"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(IcnetError, match=words):
        BenchConfig(**options).check()

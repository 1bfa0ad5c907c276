"""`--stats`: a row a frame, with its exact time and what is in it; whole, or absent."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pipeline.segment import DamagedInputError, segment
from icnet_cli.video import open_video
from tests.inference.tiny import CLASSES

from .conftest import TIMES, SegmentConfig, frames, run, write_video


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(encoding="utf-8")))


def test_a_row_a_frame(tmp_path: Path, video: Path, segmenter: Segmenter) -> None:
    run(segmenter, video, tmp_path / "out.mp4", stats=tmp_path / "s.csv", every=3)
    rows = rows_of(tmp_path / "s.csv")
    assert list(rows[0]) == ["frame", "pts", "seconds", *CLASSES.names]
    assert [int(row["frame"]) for row in rows] == [0, 3, 6, 9]
    assert [float(row["seconds"]) for row in rows] == [TIMES[n] / 10 for n in (0, 3, 6, 9)]
    with open_video(video) as reader:
        for row, frame in zip(rows, list(reader)[::3], strict=True):
            labels = segmenter.labels(frame.rgb())
            assert int(row["pts"]) == frame.pts
            for value, name in enumerate(CLASSES.names):
                assert float(row[name]) == pytest.approx((labels == value).mean(), abs=1e-6)


def test_lines_of_json_hold_the_same(tmp_path: Path, video: Path, segmenter: Segmenter) -> None:
    """A cut of the video: index and time stay the source's own."""
    for name in ("s.csv", "s.jsonl"):
        options = {"stats": tmp_path / name, "confidence": True, "start_s": 0.5, "overwrite": True}
        run(segmenter, video, tmp_path / "labels.mkv", **options)
    lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(3, 10))
    for line, row in zip(lines, rows_of(tmp_path / "s.csv"), strict=True):
        flat = {**line, **line["share"]}
        del flat["share"]
        assert {key: str(value) for key, value in flat.items()} == row


def test_confidence_is_the_mean_of_the_top_probability(
    tmp_path: Path, video: Path, segmenter: Segmenter
) -> None:
    import torch

    run(segmenter, video, tmp_path / "a", stats=tmp_path / "s.jsonl", confidence=True)
    run(segmenter, video, tmp_path / "b")
    found = [json.loads(line)["confidence"] for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    with open_video(video) as reader:
        for value, frame in zip(found, reader, strict=True):
            scores = segmenter.network.eval().scores(segmenter.prepare([frame.rgb()]))
            assert value == pytest.approx(torch.softmax(scores, 1).amax(1).mean().item(), abs=1e-4)
    assert min(found) > 1 / 3
    assert max(found) < 1
    # What is asked for beside them changes no label.
    for path in sorted((tmp_path / "a").glob("*.png")):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_pictures_are_named(tmp_path: Path, folder: Path, segmenter: Segmenter) -> None:
    run(segmenter, folder, tmp_path / "out", stats=tmp_path / "s.csv")
    assert [(row["frame"], row["file"]) for row in rows_of(tmp_path / "s.csv")] == [
        ("0", "img2"), ("1", "img10"), ("2", "night/a"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stats": "s.txt"}, r"\.csv or a \.jsonl"),
        ({"confidence": True}, "--stats FILE"),
        ({"stats": "taken.csv"}, "-y"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, video: Path, segmenter: Segmenter, options: dict[str, object], words: str
) -> None:
    (tmp_path / "taken.csv").write_text("mine")
    if "stats" in options:
        options = {"stats": tmp_path / str(options["stats"])}
    with pytest.raises(IcnetError, match=words) as caught:
        run(segmenter, video, tmp_path / "out.mp4", **options)
    assert caught.value.code == ExitCode.USAGE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "taken.csv"]
    assert (tmp_path / "taken.csv").read_text() == "mine"


def test_a_run_that_ends_early_leaves_none(tmp_path: Path, video: Path, segmenter: Segmenter) -> None:
    config = SegmentConfig(str(video), tmp_path / "out.mp4", stats=tmp_path / "s.csv")
    events = segment(config, segmenter)
    next(events)
    events.close()
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
    list(segment(config, segmenter))
    assert len(rows_of(tmp_path / "s.csv")) == len(TIMES)


def test_a_damaged_video_has_its_rows(tmp_path: Path, segmenter: Segmenter) -> None:
    path = write_video(tmp_path / "in.mp4", frames(10, (96, 128)), tuple(range(0, 100, 10)))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(DamagedInputError) as caught:
        run(segmenter, path, tmp_path / "out.mp4", stats=tmp_path / "s.csv")
    assert 1 <= len(rows_of(tmp_path / "s.csv")) == caught.value.report["frames"] < 10


def test_shares_are_of_all_pixels(tmp_path: Path, video: Path, segmenter: Segmenter) -> None:
    _, report = run(segmenter, video, tmp_path / "out.mp4", stats=tmp_path / "s.csv")
    rows = rows_of(tmp_path / "s.csv")
    for name in CLASSES.names:
        mean = np.mean([float(row[name]) for row in rows])
        assert mean == pytest.approx(report["class_share"][name], abs=1e-6)

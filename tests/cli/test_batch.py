"""`icnet segment` over several videos, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

from tests.video.video_clips import make_clip

from .conftest import Icnet


def test_a_closing_table_and_the_first_failures_code(icnet: Icnet, weights: Path, tmp_path: Path) -> None:
    make_clip(tmp_path / "a, b.mp4")
    (tmp_path / "bad.mp4").write_text("no video")
    sources = [tmp_path / "a, b.mp4", tmp_path / "bad.mp4"]
    words = ["-o", tmp_path / "out", "--weights", weights, "--frames", "1", "--json"]
    outcome = icnet("segment", *sources, *words)
    assert outcome.code == 3
    lines = outcome.err.splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["done", "FAILED", "icnet:"]
    assert ": 1 frame, " in lines[-3]
    assert "bad.mp4" in lines[-2]
    assert json.loads(outcome.out)["failed"] == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a, b.mp4"]


def test_what_of_each_could_not_be_kept_is_told_as_for_one(
    icnet: Icnet, weights: Path, tmp_path: Path
) -> None:
    make_clip(tmp_path / "a.mp4", rotation=30)
    with_font = make_clip(
        tmp_path / "b.mkv", before=lambda out: out.add_attachment("f.ttf", "font/ttf", b"x")
    )
    with_font.rename(tmp_path / "b.nut")  # which is written as an mp4
    outcome = icnet(
        "segment", tmp_path / "a.mp4", tmp_path / "b.nut", "-o", tmp_path / "out", "--weights", weights
    )
    assert outcome.code == 0, outcome.err
    told = [line.removeprefix(f"{tmp_path}/") for line in outcome.err.splitlines()[-4:]]
    assert [line.split()[0] for line in told] == ["done", "a.mp4:", "done", "b.nut:"]
    assert told[1].endswith("turned 30 degrees further counterclockwise; only quarter turns are done")
    assert told[3] == "b.nut: attachment f.ttf (stream 1) is left out: mp4 cannot hold it"


def test_one_source_is_no_batch(icnet: Icnet, weights: Path, tmp_path: Path) -> None:
    outcome = icnet("segment", make_clip(tmp_path / "a.mp4"), "-o", tmp_path / "b.mp4", "--weights", weights)
    assert outcome.code == 0, outcome.err

"""Going on with what is no plain video file: pictures, pipes, label videos that are painted, live recordings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from icnet_cli.config import PaintConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pipeline import opening
from icnet_cli.pipeline.outputs import part_of
from icnet_cli.pipeline.paint import paint
from icnet_cli.pixels.files import write_picture
from tests.inference.tiny import stripes
from tests.video.video_clips import make_clip

from .conftest import run
from .resuming import COUNT, EXACT, MS, SIZE, TICKS, names, shown, start, stopped


def test_pictures_are_gone_on_with(tmp_path: Path, segmenter: Segmenter) -> None:
    place = tmp_path / "pictures"
    for number in range(20):
        write_picture(place / f"{number}.png", stripes(48, 64, shift=number, seed=number))
    (place / "3.png").write_bytes(b"no picture")
    for name in ("out.mp4", "colours"):
        whole, options = tmp_path / ("whole-" + name), {"view": "color"}
        rate = {"fps": Fraction(1, 4)} if name == "out.mp4" else {}
        for output in (whole, tmp_path / name):
            if output != whole:
                stopped(9, place, output, segmenter, **options, **rate)
            with pytest.raises(IcnetError, match=r"3\.png") as caught:  # told by whoever ends the job
                list(start(place, output, segmenter, **options, **rate, resume=output != whole))
            assert caught.value.code == ExitCode.INPUT
        assert shown(tmp_path / name) == shown(whole)


def test_paint_is_gone_on_with(tmp_path: Path, long_video: Path, segmenter: Segmenter) -> None:
    run(segmenter, long_video, tmp_path / "labels.mkv", view="labels", every=2)

    def painted(name: str, **options: Any) -> Iterator[Any]:
        return paint(
            PaintConfig(
                labels=tmp_path / "labels.mkv", source=str(long_video), output=tmp_path / name, **options
            )
        )

    list(painted("whole.mkv", codec="ffv1"))
    events = painted("out.mkv", codec="ffv1")
    for _ in range(40):
        next(events)
    events.close()
    assert (tmp_path / "out.mkv.part").is_dir()
    list(painted("out.mkv", codec="ffv1", resume=True))
    assert shown(tmp_path / "out.mkv") == shown(tmp_path / "whole.mkv")


@contextmanager
def piped(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A file's bytes on standard input."""
    with path.open("rb") as file:
        monkeypatch.setattr(opening.PipeReader.__init__, "__kwdefaults__", {
            **opening.PipeReader.__init__.__kwdefaults__, "descriptor": file.fileno(),
        })  # fmt: skip
        monkeypatch.setattr(opening, "STDIN", file.fileno())
        yield


def test_a_pipe_that_is_fed_again_is_gone_on_with(
    tmp_path: Path, long_video: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows before how long it becomes; and what was labelled is passed over by its pictures."""
    source = make_clip(
        tmp_path / "in.mkv",
        TICKS,
        MS,
        size=SIZE[::-1],
        pictures=[stripes(*SIZE, seed=n) for n in range(COUNT)],
    )
    run(segmenter, source, tmp_path / "whole.mkv", **EXACT)
    with piped(source, monkeypatch):
        stopped(25, Path("-"), tmp_path / "out.mkv", segmenter, **EXACT)  # under a minute
    assert names(tmp_path) == ["in.mkv", "whole.mkv"]
    with piped(source, monkeypatch):
        stopped(140, Path("-"), tmp_path / "out.mkv", segmenter, **EXACT)
    assert names(tmp_path) == ["in.mkv", "out.mkv.part", "whole.mkv"]
    with (
        piped(long_video, monkeypatch),
        pytest.raises(IcnetError, match=r"another picture|index stands at its end"),
    ):
        run(segmenter, "-", tmp_path / "out.mkv", resume=True, **EXACT)
    with piped(source, monkeypatch):
        _, report = run(segmenter, "-", tmp_path / "out.mkv", resume=True, **EXACT)
    assert 100 < report["frames_before"] < report["frames"] == COUNT
    assert shown(tmp_path / "out.mkv") == shown(tmp_path / "whole.mkv")


@pytest.mark.parametrize("name", ["out.mkv", "labels"])
def test_what_a_killed_live_run_recorded_is_joined(
    tmp_path: Path, long_video: Path, segmenter: Segmenter, name: str
) -> None:
    """Nothing is connected to: a folder as such a run leaves it is all that there is."""
    options: Mapping[str, Any] = EXACT if name == "out.mkv" else {"view": "color"}
    run(segmenter, long_video, tmp_path / ("whole" + name), **options)
    stopped(60, long_video, tmp_path / name, segmenter, **options, stats=tmp_path / "stats.csv")
    job = part_of(tmp_path / name) / "job.json"
    document = json.loads(job.read_text())
    job.write_text(json.dumps({**document, "source": [None, "from rtsp://camera.invalid/street"]}))
    options = {**options, "stats": tmp_path / "stats.csv"}
    with pytest.raises(IcnetError, match="its source was another"):
        run(segmenter, "rtsp://camera.invalid/garden", tmp_path / name, resume=True, **options)
    events, report = run(segmenter, "rtsp://camera.invalid/street", tmp_path / name, resume=True, **options)
    assert events == []
    assert 20 < report["frames"] < 80
    whole, joined = shown(tmp_path / ("whole" + name)), shown(tmp_path / name)
    if name == "labels":
        whole, joined = ([row for row in rows if row[0].startswith("frame")] for rows in (whole, joined))
    assert [row[-1] for row in joined] == [row[-1] for row in whole[: report["frames"]]]
    assert len((tmp_path / "stats.csv").read_text().splitlines()) == report["frames"] + 1
    assert names(tmp_path) == sorted([name, "stats.csv", "whole" + name])

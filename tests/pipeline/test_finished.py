"""`--resume` where something stands under the output's name: a finished result, or something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pixels.files import write_picture
from icnet_cli.video.counted import frames_stored
from tests.video.video_clips import make_clip

from .conftest import frames, run, write_video
from .test_paint import painted

Resumed = Callable[..., dict[str, Any]]


@pytest.fixture(params=["segment", "paint"])
def resumed(request: pytest.FixtureRequest, tmp_path: Path, video: Path, segmenter: Segmenter) -> Resumed:
    """A run over the 10 frames of in.mp4 that is told to go on, its report given."""
    labels = tmp_path / "in.labels.mkv"
    if request.param == "paint":
        run(segmenter, video, labels)

    def again(output: Path, source: Path = video, **options: Any) -> dict[str, Any]:
        if request.param == "segment":
            return run(segmenter, source, output, resume=True, **options)[1]
        return painted(labels, source, output, resume=True, **options)

    return again


def refusal(resumed: Resumed, *arguments: Any, **options: Any) -> str:
    with pytest.raises(IcnetError) as caught:
        resumed(*arguments, **options)
    assert caught.value.code is ExitCode.USAGE
    return str(caught.value)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_a_finished_video_is_passed_over(resumed: Resumed, tmp_path: Path, name: str) -> None:
    output = tmp_path / name
    assert resumed(output)["frames"] == 10
    before = output.stat().st_mtime_ns
    assert resumed(output)["finished_before"]
    assert output.stat().st_mtime_ns == before


@pytest.mark.parametrize("content", [b"hello\n", b""])
def test_what_is_no_video_is_refused(resumed: Resumed, tmp_path: Path, content: bytes) -> None:
    output = tmp_path / "out.mp4"
    output.write_bytes(content)
    words = refusal(resumed, output)
    assert "out.mp4 is not what this run would give: " in words
    assert words.endswith("; overwrite it with -y or name another output")
    assert output.read_bytes() == content
    assert resumed(output, overwrite=True)["frames"] == 10


def test_a_video_with_many_more_frames_is_refused(resumed: Resumed, tmp_path: Path) -> None:
    output = make_clip(tmp_path / "out.mp4", tuple(range(0, 40 * 512, 512)))
    assert "it has 40 frames, and 10 are to be expected" in refusal(resumed, output)


def test_the_input_is_no_result(resumed: Resumed, video: Path) -> None:
    assert "is the input itself" in refusal(resumed, video)


def test_a_file_where_a_folder_belongs_is_refused(resumed: Resumed, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("hello")
    assert "is not a folder" in refusal(resumed, tmp_path / "out")


def test_a_picture(resumed: Resumed, tmp_path: Path) -> None:
    output = tmp_path / "out.png"
    output.write_text("hello")
    assert "it is not a picture that can be read" in refusal(resumed, output, frames=1)
    write_picture(output, np.zeros((8, 8, 3), np.uint8))
    assert resumed(output, frames=1)["finished_before"]


def test_a_part_of_the_frames_is_refused(tmp_path: Path, segmenter: Segmenter) -> None:
    source = make_clip(tmp_path / "in.mp4", tuple(range(0, 60 * 512, 512)))
    output = make_clip(tmp_path / "out.mp4", tuple(range(0, 12 * 512, 512)))
    with pytest.raises(IcnetError, match="it has 12 frames, and 60 are to be expected") as caught:
        run(segmenter, source, output, resume=True)
    assert caught.value.code is ExitCode.USAGE
    for options in ({"every": 5}, {"frames": 12}, {"start_s": 1.0, "end_s": 1.5}):  # 25 frames a second
        assert run(segmenter, source, output, resume=True, **options)[1]["finished_before"], options


def test_what_was_made_of_a_source_that_is_cut_short_is_its_result(
    tmp_path: Path, segmenter: Segmenter
) -> None:
    """It declares more frames than it holds."""
    whole = make_clip(tmp_path / "whole.mkv", tuple(range(0, 60 * 512, 512)))
    source = tmp_path / "in.mkv"
    source.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    output = tmp_path / "out.mkv"
    with pytest.raises(IcnetError) as caught:
        run(segmenter, source, output)
    assert caught.value.code is ExitCode.INPUT
    assert frames_stored(output, 0) < 50
    assert run(segmenter, source, output, resume=True)[1]["finished_before"]


def test_damaged_pictures_are_missing_in_a_result(tmp_path: Path, segmenter: Segmenter) -> None:
    pictures = tmp_path / "pictures"
    for number in range(12):
        write_picture(pictures / f"{number}.png", frames(1)[0])
    output = write_video(tmp_path / "out.mp4", frames(3))
    assert run(segmenter, pictures, output, resume=True)[1]["finished_before"]


def test_a_source_that_has_gone_since_does_not_undo_what_is_finished(
    segmenter: Segmenter, video: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    run(segmenter, video, output)
    video.unlink()
    assert run(segmenter, video, output, resume=True)[1]["finished_before"]
    output.write_text("hello")
    with pytest.raises(IcnetError) as caught:
        run(segmenter, video, output, resume=True)
    assert caught.value.code is ExitCode.USAGE


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.png", "out"])
def test_the_report_tells_what_the_output_does(resumed: Resumed, tmp_path: Path, name: str) -> None:
    """A Matroska file declares what 10 frames at a constant rate would last; these do not come at one."""
    options = {"frames": 1} if name == "out.png" else {}
    before, after = (resumed(tmp_path / name, **options) for _ in range(2))
    assert after["finished_before"]
    for key in ("input", "output", "frames", "output_size"):
        assert after[key] == before[key], key
    if name == "out.mp4":
        assert after["duration_s"] == pytest.approx(before["duration_s"], abs=0.1)


def test_a_folder_whose_pictures_were_moved_is_still_complete(resumed: Resumed, tmp_path: Path) -> None:
    resumed(tmp_path / "out")
    for picture in (tmp_path / "out").glob("*.png"):
        picture.unlink()
    report = resumed(tmp_path / "out")
    assert (report["frames"], report.get("output_size")) == (10, None)
    (tmp_path / "out" / "index.csv").write_text("a,b\n1,2\n")
    assert "its index.csv is not one that icnet wrote" in refusal(resumed, tmp_path / "out")


@pytest.mark.parametrize("name", ["out.mp4", "out"])
def test_statistics_that_were_not_made_then_are_asked_for_in_vain(
    tmp_path: Path, video: Path, segmenter: Segmenter, name: str
) -> None:
    output, stats = tmp_path / name, tmp_path / "s.csv"
    run(segmenter, video, output)
    with pytest.raises(IcnetError) as caught:
        run(segmenter, video, output, resume=True, stats=stats)
    assert caught.value.code is ExitCode.USAGE
    assert (
        str(caught.value) == f"{output} is complete already, but {stats} is missing; make both anew with -y"
    )
    run(segmenter, video, output, resume=True, stats=stats, overwrite=True)
    assert stats.exists()
    assert run(segmenter, video, output, resume=True, stats=stats)[1]["finished_before"]

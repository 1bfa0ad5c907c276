"""Outputs: what a name asks for, and what is refused before any work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from icnet_cli.config import SegmentConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.pipeline.opening import open_source
from icnet_cli.pipeline.outputs import Plan, part_of, plan_output
from icnet_cli.pipeline.sources import Selection


def plan(source: Path | str, output: Path, **options: Any) -> Plan:
    config = SegmentConfig(source=str(source), output=output, **options)
    selection = Selection(config.start_s, config.end_s, config.frames, config.every)
    return plan_output(config, open_source(str(source), selection))


@pytest.mark.parametrize(
    ("name", "kind", "view"),
    [
        ("out.mp4", "video", "overlay"),
        ("out.webm", "video", "overlay"),
        ("labels.mkv", "video", "labels"),
        ("street.labels.mkv", "video", "labels"),
        ("out", "folder", "labels"),
        ("run.2", "folder", "labels"),
        ("v1.2b", "folder", "labels"),
        ("street.labels", "folder", "labels"),
        ("unlabelled.mp4", "video", "overlay"),
    ],
)
def test_the_name_decides(tmp_path: Path, video: Path, name: str, kind: str, view: str) -> None:
    found = plan(video, tmp_path / name)
    assert (found.kind, found.view) == (kind, view)
    assert found.codec == ("ffv1" if view == "labels" and kind == "video" else None)
    assert plan(video, tmp_path / name, view="color").view == "color"


@pytest.mark.parametrize(
    ("name", "view"), [("out.png", "overlay"), ("out.jpg", "overlay"), ("labels.png", "labels")]
)
def test_one_picture(tmp_path: Path, folder: Path, name: str, view: str) -> None:
    found = plan(folder / "img2.png", tmp_path / name)
    assert (found.kind, found.view) == ("picture", view)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("in.mp4", {}, "is the input"),
        ("in.mp4", {"overwrite": True}, "is the input"),
        ("link.mp4", {"overwrite": True}, "is the input"),
        ("hard.mp4", {"overwrite": True}, "is the input"),
        ("taken.mp4", {}, "-y"),
        ("taken", {}, "-y"),
        ("taken", {"overwrite": True}, "did not write"),
        (".", {"overwrite": True}, "holds the input"),
        ("loop.mp4", {"overwrite": True}, "leads to itself"),
        ("loop", {}, "leads to itself"),
        ("out.gif", {}, "name a video"),
        ("out.png", {}, "--frames 1"),
        ("labels.jpg", {"frames": 1}, r"\.png"),
        ("labels.webm", {}, "lossless"),
        ("labels.mp4", {}, "attachments"),
        ("out.xyz", {}, r"\.mp4.*\.png.*folder"),
        ("labels.y4m", {}, r"\.mp4.*\.png.*folder"),
        ("out.m2ts", {}, r"\.mp4.*\.png.*folder"),
        ("out.avi", {}, "avi stores no frame times"),
        ("out.mp4", {"pix_fmt": "yuv999p"}, "takes yuv420p, yuv422p, yuv444p"),
        ("out.webm", {"pix_fmt": "gray"}, "takes yuv420p"),
        ("labels.mkv", {"pix_fmt": "yuv444p"}, "--pix-fmt"),
        ("out.png", {"frames": 1, "pix_fmt": "yuv444p"}, "--pix-fmt"),
        ("out", {"only": ("red",), "blur": ("red",)}, "--only: .*--blur: "),
        ("labels.mkv", {"codec": "h264"}, "loses nothing"),
        ("out.webm", {"codec": "h264"}, "cannot hold"),
        ("out", {"crf": 20}, "--crf"),
        ("out", {"legend": True}, "--legend"),
        ("out.mp4", {"ids": "dataset"}, "--ids"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, video: Path, name: str, options: dict[str, Any], words: str
) -> None:
    (tmp_path / "link.mp4").symlink_to(video)
    for loop in ("loop.mp4", "loop"):
        (tmp_path / loop).symlink_to(loop)
    os.link(video, tmp_path / "hard.mp4")
    (tmp_path / "taken.mp4").write_bytes(b"mine")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    with pytest.raises(IcnetError, match=words) as caught:
        plan(video, tmp_path / name, **options)
    assert caught.value.code == ExitCode.USAGE
    assert (tmp_path / "taken" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["no/out.mp4", "no/out.png"])
def test_a_missing_folder_is_an_output_error(tmp_path: Path, video: Path, name: str) -> None:
    with pytest.raises(IcnetError, match="does not exist") as caught:
        plan(video, tmp_path / name, frames=1)
    assert caught.value.code == ExitCode.OUTPUT


def test_pictures_cannot_be_written_over_themselves(folder: Path) -> None:
    for output in (folder, folder.parent, folder / "night"):
        with pytest.raises(IcnetError, match="holds the input"):
            plan(folder, output, overwrite=True)
    with pytest.raises(IcnetError, match="is the input"):
        plan(folder / "img2.png", folder / "img2.png", overwrite=True)


def test_a_strangers_part_folder_is_left_alone(tmp_path: Path, video: Path) -> None:
    part = part_of(tmp_path / "out")
    part.mkdir()
    (part / "mine.txt").write_text("mine")
    with pytest.raises(IcnetError, match="in the way"):
        plan(video, tmp_path / "out")


def test_a_folder_that_exists_may_have_any_name(tmp_path: Path, video: Path) -> None:
    (tmp_path / "out.xyz").mkdir()
    assert plan(video, tmp_path / "out.xyz").kind == "folder"

"""Sources: what is found, in which order, and what is refused with which code."""

from __future__ import annotations

import json
import struct
import zlib
from itertools import pairwise
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.pipeline.items import Picture
from icnet_cli.pipeline.opening import natural_key, open_source
from icnet_cli.pipeline.sources import PictureSource, Selection, VideoSource, damage_of
from icnet_cli.pixels.files import write_picture
from icnet_cli.video.counted import Mark
from tests.video.live_servers import transport_stream
from tests.video.video_clips import HEIGHT, WIDTH

from .conftest import TIMES, frames, write_video

ALL = Selection()


def test_a_folder_is_read_in_natural_order_with_its_sub_folders(folder: Path) -> None:
    source = open_source(str(folder), ALL)
    pictures = list(source)
    assert [p.name for p in pictures] == ["img2", "img10", "night/a"]
    assert [p.index for p in pictures] == [0, 1, 2]
    assert [p.size for p in pictures] == [(40, 64), (48, 64), (56, 64)]
    assert pictures[0].pts is pictures[0].seconds is source.duration_s is None
    assert source.total == 3
    assert source.problem is None


def test_a_linked_sub_folder_is_read_too(tmp_path: Path, folder: Path) -> None:
    (folder / "night").rename(tmp_path / "night")
    (folder / "night").symlink_to(tmp_path / "night")
    assert [p.name for p in open_source(str(folder), ALL)] == ["img2", "img10", "night/a"]


def test_a_glob_keeps_sub_folders_from_its_first_choice_on(tmp_path: Path, folder: Path) -> None:
    assert [p.name for p in open_source(f"{folder}/*.png", ALL)] == ["img2"]
    assert [p.name for p in open_source(f"{folder}/*/*.png", ALL)] == ["night/a"]
    assert [p.name for p in open_source(f"{tmp_path}/*/night/a.*", ALL)] == ["pictures/night/a"]
    assert len(list(open_source(f"{folder}/**/*", ALL))) == 3


def test_one_picture(folder: Path) -> None:
    source = open_source(str(folder / "img2.png"), ALL)
    assert isinstance(source, PictureSource)
    assert [p.name for p in source] == ["img2"]


def test_a_name_with_brackets_is_a_file_first(tmp_path: Path) -> None:
    write_picture(tmp_path / "a[1].png", np.zeros((4, 4, 3), np.uint8))
    assert open_source(str(tmp_path / "a[1].png"), ALL).total == 1


def test_a_video_gives_its_frames_and_times(video: Path) -> None:
    with_planes = open_source(str(video), ALL)
    assert isinstance(with_planes, VideoSource)
    with_planes.wants_planes = True
    pictures = list(with_planes)
    assert [round(p.seconds * 10) for p in pictures] == list(TIMES)  # type: ignore[operator]
    assert [p.name for p in pictures[:2]] == ["frame_000000", "frame_000001"]
    assert all(p.planes is not None and p.planes.y.shape == p.size for p in pictures)
    assert with_planes.total == len(TIMES)
    assert with_planes.duration_s == pytest.approx(1.7)
    assert all(p.planes is None for p in open_source(str(video), ALL))


@pytest.mark.parametrize(
    ("selection", "positions"),
    [
        (Selection(frames=4), [0, 1, 2, 3]),
        (Selection(every=3), [0, 3, 6, 9]),
        (Selection(every=3, frames=2), [0, 3]),
        (Selection(every=100), [0]),
        (Selection(frames=100), list(range(10))),
        (Selection(start_s=0.5, end_s=1.1), [3, 4, 5, 6]),
        (Selection(start_s=0.5, every=2, frames=2), [3, 5]),
    ],
)
def test_a_selection_keeps_times_and_stretches_durations(
    video: Path, selection: Selection, positions: list[int]
) -> None:
    source = open_source(str(video), selection)
    pictures = list(source)
    assert [p.index for p in pictures] == positions
    assert [round(p.seconds * 10) for p in pictures] == [TIMES[i] for i in positions]  # type: ignore[operator]
    for first, second in pairwise(pictures):
        assert first.pts + first.duration == second.pts  # type: ignore[operator]
    assert source.problem is None


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        (Selection(every=2), ["img2", "night/a"]),
        (Selection(frames=2), ["img2", "img10"]),
        (Selection(every=2, frames=1), ["img2"]),
    ],
)
def test_a_selection_of_pictures(folder: Path, selection: Selection, names: list[str]) -> None:
    assert [p.name for p in open_source(str(folder), selection)] == names


def test_a_damaged_picture_is_left_out_and_counted(folder: Path) -> None:
    data = (folder / "img2.png").read_bytes()
    (folder / "img2.png").write_bytes(data[: len(data) // 2])
    source = open_source(str(folder), ALL)
    assert [p.index for p in source] == [1, 2]
    assert source.frames_damaged == 1
    assert "img2.png" in str(source.problem)


def test_a_file_of_several_pictures_is_told(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    still = (tmp_path / "a.png").read_bytes()
    several = struct.pack(">I4sII", 8, b"acTL", 4, 0) + struct.pack(
        ">I", zlib.crc32(struct.pack(">4sII", b"acTL", 4, 0))
    )
    for name in ("b.png", "c.png"):
        (tmp_path / name).write_bytes(still[:33] + several + still[33:])
    source = open_source(str(tmp_path), ALL)
    assert len(list(source)) == 3
    told = source.notices
    assert told == [f"{tmp_path / 'b.png'} holds 4 pictures; the first is taken, as of 1 more"]
    *_, last = open_source(str(tmp_path), ALL)
    source = resumed(open_source(str(tmp_path), ALL), last)
    assert [picture.name for picture in source] == ["c"]
    assert source.notices == told
    source = open_source(str(tmp_path / "a.png"), ALL)
    list(source)
    assert source.notices == []


def resumed(source: PictureSource | VideoSource, last: Picture) -> PictureSource | VideoSource:
    """The source as a run that goes on with the picture `last` has it, from its record on the disk."""
    assert source.read_to(json.loads(json.dumps(last.mark, default=Mark.to_dict)))
    return source


def test_pictures_that_changed_their_size_before_a_run_was_stopped_are_told(tmp_path: Path) -> None:
    """In the middle of three recordings one behind the other; the run goes on in the last."""
    size, file = (2 * WIDTH, 2 * HEIGHT), tmp_path / "in.ts"
    parts: tuple[dict[str, Any], ...] = ({}, {"start": 36_000, "size": size}, {"start": 72_000})
    file.write_bytes(b"".join(transport_stream(tmp_path, **part) for part in parts))
    whole = open_source(str(file), ALL)
    *_, last = whole
    source = resumed(open_source(str(file), ALL), last)
    assert [picture.index for picture in source] == [last.index]
    assert source.notices == whole.notices
    assert len(whole.notices) == 1


def test_gifs_that_are_left_out_are_told(folder: Path) -> None:
    source = PictureSource(
        [folder / "img2.png"], ["img2"], ALL, left_out=[folder / "x.gif", folder / "y.gif"]
    )
    assert len(list(source)) == 1
    (line,) = source.notices
    assert line.startswith("2 GIFs are left out")


@pytest.mark.parametrize("name", ["", "/*", "/**/*"])
def test_gifs_among_pictures_are_left_out_and_told(folder: Path, name: str) -> None:
    assert not any("GIF" in notice for notice in open_source(f"{folder}{name}", ALL).notices)
    (folder / "x.GIF").write_bytes(b"GIF89a")
    (notice,) = open_source(f"{folder}{name}", ALL).notices
    assert notice.startswith(f"1 GIF is left out ({folder}/x.GIF)")


def test_a_wrong_time_stamp_is_a_problem_of_its_own() -> None:
    read = {"frames_read": 40, "frames_lost": 0, "shortfall": None}
    one = damage_of(SimpleNamespace(frames_damaged=1, frames_mistimed=1, **read))
    assert one == "1 of 40 frames had a wrong time stamp (their time is guessed)"
    both = damage_of(SimpleNamespace(frames_damaged=3, frames_mistimed=1, **read))
    assert both == f"2 of 40 frames decoded with errors; {one}"
    assert damage_of(SimpleNamespace(frames_damaged=0, frames_mistimed=0, **read)) is None
    assert "1 of 40" in str(damage_of(SimpleNamespace(frames_damaged=1, **read)))


def test_pictures_that_are_all_damaged_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(IcnetError, match=r"a\.png") as caught:
        list(open_source(str(tmp_path), ALL))
    assert caught.value.code == ExitCode.INPUT


def test_a_truncated_video_gives_what_it_has_and_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "in.mp4", frames(10, (96, 128)), tuple(range(0, 100, 10)))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    source = open_source(str(path), ALL)
    assert 1 <= len(list(source)) < 10
    assert "truncated" in str(source.problem)


@pytest.mark.parametrize(
    ("what", "code", "words"),
    [
        ("gone.mp4", ExitCode.INPUT, "no such file"),
        ("gone.png", ExitCode.INPUT, "no such file"),
        ("*.png", ExitCode.INPUT, "matches no pictures"),
        ("empty", ExitCode.INPUT, "holds no videos and no pictures"),
        ("videos", ExitCode.USAGE, "name one video"),
        ("mixed", ExitCode.USAGE, "pictures and videos"),
        ("mixed/*", ExitCode.USAGE, "pictures and videos"),
        ("twins", ExitCode.USAGE, "under one name"),
    ],
)
def test_what_is_no_source_is_refused(tmp_path: Path, what: str, code: ExitCode, words: str) -> None:
    for name in ("empty", "videos", "mixed", "twins"):
        (tmp_path / name).mkdir()
    for name in (
        "videos/a.mp4",
        "mixed/a.mp4",
        "mixed/a.png",
        "twins/a.png",
        "twins/a.jpg",
        "empty/.hidden.png",
    ):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(IcnetError, match=words) as caught:
        open_source(str(tmp_path / what), ALL)
    assert caught.value.code == code


def test_pictures_have_no_times(folder: Path) -> None:
    with pytest.raises(IcnetError, match="no times") as caught:
        open_source(str(folder), Selection(start_s=1))
    assert caught.value.code == ExitCode.USAGE


def test_natural_order() -> None:
    names = ["b/img1.png", "img10.png", "img2.png", "IMG3.png", "img²1.png", "a/z.png", "img.png", "٣.png"]
    ordered = sorted(map(PurePath, names), key=natural_key)
    numbered = [str(n) for n in ordered if str(n).lower() in ("img2.png", "img3.png", "img10.png")]
    assert numbered == ["img2.png", "IMG3.png", "img10.png"]

"""One wrong time stamp is the time of one picture; a clock that leaps is the clock of all that follow."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from icnet_cli.video import VideoReader, open_video
from icnet_cli.video.counted import Mark
from icnet_cli.video.pipe import PipeReader
from icnet_cli.video.stamps import Stamps
from tests.video.video_clips import TS_STEP, make_clip, number_in, picture

TICK = Fraction(1, 90_000)
COUNT = 24
STEADY = [10_000 + n * TS_STEP for n in range(COUNT)]
UNEVEN = [int(t) for t in np.cumsum(np.random.default_rng(3).integers(900, 9000, COUNT))]


def stream(path: Path, ticks: list[int], **options: Any) -> Path:
    """A transport stream whose key frames come each eighth picture."""
    return make_clip(path, ticks, TICK, pictures=(picture(n) for n in range(len(ticks))), **options)


def stamped(path: Path, number: int, bit: int, track: int = 0x100) -> Path:
    """The stream with one bit of the PTS of a track's packet `number` (in decoding order) turned over."""
    data, found = bytearray(path.read_bytes()), 0
    for at in range(0, len(data), 188):
        is_first, pid = data[at + 1] & 0x40, (data[at + 1] & 0x1F) << 8 | data[at + 2]
        if not is_first or pid != track:
            continue
        if found == number:
            packet = at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0)
            assert data[packet : packet + 3] == b"\0\0\1"
            # Bits 32 to 30, 29 to 22, 21 to 15, 14 to 7 and 6 to 0, a byte each, with markers between them.
            byte, shift = next(
                (byte, bit - lowest + up)
                for byte, lowest, up in ((0, 30, 1), (1, 22, 0), (2, 15, 1), (3, 7, 0), (4, 0, 1))
                if bit >= lowest
            )
            data[packet + 9 + byte] ^= 1 << shift
        found += 1
    assert found > number
    bad = path.with_name(f"bad{path.suffix}")
    bad.write_bytes(data)
    return bad


def read(reader: VideoReader) -> list[tuple[int, int, bool]]:
    """(number in the picture, pts, damaged) of each frame."""
    with reader:
        return [(number_in(f.rgb()), f.pts, f.damaged) for f in reader]


@pytest.mark.parametrize("b_frames", [0, 3])
@pytest.mark.parametrize("bit", [16, 22, 29])
def test_only_the_frame_with_the_wrong_stamp_gets_another_time(
    tmp_path: Path, bit: int, b_frames: int
) -> None:
    path = stream(tmp_path / "clip.ts", STEADY, b_frames=b_frames, options={"g": "8"})
    whole = read(open_video(path))
    # A first decoding time over a minute ahead: FFmpeg takes those behind it for times after the counter's wrap.
    for number in range(int(bit == 29 and not b_frames), COUNT - 1):
        reader = open_video(stamped(path, number, bit))
        frames = read(reader)
        if reader.frames_mistimed == 0:  # the last one shown: nothing follows that would tell
            assert [f[:2] for f in frames[:-1]] == [f[:2] for f in whole[:-1]], number
            continue
        assert [f[:2] for f in frames] == [f[:2] for f in whole], number
        assert sum(damaged for _, _, damaged in frames) == 1
        assert (reader.frames_mistimed, reader.frames_damaged, reader.frames_lost) == (1, 1, 0)


def test_a_stamp_far_in_the_past_is_one_frames_too(tmp_path: Path) -> None:
    late = [2_000_000 + t for t in STEADY]
    path = stream(tmp_path / "clip.ts", late)
    whole = read(open_video(path))
    number = 9
    bit = max(b for b in range(22) if whole[number][1] >> b & 1)  # which is set: without it time is earlier
    reader = open_video(stamped(path, number, bit))
    assert [f[:2] for f in read(reader)] == [f[:2] for f in whole]
    assert reader.frames_mistimed == 1


def test_the_others_keep_uneven_times(tmp_path: Path) -> None:
    path = stream(tmp_path / "clip.ts", UNEVEN)
    whole = [pts for _, pts, _ in read(open_video(path))]
    reader = open_video(stamped(path, 11, 24))
    found = [pts for _, pts, _ in read(reader)]
    assert found[:11] + found[12:] == whole[:11] + whole[12:]
    assert whole[10] < found[11] < whole[12]
    assert reader.frames_mistimed == 1


@pytest.mark.parametrize("options", [{"end_s": 0.7}, {"start_s": 0.2}, {"start_s": 0.2, "end_s": 0.7}])
def test_a_range_does_not_end_at_a_wrong_stamp(tmp_path: Path, options: dict[str, float]) -> None:
    path = stream(tmp_path / "clip.ts", STEADY, b_frames=3, options={"g": "8"})
    whole = read(open_video(path, **options))
    assert [f[:2] for f in read(open_video(stamped(path, 9, 22), **options))] == [f[:2] for f in whole]


def test_a_pipe_is_told_as_well(tmp_path: Path) -> None:
    path = stream(tmp_path / "clip.ts", STEADY, b_frames=3)
    whole = read(open_video(path))
    descriptor = os.open(stamped(path, 9, 22), os.O_RDONLY)
    try:
        reader = PipeReader(descriptor=descriptor)
        assert [f[:2] for f in read(reader)] == [f[:2] for f in whole]
    finally:
        os.close(descriptor)
    assert reader.frames_mistimed == 1


def test_a_run_goes_on_before_a_wrong_stamp_and_begins_again_behind_it(tmp_path: Path) -> None:
    path = stamped(stream(tmp_path / "clip.ts", STEADY, b_frames=3, options={"g": "8"}), 12, 22)
    with open_video(path) as reader:
        seen = [(Mark.from_dict(reader.mark.to_dict()), f.pts, f.damaged) for f in reader]
    bad = [damaged for _, _, damaged in seen].index(True)
    assert [mark.seekable for mark, _, _ in seen] == [n < bad - 1 for n in range(COUNT)]  # one is read ahead
    for place in (3, bad - 2):
        with open_video(path) as reader:
            assert reader.resume_at(seen[place][0])
            assert [(f.pts, f.damaged) for f in reader] == [f[1:] for f in seen[place:]]
            assert (reader.frames_mistimed, reader.frames_damaged) == (1, 1)
    with open_video(path) as reader:
        list(reader)
        reader.restart()
        assert [(f.pts, f.damaged) for f in reader] == [f[1:] for f in seen]
        assert (reader.frames_mistimed, reader.frames_damaged) == (1, 1)


@pytest.mark.parametrize("suffix", [".ts", ".mp4"])
@pytest.mark.parametrize("b_frames", [0, 3])
def test_a_gap_stays_one(tmp_path: Path, suffix: str, b_frames: int) -> None:
    ticks = [*STEADY[:10], *(t + 900_000 for t in STEADY[10:])]
    reader = open_video(stream(tmp_path / f"clip{suffix}", ticks, b_frames=b_frames))
    times = [pts for _, pts, _ in read(reader)]
    assert [t - times[0] for t in times] == [t - ticks[0] for t in ticks]
    assert (reader.frames_mistimed, reader.frames_damaged, reader.mark.seekable) == (0, 0, True)


# -- stamps that no file here has


def fed(ticks: Iterable[int | None]) -> tuple[list[int], list[int]]:
    """The times that are given, and the places of those that are guesses."""
    stamps = Stamps(TICK, TS_STEP)
    pictures = [SimpleNamespace(pts=t, dts=None) for t in ticks]
    given = [*itertools.chain(*(stamps.feed(p) for p in pictures)), *stamps.flush()]
    assert [id(p) for p in given] == [id(p) for p in pictures]
    return [p.pts for p in given], [n for n, p in enumerate(given) if stamps.take_guess(p.pts)]


def risen(ticks: Iterable[int | None]) -> list[int]:
    """Every stamp taken as it is, and the next possible time where it does not rise."""
    times: list[int] = []
    for t in ticks:
        if t is None:
            times.append(times[-1] + TS_STEP if times else 0)
        else:
            times.append(max(t, times[-1] + 1) if times else t)
    return times


LEAPS: dict[str, Callable[[list[int]], list[int | None]]] = {
    "nothing": lambda t: [*t],
    "ahead": lambda t: [*t[:12], *(x + 900_000 for x in t[12:])],
    "ahead twice": lambda t: [*t[:7], *(x + 900_000 for x in t[7:15]), *(x + 9_000_000 for x in t[15:])],
    "ahead and disordered": lambda t: [*t[:7], t[8] + 900_000, t[7] + 900_000, *(x + 900_000 for x in t[9:])],
    "ahead at the end": lambda t: [*t, t[-1] + 9_000_000],
    "slides": lambda t: [20 * x for x in t],
    "back": lambda t: [x + 900_000 for x in t] + [*t],
    "a little back": lambda t: [*t[:20], *t[6:]],
    "back and caught up": lambda t: [*t, *(x - 50_000 for x in t), *(x + 50_000 for x in t)],
    "without": lambda t: [None, *t[1:5], None, None, *(x + 900_000 for x in t[7:])],
    "disordered": lambda t: [t[0], t[2], t[1], t[3], t[5], t[4], *t[6:]],
    "twice the same": lambda t: [x for t in zip(t, t, strict=True) for x in t],
}


@pytest.mark.parametrize("leap", LEAPS.values(), ids=LEAPS)
@pytest.mark.parametrize("times", [STEADY, UNEVEN])
def test_a_clock_that_leaps_is_followed(
    leap: Callable[[list[int]], list[int | None]], times: list[int]
) -> None:
    ticks = leap(times)
    assert fed(ticks) == (risen(ticks), [])


@pytest.mark.parametrize("wrong", [-(2**32), -4_000_000, 100_000, 2**22, 2**32])
@pytest.mark.parametrize("place", [0, 1, 2, 11, COUNT - 2])
def test_one_wrong_stamp_is_guessed(place: int, wrong: int) -> None:
    if place == 0 and wrong < 0:
        return  # as if a gap followed
    ticks = [*STEADY[:place], STEADY[place] + wrong, *STEADY[place + 1 :]]
    assert fed(ticks) == (STEADY, [place])


def test_wrong_stamps_that_disagree_are_all_guessed() -> None:
    ticks = [*STEADY[:8], 9_000_000, 5_000_000, -700_000, *STEADY[11:]]
    assert fed(ticks) == (STEADY, [8, 9, 10])


def test_nothing_is_held_but_what_leaps() -> None:
    stamps = Stamps(TICK, TS_STEP, last=0)
    for t in STEADY:
        assert len(stamps.feed(SimpleNamespace(pts=t, dts=None))) == 1
    assert stamps.feed(SimpleNamespace(pts=STEADY[-1] + 900_000, dts=None)) == []
    assert len(stamps.feed(SimpleNamespace(pts=STEADY[-1] + 903_600, dts=None))) == 2
    assert stamps.all_own


def test_some_stamps_are_held_at_most() -> None:
    stamps = Stamps(TICK, TS_STEP, last=0)
    waiting = most = 0
    for n in range(40, 0, -1):
        waiting += 1 - len(stamps.feed(SimpleNamespace(pts=n * 10_000_000, dts=None)))
        most = max(most, waiting)
    assert most <= 4

"""A file joined from several recordings, whose clock begins anew at each: time goes on, and the sound with it."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest

from icnet_cli.video import open_video
from icnet_cli.video.one_clock import TracksClock, VideoClock
from tests.video.copying import TICK, copy
from tests.video.video_clips import TS_STEP, joined_recordings, number_in, packets, recording

FIRST, SECOND = 30, 45  # pictures


def sound(path: Path) -> list[bytes]:
    """The packets of sound, without the header (ADTS) that each has in a transport stream and nowhere else."""
    return [data[7:] if data[:2] == b"\xff\xf1" else data for data in packets(path, "audio")]


def sound_times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [p.pts * p.time_base for p in container.demux(audio=0) if p.size]


def picture_times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return sorted(p.pts * p.time_base for p in container.demux(video=0) if p.size)


@pytest.mark.parametrize("b_frames", [0, 3])
def test_pictures_behind_a_seam_keep_their_distances(tmp_path: Path, b_frames: int) -> None:
    with open_video(joined_recordings(tmp_path, (FIRST, SECOND), b_frames=b_frames)) as reader:
        frames = [(number_in(f.rgb()), f.pts, f.duration) for f in reader]
    assert [number for number, _, _ in frames] == list(range(FIRST + SECOND))
    assert {b - a for (_, a, _), (_, b, _) in itertools.pairwise(frames)} == {TS_STEP}
    assert {duration for _, _, duration in frames} == {TS_STEP}
    assert (reader.shortfall, reader.frames_lost, reader.frames_damaged) == (None, 0, 0)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("b_frames", [0, 3])
def test_sound_behind_a_seam_is_moved_with_the_pictures(tmp_path: Path, suffix: str, b_frames: int) -> None:
    path, out = joined_recordings(tmp_path, (FIRST, SECOND), b_frames=b_frames), tmp_path / f"out{suffix}"
    writer = copy(path, out)
    assert writer.packets_lost == 0
    assert sound(out) == sound(path)
    pictures, heard = picture_times(out), sound_times(out)
    assert len(pictures) == FIRST + SECOND
    near = Fraction(2, 1000)
    assert all(abs(b - a - Fraction(1, 25)) < near for a, b in itertools.pairwise(pictures))
    # Each recording's sound is as far from its first picture as it was; where the first one's is longer than its
    # pictures, a few packets at the seam overlap.
    start = 0
    for name, first in (("part0.ts", 0), ("part1.ts", FIRST)):
        own, begins = sound_times(tmp_path / name), picture_times(tmp_path / name)[0]
        here = heard[start : start + len(own)]
        off = [abs((a - pictures[first]) - (b - begins)) > near for a, b in zip(here, own, strict=True)]
        assert not any(off[4:])
        start += len(own)
    assert start == len(heard)
    assert all(b > a for a, b in itertools.pairwise(heard))


def test_three_recordings_are_as_long_as_they_are_together(tmp_path: Path) -> None:
    path = joined_recordings(tmp_path, (FIRST, SECOND, FIRST))
    copy(path, tmp_path / "out.mkv")
    assert sound(tmp_path / "out.mkv") == sound(path)
    with open_video(tmp_path / "out.mkv") as reader:
        numbers = [number_in(f.rgb()) for f in reader]
    assert numbers == list(range(FIRST + SECOND + FIRST))
    times = picture_times(tmp_path / "out.mkv")
    assert abs(times[-1] - times[0] - Fraction(len(numbers) - 1, 25)) < Fraction(2, 1000)
    assert abs(sound_times(tmp_path / "out.mkv")[-1] - times[-1]) < Fraction(1, 10)


@pytest.mark.parametrize(("first", "second"), [(100, 25), (25, 100)])
@pytest.mark.parametrize(("start_s", "end_s"), [(0.8, 1.6), (2.4, 3.2), (4.4, None)])
def test_a_range_is_one_of_the_whole_time(
    tmp_path: Path, first: int, second: int, start_s: float, end_s: float | None
) -> None:
    path = joined_recordings(tmp_path, (first, second))
    expected = list(range(round(start_s * 25), round(end_s * 25) if end_s else 125))
    with open_video(path, start_s=start_s, end_s=end_s) as reader:
        frames = [(number_in(f.rgb()), f.index) for f in reader]
    # The file begins with its sound, a picture or two before the first picture.
    ahead = expected[0] - frames[0][0]
    assert 0 <= ahead <= 2
    assert [number for number, _ in frames][: len(expected)] == [n - ahead for n in expected][: len(frames)]
    assert abs(len(frames) - len(expected)) <= 2
    assert all(number == index for number, index in frames)
    copy(path, tmp_path / "out.mkv", start_s=start_s, end_s=end_s)
    heard = sound_times(tmp_path / "out.mkv")
    assert abs(heard[0]) < Fraction(1, 20)
    assert abs(heard[-1] - picture_times(tmp_path / "out.mkv")[-1]) < Fraction(1, 5)


@pytest.mark.parametrize(("first", "second"), [(100, 25), (25, 100)])
def test_a_mark_is_found_again_in_its_own_recording(tmp_path: Path, first: int, second: int) -> None:
    path = joined_recordings(tmp_path, (first, second))
    with open_video(path) as reader:
        seen = [(reader.mark, f.pts, number_in(f.rgb())) for f in reader]
    assert seen[5][0].seekable
    assert not seen[-1][0].seekable
    for place in (5, 15, 60, 110):
        with open_video(path) as reader:
            if not (seen[place][0].seekable and reader.resume_at(seen[place][0])):
                reader.restart()
                rest = [(f.pts, number_in(f.rgb())) for f in reader][place:]
            else:
                rest = [(f.pts, number_in(f.rgb())) for f in reader]
        assert rest == [(pts, number) for _, pts, number in seen[place:]], place


@pytest.mark.parametrize("name", ["plain.ts", "plain.mp4", "plain.mkv"])
def test_a_file_of_one_clock_keeps_its_times(tmp_path: Path, name: str) -> None:
    path = recording(tmp_path / name, range(FIRST), b_frames=3)
    own = picture_times(path)
    with open_video(path) as reader:
        assert [f.pts * f.time_base for f in reader] == own
        assert reader.mark.seekable == (name != "plain.mkv")  # which has packets without a decoding time
    copy(path, tmp_path / "out.mkv")
    assert sound(tmp_path / "out.mkv") == sound(path)
    milli = Fraction(1, 1000)
    assert all(abs(a - b) <= milli for a, b in zip(picture_times(tmp_path / "out.mkv"), own, strict=True))
    heard = zip(sound_times(tmp_path / "out.mkv"), sound_times(path), strict=True)
    assert all(abs(a - b) <= milli for a, b in heard)


# -- packets that no muxer writes

VIDEO = SimpleNamespace(index=0, time_base=TICK, average_rate=Fraction(25), guessed_rate=None)
SOUND = SimpleNamespace(index=1, time_base=TICK)


def packet(stream: Any, ticks: int, place: int) -> Any:
    times = {"dts": ticks, "pts": ticks, "duration": TS_STEP, "time_base": TICK}
    return SimpleNamespace(stream=stream, pos=place, size=1, **times)


def video_times(ticks: list[int]) -> list[int]:
    clock = VideoClock(VIDEO, restarts=True)
    fed = [clock.feed(packet(VIDEO, t, n)) for n, t in enumerate(ticks)]
    return [p.pts for p in [*itertools.chain(*fed), *clock.flush()]]


def both_times(order: list[tuple[Any, int]]) -> list[int]:
    """Where the sound's packets come to lie; `order` is (stream, ticks) as the file has them."""
    clock = TracksClock(VideoClock(VIDEO, restarts=True))
    found: list[Any] = []
    for place, (stream, ticks) in enumerate(order):
        read = packet(stream, ticks, place)
        found += clock.feed_video(read) if stream is VIDEO else clock.feed(read)
    return [p.pts for p in [*found, *clock.flush()]]


STEADY = [100_000 + n * TS_STEP for n in range(40)]


def test_a_bad_stamp_on_the_first_packet_is_no_seam() -> None:
    ticks = [10_000_000, *STEADY[1:]]
    assert video_times(ticks) == ticks


@pytest.mark.parametrize("bad", [0, 50_000, 10_000_000])
def test_one_bad_stamp_is_no_seam(bad: int) -> None:
    ticks = [*STEADY[:20], bad, *STEADY[21:]]
    assert video_times(ticks) == ticks
    woven = [pair for n, t in enumerate(ticks) for pair in ((VIDEO, STEADY[n]), (SOUND, t))]
    assert both_times(woven) == ticks


def test_a_clock_that_leaps_ahead_is_left_alone() -> None:
    ticks = [*STEADY[:20], *(t + 900_000 for t in STEADY[20:])]
    assert video_times(ticks) == ticks


def test_sound_that_crosses_a_seam_first_waits_for_the_pictures() -> None:
    again = [(SOUND, t) for t in STEADY[:5]]
    woven = [pair for t in STEADY for pair in ((VIDEO, t), (SOUND, t))]
    order = [*woven, *again, *((VIDEO, t) for t in STEADY[:10]), *((SOUND, t) for t in STEADY[5:10])]
    assert both_times(order) == [*STEADY, *(STEADY[-1] + TS_STEP * n for n in range(1, 11))]


def test_a_stream_that_goes_back_alone_goes_on_from_its_own_end() -> None:
    alone = [*STEADY[:20], *STEADY[:20]]
    on = [STEADY[0] + n * TS_STEP for n in range(40)]
    assert both_times([pair for n, t in enumerate(STEADY) for pair in ((VIDEO, t), (SOUND, alone[n]))]) == on
    assert both_times([pair for n, t in enumerate(STEADY) for pair in ((VIDEO, alone[n]), (SOUND, t))]) == on


def test_sound_that_was_silent_around_a_seam_is_moved_too() -> None:
    order = [(SOUND, STEADY[0]), *((VIDEO, t) for t in STEADY), *((VIDEO, t) for t in STEADY[:30])]
    assert both_times([*order, (SOUND, STEADY[29])]) == [STEADY[0], STEADY[29] + 40 * TS_STEP]

"""A wrong stamp of sound is the time of the packets under it, and of none behind them."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest

from icnet_cli.video.sound_stamps import SoundStamps
from tests.video.copying import copy
from tests.video.test_stamps import STEADY, stamped, stream
from tests.video.video_clips import packets

SOUND = 0x101  # the second track of a transport stream that FFmpeg writes
TICKS = 1920  # of a packet of 1024 samples at 48 kHz, on a clock of 90 kHz


def copied(source: Path, target: Path) -> tuple[list[Fraction], tuple[str, ...]]:
    """The times of the sound that is copied beside the pictures (seconds), and what is told of it."""
    writer = copy(source, target)
    with av.open(str(target)) as container:
        return [p.pts * p.time_base for p in container.demux(audio=0) if p.size], writer.notes


# Of a first stamp more than a minute ahead FFmpeg makes a counter that has wrapped: all behind it is hours away then.
@pytest.mark.parametrize(("number", "bit"), [(0, 22), (0, 20), (1, 20), (4, 16), (9, 22), (9, 29), (9, 32)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_sound_behind_it_keeps_its_time(tmp_path: Path, suffix: str, number: int, bit: int) -> None:
    source = stream(tmp_path / "in.ts", STEADY, audio="aac")
    times, notes = copied(source, tmp_path / f"whole{suffix}")
    assert len(times) > 20
    assert notes == ()
    bad = stamped(source, number, bit, SOUND)
    mended, told = copied(bad, tmp_path / f"bad{suffix}")
    assert packets(tmp_path / f"bad{suffix}", "audio") == packets(tmp_path / f"whole{suffix}", "audio")
    assert max(abs(a - b) for a, b in zip(times, mended, strict=True)) <= Fraction(1, 500)
    assert len(told) == 1
    assert "of sound had a wrong time stamp" in told[0]


def fed(ticks: Iterable[int | None], duration: int = TICKS) -> tuple[list[int | None], int]:
    """The times that packets of these are given, and how many of them are guesses."""
    stamps, out = SoundStamps(), list[Any]()
    for at in ticks:
        packet = SimpleNamespace(dts=at, pts=at, duration=duration, time_base=Fraction(1, 90_000))
        out += stamps.feed(packet)
    return [packet.dts for packet in [*out, *stamps.flush()]], stamps.mistimed


EVEN = [5_000 + n * TICKS for n in range(60)]
HOUR, LEAP = 3600 * 90_000, 45_000


@pytest.mark.parametrize(("place", "under"), [(0, 1), (1, 1), (7, 3), (30, 16), (58, 1), (1, 16)])
def test_all_packets_under_one_stamp_are_put_right(place: int, under: int) -> None:
    """FFmpeg counts on from the stamp for those that have none of their own."""
    wrong = EVEN[:place] + [at + HOUR for at in EVEN[place : place + under]] + EVEN[place + under :]
    assert fed(wrong) == (EVEN, under)


@pytest.mark.parametrize(
    "ticks",
    [
        EVEN,
        EVEN[:30] + [at + HOUR for at in EVEN[30:]],  # a true gap
        EVEN[:30] + [at + HOUR for at in EVEN[30:]] + [at + 2 * HOUR for at in EVEN],
        [*EVEN[:59], EVEN[59] + HOUR],
        [EVEN[0], EVEN[1] + HOUR],
        [5_000 + n * (LEAP + 10) for n in range(60)],  # sound with pauses
        EVEN[:30] + [EVEN[30] + LEAP + n * 100 for n in range(1, 31)],  # packets shorter than they say
        EVEN[:30] + EVEN[:30],  # a clock that begins anew is not this one's affair
        [at + HOUR for at in EVEN[:30]] + EVEN,
        [None, *EVEN[1:20], None, *EVEN[21:]],
        [],
    ],
)
def test_what_is_not_known_to_be_wrong_stays(ticks: list[int | None]) -> None:
    assert fed(ticks) == (ticks, 0)


def test_as_many_are_held_as_one_stamp_can_lead_astray() -> None:
    stamps = SoundStamps()
    counts = []
    for at in EVEN[:5] + [at + HOUR for at in EVEN[5:40]]:
        packet = SimpleNamespace(dts=at, pts=at, duration=TICKS, time_base=Fraction(1, 90_000))
        counts.append(len(stamps.feed(packet)))
    assert counts[:6] == [0, 2, 1, 1, 1, 0]  # the first waits for the second
    assert counts[6:21] == [0] * 15
    assert sum(counts) == 40


def packet_at(at: int | None) -> Any:
    return SimpleNamespace(dts=at, pts=at, duration=TICKS, time_base=Fraction(1, 90_000))


def test_packets_without_a_time_are_not_held_for_ever() -> None:
    stamps = SoundStamps()
    assert sum(len(stamps.feed(packet_at(at))) for at in [5_000] + [None] * 100) == 101
    assert sum(len(stamps.feed(packet_at(at))) for at in [HOUR] + [None] * 100) == 101


def test_a_leap_is_believed_once_the_file_has_come_so_far() -> None:
    """A track of warnings speaks for a moment, each minute: it is not held until the next time."""
    stamps = SoundStamps()
    assert sum(len(stamps.feed(packet_at(at))) for at in EVEN[:5]) == 5
    late = packet_at(EVEN[4] + HOUR)
    assert stamps.feed(late) == []
    assert stamps.meanwhile(Fraction(1, 5)) == []
    assert stamps.meanwhile(Fraction(3600)) == [late]
    assert late.dts == EVEN[4] + HOUR
    assert stamps.mistimed == 0

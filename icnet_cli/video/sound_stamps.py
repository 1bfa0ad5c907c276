"""Which time stamp of a track of sound is wrong: what is behind it must not follow it hours away.

Packets of sound follow each other without a gap, as a rule. So those whose time leaps ahead are held back until
others say whether the sound goes on from there (a true gap) or from before (the stamps were wrong).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from icnet_cli.video.pyav import time_base_of

_LEAP_S = Fraction(1, 2)  # less is how sound starts late and is cut
_STALE_S = 2  # less is how far one track is from another in a file
_MOST_HELD = 16  # packets that one wrong stamp can lead astray: a transport stream may put so many under one


def sound_ticks(packet: Any) -> int:
    """How long a packet of sound lasts, where its container (Matroska) does not say."""
    if packet.duration:
        return int(packet.duration)
    context = packet.stream.codec_context
    samples, rate = getattr(context, "frame_size", 0) or 1024, getattr(context, "sample_rate", 0) or 48000
    return max(1, round(Fraction(samples, rate) / time_base_of(packet)))


class SoundStamps:
    """Gives packets of one track whose stamp is wrong the time at which they follow the one before.

    Attributes:
        mistimed: how many had a wrong one.
    """

    def __init__(self) -> None:
        self.mistimed = 0
        self._end: int | None = None  # where the next packet is expected, in ticks
        self._held: list[Any] = []

    def feed(self, packet: Any) -> list[Any]:
        """The packets whose time is certain now that this one has come, in order."""
        if packet.dts is None:
            if not self._held:
                return self._take([packet])
            self._held.append(packet)
            return self._release() if self._end is None or len(self._held) > _MOST_HELD else []
        if self._held:
            return self._settle(packet)
        # The first of all has none before it to be held against.
        if self._end is None or packet.dts - self._end > _leap(packet):
            return self._hold(packet)
        return self._take([packet])

    def meanwhile(self, at: Fraction) -> list[Any]:
        """What is certain now that another track of the file is at `at` (seconds): the time of a leap has come."""
        if not self._held or self._end is None or at - self._end * time_base_of(self._held[0]) < _STALE_S:
            return []
        return self._release()

    def flush(self) -> list[Any]:
        """What is left at the end."""
        return self._release()

    def _hold(self, packet: Any) -> list[Any]:
        self._held.append(packet)
        return []

    def _settle(self, packet: Any) -> list[Any]:
        """What is certain of those that are held, by the packet that comes next."""
        start, length = self._start_by(packet), sum(map(sound_ticks, self._held))
        # Sound that is only sparse never goes back, however little is known of how long its packets last.
        back = any(held.dts is not None and held.dts > packet.dts for held in self._held)
        if back and start is not None and abs(packet.dts - (start + length)) <= _leap(packet):
            return self._take([*self._retimed(start), packet])
        if self._end is None or len(self._held) == _MOST_HELD:
            return [*self._release(), *self.feed(packet)]
        return self._hold(packet)

    def _start_by(self, packet: Any) -> int | None:
        """Where the held packets begin if their stamps are wrong; None where nothing says so."""
        if self._end is not None:
            return self._end
        first = self._held[0]
        start = packet.dts - sound_ticks(first)
        return start if start >= 0 and first.dts - packet.dts > _leap(packet) else None

    def _retimed(self, at: int) -> list[Any]:
        held, self._held = self._held, []
        for packet in held:
            if packet.dts is not None:
                later = (packet.pts or packet.dts) - packet.dts
                packet.dts, packet.pts = at, at + later
                self.mistimed += 1
            at += sound_ticks(packet)
        return held

    def _release(self) -> list[Any]:
        held, self._held = self._held, []
        return self._take(held)

    def _take(self, packets: list[Any]) -> list[Any]:
        for packet in packets:
            if packet.dts is not None:
                self._end = packet.dts + sound_ticks(packet)
            elif self._end is not None:
                self._end += sound_ticks(packet)
        return packets


def _leap(packet: Any) -> int:
    return math.ceil(_LEAP_S / time_base_of(packet))

"""One clock over all the connections of a live source: it begins at zero and never goes back.

A camera that comes back counts from any number it likes, so what is missing in between is measured by when pictures
arrive here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

TIME_BASE = Fraction(1, 90_000)  # of transport streams and RTP; every usual frame rate is exact in it

_HOLE = Fraction(1)  # seconds without a picture that are told
_FOREIGN = Fraction(10)  # a clock that goes on by this much more than the time that passed is another clock


@dataclass(frozen=True)
class Gap:
    """A time without pictures, in seconds of the output: after `at_s`, for `seconds`, and why."""

    at_s: float
    seconds: float
    reason: str

    def to_dict(self) -> dict[str, Any]:
        return {"at_s": round(self.at_s, 3), "seconds": round(self.seconds, 3), "reason": self.reason}


class Timeline:
    """Puts pictures on the output's clock by their own times, and by their arrival where those do not go on."""

    def __init__(self) -> None:
        self._last: int | None = None  # ticks, from the first picture
        self._zero = 0  # what is called zero
        self._last_arrived = 0.0
        self._shift: Fraction | None = None  # from the connection's own clock to ours
        self._reason = ""  # why the connection before this one ended
        self.gap: Gap | None = None  # before the picture that was placed last

    def begin_at(self, ticks: int) -> None:
        """Call the time of a picture that was placed there zero from now on."""
        self._zero += ticks

    def reconnected(self, reason: str) -> None:
        """The next picture is the first of another connection, the last one having ended for this reason."""
        self._shift, self._reason = None, reason

    def place(self, at: Fraction | None, arrived: float) -> int:
        """Ticks of TIME_BASE for a picture with its own time `at` (seconds; None: it has none) that came at `arrived`.

        They grow with each picture. `gap` then says what is missing before it.
        """
        before, self.gap = self._last, None
        elapsed = Fraction(arrived - self._last_arrived).limit_denominator(10**6)
        ticks = self._ticks(at, before, elapsed)
        if before is not None:
            ticks = max(ticks, before + 1)
            self._note_gap(before, ticks)
        self._last, self._last_arrived, self._reason = ticks, arrived, ""
        return ticks - self._zero

    def _ticks(self, at: Fraction | None, before: int | None, elapsed: Fraction) -> int:
        by_arrival = 0 if before is None else before + round(elapsed / TIME_BASE)
        if at is None:
            return by_arrival
        if self._shift is not None and before is not None:
            step = at + self._shift - before * TIME_BASE
            if 0 <= step < elapsed + _FOREIGN:
                return round((at + self._shift) / TIME_BASE)
        self._shift = by_arrival * TIME_BASE - at  # the first picture, or one by another clock
        return by_arrival

    def _note_gap(self, before: int, ticks: int) -> None:
        seconds = (ticks - before) * TIME_BASE
        if self._reason or seconds > _HOLE:
            reason = self._reason or "pictures are missing"
            self.gap = Gap(float((before - self._zero) * TIME_BASE), float(seconds), reason)

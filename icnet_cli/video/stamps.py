"""Each picture's own time, and which stamp is wrong: one flipped bit in a transport stream is a stamp of hours later.

Pictures come in the order in which they are shown. So one whose time leaps is held back until the next one says whether
the clock leapt (it goes on from there) or the stamp was wrong (it goes on from before). Nothing else is ever held but
the very first picture, which has none before it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

# Less than both is how frames come and how containers disorder them, more is a leap.
_LEAP_S, _LEAP_FRAMES = Fraction(1, 2), 8
_MOST_HELD = 4  # stamps in a row of which no two agree: then none is better than another


def stamp(picture: Any) -> int | None:
    """The time that a decoded picture came with, in ticks; None where it has none."""
    at = picture.dts if picture.pts is None else picture.pts
    return None if at is None else int(at)


class Stamps:
    """Gives each picture a pts that is later than the last one's: encoders and players take no other.

    Args:
        frame_ticks: how long a picture is likely to be shown.
        last: the time of the picture before the first one.

    Attributes:
        last: the time that was given last.
        all_own: whether no picture's time had to be made up.
        any_wrong: whether a picture's stamp was wrong.
    """

    def __init__(self, time_base: Fraction, frame_ticks: int, last: int | None = None) -> None:
        self.last = last
        self.all_own = True
        self.any_wrong = False
        self._frame_ticks = frame_ticks
        self._leap = max(round(_LEAP_S / time_base), _LEAP_FRAMES * frame_ticks)
        self._held: list[Any] = []
        self._guessed: set[int] = set()
        self._moved: set[int] = set()

    def feed(self, picture: Any) -> list[Any]:
        """The pictures whose time is certain now that this one has come, in order."""
        at = stamp(picture)
        ready = self._settle(at) if self._held else []
        if self._held or self._leaps(at):
            self._held.append(picture)
        else:
            ready.append(self._give(picture))
        return ready

    def flush(self) -> list[Any]:
        """What is left at the end."""
        return self._release()

    def take_guess(self, pts: int) -> bool:
        """Whether the picture that was given this time had a wrong one; forgotten thereby."""
        known = pts in self._guessed
        self._guessed.discard(pts)
        return known

    def take_move(self, pts: int) -> bool:
        """Whether the picture that was given this time had one no later than the last picture's; forgotten thereby."""
        known = pts in self._moved
        self._moved.discard(pts)
        return known

    def _leaps(self, at: int | None) -> bool:
        return at is not None and (self.last is None or abs(at - self.last) > self._leap)

    def _settle(self, at: int | None) -> list[Any]:
        """What is certain of those that are held, by the stamp that comes next."""
        if self.last is None and len(self._held) > 1 and at is not None:
            return self._begin(at)
        if at is None or self._goes_on(at) or len(self._held) == _MOST_HELD:
            return self._release()
        return [] if self._leaps(at) else self._guess(at)

    def _goes_on(self, at: int) -> bool:
        """Whether a stamp goes on from the one that is held, so that it was the clock that leapt."""
        held = stamp(self._held[-1])
        assert held is not None
        if self.last is not None and held < self.last:
            return 0 <= at - held <= self._leap
        return at > held - self._leap and self._leaps(at)

    def _begin(self, at: int) -> list[Any]:
        """Of the first two stamps the second lies far before the first: the third says which is wrong."""
        first, second = self._held.pop(0), stamp(self._held[0])
        assert second is not None
        if abs(at - second) <= self._leap:
            step = at - second if at > second else self._frame_ticks
            return [self._place(first, second - step, guessed=True), *self._release()]
        return [self._give(first), *self._settle(at)]

    def _guess(self, until: int) -> list[Any]:
        """The held pictures with times made up, between the last one and `until`: their stamps were wrong."""
        assert self.last is not None
        held, self._held = self._held, []
        # Evenly: how long a frame lasts is known less well, as FFmpeg measures it by these stamps.
        step = max(1, (until - self.last) // (len(held) + 1))
        return [self._place(picture, self.last + step, guessed=True) for picture in held]

    def _release(self) -> list[Any]:
        held, self._held = self._held, []
        return [self._give(picture) for picture in held]

    def _give(self, picture: Any) -> Any:
        """A picture with its own time, or the next possible one where that is not later than the last."""
        at = stamp(picture)
        if self.last is None:
            return self._place(picture, at or 0, own=at is not None)
        if at is None:
            return self._place(picture, self.last + self._frame_ticks, own=False)
        # Where a tick is a frame (AVI), it follows as it should.
        if at <= self.last and self._frame_ticks > 1:
            self._moved.add(self.last + 1)
        return self._place(picture, max(at, self.last + 1), own=at > self.last)

    def _place(self, picture: Any, at: int, *, own: bool = False, guessed: bool = False) -> Any:
        picture.pts = self.last = at
        self.all_own = self.all_own and own
        if guessed:
            self.any_wrong = True
            self._guessed.add(at)
        return picture

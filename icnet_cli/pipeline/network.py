"""The middle lane: pictures are sent to a network, and come back as flights, each of one picture or several.

On the host a flight has landed when it is sent. On a device it lands later, in the lane that encodes (`flights`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any, Protocol

from .items import Labels, Picture

_TIMES_KEPT = 4096  # a stage, for its median: memory stays flat however long the video


class StageTimes:
    """Milliseconds a picture of one stage."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_TIMES_KEPT)
        self.total = 0.0

    @contextmanager
    def measure(self, pictures: int = 1) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.add((time.perf_counter() - start) * 1000, pictures)

    def add(self, milliseconds: float, pictures: int = 1) -> None:
        """The time that `pictures` took together."""
        self._recent.extend([milliseconds / pictures] * pictures)
        self.total += milliseconds

    @property
    def recent(self) -> tuple[float, ...]:
        """Of each of the last pictures."""
        return tuple(self._recent)

    @property
    def median(self) -> float:
        return median(tuple(self._recent) or (0.0,))


class Flight(Protocol):
    """Pictures that were sent together."""

    def land(self) -> Sequence[tuple[Picture, Any]]:
        """Wait for them; each picture with what `render` takes beside it. Called in the lane that encodes."""

    def free(self) -> None:
        """What landed has been written and is not looked at again."""


class Network(Protocol):
    """Takes pictures in order and gives flights in order; used from one thread, but for `abort`."""

    busy: StageTimes

    def send(self, picture: Picture) -> Flight | None:
        """One picture more; the flight that it completes. Raises AbortedError after `abort`."""

    def rest(self) -> Flight | None:
        """The last pictures, too few for a flight of full size."""

    def abort(self) -> None:
        """Wake a `send` that waits: nothing will land any more. From any thread."""

    def close(self) -> None:
        """After the last flight, and after an abort: nothing is under way any more."""


class _Landed:
    """A flight of the host."""

    def __init__(self, pairs: Sequence[tuple[Picture, Labels]]) -> None:
        self._pairs = pairs

    def land(self) -> Sequence[tuple[Picture, Labels]]:
        return self._pairs

    def free(self) -> None:
        """Its arrays are its own."""


class AtOnce:
    """Labels pictures in the thread that sends them.

    Args:
        label: the labels of `batch` pictures of one size, or of fewer, the last time.
    """

    def __init__(self, label: Callable[[Sequence[Picture]], Sequence[Labels]], batch: int = 1) -> None:
        self._label, self._batch = label, batch
        self._waiting: list[Picture] = []
        self.busy = StageTimes()

    @classmethod
    def one_by_one(cls, label: Callable[[Picture], Labels]) -> AtOnce:
        return cls(lambda pictures: [label(picture) for picture in pictures])

    def send(self, picture: Picture) -> Flight | None:
        self._waiting.append(picture)
        return self.rest() if len(self._waiting) == self._batch else None

    def rest(self) -> Flight | None:
        if not self._waiting:
            return None
        pictures, self._waiting = self._waiting, []
        with self.busy.measure(len(pictures)):
            labels = self._label(pictures)
        return _Landed(list(zip(pictures, labels, strict=True)))

    def abort(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Nothing is under way here."""

"""What is told of a run's pictures: counted when each is written, so that a run that goes on counts each once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .items import Picture
from .stats import StatsFile


class Ledger:
    """The pixels of each class, and the rows of `--stats`.

    `note` is for whoever labels, in the order of the pictures; `book` for whoever writes, as each has been written.

    Args:
        names: of the classes.
        stats: where a row a picture goes.
        keeps: whether rows are kept with the segments (`state`) until `publish`, instead of being written at once.
    """

    def __init__(
        self, names: tuple[str, ...], stats: StatsFile | None = None, *, keeps: bool = False
    ) -> None:
        self._names, self._stats, self._keeps = names, stats, keeps
        self._pixels = np.zeros(256)
        self._noted: deque[tuple[Picture, NDArray[Any], float | None]] = deque()
        self._lines: list[str] = []

    def note(self, picture: Picture, pixels: NDArray[Any], confidence: float | None = None) -> None:
        """A picture was labelled: pixels of each of 256 classes, and the mean confidence where it is asked for."""
        self._noted.append((picture, pixels, confidence))

    def book(self, *_written: object) -> None:
        """The picture that was noted first has been written."""
        picture, pixels, confidence = self._noted.popleft()
        self._pixels += pixels
        if self._stats is None:
            return
        text = self._stats.text(picture, self._share_of(pixels), confidence)
        if self._keeps:
            self._lines.append(text)
        else:
            self._stats.write(text)

    @property
    def class_share(self) -> dict[str, float]:
        return self._share_of(self._pixels)

    def _share_of(self, pixels: NDArray[Any]) -> dict[str, float]:
        shares = pixels[: len(self._names)] / max(1.0, float(pixels.sum()))
        return dict(zip(self._names, shares.tolist(), strict=True))

    # -- of a run that may go on in another process

    def state(self) -> dict[str, Any]:
        """What has been booked so far; of the rows those that no state has told of yet."""
        lines, self._lines = self._lines, []
        return {"pixels": [int(count) for count in self._pixels], "stats": "".join(lines)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._pixels = np.asarray(state["pixels"], float)
        if self._stats is not None:
            self._stats.begun = True

    def publish(self, states: Iterable[dict[str, Any]]) -> None:
        """Write the rows that states told of, and give the file its name."""
        if self._stats is None:
            return
        for state in states:
            self._stats.write(state["stats"])
        self._stats.close()

"""Two weights on the same pictures: where they disagree, what each costs, how steady each is, and who is right.

Nothing here opens anything: pictures come from an iterable, with their truth where there is one.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from icnet_cli.classes import ClassTable
from icnet_cli.evaluation.confusion import IGNORE_INDEX, Confusion, Labels
from icnet_cli.evaluation.report import json_number
from icnet_cli.evaluation.temporal import Flicker, step_between
from icnet_cli.evaluation.worst import Top, largest
from icnet_cli.pixels.cv import cv2
from icnet_cli.pixels.flow import reduced_grey
from icnet_cli.reports.pictures import fitted, small_labels, small_picture
from icnet_cli.reports.shots import Versus

Picture = NDArray[np.uint8]  # (H, W, 3) RGB

FRAMES = 20  # shown: those of the largest disagreement
_HEAT_SIDE = 320


class Labeller(Interface):
    """What is compared: `inference.Segmenter` is one."""

    @property
    def classes(self) -> ClassTable: ...

    def labels(self, frame: Picture, /) -> Labels: ...


@dataclass(frozen=True)
class Seen:
    """One picture to compare on. `truth` is (H, W) with 255 for what is not counted, or None."""

    name: str
    image: Picture
    truth: Labels | None = None


@dataclass(frozen=True)
class PairDone:
    """After each picture: both labels, and the share of pixels on which they differ."""

    done: int
    seen: Seen
    a: Labels
    b: Labels
    differ: float


@dataclass
class Side:
    """What is gathered of one of the two."""

    labeller: Labeller
    ms: list[float] = field(default_factory=list)
    flicker: Flicker = field(default_factory=Flicker)
    confusion: Confusion = field(init=False)

    def __post_init__(self) -> None:
        self.confusion = Confusion(self.labeller.classes.num_classes)

    def timed(self, image: Picture) -> Labels:
        start = time.perf_counter()
        labels = self.labeller.labels(image)
        self.ms.append((time.perf_counter() - start) * 1000)
        return labels


class Comparison:
    """Gathers what two labellers of the same classes say of the same pictures.

    Args:
        in_order: the pictures are a video's frames, so that flicker can be measured.
        apart: of so many pictures in a row at most one is kept to be shown: neighbours in a video look alike.
    """

    def __init__(self, a: Labeller, b: Labeller, *, in_order: bool = False, apart: int = 1) -> None:
        self.a, self.b, self.in_order = Side(a), Side(b), in_order
        self.classes = a.classes
        self.between = Confusion(self.classes.num_classes)  # rows what A says, columns what B says
        self.series: list[float] = []
        self.first_size = (0, 0)  # (height, width) of the first picture
        self._right = np.zeros(4, np.int64)  # counted pixels: neither right, only A, only B, both
        self._apart, self._top = max(1, apart), Top[Versus](FRAMES)
        self._waiting: tuple[float, Versus] | None = None
        self._heat: NDArray[np.float32] | None = None
        self._background: Picture | None = None
        self._grey: NDArray[np.uint8] | None = None
        self._before: tuple[Labels, Labels] | None = None

    def events(self, pictures: Iterable[Seen]) -> Generator[PairDone, None, None]:
        """Label and count each picture by both; what is kept is small, whatever the number of pictures."""
        for number, seen in enumerate(pictures):
            if number == 0:  # the first run of a network is not its pace
                self.a.labeller.labels(seen.image)
                self.b.labeller.labels(seen.image)
            # In turn, so that neither always runs on the caches and clock that the other left.
            if number % 2:
                b = self.b.timed(seen.image)
                a = self.a.timed(seen.image)
            else:
                a = self.a.timed(seen.image)
                b = self.b.timed(seen.image)
            yield PairDone(number + 1, seen, a, b, self.add(seen, a, b))
        self._keep()

    def add(self, seen: Seen, a: Labels, b: Labels) -> float:
        """Count one picture's labels; the share of pixels on which they differ."""
        differs = a != b
        share = float(differs.mean())
        counts = Confusion(self.classes.num_classes)
        counts.update(a, b)
        self.between += counts
        self._add_truth(seen.truth, a, b)
        self._add_heat(seen.image, differs)
        if self.in_order:
            self._add_flicker(seen.image, a, b)
        self.series.append(share)
        if self._waiting is None or share > self._waiting[0]:
            self._waiting = (share, _versus(seen, a, b, share, counts))
        if len(self.series) % self._apart == 0:
            self._keep()
        return share

    def _keep(self) -> None:
        if self._waiting is not None and self._waiting[0] > 0:
            self._top.add(*self._waiting)
        self._waiting = None

    def _add_truth(self, truth: Labels | None, a: Labels, b: Labels) -> None:
        if truth is None:
            return
        self.a.confusion.update(truth, a)
        self.b.confusion.update(truth, b)
        outcome = (a == truth).astype(np.uint8) + 2 * (b == truth).astype(np.uint8)
        self._right += np.bincount(outcome[truth != IGNORE_INDEX], minlength=4)

    def _add_heat(self, image: Picture, differs: NDArray[np.bool_]) -> None:
        if self._heat is None:
            self._background = small_picture(image)
            self.first_size = (differs.shape[0], differs.shape[1])
            self._heat = np.zeros(fitted(self.first_size, _HEAT_SIDE), np.float32)
        size = self._heat.shape[::-1]
        self._heat += cv2.resize(differs.astype(np.float32), size, interpolation=cv2.INTER_AREA)

    def _add_flicker(self, image: Picture, a: Labels, b: Labels) -> None:
        grey, before, old = reduced_grey(image), self._grey, self._before
        self._grey, self._before = grey, (a.copy(), b.copy())
        if before is None or old is None or old[0].shape != a.shape:
            return
        step = step_between(before, grey, (a.shape[0], a.shape[1]))
        if step is not None:
            self.a.flicker.count(old[0], a, step)
            self.b.flicker.count(old[1], b, step)

    @property
    def heat(self) -> tuple[NDArray[np.float32], Picture] | None:
        """(h, w): of each place in the picture, the share of pictures in which the two disagree there; and the first
        picture, small. None before the first picture."""
        if self._heat is None or self._background is None:
            return None
        return self._heat / np.float32(len(self.series)), self._background

    @property
    def shots(self) -> list[Versus]:
        """The pictures of the largest disagreement, the largest first."""
        return self._top.items

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON has them; NaN becomes None."""
        between = self.between
        document: dict[str, Any] = {
            "frames": len(self.series),
            "disagreement": json_number(1 - between.pixel_accuracy),
            "per_class": self._per_class(),
            "between": between.to_list(),
            "time_ratio": _ratio(self.a.ms, self.b.ms),
            "a": self._side(self.a, between.matrix.sum(axis=1)),
            "b": self._side(self.b, between.matrix.sum(axis=0)),
            "worst_frames": [{"name": shot.name, "disagreement": shot.differ} for shot in self.shots],
        }
        counted = int(self._right.sum())
        if counted:
            shares = (self._right / counted).tolist()
            document["truth"] = dict(
                zip(("neither_right", "only_a_right", "only_b_right", "both_right"), shares, strict=True)
            )
        return document

    def _per_class(self) -> dict[str, float | None]:
        """Of the pixels that either gives to a class, the share that the other does not: 1 less the IoU of the two."""
        return {
            name: json_number(1 - iou)
            for name, iou in zip(self.classes.names, self.between.iou.tolist(), strict=True)
        }

    def _side(self, side: Side, pixels: NDArray[np.int64]) -> dict[str, Any]:
        names = self.classes.names
        ms = side.ms or [float("nan")]
        found: dict[str, Any] = {
            "ms_p50": json_number(median(ms)),
            "ms_p95": json_number(float(np.percentile(ms, 95))),
            "fps": json_number(1000 / median(ms)),
            "class_share": dict(zip(names, (pixels / max(1, pixels.sum())).tolist(), strict=True)),
        }
        if self.in_order:
            found |= {
                "flicker": json_number(side.flicker.share),
                "flicker_per_class": side.flicker.per_class(names),
            }
        if side.confusion.pixels:
            ious = map(json_number, side.confusion.iou.tolist())
            found |= {
                "miou": json_number(side.confusion.miou),
                "pixel_accuracy": json_number(side.confusion.pixel_accuracy),
                "per_class": dict(zip(names, ious, strict=True)),
            }
        return found


def _ratio(a_ms: list[float], b_ms: list[float]) -> float | None:
    """The time of B over that of A: the median of the pictures' own ratios, which a machine that slows down for a
    while does not move."""
    return median(b / a for a, b in zip(a_ms, b_ms, strict=True)) if a_ms else None


def _versus(seen: Seen, a: Labels, b: Labels, share: float, counts: Confusion) -> Versus:
    return Versus(
        name=seen.name,
        image=small_picture(seen.image),
        a=small_labels(a),
        b=small_labels(b),
        differ=share,
        confusions=largest(counts.matrix, a.size),
        truth=None if seen.truth is None else small_labels(seen.truth),
    )

"""What is worth looking at after an evaluation: the worst frames, and the best and worst crops of each class.

Only so many small pictures are kept, whatever the length of the data: memory is bounded.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from icnet_cli.evaluation.confusion import IGNORE_INDEX, Confusion, Labels
from icnet_cli.pixels.cv import cv2
from icnet_cli.reports.pictures import small_labels, small_picture
from icnet_cli.reports.shots import Confusions, Crop, Shot

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Box = tuple[int, int, int, int]  # top, left, bottom, right

FRAMES, CROPS = 20, 3  # kept: worst frames; crops of a class, best and worst each
CROP_SIDE = 160  # pixels of a crop on the page
_SEARCH_SIDE = 512  # regions are looked for in labels of about this size
_SMALLEST = 24  # pixels there; less is a speck
_LARGEST_FEW = 3  # regions of a class that are looked at in a frame
_AROUND = 1.4  # a crop's side, of its region's longer one
_CONFUSIONS = 3  # named beside a frame

T = TypeVar("T")


@dataclass(order=True)
class _Ranked(Generic[T]):
    """By badness; of equals the earlier one counts as worse, so that results do not depend on chance."""

    badness: float
    minus_order: int
    what: T


class Top(Generic[T]):
    """Keeps the `most` items of the highest rank."""

    def __init__(self, most: int) -> None:
        self._most, self._added = most, 0
        self._heap: list[_Ranked[T]] = []

    def wants(self, rank: float) -> bool:
        """Whether an item of this rank would be kept: making one may be dear."""
        return len(self._heap) < self._most or rank > self._heap[0].badness

    def add(self, rank: float, what: T) -> None:
        self._added += 1
        item = _Ranked(rank, -self._added, what)
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, item)
        else:
            heapq.heappushpop(self._heap, item)

    @property
    def items(self) -> list[T]:
        """The highest first."""
        return [item.what for item in sorted(self._heap, reverse=True)]


class WorstFrames:
    """The frames with the largest share of labelled pixels wrong."""

    def __init__(self, num_classes: int, most: int = FRAMES) -> None:
        self.num_classes = num_classes
        self._top: Top[Shot] = Top(most)

    def add(self, name: str, image: Picture, truth: Labels, labels: Labels) -> None:
        """One frame, all of one size. One without a labelled pixel is passed over."""
        counted = int((truth != IGNORE_INDEX).sum())
        if not counted:
            return
        wrong = int(((truth != labels) & (truth != IGNORE_INDEX)).sum()) / counted
        if not self._top.wants(wrong):
            return
        confusion = Confusion(self.num_classes)
        confusion.update(truth, labels)
        shot = Shot(
            name=name,
            image=small_picture(image),
            truth=small_labels(truth),
            labels=small_labels(labels),
            wrong=wrong,
            miou=confusion.miou,
            confusions=largest(confusion.matrix, counted),
        )
        self._top.add(wrong, shot)

    @property
    def shots(self) -> list[Shot]:
        """The worst first."""
        return self._top.items


def largest(matrix: NDArray[np.int64], counted: int) -> Confusions:
    """A confusion matrix's largest numbers off its diagonal: row, column, and the share of `counted` pixels."""
    off = matrix.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(off, axis=None)[::-1][:_CONFUSIONS]
    pairs = [divmod(int(place), len(off)) for place in order]
    return tuple(
        (row, column, float(off[row, column] / counted)) for row, column in pairs if off[row, column]
    )


class ClassCrops:
    """Of each class the crops where it was found best and where it was missed or invented most.

    A crop is a square around one of the largest regions of the class in a frame, its IoU that of the class inside. Best
    are those of the highest IoU. Worst are those of the most wrong pixels times the share that is wrong, so that
    neither a speck nor the thin rim of something large comes first. A frame gives at most one of each a class.
    """

    def __init__(self, num_classes: int, most: int = CROPS) -> None:
        self.best: list[Top[Crop]] = [Top(most) for _ in range(num_classes)]
        self.worst: list[Top[Crop]] = [Top(most) for _ in range(num_classes)]

    def add(self, name: str, image: Picture, truth: Labels, labels: Labels) -> None:
        """One frame, all of one size."""
        step = max(1, -(-max(truth.shape) // _SEARCH_SIDE))
        small = np.ascontiguousarray(truth[::step, ::step])
        for k in np.unique(small).tolist():
            if k != IGNORE_INDEX:
                boxes = [_square(box, step, truth.shape) for box in _boxes(small == k)]
                self._add_class(k, boxes, (name, image, truth, labels))

    def _add_class(self, k: int, boxes: list[Box], frame: tuple[str, Picture, Labels, Labels]) -> None:
        _, _, truth, labels = frame
        measured = []
        for box in boxes:
            part = np.s_[box[0] : box[2], box[1] : box[3]]
            true, found = truth[part] == k, (labels[part] == k) & (truth[part] != IGNORE_INDEX)
            union, wrong = int((true | found).sum()), int((true ^ found).sum())
            measured.append((1 - wrong / union if union else 0.0, wrong, box))
        if not measured:
            return
        iou, _, box = max(measured)
        if iou > 0 and self.best[k].wants(iou):
            self.best[k].add(iou, _crop(k, iou, box, frame))
        iou, wrong, box = max(measured, key=lambda one: one[1] * (1 - one[0]))
        if wrong and self.worst[k].wants(wrong * (1 - iou)):
            self.worst[k].add(wrong * (1 - iou), _crop(k, iou, box, frame))


def _boxes(mask: NDArray[np.bool_]) -> list[Box]:
    """Boxes around the largest regions of a mask, the largest first."""
    number, _, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    regions = sorted((stats[i] for i in range(1, number)), key=lambda one: -one[4])
    return [
        (int(y), int(x), int(y + h), int(x + w))
        for x, y, w, h, area in regions[:_LARGEST_FEW]
        if area >= _SMALLEST
    ]


def _square(box: Box, step: int, shape: tuple[int, ...]) -> Box:
    """A square at full size around a box found at a `step`-th of it, as far as the picture reaches."""
    top, left, bottom, right = (side * step for side in box)
    side = round(max(bottom - top, right - left, CROP_SIDE / 2) * _AROUND)
    height, width = min(side, shape[0]), min(side, shape[1])
    y = min(max(0, (top + bottom - height) // 2), shape[0] - height)
    x = min(max(0, (left + right - width) // 2), shape[1] - width)
    return y, x, y + height, x + width


def _crop(k: int, iou: float, box: Box, frame: tuple[str, Picture, Labels, Labels]) -> Crop:
    name, image, truth, labels = frame
    part = np.s_[box[0] : box[2], box[1] : box[3]]
    true = small_labels(np.ascontiguousarray(truth[part]), CROP_SIDE)
    found = small_labels(np.ascontiguousarray(labels[part]), CROP_SIDE)
    return Crop(
        name=name,
        image=small_picture(np.ascontiguousarray(image[part]), CROP_SIDE),
        truth=true == k,
        labels=(found == k) & (true != IGNORE_INDEX),
        iou=iou,
    )


class Gallery:
    """Both, of the frames of one evaluation."""

    def __init__(self, num_classes: int) -> None:
        self.frames, self.crops = WorstFrames(num_classes), ClassCrops(num_classes)

    def add(self, name: str, image: Picture, truth: Labels, labels: Labels) -> None:
        """One frame, all of one size."""
        self.frames.add(name, image, truth, labels)
        self.crops.add(name, image, truth, labels)

"""One confusion matrix for a whole evaluation, and every figure that is read from it.

Axes, here and in the `confusion` of the JSON report: rows are the truth, columns the prediction.
The figures follow cityscapesscripts 2.2 (`evalPixelLevelSemanticLabeling`), to which a test holds them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from icnet_cli.classes import IGNORE_INDEX

Labels = NDArray[np.uint8]


class Confusion:
    """Counts of (truth, prediction) pixels, int64 (K, K).

    A class's IoU is tp / (tp + fn + fp) over all pixels of all images. A class that occurs neither
    in the truth nor in the prediction has no IoU: it is NaN and left out of the mean. A class that
    is predicted but never true has IoU 0 and does count, as Cityscapes counts it.
    """

    def __init__(self, num_classes: int) -> None:
        if not 1 <= num_classes <= IGNORE_INDEX:
            raise ValueError(f"num_classes is {num_classes}; one byte a label holds 1 to {IGNORE_INDEX}")
        self.matrix = np.zeros((num_classes, num_classes), np.int64)

    @property
    def num_classes(self) -> int:
        return len(self.matrix)

    def update(self, truth: Labels, prediction: Labels) -> None:
        """Count one image. Both uint8 of one shape; pixels whose truth is 255 are not counted.

        Raises ValueError for a prediction outside 0..K-1 (on an ignored pixel too) and for a truth
        that is neither 0..K-1 nor 255; nothing is counted then.
        """
        if truth.shape != prediction.shape:
            raise ValueError(f"truth is {truth.shape} and prediction {prediction.shape}; they must agree")
        if truth.dtype != np.uint8 or prediction.dtype != np.uint8:
            raise ValueError(f"labels must be uint8, not {truth.dtype} and {prediction.dtype}")
        k = self.num_classes
        # All 256 x 256 pairs in one pass: cheaper than masking first, and the two checks come for free.
        pairs = np.bincount((truth.astype(np.intp) << 8 | prediction).ravel(), minlength=256 * 256)
        pairs = pairs.reshape(256, 256)
        _refuse_outside("prediction", pairs[:, k:].sum(axis=0), k)
        _refuse_outside("truth", pairs[k:IGNORE_INDEX].sum(axis=1), k)
        self.matrix += pairs[:k, :k]

    @property
    def pixels(self) -> int:
        """How many pixels were counted."""
        return int(self.matrix.sum())

    @property
    def iou(self) -> NDArray[np.float64]:
        """Float64 (K,); NaN for a class that occurs neither in the truth nor in the prediction."""
        return _iou(self.matrix)

    @property
    def miou(self) -> float:
        """Mean IoU of the classes that occur in the truth or in the prediction; NaN if none does."""
        return _mean(self.iou)

    @property
    def pixel_accuracy(self) -> float:
        """Share of the counted pixels that are right; NaN if none was counted."""
        return float(self.matrix.trace() / self.pixels) if self.pixels else float("nan")

    @property
    def mean_accuracy(self) -> float:
        """Mean over the classes that occur in the truth of the share of their pixels that is right."""
        return _mean(_divide(self.matrix.diagonal(), self.matrix.sum(axis=1)))

    def category_iou(self, categories: Sequence[str]) -> dict[str, float]:
        """IoU of each category (`categories[k]` is class k's), a confusion within one being no error.

        This is the merged matrix's IoU, which is what cityscapesscripts computes; not a mean of the
        classes' IoUs. In the order in which the categories first occur.
        """
        if len(categories) != self.num_classes:
            raise ValueError(f"{len(categories)} categories for {self.num_classes} classes")
        names = list(dict.fromkeys(categories))
        member = np.array([[c == name for c in categories] for name in names], np.int64)  # (C, K)
        return dict(zip(names, _iou(member @ self.matrix @ member.T).tolist(), strict=True))

    def category_miou(self, categories: Sequence[str]) -> float:
        """Mean IoU of the categories that occur in the truth or in the prediction; NaN if none does."""
        return _mean(np.array(list(self.category_iou(categories).values())))

    def __add__(self, other: Confusion) -> Confusion:
        """The confusion over both sets of images."""
        if not isinstance(other, Confusion):
            return NotImplemented
        if self.num_classes != other.num_classes:
            raise ValueError(f"confusions of {self.num_classes} and {other.num_classes} classes do not add")
        total = Confusion(self.num_classes)
        total.matrix = self.matrix + other.matrix
        return total

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Confusion) and np.array_equal(self.matrix, other.matrix)

    __hash__ = None  # type: ignore[assignment]  # it changes with every update

    def to_list(self) -> list[list[int]]:
        """Rows truth, columns prediction: the JSON report's `confusion`."""
        return self.matrix.tolist()

    @classmethod
    def from_list(cls, rows: Sequence[Sequence[int]]) -> Confusion:
        """The inverse of `to_list`. Raises ValueError unless the rows are a square of counts."""
        if any(len(row) != len(rows) for row in rows):
            raise ValueError(f"a confusion of {len(rows)} rows must have {len(rows)} columns in each")
        if not all(isinstance(count, int) and count >= 0 for row in rows for count in row):
            raise ValueError("a confusion holds counts: whole numbers from 0 up")
        confusion = cls(len(rows))
        confusion.matrix[:] = rows
        return confusion


def _refuse_outside(what: str, counts: NDArray[np.int64], first: int) -> None:
    if counts.any():
        value = first + int(counts.argmax())
        ignored = f" or {IGNORE_INDEX}" if what == "truth" else ""
        raise ValueError(f"{what} holds the value {value}; expected 0 to {first - 1}{ignored}")


def _iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    true_positive = matrix.diagonal()
    return _divide(true_positive, matrix.sum(axis=0) + matrix.sum(axis=1) - true_positive)


def _divide(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """part / whole, NaN where whole is 0, without numpy's warning."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of the values that are not NaN; NaN (and no warning) if there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")

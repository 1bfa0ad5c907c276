"""Pictures that a page shows, kept small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (h, w, 3) RGB
Labels = NDArray[np.uint8]  # (h, w)
Mask = NDArray[np.bool_]  # (h, w)
Confusions = tuple[tuple[int, int, float], ...]  # class, other class, share of the frame's counted pixels


@dataclass(frozen=True)
class Shot:
    """A frame with its truth and prediction. `wrong` is a share of the labelled pixels, measured at full size."""

    name: str
    image: Picture
    truth: Labels
    labels: Labels
    wrong: float
    miou: float
    confusions: Confusions


@dataclass(frozen=True)
class Crop:
    """A part of a frame around a thing of one class: where it is, and where it was found."""

    name: str
    image: Picture
    truth: Mask
    labels: Mask
    iou: float


@dataclass(frozen=True)
class Versus:
    """A frame as two networks see it. `differ` is the share of pixels on which they disagree, at full size.

    `truth` is None where there is none; then `confusions` are (A's class, B's class, share).
    """

    name: str
    image: Picture
    a: Labels
    b: Labels
    differ: float
    confusions: Confusions
    truth: Labels | None = None

"""Hiding things for good: what a mask covers becomes an average of its surroundings.

A Gaussian can be undone and small blocks can be matched over time; here whole blocks of a twentieth of the picture
are averaged, so that a face or a number plate leaves one sample or less, and only smoothed so as not to look
like tiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .cv import cv2
from .yuv import Planes, subsampling

Array = NDArray[np.uint8]

_BLOCK_SHARE, _LEAST_BLOCK = 20, 8  # blocks are a 20th of the picture's smaller side, at least 8 pixels
_MARGIN_SHARE, _LEAST_MARGIN = 120, 2  # and the mask is grown, because the labels' edges are a few pixels off


class Blur:
    """Hides the pixels of some classes.

    Args:
        classes: the label values to hide.
    """

    def __init__(self, classes: Sequence[int]) -> None:
        self._table = np.zeros(256, np.uint8)
        self._table[list(classes)] = 255

    def mask(self, labels: Array) -> Array | None:
        """(H, W) labels to 255 where pixels are to be hidden, a margin included; None where there are none."""
        mask = cv2.LUT(labels, self._table)
        if not cv2.countNonZero(mask):
            return None
        margin = max(_LEAST_MARGIN, min(labels.shape) // _MARGIN_SHARE)
        return np.asarray(cv2.dilate(mask, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)))

    def rgb(self, picture: Array, labels: Array) -> Array:
        """(H, W, 3) RGB with the classes hidden; the picture itself where there is nothing to hide."""
        mask = self.mask(labels)
        return picture if mask is None else _hide(picture, mask, _block(labels.shape), (1, 1))

    def planes(self, planes: Planes, labels: Array) -> Planes:
        """Y, U, V planes with the classes hidden."""
        mask = self.mask(labels)
        if mask is None:
            return planes
        rows, columns = subsampling(planes)
        block = _block(labels.shape)
        # The margin makes the mask at a chroma sample's corner cover the other pixels of that sample.
        chroma = np.ascontiguousarray(mask[::rows, ::columns])
        return Planes(
            _hide(planes.y, mask, block, (1, 1)),
            _hide(planes.u, chroma, block, (rows, columns)),
            _hide(planes.v, chroma, block, (rows, columns)),
        )


def _block(size: tuple[int, ...]) -> int:
    return max(_LEAST_BLOCK, min(size[:2]) // _BLOCK_SHARE)


def _hide(plane: Array, mask: Array, block: int, steps: tuple[int, int]) -> Array:
    height, width = plane.shape[:2]
    small = (max(1, width * steps[1] // block), max(1, height * steps[0] // block))
    averages = cv2.resize(plane, small, interpolation=cv2.INTER_AREA)
    smooth = cv2.resize(averages, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.copyTo(smooth, mask, plane.copy()))

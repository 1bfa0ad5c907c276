"""Labels made visible: classes over the picture, classes alone, or the picture and its classes side by side.

One `Painter` serves two kinds of canvas: RGB pictures, and the Y, U, V planes of video, which are painted
as they are (see `yuv`). Colours come from look-up tables of 256 entries, so a frame costs one table
look-up and one weighted sum a plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .blur import Blur
from .cv import cv2
from .legend import Legend
from .yuv import Planes, YuvColour, subsampling

Array = NDArray[np.uint8]

VIEWS = ("overlay", "color", "side-by-side")


def lookup_table(palette: Array) -> Array:
    """(K, 3) colours to (256, 3); label values without a colour, 255 (ignored) among them, are black."""
    if palette.ndim != 2 or palette.shape[1] != 3 or not 1 <= len(palette) <= 256:
        raise ValueError(f"a palette has 1 to 256 rows of 3 colours, not shape {palette.shape}")
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    return table


class Painter:
    """Paints labels with a palette.

    Args:
        palette: (K, 3) RGB uint8.
        view: `overlay` (alpha of the classes' colours over the picture), `color` (the colours alone) or
            `side-by-side` (the picture, and right of it the colours alone: twice as wide).
        alpha: 0 leaves the picture, 1 hides it.
        legend: drawn into the top left corner of the classes.
        only: label values that are shown; of the others an overlay leaves the picture and the colours alone are
            black. None: all.
        blur: hides classes in the picture before anything is painted over it.
    """

    def __init__(
        self,
        palette: Array,
        view: str = "overlay",
        alpha: float = 0.5,
        legend: Legend | None = None,
        *,
        only: Sequence[int] | None = None,
        blur: Blur | None = None,
    ) -> None:
        if view not in VIEWS:
            raise ValueError(f"unknown view {view!r}; known: {', '.join(VIEWS)}")
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
        self.view, self.alpha, self.legend, self._blur = view, alpha, legend, blur
        self._table = lookup_table(palette)
        self._shown: Array | None = None
        if only is not None:
            self._shown = np.zeros(256, np.uint8)
            self._shown[list(only)] = 255
            self._table[self._shown == 0] = 0

    @property
    def blurs(self) -> bool:
        """Whether it hides classes in the picture itself, which needs a pixel's surroundings."""
        return self._blur is not None

    def plane_tables(self, colour: YuvColour) -> tuple[Array, ...]:
        """Of Y, U and V what becomes of every sample under every label: (256 labels, 256 samples) uint8 each."""
        labels, samples = np.indices((256, 256), np.uint8)
        tables = []
        for table in self._yuv_tables(colour):
            colours = cv2.LUT(labels, table)
            tables.append(self._blend(samples, colours, labels) if self.view == "overlay" else colours)
        return tuple(tables)

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of what is painted for a picture of `size`."""
        return (size[0], 2 * size[1]) if self.view == "side-by-side" else size

    def paint_rgb(self, picture: Array, labels: Array) -> Array:
        """(H, W, 3) RGB and (H, W) labels, both uint8, to the view as RGB."""
        _check_sizes(picture.shape[:2], labels)
        if self._blur is not None:
            picture = self._blur.rgb(picture, labels)
        colours = cv2.LUT(cv2.merge([labels] * 3), self._table[None])
        shown = self._blend(picture, colours, labels) if self.view == "overlay" else colours
        if self.legend:
            shown = np.ascontiguousarray(shown)
            self.legend.draw_rgb(shown)
        return np.hstack([picture, shown]) if self.view == "side-by-side" else shown

    def paint_planes(self, planes: Planes, labels: Array, colour: YuvColour) -> Planes:
        """Y, U, V planes and (H, W) labels to the view as planes of the same subsampling."""
        _check_sizes(planes.y.shape, labels)
        rows, columns = subsampling(planes)
        if self._blur is not None:
            planes = self._blur.planes(planes, labels)
        at_chroma = np.ascontiguousarray(labels[::rows, ::columns])
        tables = self._yuv_tables(colour)
        shown = []
        for plane, plane_labels, table in zip(planes, (labels, at_chroma, at_chroma), tables, strict=True):
            colours = cv2.LUT(plane_labels, table)
            shown.append(self._blend(plane, colours, plane_labels) if self.view == "overlay" else colours)
        if self.legend:
            self.legend.draw_planes(Planes(*shown), colour)
        if self.view == "side-by-side":
            return _beside(planes, Planes(*shown), columns)
        return Planes(*shown)

    @lru_cache(maxsize=4)  # noqa: B019  (a painter lives as long as its job)
    def _yuv_tables(self, colour: YuvColour) -> tuple[Array, ...]:
        yuv = colour.from_rgb(self._table)
        return tuple(np.ascontiguousarray(yuv[:, plane]) for plane in range(3))

    def _blend(self, picture: Array, colours: Array, labels: Array) -> Array:
        blended = cv2.addWeighted(picture, 1 - self.alpha, colours, self.alpha, 0)
        if self._shown is None:
            return blended
        return np.asarray(cv2.copyTo(blended, cv2.LUT(labels, self._shown), picture.copy()))


def _check_sizes(size: tuple[int, ...], labels: Array) -> None:
    if labels.shape != size:
        raise ValueError(f"labels of {labels.shape} do not fit a picture of {size}")


def _beside(left: Planes, right: Planes, chroma_step: int) -> Planes:
    """Two pictures in one. An odd width leaves the middle chroma column to the left one."""
    width = left.y.shape[1]
    out = [np.hstack([left.y, right.y])]
    chroma_width = -(-2 * width // chroma_step)
    for a, b in zip(left[1:], right[1:], strict=True):
        out.append(np.hstack([a, b[:, a.shape[1] + b.shape[1] - chroma_width :]]))
    return Planes(*out)

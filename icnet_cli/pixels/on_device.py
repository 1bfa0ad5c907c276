"""The twins, for torch tensors on any device, of what numpy and OpenCV do to pictures on the host.

Whatever depends on sizes, colours or names is worked out once, at the start, and uploaded; what runs a picture is
arithmetic and look-ups of fixed shapes, that never ask the host anything, so that it can be captured in a graph.

Axes: N pictures, H rows, W columns, K classes. Chroma planes are (N, ceil(H/2), ceil(W/2)).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .overlay import Painter
from .yuv import YuvColour

# How much V goes to red, U to blue, U and V from green, in 1/65536: swscale's `ff_yuv2rgb_coeffs`.
_SWSCALE = {
    "bt709": (117489, 138438, 13975, 34925),
    "bt470bg": (104597, 132201, 25675, 53279),
    "smpte170m": (104597, 132201, 25675, 53279),
    "fcc": (104448, 132798, 24759, 53109),
    "smpte240m": (117579, 136230, 16907, 35559),
    "bt2020nc": (110013, 140363, 12277, 42626),
    "bt2020c": (110013, 140363, 12277, 42626),
}
_COUNT_BYTES = 64 << 20  # of comparisons at once in `count_classes`


class TensorPlanes(NamedTuple):
    """N pictures as 8-bit Y (N, H, W) and U, V (N, ceil(H/2), ceil(W/2))."""

    y: Tensor
    u: Tensor
    v: Tensor


def turned(planes: TensorPlanes, clockwise: int, mirror: bool) -> TensorPlanes:
    """Planes as coded to upright ones: mirrored left to right, then turned clockwise by 0, 90, 180 or 270 degrees."""

    def turn(plane: Tensor) -> Tensor:
        return torch.rot90(plane.flip(2) if mirror else plane, -clockwise // 90, (1, 2))

    return TensorPlanes(*(turn(plane) for plane in planes))


def rgb_from_planes(planes: TensorPlanes, colour: YuvColour) -> Tensor:
    """(N, 3, H, W) RGB float32, whole numbers of 0..255, in the stream's own matrix and range.

    swscale's arithmetic on x86 (`libswscale/yuv2rgb.c` and its 16 bit kernels), to the last bit for even H and W: the
    network sees what it would see on the CPU's way. Each chroma sample colours its own two by two pixels.
    """
    size = planes.y.shape[1:]
    luma_scale, offset, v_to_red, u_to_blue, u_to_green, v_to_green = _swscale_factors(colour)
    luma = ((planes.y.int() * 8 - offset) * luma_scale) >> 16
    u, v = (plane.int() * 8 - 1024 for plane in (planes.u, planes.v))
    red, blue = (v * v_to_red) >> 16, (u * u_to_blue) >> 16
    green = ((u * u_to_green) >> 16) + ((v * v_to_green) >> 16)
    added = torch.stack([red, green, blue], dim=1)  # (N, 3, ceil(H/2), ceil(W/2))
    return (luma[:, None] + doubled(added, size)).clamp_(0, 255).float()


def _swscale_factors(colour: YuvColour) -> tuple[int, int, int, int, int, int]:
    """Y's scale and offset, and the shares of V in red, U in blue, U and V in green, in swscale's fixed point."""
    shares = [float(part) for part in _SWSCALE[colour.matrix]]
    luma, offset = float(1 << 16), 0
    if colour.full_range:
        shares = [part * 224 // 255 for part in shares]
    else:
        luma, offset = luma * 255 // 219, 16 * 8

    def fixed(value: float) -> int:
        return (int(value) * (1 << 13) + (1 << 15)) >> 16

    red, blue, green_u, green_v = shares
    return fixed(luma), offset, fixed(red), fixed(blue), fixed(-green_u), fixed(-green_v)


def doubled(plane: Tensor, size: tuple[int, ...]) -> Tensor:
    """(..., ceil(H/2), ceil(W/2)) to (..., H, W): every sample four times."""
    *more, rows, columns = plane.shape
    wide = plane[..., :, None, :, None].expand(*more, rows, 2, columns, 2)
    return wide.reshape(*more, 2 * rows, 2 * columns)[..., : size[0], : size[1]]


class Resizer:
    """(N, C, H, W) whole numbers to another size, as `files.shrink_or_grow` does with OpenCV.

    Areas where it shrinks, else bilinear; rounded to whole numbers again. OpenCV's bilinear arithmetic has 11 bits,
    so there the two may differ by one.
    """

    def __init__(self, size: tuple[int, int], to: tuple[int, int], device: torch.device) -> None:
        self._same = tuple(size) == tuple(to)
        # Where OpenCV halves, it rounds a half up; everywhere else to even.
        self._halves = (2 * to[0], 2 * to[1]) == tuple(size)
        by_area = to[0] <= size[0] and to[1] <= size[1]
        self._axes = [
            tuple(torch.from_numpy(part).to(device) for part in _taps(n_in, n_out, by_area))
            for n_in, n_out in zip(size, to, strict=True)
        ]

    def __call__(self, pictures: Tensor) -> Tensor:
        if self._same:
            return pictures
        (rows, row_weights), (columns, column_weights) = self._axes
        down = sum(pictures.index_select(2, at) * w[:, None] for at, w in zip(rows, row_weights, strict=True))
        across = sum(down.index_select(3, at) * w for at, w in zip(columns, column_weights, strict=True))
        return torch.floor(across + 0.5) if self._halves else torch.round(across)


def _taps(n_in: int, n_out: int, by_area: bool) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which samples make each new one and with what weights, both (T, n_out); unused taps weigh nothing."""
    shares = [_areas(n_in, n_out, at) if by_area else _between(n_in, n_out, at) for at in range(n_out)]
    most = max(len(share) for share in shares)
    places = np.zeros((most, n_out), np.int64)
    weights = np.zeros((most, n_out), np.float32)
    for at, share in enumerate(shares):
        for tap, (place, weight) in enumerate(share):
            places[tap, at], weights[tap, at] = place, weight
    return places, weights


def _areas(n_in: int, n_out: int, at: int) -> list[tuple[int, float]]:
    """How much of each old sample lies under a new one. Slivers of a thousandth are left out, as OpenCV does."""
    scale = n_in / n_out
    start, end = at * scale, min((at + 1) * scale, n_in)
    width = min(scale, n_in - start)
    last = min(math.floor(end), n_in - 1)
    first = min(math.ceil(start), last)
    found = [(first - 1, (first - start) / width)] if first - start > 1e-3 else []
    found += [(place, 1 / width) for place in range(first, last)]
    if end - last > 1e-3:
        found.append((last, min(end - last, 1.0, width) / width))
    return found


def _between(n_in: int, n_out: int, at: int) -> list[tuple[int, float]]:
    position = min(max((at + 0.5) * n_in / n_out - 0.5, 0.0), n_in - 1.0)
    low = min(int(position), max(n_in - 2, 0))
    return [(low, 1 - (position - low)), (min(low + 1, n_in - 1), position - low)]


class DevicePainter:
    """`Painter.paint_planes` for N pictures of one size.

    A colour over a picture's sample depends on the two alone: OpenCV's own answers to all 256 times 256 questions
    are the table that is looked up here, so both paint the same to the last bit.

    Raises:
        ValueError: for a painter that blurs, which is done on the host.
    """

    def __init__(
        self, painter: Painter, colour: YuvColour, size: tuple[int, int], device: torch.device
    ) -> None:
        if painter.blurs:
            raise ValueError("classes are blurred on the host")
        self._beside = painter.view == "side-by-side"
        self.output_size = painter.output_size(size)
        self._tables = [
            torch.from_numpy(table.reshape(-1)).to(device) for table in painter.plane_tables(colour)
        ]
        panels = painter.legend.panel_planes(colour, (2, 2)) if painter.legend else ()
        self._panels = [torch.from_numpy(panel.copy()).to(device) for panel in panels]

    def paint(self, planes: TensorPlanes, labels: Tensor, out: TensorPlanes) -> None:
        """Paint (N, H, W) uint8 labels into `out`, planes of `output_size`."""
        at_chroma = labels[:, ::2, ::2]
        for index, (plane, canvas) in enumerate(zip(planes, out, strict=True)):
            values = labels if index == 0 else at_chroma
            shown = self._tables[index][values.int() * 256 + plane]
            if self._panels:
                panel = self._panels[index]
                shown[:, : panel.shape[0], : panel.shape[1]] = panel
            if self._beside:
                width = canvas.shape[2]
                canvas[:, :, : plane.shape[2]] = plane
                # An odd width leaves the middle chroma column to the left picture.
                canvas[:, :, plane.shape[2] :] = shown[:, :, 2 * plane.shape[2] - width :]
            else:
                canvas.copy_(shown)


def count_classes(labels: Tensor, num_classes: int) -> Tensor:
    """(N, H, W) uint8 labels to (N, K) int32: how many pixels of each class.

    Comparisons and sums, because a device's histograms of few values wait for one another, and `bincount` asks the
    host how long its answer is.
    """
    count, height, width = labels.shape
    classes = torch.arange(num_classes, dtype=torch.uint8, device=labels.device)[:, None, None]
    step = max(1, _COUNT_BYTES // (count * width * num_classes))
    total = torch.zeros((count, num_classes), dtype=torch.int32, device=labels.device)
    for start in range(0, height, step):
        found = labels[:, None, start : start + step] == classes
        total += found.sum(dim=(2, 3), dtype=torch.int32)
    return total

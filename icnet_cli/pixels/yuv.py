"""Colours on decoded video planes: RGB to Y, U, V in the stream's own matrix and range.

Painting on the planes a decoder gives, and an encoder takes, saves both conversions of the whole
picture, and leaves untouched pixels exactly as they were decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]

# (Kr, Kb) of each matrix, by FFmpeg's names. ITU-R BT.601-7 2.5.1 (both systems), BT.709-6 3.2,
# BT.2020-2 table 4, SMPTE 240M, FCC 73.682. Constant-luminance bt2020c is read as bt2020nc, as swscale does.
_LUMA_WEIGHTS = {
    "bt470bg": (0.299, 0.114),
    "smpte170m": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
    "bt2020nc": (0.2627, 0.0593),
    "bt2020c": (0.2627, 0.0593),
}


class Planes(NamedTuple):
    """A picture as 8-bit Y (H, W) and U, V (each subsampled by 1 or 2, rounded up)."""

    y: Array
    u: Array
    v: Array


@dataclass(frozen=True)
class YuvColour:
    """How RGB becomes Y, U, V: the matrix by FFmpeg's name, and whether Y uses all of 0..255."""

    matrix: str = "bt709"
    full_range: bool = False

    def __post_init__(self) -> None:
        if self.matrix not in _LUMA_WEIGHTS:
            raise ValueError(f"unknown matrix {self.matrix!r}; known: {', '.join(_LUMA_WEIGHTS)}")

    @classmethod
    def named(cls, matrix: str, full_range: bool) -> YuvColour:
        """As a stream is tagged; a matrix that is not known here is read as BT.709, as swscale reads it."""
        return cls(matrix if matrix in _LUMA_WEIGHTS else "bt709", full_range)

    @property
    def luma_weights(self) -> tuple[float, float]:
        """Kr and Kb: how much red and blue there is in Y."""
        return _LUMA_WEIGHTS[self.matrix]

    def from_rgb(self, rgb: NDArray[Any]) -> Array:
        """(..., 3) RGB 0..255 to (..., 3) YUV uint8, rounded to nearest."""
        red_weight, blue_weight = self.luma_weights
        red, green, blue = np.moveaxis(np.asarray(rgb, np.float64), -1, 0)
        luma = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
        u = (blue - luma) / (2 * (1 - blue_weight))
        v = (red - luma) / (2 * (1 - red_weight))
        luma_scale, chroma_scale, offset = (1, 1, 0) if self.full_range else (219 / 255, 224 / 255, 16)
        yuv = np.stack([luma * luma_scale + offset, u * chroma_scale + 128, v * chroma_scale + 128], axis=-1)
        return np.clip(np.rint(yuv), 0, 255).astype(np.uint8)

    def to_rgb(self, yuv: NDArray[Any]) -> Array:
        """The inverse, clipped: for pictures of a few pixels and for checks, not for whole videos."""
        red_weight, blue_weight = self.luma_weights
        luma, u, v = np.moveaxis(np.asarray(yuv, np.float64), -1, 0)
        luma_scale, chroma_scale, offset = (1, 1, 0) if self.full_range else (219 / 255, 224 / 255, 16)
        luma, u, v = (luma - offset) / luma_scale, (u - 128) / chroma_scale, (v - 128) / chroma_scale
        red = luma + 2 * (1 - red_weight) * v
        blue = luma + 2 * (1 - blue_weight) * u
        green = (luma - red_weight * red - blue_weight * blue) / (1 - red_weight - blue_weight)
        return np.clip(np.rint(np.stack([red, green, blue], axis=-1)), 0, 255).astype(np.uint8)


def subsampling(planes: Planes) -> tuple[int, int]:
    """How many rows and columns of Y each chroma sample covers: (2, 2) for 4:2:0, (1, 2) for 4:2:2.

    A side of one pixel, which has one sample either way, counts as subsampled: video's planes are.
    """
    full, chroma = planes.y.shape, planes.u.shape
    steps = tuple(1 if c == f > 1 else 2 for f, c in zip(full, chroma, strict=True))
    if planes.u.shape != planes.v.shape or any(
        -(-f // s) != c for f, s, c in zip(full, steps, chroma, strict=True)
    ):
        raise ValueError(f"planes of {full}, {chroma} and {planes.v.shape} are no picture")
    return steps[0], steps[1]

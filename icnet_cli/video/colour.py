"""What a stream's colour tags mean, and what to assume where there are none.

The numbers are ITU-T H.273 code points, as FFmpeg's AVColorSpace and friends and every container use them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

UNSPECIFIED = 2
_BT709, _FCC, _BT470BG, _SMPTE170M, _SMPTE240M = 1, 4, 5, 6, 7
_BT2020_NCL, _BT2020_CL = 9, 10

MATRIX_NAMES = {
    0: "rgb",
    _BT709: "bt709",
    _FCC: "fcc",
    _BT470BG: "bt470bg",
    _SMPTE170M: "smpte170m",
    _SMPTE240M: "smpte240m",
    _BT2020_NCL: "bt2020nc",
    _BT2020_CL: "bt2020c",
}

# swscale's own numbering of matrices, by code point.
_SWSCALE = {
    _BT709: Colorspace.ITU709,
    _FCC: Colorspace.FCC,
    _BT470BG: Colorspace.ITU601,
    _SMPTE170M: Colorspace.ITU601,
    _SMPTE240M: Colorspace.SMPTE240M,
    _BT2020_NCL: Colorspace.BT2020,
    _BT2020_CL: Colorspace.BT2020,
}

# Primaries and transfer of the standard that each matrix comes from.
_STANDARD = {
    _BT709: (1, 1),
    _FCC: (4, 4),
    _BT470BG: (5, 6),
    _SMPTE170M: (6, 6),
    _SMPTE240M: (7, 7),
    _BT2020_NCL: (9, 14),
    _BT2020_CL: (9, 14),
}

HDR = {16: "HDR (PQ)", 18: "HDR (HLG)"}  # by their transfer
HD_LINES = 720  # untagged pictures this tall and taller are BT.709, smaller ones BT.601


@dataclass(frozen=True)
class Colour:
    """How the Y, U, V samples of a video are to be read: code points of ITU-T H.273.

    `matrix` and `full_range` are always decided; `primaries` and `transfer` are 2 (unspecified) where
    the source says nothing, because nothing here converts them.
    """

    matrix: int
    full_range: bool
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix_assumed: bool = False  # the source was untagged and the picture's height decided

    @property
    def matrix_name(self) -> str:
        return MATRIX_NAMES.get(self.matrix, "unspecified")

    @property
    def swscale_matrix(self) -> Colorspace:
        return _SWSCALE.get(self.matrix, Colorspace.ITU709)

    @property
    def range_code(self) -> ColorRange:
        return ColorRange.JPEG if self.full_range else ColorRange.MPEG


def spelled_out(colour: Colour) -> Colour:
    """`colour` with the primaries and transfer that go with its matrix where it leaves them unspecified."""
    primaries, transfer = _STANDARD.get(colour.matrix, (UNSPECIFIED, UNSPECIFIED))
    return replace(
        colour,
        primaries=primaries if colour.primaries == UNSPECIFIED else colour.primaries,
        transfer=transfer if colour.transfer == UNSPECIFIED else colour.transfer,
    )


def without_hdr(colour: Colour) -> Colour:
    """`colour` for pictures of ours alone, whose RGB is that of screens: HDR's curve would have them glare."""
    return replace(colour, primaries=_BT709, transfer=_BT709) if colour.transfer in HDR else colour


def assumed_matrix(height: int) -> int:
    """The matrix of an untagged picture of `height` lines: BT.601 below 720 lines, else BT.709."""
    return _BT709 if height >= HD_LINES else _SMPTE170M


def colour_of(frame: Any, context: Any, codec: str) -> Colour:
    """The colour of the 8-bit Y, U, V planes that `frame` (an av.VideoFrame) is read as.

    Where the source has no YUV of its own (RGB, palettes) the planes are ours: limited range, matrix by height.
    """
    matrix = frame.colorspace if frame.colorspace != UNSPECIFIED else context.colorspace
    tagged = matrix in _SWSCALE
    own_yuv = not frame.format.is_rgb and not frame.format.has_palette
    return Colour(
        matrix=matrix if tagged and own_yuv else assumed_matrix(frame.height),
        full_range=own_yuv and _is_full_range(frame, context, codec),
        primaries=_known(ColorPrimaries, frame.color_primaries),
        transfer=_known(ColorTrc, frame.color_trc),
        matrix_assumed=not (tagged and own_yuv),
    )


def _is_full_range(frame: Any, context: Any, codec: str) -> bool:
    for tag in (frame.color_range, context.color_range):
        if tag in (ColorRange.MPEG, ColorRange.JPEG):
            return bool(tag == ColorRange.JPEG)
    if frame.format.name.startswith("yuvj"):
        return True
    # Untagged grey is full range in codecs of still pictures and archives, limited in those of television.
    return frame.format.name.startswith("gray") and codec in (
        "mjpeg",
        "ffv1",
        "rawvideo",
        "png",
        "jpeg2000",
        "huffyuv",
    )


def _known(kind: type, value: int) -> int:
    """`value` where it is an assigned code point; encoders refuse the reserved ones."""
    return int(value) if value in {int(member) for member in kind} else UNSPECIFIED  # type: ignore[attr-defined]

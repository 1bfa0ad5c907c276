"""Frames as a stream of bytes for another program: y4m, or their bare samples."""

from __future__ import annotations

import select
from fractions import Fraction
from typing import IO, Any

import numpy as np

from icnet_cli.errors import printable, usage_error
from icnet_cli.video.colour import Colour
from icnet_cli.video.frame import Planes
from icnet_cli.video.pictures import Painter

# Of each format the pixel formats it can hold, its default first. y4m's colour words: yuv4mpeg(5), and FFmpeg's.
_Y4M = {"yuv420p": "C420mpeg2", "yuv422p": "C422", "yuv444p": "C444", "gray": "Cmono"}
PIX_FMTS = {"y4m": tuple(_Y4M), "raw": ("yuv420p", "yuv422p", "yuv444p", "gray", "rgb24", "bgr24")}
_PACKED = ("rgb24", "bgr24")  # three bytes a pixel in one plane


def check_stream(format: str, pix_fmt: str | None) -> None:
    """Raise a usage error for a pixel format that the stream cannot hold."""
    if pix_fmt is not None and pix_fmt not in PIX_FMTS[format]:
        known = ", ".join(PIX_FMTS[format])
        raise usage_error(f"--pix-fmt {printable(pix_fmt, 40)}: a {format} stream holds {known}")


class StreamWriter:
    """Writes pictures to a binary file as they come.

    Args:
        file: where to, as it is: nothing is held back, and it is not closed.
        format: `y4m`, or `raw`: the planes of each picture one after the other, without any header.
        width, height: of the pictures; odd sizes are kept.
        pix_fmt: one of PIX_FMTS; default yuv420p, or gray for labels.
        rate: frames a second, which y4m states; it has no other times.
        colour: how planes are to be read; y4m states the range alone, and no matrix.
        aspect: of a sample.
        fields: p, t or b: progressive, or which field comes first.

    Raises:
        BrokenPipeError: from `write`, where nobody reads any more.
    """

    def __init__(
        self,
        file: IO[bytes],
        *,
        format: str,
        width: int,
        height: int,
        pix_fmt: str,
        rate: Fraction,
        colour: Colour,
        aspect: Fraction = Fraction(1),
        fields: str = "p",
    ) -> None:
        check_stream(format, pix_fmt)
        self._file, self._format, self._pix_fmt = file, format, pix_fmt
        self._painter = Painter(width, height, pix_fmt, colour, even=False)
        self._begun = False
        full = colour.full_range or pix_fmt == "gray"
        self._header = (
            f"YUV4MPEG2 W{width} H{height} F{rate.numerator}:{rate.denominator} I{fields} "
            f"A{aspect.numerator}:{aspect.denominator} {_Y4M.get(pix_fmt, '')} "
            f"XCOLORRANGE={'FULL' if full else 'LIMITED'}\n"
        ).encode()

    def write(self, picture: np.ndarray | Planes, times: int = 1) -> None:
        """Write a picture (RGB, grey, or planes) as often as it is to be shown."""
        if not times:
            return
        samples = b"".join(_rows(plane, self._pix_fmt) for plane in self._painter.frame(picture).planes)
        for _ in range(times):
            if self._format == "y4m":
                self._put(b"FRAME\n" if self._begun else self._header + b"FRAME\n")
                self._begun = True
            self._put(samples)

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = self._file.write(rest)  # of a pipe without a buffer it may be a part
            if written is None:  # somebody made it non-blocking
                select.select([], [self._file], [])
            rest = rest[written or 0 :]


def _rows(plane: Any, pix_fmt: str) -> bytes:
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width * (3 if pix_fmt in _PACKED else 1)].tobytes()

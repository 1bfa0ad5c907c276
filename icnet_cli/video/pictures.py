"""Arrays to the encoder's frames: padding to even sizes, colours tagged as they are."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from icnet_cli.errors import usage_error
from icnet_cli.video.colour import Colour
from icnet_cli.video.frame import Planes


def pix_fmt_for(encoder: str, picture: np.ndarray | Planes) -> str:
    """The pixel format to encode in when none is asked for: plays everywhere, or, for ffv1, loses nothing."""
    if encoder.endswith("_qsv"):
        return "nv12"  # the only 8-bit format that it takes
    if encoder != "ffv1" or isinstance(picture, tuple | list):
        return "yuv420p"
    return "gray" if picture.ndim == 2 else "bgr0"


class Painter:
    """Turns pictures of (height, width) into av.VideoFrames of the encoder's size and format.

    `even` pads to even sizes where chroma is halved; `fields` is an interlaced av.VideoFrame whose field order
    every frame gets.
    """

    def __init__(
        self, width: int, height: int, pix_fmt: str, colour: Colour, *, even: bool = True, fields: Any = None
    ) -> None:
        try:
            layout = av.VideoFormat(pix_fmt, 16, 16)
        except ValueError:
            raise usage_error(
                f"unknown pixel format {pix_fmt}; use yuv420p, yuv422p, yuv444p or yuv420p10le"
            ) from None
        halved_w, halved_h = layout.chroma_width(16) < 16, layout.chroma_height(16) < 16
        self.pix_fmt, self._rgb = pix_fmt, layout.is_rgb
        full = colour.full_range or self._rgb or pix_fmt.startswith("gray")  # grey arrays use all 256 values
        self._range = ColorRange.JPEG if full else ColorRange.MPEG
        self.width = width + (width % 2 if even and halved_w else 0)
        self.height = height + (height % 2 if even and halved_h else 0)
        self._size = (height, width)
        self._colour, self._fields = colour, fields
        self._reformatter = VideoReformatter()

    def tag(self, context: Any) -> None:
        """Write matrix, range, primaries and transfer into an encoder's context."""
        colour = self._colour
        context.color_primaries = colour.primaries
        context.color_trc = colour.transfer
        context.colorspace = 0 if self._rgb else colour.matrix
        context.color_range = self._range

    def frame(self, picture: np.ndarray | Planes) -> Any:
        """The av.VideoFrame of a uint8 RGB (H, W, 3), grey (H, W) or (Y, U, V) picture."""
        made = self._progressive(picture)
        return made if self._fields is None else self._interlaced(made)

    def _interlaced(self, made: Any) -> Any:
        # Two conversions, because one to the frame's own format would give the frame itself.
        frame = self._reformatter.reformat(self._fields, self.width, self.height, "gray", threads=1)
        frame = self._reformatter.reformat(frame, format=made.format.name, threads=1)
        for plane, source in zip(frame.planes, made.planes, strict=True):
            _rows(plane)[:] = _rows(source)
        return frame

    def _progressive(self, picture: np.ndarray | Planes) -> Any:
        if isinstance(picture, tuple | list):
            made = self._from_planes(picture)  # type: ignore[arg-type]
            source_range = self._colour.range_code
        elif picture.ndim == 2:
            made, source_range = self._fill("gray", [self._sized(picture)]), ColorRange.JPEG
        else:
            made, source_range = self._from_rgb(picture), ColorRange.JPEG
        if made.format.name == self.pix_fmt:
            return made
        return self._reformatter.reformat(
            made,
            format=self.pix_fmt,
            src_colorspace=self._colour.swscale_matrix,
            dst_colorspace=self._colour.swscale_matrix,
            src_color_range=source_range,
            dst_color_range=self._range,
            threads=1,
        )

    def _sized(self, array: np.ndarray) -> np.ndarray:
        if array.shape[:2] != self._size or array.dtype != np.uint8:
            raise ValueError(f"a picture of {array.shape} {array.dtype} in a video of {self._size} uint8")
        return array

    def _from_rgb(self, picture: np.ndarray) -> Any:
        rows, columns = self.height - picture.shape[0], self.width - picture.shape[1]
        picture = self._sized(picture)
        if rows or columns:
            picture = np.pad(picture, ((0, rows), (0, columns), (0, 0)), mode="edge")
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")

    def _from_planes(self, planes: Planes) -> Any:
        self._sized(planes[0])
        return self._fill("yuv420p", list(planes))

    def _fill(self, pix_fmt: str, planes: list[np.ndarray]) -> Any:
        """A frame of the padded size; what a plane lacks is its last row and column repeated."""
        frame = av.VideoFrame(self.width, self.height, pix_fmt)
        for plane, array in zip(frame.planes, planes, strict=True):
            rows = _rows(plane)
            height, width = array.shape
            rows[:height, :width] = array
            if height < plane.height:
                rows[height:, :width] = rows[height - 1, :width]
            if width < plane.width:
                rows[:, width:] = rows[:, width - 1 : width]
        return frame


def _rows(plane: Any) -> np.ndarray:
    """A plane of an 8-bit planar frame as a writable uint8 (height, width) array."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]

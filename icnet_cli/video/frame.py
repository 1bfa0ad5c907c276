"""One decoded picture with its own time, turned upright on request.

Axes: H rows, W columns, upright as a person would see the video. Chroma planes are
(ceil(H/2), ceil(W/2)).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from icnet_cli.video.colour import Colour

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]

# 8-bit 4:2:0 formats whose planes are what `Frame.yuv420` returns, without a conversion.
_PLAIN = ("yuv420p", "yuvj420p")
# What a GPU's decoder gives in place of what software does: the same samples, U and V in one plane.
_PLANAR = {"nv12": "yuv420p", "p010le": "yuv420p10le"}
# swscale takes grey for full range whatever it is told; of limited range it is read as YUV without colour.
_COLOURLESS = {"gray": "yuv420p", "gray10le": "yuv420p10le", "gray12le": "yuv420p12le"}


@dataclass(frozen=True)
class Turn:
    """How coded pictures become upright ones: mirror left to right, then turn clockwise by `clockwise` degrees."""

    clockwise: int = 0  # 0, 90, 180 or 270
    mirror: bool = False

    def __bool__(self) -> bool:
        return bool(self.clockwise or self.mirror)

    @property
    def swaps(self) -> bool:
        """Whether width and height change places."""
        return self.clockwise in (90, 270)

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """The upright, contiguous copy of a coded (H, W) or (H, W, C) array."""
        if self.mirror:
            picture = picture[:, ::-1]
        return np.ascontiguousarray(np.rot90(picture, -self.clockwise // 90))


class Converter:
    """Pixel conversions of one video: swscale with the stream's own matrix and range, then the turn.

    Frames of one reader share it and may be converted in another thread than the decoder's, so swscale's
    context is kept under a lock.
    """

    def __init__(self, colour: Colour, width: int, height: int, turn: Turn) -> None:
        self.colour = colour
        self.width, self.height, self.turn = width, height, turn  # coded size
        self._lock = threading.Lock()
        self._swscale: dict[str, VideoReformatter] = {}

    def rgb(self, frame: Any) -> np.ndarray:
        """uint8 (H, W, 3), upright."""
        picture = self._reformat(frame, "rgb24", ColorRange.JPEG).to_ndarray()
        return self.turn.apply(picture) if self.turn else picture

    def yuv420(self, frame: Any) -> Planes:
        """8-bit Y (H, W), U and V (ceil(H/2), ceil(W/2)), upright, read-only."""
        if self.turn and (self.width % 2 or self.height % 2):
            return self._odd_and_turned(frame)
        planes = self.coded_yuv420(frame)
        if self.turn:
            planes = (self.turn.apply(planes[0]), self.turn.apply(planes[1]), self.turn.apply(planes[2]))
        return planes

    def coded_yuv420(self, frame: Any) -> Planes:
        """`yuv420` before the turn: of the coded size."""
        if not (frame.format.name in _PLAIN and self._has_own_size(frame)):
            frame = self._reformat(frame, "yuv420p", self.colour.range_code)
        return _views(frame)

    def grey(self, frame: Any) -> np.ndarray:
        """uint8 (H, W): the first plane as it is, upright."""
        if not self._has_own_size(frame):
            frame = self._reformat(frame, "gray", self.colour.range_code)
        plane = _first_view(frame)
        return self.turn.apply(plane) if self.turn else plane

    def _odd_and_turned(self, frame: Any) -> Planes:
        # The chroma sample of an odd last column covers one pixel; turned, it would cover the first
        # two. Turning at full chroma and halving afterwards keeps colours in their place.
        full = _views(self._reformat(frame, "yuv444p", self.colour.range_code))
        height, width = (self.width, self.height) if self.turn.swaps else (self.height, self.width)
        turned = av.VideoFrame(width, height, "yuv444p")
        for target, source in zip(_writable_views(turned), full, strict=True):
            target[:] = self.turn.apply(source)
        with self._lock:
            return _views(self._reformatter("turned").reformat(turned, format="yuv420p", threads=1))

    def _has_own_size(self, frame: Any) -> bool:
        return (frame.width, frame.height) == (self.width, self.height)

    def _reformat(self, frame: Any, pix_fmt: str, target_range: ColorRange) -> Any:
        # swscale colours and dithers the two layouts in ways of their own; between them it only moves samples.
        planar = _PLANAR.get(frame.format.name, pix_fmt)
        if planar != pix_fmt:
            with self._lock:
                frame = self._reformatter("planar").reformat(frame, format=planar, threads=1)
        if pix_fmt != "gray" and not self.colour.full_range:
            frame = _with_chroma(frame)
        source_range = self.colour.range_code
        if frame.format.is_rgb or frame.format.has_palette:
            source_range = ColorRange.JPEG
        with self._lock:
            return self._reformatter(pix_fmt).reformat(
                frame,
                self.width,  # a stream may change its size on the way; the video keeps its first
                self.height,
                pix_fmt,
                src_colorspace=self.colour.swscale_matrix,
                dst_colorspace=self.colour.swscale_matrix,
                src_color_range=source_range,
                dst_color_range=target_range,
                threads=1,
            )

    def _reformatter(self, purpose: str) -> VideoReformatter:
        return self._swscale.setdefault(purpose, VideoReformatter())


def _with_chroma(frame: Any) -> Any:
    """A grey frame with the same luma and neutral chroma; any other as it is."""
    layout = _COLOURLESS.get(frame.format.name)
    if layout is None:
        return frame
    whole = av.VideoFrame(frame.width, frame.height, layout)
    bits = whole.format.components[0].bits
    dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
    luma, *chroma = _writable_views(whole, dtype)
    luma[:] = _writable_views(frame, dtype)[0]
    for plane in chroma:
        plane[:] = 1 << (bits - 1)
    return whole


def _writable_views(frame: Any, dtype: Any = np.uint8) -> list[np.ndarray]:
    views = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size).view(dtype)
        views.append(rows[:, : plane.width])
    return views


def _views(frame: Any) -> Planes:
    """The planes of an 8-bit planar av.VideoFrame without a copy, read-only: the decoder may still refer to them."""
    views = _writable_views(frame)
    for view in views:
        view.flags.writeable = False
    return views[0], views[1], views[2]


def _first_view(frame: Any) -> np.ndarray:
    view = _writable_views(frame)[0]
    view.flags.writeable = False
    return view


@dataclass(frozen=True)
class Frame:
    """A decoded picture of a video and the time at which it is shown.

    `index` counts the source's frames from 0 whatever range is read; `pts` and `duration` are in
    ticks of `time_base` on the source's own clock; `duration` is the time until the next frame.
    """

    index: int
    pts: int
    time_base: Fraction
    duration: int
    key: bool
    damaged: bool
    _picture: Any = field(repr=False, compare=False)
    _converter: Converter = field(repr=False, compare=False)

    @property
    def seconds(self) -> float:
        return float(self.pts * self.time_base)

    @property
    def duration_s(self) -> float:
        return float(self.duration * self.time_base)

    @property
    def coded_size(self) -> tuple[int, int]:
        """(height, width) as it was decoded; what the other methods give has the size of the video's first picture."""
        return int(self._picture.height), int(self._picture.width)

    def rgb(self) -> np.ndarray:
        """uint8 (H, W, 3), upright, converted with the stream's own matrix and range."""
        return self._converter.rgb(self._picture)

    def yuv420(self) -> Planes:
        """8-bit 4:2:0 planes Y (H, W), U, V (ceil(H/2), ceil(W/2)), upright; read-only views where possible.

        Samples keep the source's matrix and range (`VideoInfo.colour`); more bits and more chroma are reduced.
        """
        return self._converter.yuv420(self._picture)

    planes = yuv420

    def coded_yuv420(self) -> Planes:
        """`yuv420` as coded, for whoever turns the picture upright (`VideoInfo.rotation`, `mirrored`) elsewhere."""
        return self._converter.coded_yuv420(self._picture)

    def grey(self) -> np.ndarray:
        """uint8 (H, W): the values of an 8-bit grey video as they are stored, upright; read-only where possible."""
        return self._converter.grey(self._picture)

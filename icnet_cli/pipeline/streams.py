"""The sink of `-o -`: frames on standard output, for another program."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.config import SegmentConfig
from icnet_cli.errors import input_error
from icnet_cli.pixels.yuv import Planes
from icnet_cli.video.atomic import writing_error
from icnet_cli.video.colour import Colour, assumed_matrix
from icnet_cli.video.rate import Metronome
from icnet_cli.video.stream import StreamWriter

from .items import Picture
from .outputs import Plan, Source, variable_rate
from .sources import VideoSource


class StreamSink:
    """y4m or raw frames at a constant rate.

    Where the rate is the user's, or the source's whole length is known to keep it, pictures are shown as often as their
    times say, so that damage and gaps move nothing. A pipe's pictures are shown once each, and have to be on time.
    """

    left_out: tuple[str, ...] = ()

    def __init__(self, plan: Plan, config: SegmentConfig, source: Source) -> None:
        self._plan, self._config, self._source = plan, config, source
        self._metronome = Metronome(plan.rate)
        self._writer: StreamWriter | None = None
        self._size: tuple[int, ...] = ()

    def begin(self, description: dict[str, Any]) -> None:
        """What the classes are has no place in a stream."""

    def write(self, picture: Picture, rendered: NDArray[np.uint8] | Planes) -> None:
        size = (rendered.y if isinstance(rendered, Planes) else rendered).shape[:2]
        if self._writer is None:
            self._writer, self._size = self._open(size), size
        if size != self._size:
            raise input_error(
                f"the pictures of a stream have one size: {picture.name} is {size[0]}x{size[1]}, "
                f"not {self._size[0]}x{self._size[1]}; write to a folder instead"
            )
        try:
            self._writer.write(rendered, self._beats(picture))
        except BrokenPipeError:
            raise  # whoever read has had enough, which is no error
        except OSError as error:
            raise writing_error(Path("stdout"), error) from error

    def _beats(self, picture: Picture) -> int:
        if picture.pts is None or picture.time_base is None:
            return 1
        at = picture.pts * picture.time_base
        if self._plan.is_steady:
            return self._metronome.beats(at, (picture.duration or 1) * picture.time_base)
        if self._metronome.is_late(at, picture.time_base):
            raise variable_rate(self._config.source)
        self._metronome.beat(at)
        return 1

    def _open(self, size: tuple[int, ...]) -> StreamWriter:
        info = self._source.reader.info if isinstance(self._source, VideoSource) else None
        colour = Colour(assumed_matrix(size[0]), full_range=False) if info is None else info.colour
        fields = "p"
        if info is not None and info.interlaced:
            fields = "b" if info.field_order in (3, 4) else "t"  # AVFieldOrder: BB, TB
        return StreamWriter(
            _stdout(), format=self._config.format or "y4m", height=size[0], width=size[1],
            pix_fmt=self._config.pix_fmt or ("gray" if self._plan.view == "labels" else "yuv420p"),
            rate=self._plan.rate, colour=colour, fields=fields,
            aspect=Fraction(1) if info is None else info.sample_aspect_ratio,
        )  # fmt: skip

    def close(self) -> None:
        """Nothing is held back that would have to be written now."""
        if self._writer is None:
            raise input_error("no frame was written to stdout: the source gave none")

    def abort(self) -> None:
        """What has been written is gone to its reader."""


def _stdout() -> IO[bytes]:
    """Standard output below Python's buffer, which at the end would try again what a full disk has refused."""
    buffer = sys.stdout.buffer
    return getattr(buffer, "raw", buffer)

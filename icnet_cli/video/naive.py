"""Video in and out as a first program with PyAV has it: a measure for the reader and the writer, not a part of them.

Decoding in one thread into RGB, encoding from RGB with x264's own preset, one frame after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (H, W, 3) RGB


def read_rgb(path: Path) -> Iterator[Picture]:
    """Every frame of the first video stream."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for frame in container.decode(stream):
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


class RgbWriter:
    """Writes an H.264 file of pictures of one size; a context manager."""

    def __init__(self, path: Path, size: tuple[int, int], rate: int = 25) -> None:
        self._container = av.open(str(path), "w")
        stream: Any = self._container.add_stream("libx264", rate=rate)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        self._stream = stream

    def __enter__(self) -> RgbWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()

    def write(self, picture: Picture) -> None:
        """Encode one picture."""
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))

"""Label videos: lossless grey frames whose values are classes, and in the same file what they mean and when they are.

Matroska stores times in milliseconds, so each frame's exact time stands in an attachment.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.errors import IcnetError, input_error, printable
from icnet_cli.video.colour import UNSPECIFIED, Colour
from icnet_cli.video.frame import Planes
from icnet_cli.video.reader import DEFAULT_MAX_PIXELS, VideoReader
from icnet_cli.video.source import open_source, reading
from icnet_cli.video.writer import VideoWriter

CLASSES_NAME, TIMES_NAME = "classes.json", "times.json"
_JSON = "application/json"
_LARGEST = 1 << 28  # bytes of an attachment: ten million frames
_VERSION = 1


class LabelVideoWriter(VideoWriter):
    """A VideoWriter of labels (.mkv, ffv1) that stores `description` and each frame's exact time in the file."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, codec="ffv1", **options)
        self.description: Mapping[str, Any] = {}
        self._base = Fraction(1)
        self._numbers, self._pts, self._durations = array("q"), array("q"), array("q")
        self._kept = 0  # of these, in segments that are done

    @property
    def colour(self) -> Colour:
        """None: numbers have no colours, and a player would take the source's, HDR's curve too, for theirs."""
        return Colour(UNSPECIFIED, full_range=True)

    def write(
        self,
        picture: NDArray[np.uint8] | Planes,
        *,
        pts: int,
        time_base: Fraction | None = None,
        duration: int = 0,
        number: int | None = None,
    ) -> None:
        """As `VideoWriter.write`; `number` is the source's own number of the frame."""
        base = time_base or (self._source.info.time_base if self._source else self._time_base)
        super().write(picture, pts=pts, time_base=base, duration=duration)
        self._base = base
        self._numbers.append(len(self._numbers) if number is None else number)
        self._pts.append(pts)
        self._durations.append(duration)

    def _state(self) -> dict[str, Any]:
        rows = [column[self._kept :].tolist() for column in (self._numbers, self._pts, self._durations)]
        self._kept = len(self._pts)
        return {**super()._state(), "rows": rows, "base": [self._base.numerator, self._base.denominator]}

    def _take_up(self, state: dict[str, Any]) -> None:
        super()._take_up(state)
        self._base = Fraction(*state["base"])
        for column, values in zip((self._numbers, self._pts, self._durations), state["rows"], strict=True):
            column.extend(values)
        self._kept = len(self._pts)

    def _attachments(self) -> dict[str, Any]:
        return {CLASSES_NAME: self.description, TIMES_NAME: self._times()}

    def _times(self) -> dict[str, Any]:
        source = self._source
        return {
            "version": _VERSION,
            "source": "pictures" if source is None else "video",
            "stream": None if source is None else source.info.stream_index,
            "start_s": None if source is None else source.start_s,
            "end_s": None if source is None else source.end_s,
            "time_base": [self._base.numerator, self._base.denominator],
            "frame": self._numbers.tolist(),
            "pts": self._pts.tolist(),
            "duration": self._durations.tolist(),
        }


@dataclass(frozen=True)
class FrameTimes:
    """The exact times of a label video's frames, on the clock of the video they were made from.

    Attributes:
        pictures: they were made from picture files, which have no times; `numbers` then says from which.
        numbers, pts, durations: of each frame; pts and durations in ticks of time_base.
        stream: index of the video stream; None where there was none.
        start_s, end_s: the range that was read, which begins the output's clock.
    """

    pictures: bool
    stream: int | None
    start_s: float | None
    end_s: float | None
    time_base: Fraction
    numbers: tuple[int, ...]
    pts: tuple[int, ...]
    durations: tuple[int, ...]


class LabelVideo:
    """A label video that was opened for reading: `description`, `times`, and its frames' labels by iterating."""

    def __init__(self, path: Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        self.path = path
        files = _attachments(path, max_pixels)
        if not {CLASSES_NAME, TIMES_NAME} <= files.keys():
            raise input_error(
                f"{printable(path)} is not a label video: it does not say what its classes are; make one with "
                "`icnet segment VIDEO -o labels.mkv --view labels`"
            )
        self.description = _document(path, CLASSES_NAME, files[CLASSES_NAME])
        self.times = _times(path, _document(path, TIMES_NAME, files[TIMES_NAME]))
        self.reader = VideoReader(path, max_pixels=max_pixels)
        if self.reader.info.pix_fmt != "gray":
            self.close()
            raise _misfit(path, f"its pictures are {printable(self.reader.info.pix_fmt, 40)}, not grey")

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """uint8 (H, W) of each frame."""
        for frame in self.reader:
            yield np.ascontiguousarray(frame.grey())

    def close(self) -> None:
        self.reader.close()

    def __enter__(self) -> LabelVideo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _attachments(path: Path, max_pixels: int) -> dict[str, bytes]:
    with reading(path), open_source(path, max_pixels=max_pixels) as container:
        streams = [stream for stream in container.streams if stream.type == "attachment"]
        named = {stream.name: stream.data or b"" for stream in streams if stream.mimetype == _JSON}
    return {str(name): bytes(data) for name, data in named.items() if len(data) <= _LARGEST}


def _misfit(path: Path, what: str) -> IcnetError:
    return input_error(f"{printable(path)} is not a label video that can be read: {what}")


def _document(path: Path, name: str, data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise _misfit(path, f"its {name} is damaged")
    return document


def _times(path: Path, document: dict[str, Any]) -> FrameTimes:
    try:
        columns = {key: tuple(array("q", document[key])) for key in ("frame", "pts", "duration")}
        numerator, denominator = document["time_base"]
        if document["version"] != _VERSION or not (0 < numerator < 2**31 and 0 < denominator < 2**31):
            raise ValueError
        seconds = [None if document[key] is None else float(document[key]) for key in ("start_s", "end_s")]
        stream = None if document["stream"] is None else int(document["stream"])
        base = Fraction(numerator, denominator)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise _misfit(path, f"its {TIMES_NAME} is damaged") from None
    if len({len(column) for column in columns.values()}) != 1:
        raise _misfit(path, f"its {TIMES_NAME} is damaged")
    pictures = document.get("source") == "pictures"
    return FrameTimes(
        pictures, stream, seconds[0], seconds[1], base, columns["frame"], columns["pts"], columns["duration"]
    )

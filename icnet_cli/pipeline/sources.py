"""Where pictures come from: the frames of a video, or picture files in an order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from icnet_cli.config import MAX_PIXELS
from icnet_cli.errors import ExitCode, IcnetError, input_error, printable, usage_error
from icnet_cli.pixels.files import read_first_picture
from icnet_cli.pixels.yuv import Planes
from icnet_cli.video import Frame, VideoReader
from icnet_cli.video.counted import Mark
from icnet_cli.video.live import resized
from icnet_cli.video.pipe import PipeReader

from .items import Picture
from .notes import notes_of

# Suffixes by which a folder's content is called video. A single file may have any: its content decides.
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".qt", ".f4v", ".3gp", ".3g2", ".mkv", ".mk3d", ".webm", ".avi", ".divx",
    ".ts", ".mts", ".m2ts", ".m2t", ".trp", ".mpg", ".mpeg", ".mpe", ".vob", ".m1v", ".m2v", ".mpv",
    ".wmv", ".asf", ".flv", ".ogv", ".ogm", ".mxf", ".gxf", ".wtv", ".dv", ".nut", ".rm", ".rmvb", ".y4m",
    ".h264", ".264", ".avc", ".hevc", ".h265", ".265", ".ivf", ".obu", ".mjpeg", ".mjpg", ".h261", ".h263",
)  # fmt: skip
# Read as a video by itself and among videos; among pictures it is neither, and left out.
GIF = ".gif"


@dataclass(frozen=True)
class Selection:
    """Which frames are taken: at most `frames`, each `every`th, of those between `start_s` and `end_s`."""

    start_s: float | None = None
    end_s: float | None = None
    frames: int | None = None
    every: int = 1


def damage_of(reader: Any) -> str | None:
    """What was wrong with a video that has been read, in words; None where nothing was."""
    found = []
    mistimed = getattr(reader, "frames_mistimed", 0)  # a live source has a clock of its own
    if reader.frames_damaged > mistimed:
        corrupt = reader.frames_damaged - mistimed
        found.append(f"{corrupt} of {reader.frames_read} frames decoded with errors")
    if mistimed:
        found.append(
            f"{mistimed} of {reader.frames_read} frames had a wrong time stamp (their time is guessed)"
        )
    if reader.frames_lost:
        frames = "1 frame" if reader.frames_lost == 1 else f"{reader.frames_lost} frames"
        found.append(f"{frames} could not be decoded")
    if reader.shortfall is not None:
        found.append(str(reader.shortfall))
    return "; ".join(found) or None


class VideoSource:
    """Frames of a video. With `every`, a frame lasts until the next one that is taken.

    `wants_planes` and `wants_rgb` are set by whoever uses them; a picture without RGB is black there. `wants_coded`:
    the planes as they are coded, because they are turned upright elsewhere.

    Every picture has a `mark`; a run that goes on tells it to `resume_at`, or to `read_to`, before it iterates.
    """

    is_live = is_remote = False

    def __init__(self, reader: VideoReader, selection: Selection) -> None:
        self.reader = reader
        self._notes: list[str] = []
        self._resized: str | None = None  # said once, however often it happens
        self.is_pipe = isinstance(reader, PipeReader)  # which is read once, by one
        self.paths = () if self.is_pipe else (reader.path,)
        self.wants_planes, self.wants_rgb, self.wants_coded = False, True, False
        self.selection = selection
        self._error: IcnetError | None = None
        self._ticks = self._given = 0
        self._from = 0  # frames before this one were given to an earlier run
        self._ending: dict[str, Any] | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.reader.info.height, self.reader.info.width

    @property
    def duration_s(self) -> float | None:
        return float(self._ticks * self.reader.info.time_base)

    @property
    def starts_at(self) -> Fraction | None:
        """Just before the first picture of a range that does not begin with the file, in seconds of its clock."""
        first = Fraction(self.reader.info.start_s).limit_denominator(10**9)
        return first - Fraction(1, 10**6) if self.reader.start_s else None

    @property
    def total(self) -> int | None:
        expected = self.reader.info.frames_estimated
        taken = None if expected is None else math.ceil(expected / self.selection.every)
        limit = self.selection.frames
        return limit if taken is None else min(taken, limit or taken)

    @property
    def frames_damaged(self) -> int:
        return self.reader.frames_damaged

    @property
    def frames_lost(self) -> int:
        return self.reader.frames_lost

    @property
    def frames_moved(self) -> int:
        """Frames whose time was no later than that of the one before, and that are put behind it."""
        return int(self.reader.frames_moved)

    @property
    def notices(self) -> list[str]:
        """What a user should know of it, a line each; complete once it is read."""
        if self._ending is not None:
            return self._ending["notices"]
        return [*self._notes, *([self._resized] if self._resized else ()), *notes_of(self.reader)]

    def note(self, text: str) -> None:
        """Add a line to the `notices`."""
        self._notes.append(text)

    @property
    def problem(self) -> str | None:
        if self._ending is not None:
            return self._ending["problem"]
        found = [damage_of(self.reader), self._error]
        return "; ".join(str(each) for each in found if each is not None) or None

    def __iter__(self) -> Iterator[Picture]:
        waiting: Picture | None = None
        for position, frame in enumerate(self._decoded()):
            if position % self.selection.every:
                assert waiting is not None
                waiting = replace(waiting, duration=(waiting.duration or 0) + frame.duration)
                continue
            if waiting is not None:
                yield self._counted(waiting)
            if self._given == self.selection.frames:
                return
            waiting = self._picture(frame)
        if waiting is not None:
            yield self._counted(waiting)

    def _counted(self, picture: Picture) -> Picture:
        self._ticks += picture.duration or 0
        self._given += 1
        return picture

    def _decoded(self) -> Iterator[Frame]:
        """What can be decoded; an input that fails on the way ends there, and says so in `problem`."""
        frames = iter(self.reader)
        while True:
            try:
                frame = next(frames, None)
            except IcnetError as error:
                if error.code != ExitCode.INPUT or not self.reader.frames_read:
                    raise
                self._error = error
                return
            if frame is None:
                return
            if frame.index >= self._from:
                yield frame

    def _note_size(self, frame: Frame) -> None:
        info = self.reader.info
        first = (info.coded_height, info.coded_width)
        if not self._resized and frame.coded_size != first:
            self._resized = resized(str(self.reader.name), frame.coded_size, first)

    def _picture(self, frame: Frame) -> Picture:
        if not self.is_live:  # which tells it at once
            self._note_size(frame)
        return Picture(
            name=f"frame_{frame.index:06d}",
            index=frame.index,
            rgb=frame.rgb() if self.wants_rgb else self._black,
            planes=self._planes(frame) if self.wants_planes else None,
            pts=frame.pts,
            duration=frame.duration,
            time_base=frame.time_base,
            mark=self._mark(),
        )

    def _planes(self, frame: Frame) -> Planes:
        return Planes(*(frame.coded_yuv420() if self.wants_coded else frame.yuv420()))

    @property
    def _black(self) -> np.ndarray:
        return np.broadcast_to(np.uint8(0), (*self.size, 3))  # of one byte

    def _mark(self) -> dict[str, Any]:
        counted = {"given": self._given, "ticks": self._ticks, "resized": self._resized}
        return {"reader": self.reader.mark, **counted}

    def _count_on(self, mark: dict[str, Any]) -> None:
        self._given, self._ticks, self._resized = mark["given"], mark["ticks"], mark.get("resized")

    def resume_at(self, mark: dict[str, Any]) -> bool:
        """Go on with the picture of a mark, decoding from the key frame before it; False where that cannot be."""
        place = Mark.from_dict(mark["reader"])
        self._count_on(mark)
        return place.seekable and not self.is_pipe and self.reader.resume_at(place)

    def read_to(self, mark: dict[str, Any]) -> bool:
        """Go on with the picture of a mark, decoding all that comes before it once more."""
        if not self.is_pipe:
            self.reader.restart()
        self._count_on(mark)
        self._from = mark["reader"]["index"]
        return True

    def ending(self) -> dict[str, Any]:
        """What is told of the source once it is read, for `restore`."""
        found = {"problem": self.problem, "ticks": self._ticks}
        told = {"moved": self.frames_moved, "notices": self.notices}
        return {**found, **told, "damaged": self.frames_damaged, "lost": self.frames_lost}

    def restore(self, ending: dict[str, Any]) -> None:
        """As if the source had been read to its end here."""
        self._ending, self._ticks = ending, ending["ticks"]
        self.reader.frames_damaged, self.reader.frames_lost = ending["damaged"], ending["lost"]
        self.reader.frames_moved = ending["moved"]

    def close(self) -> None:
        self.reader.close()


class PictureSource:
    """Picture files in their natural order. A damaged one is counted and left out.

    Args:
        left_out: GIFs that lie among them, to be told.
    """

    duration_s: float | None = None  # pictures have no times
    is_live = is_remote = False

    def __init__(
        self,
        paths: list[Path],
        names: list[str],
        selection: Selection,
        max_pixels: int = MAX_PIXELS,
        left_out: Sequence[Path] = (),
    ) -> None:
        if selection.start_s is not None or selection.end_s is not None:
            raise usage_error("pictures have no times: --start and --end are for videos")
        chosen = slice(None, (selection.frames or len(paths)) * selection.every, selection.every)
        self._numbered = list(enumerate(zip(paths, names, strict=True)))[chosen]
        self.paths = tuple(path for _, (path, _) in self._numbered)
        self._damaged: list[IcnetError] = []
        self._several: list[tuple[str, int]] = []  # files that hold more than one picture, and how many
        self._left_out = left_out
        self._max_pixels = max_pixels
        self._from = 0  # pictures before this one were given to an earlier run

    @property
    def total(self) -> int | None:
        return len(self._numbered)

    @property
    def frames_damaged(self) -> int:
        return len(self._damaged)

    @property
    def frames_lost(self) -> int:
        return 0

    frames_moved = frames_lost  # pictures have no times

    @property
    def problem(self) -> str | None:
        if not self._damaged:
            return None
        more = f" (and {len(self._damaged) - 1} more)" if len(self._damaged) > 1 else ""
        return f"{self._damaged[0]}{more}"

    @property
    def notices(self) -> list[str]:
        """What a user should know of it, a line each; complete once it is read."""
        found = []
        if self._several:
            path, held = self._several[0]
            more = f", as of {len(self._several) - 1} more" if len(self._several) > 1 else ""
            found.append(f"{path} holds {held} pictures; the first is taken{more}")
        if self._left_out:
            count = "1 GIF is" if len(self._left_out) == 1 else f"{len(self._left_out)} GIFs are"
            first = printable(self._left_out[0])
            found.append(f"{count} left out ({first}): a GIF is read as a video; name it by itself")
        return found

    def __iter__(self) -> Iterator[Picture]:
        given = self._from
        for index, (path, name) in self._numbered:
            if index < self._from:
                continue
            mark = self._mark(index)
            try:
                rgb, held = read_first_picture(path, self._max_pixels)
            except IcnetError as error:
                self._damaged.append(error)
                continue
            if held > 1:
                self._several.append((printable(path), held))
            given += 1
            yield Picture(name, index, rgb, mark=mark)
        if not given:
            raise self._damaged[0]

    def _mark(self, index: int) -> dict[str, Any]:
        first = str(self._damaged[0]) if self._damaged else ""
        damaged = {"damaged": len(self._damaged), "first": first}
        return {"index": index, **damaged, "several": [len(self._several), *self._several[:1]]}

    def resume_at(self, mark: dict[str, Any]) -> bool:
        """Go on with the picture of a mark."""
        self._from = mark["index"]
        self._damaged = [input_error(mark["first"])] * mark["damaged"]
        count, *first = mark.get("several", (0,))
        self._several = [(path, held) for path, held in first] * count
        return True

    read_to = resume_at

    def ending(self) -> dict[str, Any]:
        """What is told of the source once it is read, for `restore`."""
        return self._mark(len(self._numbered))

    def restore(self, ending: dict[str, Any]) -> None:
        """As if the source had been read to its end here."""
        self.resume_at(ending)

    def close(self) -> None:
        """Nothing is open between pictures."""

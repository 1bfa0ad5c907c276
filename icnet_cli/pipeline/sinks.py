"""Where the results go: a video, a folder of PNGs, or one picture, each complete under its name, or absent."""

from __future__ import annotations

import csv
import json
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from icnet_cli.config import SegmentConfig
from icnet_cli.errors import input_error, output_error, why
from icnet_cli.pixels.files import encode_labels_png, encode_picture, write_atomically
from icnet_cli.pixels.yuv import Planes
from icnet_cli.video import VideoWriter
from icnet_cli.video.formats import has_halved_colour
from icnet_cli.video.labels import LabelVideoWriter
from icnet_cli.video.segments import SegmentFile

from .items import Picture
from .outputs import CLASSES_FILE, INDEX_FILE, Plan, Source
from .resume import Job
from .sources import VideoSource
from .streams import StreamSink

Rendered = NDArray[np.uint8] | Planes  # labels (H, W), RGB (H, W, 3), or planes


class Sink(Protocol):
    """`begin`, `write` in order, `close`; or `abort` at any time, which leaves nothing behind."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """The source's tracks that the output cannot hold, and what its picture could not keep, a line each."""

    def begin(self, description: dict[str, Any]) -> None:
        """Told what the classes are (`describe_classes`), once the weights are loaded."""

    def write(self, picture: Picture, rendered: Rendered) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


class VideoSink:
    """A video with the source's times and other tracks; from pictures, one each 1/25 s or as `plan.rate` says."""

    def __init__(
        self,
        plan: Plan,
        config: SegmentConfig,
        source: Source,
        size: tuple[int, int] | None,
        job: Job | None = None,
    ) -> None:
        self._plan, self._config, self._source, self._job = plan, config, source, job
        self._writer: VideoWriter | None = None
        self._description: dict[str, Any] = {}
        if size is None and job is not None and job.last is not None:
            size = (job.last["size"][0], job.last["size"][1])
        self._size = size
        self._count = 0 if job is None else job.done
        self._uncut = 0  # frames in the segment that is being written
        if size is not None:  # known before the first frame: refuse what cannot be written before any work
            self._writer = self._open(size)

    @property
    def left_out(self) -> tuple[str, ...]:
        own = (*self._writer.left_out, *self._writer.notes) if self._writer else ()
        return own + _not_in_pipe(self._source, self._config.no_audio)

    def begin(self, description: dict[str, Any]) -> None:
        self._description = description
        if isinstance(self._writer, LabelVideoWriter):
            self._writer.description = description

    def _open(self, size: tuple[int, int]) -> VideoWriter:
        config, source = self._config, self._source
        video = source if isinstance(source, VideoSource) else None
        options: dict[str, Any] = {
            "width": size[1], "height": size[0], "overwrite": config.overwrite, "no_audio": config.no_audio,
            "frame_rate": None if video else self._plan.rate,
            "time_base": None if video else 1 / self._plan.rate,
            "copy_other_streams": video is not None and not video.is_pipe,
            "folder": None if self._job is None else self._job.folder,
        }  # fmt: skip
        reader = None if video is None else video.reader
        if self._plan.view == "labels":
            labels = LabelVideoWriter(self._plan.target, reader, **options)
            labels.description = self._description
            writer: VideoWriter = labels
        else:
            writer = VideoWriter(
                self._plan.target, reader, codec=self._plan.codec, crf=config.crf, preset=config.preset,
                pix_fmt=config.pix_fmt, own_colours=self._plan.view == "color", **options,
            )  # fmt: skip
        if self._job is not None and self._job.last is not None:
            writer.resume()
        return writer

    def write(self, picture: Picture, rendered: Rendered) -> None:
        shape = (rendered.y if isinstance(rendered, Planes) else rendered).shape[:2]
        if self._writer is None:
            self._size = shape
            self._writer = self._open(shape)
        if shape != self._size:
            raise input_error(
                f"the pictures of a video have one size: {picture.name} is {shape[0]}x{shape[1]}, "
                f"not {self._size[0]}x{self._size[1]}; write to a folder instead"  # type: ignore[index]
            )
        if self._job is not None and self._job.begins(picture):
            self._cut(picture)
        base = picture.time_base or 1 / self._plan.rate
        pts = self._count if picture.pts is None else picture.pts
        time: dict[str, Any] = {"pts": pts, "time_base": base, "duration": picture.duration or 1}
        if isinstance(self._writer, LabelVideoWriter):
            self._writer.write(rendered, **time, number=picture.index)
        else:
            self._writer.write(rendered, **time)
        self._count += 1
        self._uncut += 1
        if self._job is not None:
            self._job.done = self._count

    def _cut(self, before: Picture | None) -> None:
        """End the segment, where one was begun."""
        if self._job is not None and self._writer is not None and self._uncut:
            self._writer.cut({**self._job.document(before), "size": self._size})
            self._uncut = 0

    def close(self) -> None:
        if self._writer is None:
            raise input_error(f"no frame was written to {self._plan.target.name}: the source gave none")
        self._cut(None)
        self._writer.close()
        if self._job is not None:
            self._job.finish()

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.abort()
        if self._job is not None:
            self._job.leave()


class ToldSink:
    """A sink, and something that is told of each picture once it is written."""

    def __init__(self, sink: Sink, tell: Callable[[Picture, Rendered], None]) -> None:
        self._sink, self._tell = sink, tell
        self.begin, self.close, self.abort = sink.begin, sink.close, sink.abort

    @property
    def left_out(self) -> tuple[str, ...]:
        return self._sink.left_out

    def write(self, picture: Picture, rendered: Rendered) -> None:
        self._sink.write(picture, rendered)
        self._tell(picture, rendered)


class NoSink:
    """For pictures that are only shown."""

    left_out: tuple[str, ...] = ()

    def begin(self, description: dict[str, Any]) -> None:
        pass

    def write(self, picture: Picture, rendered: Rendered) -> None:
        pass

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


class PictureSink:
    """One picture file."""

    left_out: tuple[str, ...] = ()

    def __init__(self, plan: Plan) -> None:
        self._target = plan.target
        self._data: bytes | None = None

    def begin(self, description: dict[str, Any]) -> None:
        pass

    def write(self, picture: Picture, rendered: Rendered) -> None:
        assert isinstance(rendered, np.ndarray)
        self._data = encode(rendered, self._target.suffix)

    def close(self) -> None:
        if self._data is None:
            raise input_error(f"no picture was written to {self._target.name}: the source gave none")
        write_atomically(self._target, self._data)

    def abort(self) -> None:
        self._data = None


class FolderSink:
    """PNGs with `classes.json` and `index.csv`, written to NAME.part/ and renamed when all is complete."""

    left_out: tuple[str, ...] = ()

    def __init__(self, plan: Plan, job: Job) -> None:
        self._target, self._job, self._place = plan.target, job, job.folder.whole
        self._description: dict[str, Any] = {}
        self._rows: list[list[Any]] = []  # of the segment that is being written
        self._files: list[tuple[str, int, int]] = []

    def begin(self, description: dict[str, Any]) -> None:
        self._description = description
        try:
            self._place.mkdir(exist_ok=True)
        except OSError as error:
            raise _cannot_write(self._target, error) from error

    def write(self, picture: Picture, rendered: Rendered) -> None:
        assert isinstance(rendered, np.ndarray)
        name, data = f"{picture.name}.png", encode(rendered, ".png")
        file = os.path.join(self._place, name)  # see Picture.name
        seconds = "" if picture.seconds is None else f"{picture.seconds:.6f}"
        pts = "" if picture.pts is None else picture.pts
        try:
            if self._job.begins(picture):
                self._cut(picture)
            os.makedirs(os.path.dirname(file), exist_ok=True)
            with open(file, "wb") as place:
                place.write(data)
        except OSError as error:
            raise _cannot_write(self._target, error) from error
        self._rows.append([picture.index, pts, seconds, name])
        self._files.append((name, len(data), zlib.crc32(data)))
        self._job.done += 1

    def _cut(self, before: Picture | None) -> None:
        if not self._rows:
            return
        folder = self._job.folder
        segment = SegmentFile(folder.segment_path(folder.count))
        try:
            segment.finish({**self._job.document(before), "rows": self._rows, "files": self._files})
        except OSError:
            segment.discard()
            raise
        folder.count += 1
        self._rows, self._files = [], []

    def close(self) -> None:
        try:
            self._cut(None)
            (self._place / CLASSES_FILE).write_text(json.dumps(self._description, indent=1) + "\n", "utf-8")
            self._write_index()
        except OSError as error:
            raise _cannot_write(self._target, error) from error
        self._job.finish()

    def _write_index(self) -> None:
        # Names as the disk has them: one that is no UTF-8 is written by its own bytes.
        with (self._place / INDEX_FILE).open(
            "w", newline="", encoding="utf-8", errors="surrogateescape"
        ) as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["frame", "pts", "seconds", "file"])
            kept: set[str] = set()
            for document in self._job.folder.documents():
                rows.writerows(document["rows"])
                kept.update(row[-1] for row in document["rows"])
            file.flush()
            os.fsync(file.fileno())
        for name in _label_pictures(self._place):
            if name not in kept:  # of a segment that a killed run had only begun
                os.unlink(os.path.join(self._place, name))

    def abort(self) -> None:
        self._job.leave()


def _label_pictures(place: Path) -> Iterator[str]:
    """The names of those below a folder, with / between their parts; as strings, see Picture.name."""
    for folder, _, names in os.walk(place):
        for name in names:
            if name.endswith(".png"):
                yield os.path.relpath(os.path.join(folder, name), place).replace(os.sep, "/")


def encode(rendered: NDArray[np.uint8], suffix: str) -> bytes:
    """Labels (H, W) as a label PNG; a picture (H, W, 3) as what the suffix says."""
    return encode_labels_png(rendered) if rendered.ndim == 2 else encode_picture(rendered, suffix)


def _cannot_write(path: Path, error: OSError) -> Exception:
    return output_error(f"cannot write {path}: {why(error)}")


def _not_in_pipe(source: Source, no_audio: bool) -> tuple[str, ...]:
    """What a pipe or a live source carried beside its pictures: it passes once, and the pictures take it all."""
    if not isinstance(source, VideoSource) or not source.is_pipe:
        return ()
    others = [
        name for name in source.reader.info.other_streams if not (no_audio and name.startswith("audio"))
    ]
    if source.is_live:
        return tuple(f"{name} is left out: of a live source the pictures are kept" for name in others)
    why_not = "a pipe is read once, for its pictures; name a file to keep it"
    return tuple(f"{name} is left out: {why_not}" for name in others)


def open_sink(plan: Plan, config: SegmentConfig, source: Source, job: Job | None = None) -> Sink:
    """The sink of a plan; the source is told what the sink will want of it.

    Args:
        job: of an output that is written in segments (a folder always is); in the sink's hands from now on.

    Raises:
        IcnetError: what the container cannot hold, a folder that may not be written.
    """
    if isinstance(source, VideoSource):
        # Painted on the planes as they were decoded; labels, and pictures in files, want no planes, and formats
        # with more colour than 4:2:0 are worth painting in full.
        on_planes = plan.kind in ("video", "stream") and plan.view != "labels"
        source.wants_planes = on_planes and has_halved_colour(config.pix_fmt)
    if plan.kind == "window":
        return NoSink()
    if plan.kind == "stream":
        return StreamSink(plan, config, source)
    if plan.kind == "video":
        return VideoSink(plan, config, source, _size(plan, source), job)
    if plan.kind == "picture":
        return PictureSink(plan)
    assert job is not None
    return FolderSink(plan, job)


def _size(plan: Plan, source: Source) -> tuple[int, int] | None:
    """(height, width) of what will be written to a video, where known before its first frame."""
    if not isinstance(source, VideoSource):
        return None
    height, width = source.size
    return (height, 2 * width) if plan.view == "side-by-side" else (height, width)

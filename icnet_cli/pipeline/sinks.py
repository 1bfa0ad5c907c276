"""Where the results go: a video, a folder of PNGs, or one picture; each complete under its name, or absent."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import secrets
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from icnet_cli.classes import ClassTable
from icnet_cli.config import SegmentConfig
from icnet_cli.errors import input_error, output_error
from icnet_cli.pixels.files import encode_labels_png, encode_picture, write_atomically
from icnet_cli.pixels.yuv import Planes
from icnet_cli.video import VideoReader, VideoWriter

from .items import Picture
from .outputs import CLASSES_FILE, INDEX_FILE, Plan, part_of

Rendered = NDArray[np.uint8] | Planes  # labels (H, W), RGB (H, W, 3), or planes

PICTURES_RATE = Fraction(25)  # frames a second of a video made from pictures


class Sink(Protocol):
    """`begin`, `write` in order, `close`; or `abort` at any time, which leaves nothing behind."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """The source's tracks that the output cannot hold."""

    def begin(self, description: dict[str, Any]) -> None:
        """Told what the classes are (`describe_classes`), once the weights are loaded."""

    def write(self, picture: Picture, rendered: Rendered) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


class VideoSink:
    """A video with the source's times and other tracks; from pictures, one each 1/25 s."""

    def __init__(
        self, plan: Plan, config: SegmentConfig, reader: VideoReader | None, size: tuple[int, int] | None
    ) -> None:
        self._plan, self._config, self._reader = plan, config, reader
        self._writer: VideoWriter | None = None
        self._size = size
        self._count = 0
        if size is not None:  # known before the first frame: refuse what cannot be written before any work
            self._writer = self._open(size)

    @property
    def left_out(self) -> tuple[str, ...]:
        return self._writer.left_out if self._writer else ()

    def begin(self, description: dict[str, Any]) -> None:
        pass

    def _open(self, size: tuple[int, int]) -> VideoWriter:
        config = self._config
        return VideoWriter(
            self._plan.target, self._reader, width=size[1], height=size[0], codec=self._plan.codec,
            crf=config.crf, preset=config.preset, overwrite=config.overwrite, no_audio=config.no_audio,
            frame_rate=None if self._reader else PICTURES_RATE,
        )  # fmt: skip

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
        base = picture.time_base or 1 / PICTURES_RATE
        pts = self._count if picture.pts is None else picture.pts
        self._writer.write(rendered, pts=pts, time_base=base, duration=picture.duration or 1)
        self._count += 1

    def close(self) -> None:
        if self._writer is None:
            raise input_error(f"no frame was written to {self._plan.target.name}: the source gave none")
        self._writer.close()

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.abort()


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
    """PNGs with `classes.json` and `index.csv`, written to NAME.part and renamed when it is complete."""

    left_out: tuple[str, ...] = ()

    def __init__(self, plan: Plan) -> None:
        self._target, self._part = plan.target, part_of(plan.target)
        self._index: Any = None

    def begin(self, description: dict[str, Any]) -> None:
        try:
            shutil.rmtree(self._part, ignore_errors=True)  # of a run that was killed
            self._part.mkdir()
            # These two come first, because by them a folder is known to be ours.
            (self._part / CLASSES_FILE).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
            self._index = (self._part / INDEX_FILE).open("w", newline="", encoding="utf-8")
            self._rows = csv.writer(self._index, lineterminator="\n")
            self._rows.writerow(["frame", "pts", "seconds", "file"])
        except OSError as error:
            self.abort()
            raise _cannot_write(self._target, error) from error

    def write(self, picture: Picture, rendered: Rendered) -> None:
        assert isinstance(rendered, np.ndarray)
        name = picture.name.with_name(picture.name.name + ".png")
        file = self._part / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encode(rendered, ".png"))
            seconds = "" if picture.seconds is None else f"{picture.seconds:.6f}"
            pts = "" if picture.pts is None else picture.pts
            self._rows.writerow([picture.index, pts, seconds, name.as_posix()])
        except OSError as error:
            raise _cannot_write(self._target, error) from error

    def close(self) -> None:
        try:
            self._index.flush()
            os.fsync(self._index.fileno())
            self._index.close()
            _replace_folder(self._part, self._target)
        except OSError as error:
            self.abort()
            raise _cannot_write(self._target, error) from error

    def abort(self) -> None:
        if self._index is not None:
            with contextlib.suppress(OSError):  # a full disk refuses the last lines again
                self._index.close()
            shutil.rmtree(self._part, ignore_errors=True)


def encode(rendered: NDArray[np.uint8], suffix: str) -> bytes:
    """Labels (H, W) as a label PNG; a picture (H, W, 3) as what the suffix says."""
    return encode_labels_png(rendered) if rendered.ndim == 2 else encode_picture(rendered, suffix)


def _replace_folder(part: Path, target: Path) -> None:
    """Give the folder its name. One that is there (ours, and the user said so) makes way by a rename, not by
    being emptied first: at no time is neither of them whole."""
    old: Path | None = None
    if target.is_dir():
        old = target.with_name(f".{target.name[:80]}.{secrets.token_hex(4)}.old")
        target.rename(old)
    try:
        part.rename(target)
    except OSError:
        if old is not None:
            old.rename(target)
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _cannot_write(path: Path, error: OSError) -> Exception:
    return output_error(f"cannot write {path}: {(error.strerror or str(error)).lower()}")


def open_sink(
    plan: Plan, config: SegmentConfig, reader: VideoReader | None, size: tuple[int, int] | None
) -> Sink:
    """The sink of a plan.

    Args:
        reader: the source's, where it is a video.
        size: (height, width) of what will be written to a video, where known.

    Raises:
        IcnetError: what the container cannot hold, a folder that may not be written.
    """
    if plan.kind == "video":
        return VideoSink(plan, config, reader, size)
    return PictureSink(plan) if plan.kind == "picture" else FolderSink(plan)


def describe_classes(classes: ClassTable, ids: str, view: str) -> dict[str, Any]:
    """`classes.json`: what each value of the PNGs means, and its colour."""
    values = classes.ids if ids == "dataset" else range(classes.num_classes)
    rows = zip(values, classes.ids, classes.names, classes.palette, strict=True)
    return {
        "name": classes.name,
        "view": view,
        "ids": ids,
        "classes": [
            {"value": value, "train_id": train_id, "id": id_, "name": name, "color": list(color)}
            for train_id, (value, id_, name, color) in enumerate(rows)
        ],
    }

"""What an output's name asks for, settled and checked before any work: its kind, its view, its being free."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from icnet_cli.config import SegmentConfig
from icnet_cli.errors import output_error, usage_error
from icnet_cli.video import CONTAINERS, check_output
from icnet_cli.video.atomic import refuse_unwritable

from .sources import PictureSource, VideoSource

Source = VideoSource | PictureSource

CLASSES_FILE, INDEX_FILE = "classes.json", "index.csv"
PART_SUFFIX = ".part"

_PICTURES = (".png", ".jpg", ".jpeg")
# Names of files that are not written here, and are no likely names of folders.
_FOREIGN = (
    ".gif", ".webp", ".bmp", ".tif", ".tiff", ".mpg", ".mpeg", ".wmv", ".flv", ".y4m", ".npy", ".json", ".txt",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """Where to and how.

    Attributes:
        kind: `video`, `picture` (one file) or `folder`.
        target: the output, links resolved.
        view: overlay, color, side-by-side or labels.
        codec: of a video, where its view or the user asks for one.
    """

    kind: str
    target: Path
    view: str
    codec: str | None = None


def plan_output(config: SegmentConfig, source: Source) -> Plan:
    """Settle the output of a run.

    Raises:
        IcnetError: USAGE where the output is an input, exists, cannot hold the view, or does not fit the source;
            OUTPUT where its folder does not exist.
    """
    kind = _kind(config.output)
    view = config.view or _default_view(kind, config.output)
    _check_options(config, kind, view)
    if kind == "folder":
        return Plan(kind, _free_folder(config.output, source.paths, config.overwrite), view)
    target = refuse_unwritable(config.output, overwrite=config.overwrite, inputs=source.paths)
    if kind == "video":
        codec = _video_codec(config, view)
        check_output(config.output, codec, crf=config.crf, preset=config.preset)
        return Plan(kind, target, view, codec)
    _check_single_picture(config, source, view)
    return Plan(kind, target, view)


def _check_options(config: SegmentConfig, kind: str, view: str) -> None:
    encoding = {"--codec": config.codec, "--crf": config.crf, "--preset": config.preset}
    given = [name for name, value in encoding.items() if value is not None]
    if given and kind != "video":
        raise usage_error(f"{', '.join(given)}: for a video, and {config.output} is none")
    if config.legend and view == "labels":
        raise usage_error("--legend: labels are numbers, not a picture; use it with another --view")
    if config.ids == "dataset" and view != "labels":
        raise usage_error("--ids dataset is for --view labels")


def _kind(output: Path) -> str:
    suffix = output.suffix.lower()
    if output.is_dir():
        return "folder"
    if suffix in CONTAINERS:
        return "video"
    if suffix in _PICTURES:
        return "picture"
    if suffix in _FOREIGN:
        raise usage_error(
            f"{output} cannot be written: name a video (.mp4, .mkv, .mov, .webm), a .png, or a folder"
        )
    return "folder"


def _default_view(kind: str, output: Path) -> str:
    words = output.stem.lower()
    named_labels = words == "labels" or words.endswith((".labels", "_labels", "-labels"))
    return "labels" if kind == "folder" or named_labels else "overlay"


def _video_codec(config: SegmentConfig, view: str) -> str | None:
    """The labels in a video survive only in a lossless codec."""
    if view != "labels":
        return config.codec
    codecs = CONTAINERS[config.output.suffix.lower()].codecs
    if "ffv1" not in codecs or config.codec not in (None, "ffv1"):
        raise usage_error(
            f"labels in a video need the lossless codec ffv1, so not {config.output.name}: "
            "name the output .mkv (without --codec), or a folder for PNGs, or use --view color"
        )
    return "ffv1"


def _check_single_picture(config: SegmentConfig, source: Source, view: str) -> None:
    if source.total != 1 and config.frames != 1:
        count = f"{source.total} frames" if source.total else "many frames"
        raise usage_error(
            f"{config.output} is one picture and {config.source} has {count}; name a folder, or use --frames 1"
        )
    if view == "labels" and config.output.suffix.lower() != ".png":
        raise usage_error(f"labels are written as .png, which loses nothing, not as {config.output.suffix}")


def _free_folder(output: Path, inputs: tuple[Path, ...], overwrite: bool) -> Path:
    target = Path(os.path.realpath(output))
    for path in inputs:
        real = Path(os.path.realpath(path))
        if real == target or target in real.parents:
            raise usage_error(f"{output} holds the input {path}; name another output")
    if target.exists() and not target.is_dir():
        raise usage_error(f"{output} exists and is not a folder; name another output")
    if target.is_dir() and any(target.iterdir()):
        if not overwrite:
            raise usage_error(f"{output} exists; overwrite it with -y or name another output")
        if not is_ours(target):
            raise usage_error(f"{output} holds things that icnet did not write; name another output")
    part = part_of(target)
    if part.exists() and not is_ours(part):
        raise usage_error(f"{part} is in the way; move it or name another output")
    if not target.parent.is_dir():
        raise output_error(f"cannot write {output}: its folder does not exist")
    return target


def part_of(target: Path) -> Path:
    """Where a folder is written until it is complete."""
    return target.with_name(target.name + PART_SUFFIX)


def is_ours(folder: Path) -> bool:
    """Whether a folder is one of ours, or empty, and may be replaced when the user says so."""
    marks = (folder / CLASSES_FILE, folder / INDEX_FILE)
    return folder.is_dir() and (all(mark.is_file() for mark in marks) or not any(folder.iterdir()))

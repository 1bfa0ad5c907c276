"""What an output's name asks for, settled and checked before any work: its kind, its view, its being free."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from icnet_cli.config import STDOUT, SegmentConfig
from icnet_cli.config.kinds import LABEL_CODEC, PICTURES, default_view, holds_labels, named_kind
from icnet_cli.errors import IcnetError, UnreadError, usage_error
from icnet_cli.outputs import refuse_unwritable, resolved
from icnet_cli.video import CONTAINERS, check_output
from icnet_cli.video.formats import check_pix_fmt
from icnet_cli.video.partfolder import is_part_folder, part_of
from icnet_cli.video.rate import steady_rate
from icnet_cli.video.stream import check_stream

from .sources import VIDEO_SUFFIXES, PictureSource, VideoSource

Source = VideoSource | PictureSource

CLASSES_FILE, INDEX_FILE = "classes.json", "index.csv"
PICTURES_RATE = Fraction(25)  # frames a second of a video made from pictures

# What ends a file's name rather than a folder's: run.2 and street.labels are folders, out.xyz is a slip.
_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{1,4}")


@dataclass(frozen=True)
class Plan:
    """Where to and how.

    Attributes:
        kind: `video`, `picture` (one file), `folder`, `stream` (standard output) or `window` (shown, and not kept).
        target: the output, links resolved.
        view: overlay, color, side-by-side or labels.
        codec: of a video, where its view or the user asks for one.
        rate: frames a second, of a stream and of a video made from pictures.
        is_steady: of a stream: whether the source's own frames are known to keep that rate.
    """

    kind: str
    target: Path
    view: str
    codec: str | None = None
    rate: Fraction = PICTURES_RATE
    is_steady: bool = False


def plan_output(config: SegmentConfig, source: Source) -> Plan:
    """Settle the output of a run.

    Raises:
        IcnetError: USAGE where the output is an input, exists, cannot hold the view, or does not fit the source;
            OUTPUT where it is a file and its folder does not exist. A folder is made with those above it.
    """
    kind, view = kind_and_view(config)
    if config.fps is not None and (kind not in ("video", "stream") or _keeps_times(kind, source)):
        raise usage_error(
            "--fps is for -o - and for a video made from pictures: other outputs keep the source's times, or have none"
        )
    rate = config.fps or PICTURES_RATE
    if kind == "window":
        return Plan(kind, config.output, view)
    if kind == "stream":
        return _plan_stream(config, source, view)
    if kind == "folder":
        target = _free_folder(config.output, source.paths, config.overwrite)
        _refuse_strangers_part(target)
        return Plan(kind, target, view)
    target = refuse_unwritable(config.output, overwrite=config.overwrite, inputs=source.paths)
    if kind == "video":
        _refuse_strangers_part(target)
        codec = _video_codec(config, view)
        plan = check_output(config.output, codec, crf=config.crf, preset=config.preset)
        check_pix_fmt(plan, config.pix_fmt)
        return Plan(kind, target, view, codec, rate)
    _check_single_picture(config, source, view)
    return Plan(kind, target, view)


def plan_recorded(config: SegmentConfig) -> Plan:
    """The output of a run whose source need not be there any more: it is put together from what was recorded.

    Raises:
        IcnetError: USAGE where the output exists and may not be overwritten.
    """
    kind, view = kind_and_view(config)
    if kind == "folder":
        return Plan(kind, _free_folder(config.output, (), config.overwrite), view)
    target = refuse_unwritable(config.output, overwrite=config.overwrite)
    return Plan(kind, target, view, _video_codec(config, view) if kind == "video" else None)


def kind_and_view(config: SegmentConfig) -> tuple[str, str]:
    """What is asked for of one source, looked at before it is opened: a pipe can be read only once.

    Raises:
        IcnetError: USAGE as `kind_of`; an `UnreadError` for options that nothing will read.
    """
    kind = kind_of(config.output)
    view = config.view or default_view(kind, config.output)
    refuse_unread(config, kind, view)
    return kind, view


def refuse_unread(config: SegmentConfig, kind: str, view: str) -> None:
    """Raise an `UnreadError` for options that an output of this kind and view does not read."""
    unread = config.unread_as(kind, view)
    if unread:
        raise UnreadError(unread)


def _keeps_times(kind: str, source: VideoSource | PictureSource) -> bool:
    return kind == "video" and isinstance(source, VideoSource)


def _plan_stream(config: SegmentConfig, source: VideoSource | PictureSource, view: str) -> Plan:
    """A stream has no times, so its rate is settled here: the user's, or the source's where that is constant."""
    if sys.stdout.isatty():
        raise usage_error(
            "-o - writes video to stdout, which is a terminal; pipe it into a program or a file"
        )
    check_stream(config.format or "y4m", config.pix_fmt)
    rate, is_steady = config.fps, True
    if rate is None and isinstance(source, VideoSource):
        # What comes live is late or missing now and then: its pictures are repeated and left out to keep time.
        rate, is_steady = _own_rate(source), source.is_live or not (source.is_pipe or source.is_remote)
    return Plan("stream", Path(STDOUT), view, None, rate or PICTURES_RATE, is_steady)


def _own_rate(source: VideoSource) -> Fraction:
    reader, every = source.reader, source.selection.every
    if source.is_pipe or source.is_remote:  # whose frames show only as they come whether they keep it
        rate = reader.info.frame_rate
        return PICTURES_RATE if rate is None else rate / every
    steady = steady_rate(
        reader.path, reader.info.stream_index, start=source.starts_at,
        end=reader.range_end, every=every, frames=source.selection.frames, max_pixels=reader.max_pixels,
    )  # fmt: skip
    if steady is None:
        raise variable_rate(str(reader.path))
    return steady


def variable_rate(name: str) -> IcnetError:
    """What is said of frames that a stream without times cannot hold."""
    source = "stdin" if name == STDOUT else name
    return usage_error(
        f"the frames of {source} do not come at a constant rate, and a stream on stdout has no times: "
        "give --fps RATE, which repeats and leaves out frames to keep time, or write to a file"
    )


def kind_of(output: Path) -> str:
    """What an output's name asks for: a stream, a folder, a video or a picture.

    Raises:
        IcnetError: USAGE for a name that asks for nothing that can be written.
    """
    named = named_kind(output)
    if named is not None:
        return named
    suffix = output.suffix.lower()
    if suffix in (".avi", ".ts"):
        check_output(output)  # says why not
    if _SUFFIX.fullmatch(suffix) or suffix in VIDEO_SUFFIXES:
        raise usage_error(
            f"{output} cannot be written: name a video ({', '.join(CONTAINERS)}), a picture "
            f"({', '.join(PICTURES)}), a folder, or - for stdout"
        )
    return "folder"


def _video_codec(config: SegmentConfig, view: str) -> str | None:
    """Labels survive only in a lossless codec, and their meaning only where it can be attached."""
    if view != "labels":
        return config.codec
    if not holds_labels(config.output):
        raise usage_error(
            f"labels in a video need the lossless codec ffv1 and attachments, so not {config.output.name}: "
            "name the output .mkv, or a folder for PNGs, or use --view color"
        )
    return LABEL_CODEC


def _check_single_picture(config: SegmentConfig, source: Source, view: str) -> None:
    if source.total != 1 and config.frames != 1:
        count = f"{source.total} frames" if source.total else "many frames"
        raise usage_error(
            f"{config.output} is one picture and {config.source} has {count}; name a folder, or use --frames 1"
        )
    if view == "labels" and config.output.suffix.lower() != ".png":
        raise usage_error(f"labels are written as .png, which loses nothing, not as {config.output.suffix}")


def _free_folder(output: Path, inputs: tuple[Path, ...], overwrite: bool) -> Path:
    target = resolved(output)
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
    return target


def _refuse_strangers_part(target: Path) -> None:
    part = part_of(target)
    if part.exists() and not is_part_folder(part):
        raise usage_error(f"{part} is in the way; move it or name another output")


def is_ours(folder: Path) -> bool:
    """Whether a folder is one of ours, or empty, and may be replaced when the user says so."""
    marks = {CLASSES_FILE, INDEX_FILE}
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    return marks <= names or names <= marks  # with one of them alone: a run that was killed as it began

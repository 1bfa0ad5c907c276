"""Whether what stands under an output's name can be the finished result of the run that is to be resumed.

A finished video keeps no record of its job, so its options cannot be compared. But something else that happens to have
its name, which would pass for the result, shows: it is no video, or has far more or fewer frames than its source.
"""

from __future__ import annotations

import contextlib
import csv
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from icnet_cli.config import PaintConfig, SegmentConfig
from icnet_cli.errors import IcnetError, input_error, printable, usage_error, why
from icnet_cli.outputs import refuse_taken
from icnet_cli.pixels.files import read_picture
from icnet_cli.pixels.headers import read_header
from icnet_cli.video import VideoReader, open_video
from icnet_cli.video.counted import frames_stored

from .leftover import is_finished
from .outputs import INDEX_FILE, Source, kind_of
from .sources import VideoSource

# Declared counts are estimates, and damage costs frames: only what differs by more than these is another result.
_FRAMES, _SHARE = 3, 0.1
_HEADER = 64  # bytes: a PNG's begins with its size


@dataclass(frozen=True)
class Expected:
    """What a run would write.

    Attributes:
        frames: by what its source declares; None where it declares nothing.
        stored: by what is in the source, or the least that may come of it; asked for where `frames` does not fit.
        inputs: files that the output cannot be.
    """

    frames: int | None
    stored: Callable[[], int]
    inputs: tuple[Path, ...] = ()


def finished_before(
    config: SegmentConfig | PaintConfig, expect: Callable[[], Expected | None]
) -> dict[str, Any] | None:
    """The report of a run that is to be resumed and has nothing left to do; None where there is something.

    It has what the output itself tells: its `frames`, `output_size` and, of an mp4 or mov, `duration_s`.

    Args:
        expect: asked for where the output is a file; its None says that the source cannot be looked at twice.

    Raises:
        IcnetError: USAGE where what stands under the output's name is not such a run's result, or where its --stats
            are not there; INPUT where its index cannot be read.
    """
    if not (config.resume and is_finished(config.output, overwrite=config.overwrite)):
        return None
    found = _look_at_folder(config.output) if config.output.is_dir() else _look_at_file(config, expect())
    stats = config.stats if isinstance(config, SegmentConfig) else None
    if stats is not None and not stats.exists():
        name, output = (printable(os.fspath(path)) for path in (stats, config.output))
        raise usage_error(f"{output} is complete already, but {name} is missing; make both anew with -y")
    return {"input": config.source, "output": str(config.output), "finished_before": True, **found}


def expected_of(source: Source) -> Expected:
    """What comes of a source's frames, or of its pictures, of which damaged ones are left out."""
    if not isinstance(source, VideoSource):
        return Expected(source.total, lambda: 1, source.paths)
    reader, taken = source.reader, source.selection

    def stored() -> int:
        frames = math.ceil(_stored(reader, source.starts_at, reader.range_end) / taken.every)
        return min(frames, taken.frames or frames)

    return Expected(source.total, stored, source.paths)


def _look_at_folder(output: Path) -> dict[str, Any]:
    try:
        with (output / INDEX_FILE).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            names = [row["file"] or "" for row in csv.DictReader(file)]
    except OSError as error:
        raise input_error(f"cannot read {printable(os.fspath(output))}: {why(error)}") from error
    except (KeyError, csv.Error) as error:
        raise _not_ours(output, f"its {INDEX_FILE} is not one that icnet wrote") from error
    return {"frames": len(names), **(_size_of(os.path.join(output, names[0])) if names else {})}


def _size_of(picture: str) -> dict[str, Any]:
    """Nothing where it is not there any more: the pictures are the user's to move."""
    if not os.path.isfile(picture):
        return {}
    with contextlib.suppress(OSError), open(picture, "rb") as file:
        header = read_header(file.read(_HEADER))
        return {"output_size": [header.height, header.width]} if header else {}
    return {}


def _look_at_file(config: SegmentConfig | PaintConfig, expected: Expected | None) -> dict[str, Any]:
    output = config.output
    kind = kind_of(output)
    if kind == "folder":
        raise usage_error(f"{output} exists and is not a folder; name another output")
    if expected is not None:
        refuse_taken(output, overwrite=True, inputs=expected.inputs)
    max_pixels = 4 * config.max_pixels  # side by side is larger than its source
    try:
        if kind == "picture":
            return {"frames": 1, "output_size": list(read_picture(output, max_pixels).shape[:2])}
        with open_video(output, max_pixels=max_pixels) as reader:
            difference = None if expected is None else _difference(reader, expected)
            found = {} if difference else _told_by(reader)
    except IcnetError as error:
        raise _not_ours(output, str(error).removeprefix(f"cannot read {printable(output)}: ")) from error
    if difference:
        raise _not_ours(output, difference)
    return found


def _told_by(reader: VideoReader) -> dict[str, Any]:
    """An mp4 or mov lists its frames; of other containers what is declared is a guess, so packets are counted."""
    info = reader.info
    size = {"output_size": [info.height, info.width]}
    if info.container_name.startswith("mov") and info.frames_estimated is not None:
        return {"frames": info.frames_estimated, "duration_s": info.duration_s, **size}
    return {"frames": _stored(reader), **size}


def _difference(reader: VideoReader, expected: Expected) -> str | None:
    """In words, where the frames of a video are far from what is expected.

    What is declared is compared first, which costs nothing. Only where that differs are packets counted: a file that
    was cut short holds fewer frames than it declares, and so does what was made of it.
    """
    declared = reader.info.frames_estimated
    if declared is not None and expected.frames is not None and _near(declared, expected.frames):
        return None
    found, stored = _stored(reader), expected.stored()
    least, most = min(stored, expected.frames or stored), max(stored, expected.frames or stored)
    if least <= found <= most:
        return None
    nearest = least if found < least else most
    return None if _near(found, nearest) else f"it has {found} frames, and {nearest} are to be expected"


def _near(one: int, other: int) -> bool:
    return abs(one - other) <= max(_FRAMES, _SHARE * max(one, other))


def _stored(reader: VideoReader, start: Fraction | None = None, end: Fraction | None = None) -> int:
    return frames_stored(
        reader.path, reader.info.stream_index, start=start, end=end, max_pixels=reader.max_pixels
    )


def _not_ours(output: Path, reason: str) -> IcnetError:
    name = printable(os.fspath(output))
    return usage_error(
        f"{name} is not what this run would give: {reason}; overwrite it with -y or name another output"
    )

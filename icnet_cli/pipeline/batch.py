"""Many videos at once: several sources, or a folder of them, to a tree of outputs that mirrors them.

All that can be refused is refused before the first one begins. After that, one that fails does not stop the rest.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from icnet_cli.config import STDOUT, SegmentConfig
from icnet_cli.config.live import is_live_name
from icnet_cli.errors import ExitCode, IcnetError, input_error, output_error, printable, usage_error, why
from icnet_cli.outputs import is_too_long, resolved
from icnet_cli.pixels.files import PICTURE_SUFFIXES, files_below
from icnet_cli.video import CONTAINERS, check_output

from .artist import check_names
from .lanes import FrameDone, Notice
from .leftover import left_behind as held_by
from .opening import natural_key
from .outputs import refuse_unread
from .palette import read_palette
from .segment import DamagedInputError, segment
from .sources import GIF, VIDEO_SUFFIXES

if TYPE_CHECKING:
    from icnet_cli.inference.segmenter import Segmenter

_ELSEWHERE = ".mp4"  # for what cannot be written in the container that it came in


@dataclass(frozen=True)
class Job:
    """One video of a batch, and where its result goes."""

    source: Path
    output: Path


@dataclass(frozen=True)
class BatchFrameDone:
    """A picture of one of the videos has been written; `number` counts the videos from 1."""

    frame: FrameDone
    source: Path
    number: int
    of: int


def is_batch(config: SegmentConfig) -> bool:
    """Whether a configuration names several videos: by more than one source, a pattern, or a folder of them."""
    if config.more:
        return True
    if is_live_name(config.source):
        return False
    path = Path(config.source)
    if path.is_dir():
        files = list(files_below(path))
        return any(_is_video(file) for file in files) and not any(_is_picture(file) for file in files)
    return len(_matches(config.source)) > 1 and all(_is_video(file) for file in _matches(config.source))


def segment_many(
    config: SegmentConfig, segmenter: Segmenter | None = None
) -> Generator[BatchFrameDone, None, dict[str, Any]]:
    """Run `segment` over every video of a batch, one after another, with the weights read once.

    Returns:
        `input`, `output`, `files` (a report each, as of `segment`; of one that failed `input`, `output`, `error` and
        `code`), `failed` (how many) and `code` (the first failure's; 0 where there is none).

    Raises:
        IcnetError: for what is refused before the first video begins, and for weights that cannot be read.
    """
    config.check()
    refuse_unread(config, *config.of_many())
    jobs = plan_jobs(config)
    if segmenter is None:
        check_names(config, read_palette(config.palette))
        segmenter = _load(config)
    files = []
    for number, job in enumerate(jobs, start=1):
        events = _one(replace(config, source=str(job.source), more=None, output=job.output), segmenter)
        try:
            while True:
                event = next(events)
                if isinstance(event, FrameDone):
                    yield BatchFrameDone(event, job.source, number, len(jobs))
        except StopIteration as end:
            files.append(end.value)
        finally:
            events.close()
    failures = [file["code"] for file in files if file["code"]]
    return {
        "input": [config.source, *(config.more or ())],
        "output": str(config.output),
        "files": files,
        "failed": len(failures),
        "code": int(failures[0]) if failures else 0,
    }


def _one(config: SegmentConfig, segmenter: Segmenter) -> Generator[FrameDone | Notice, None, dict[str, Any]]:
    """`segment`, with a failure as its report."""
    named = {"input": config.source, "output": str(config.output)}
    made = [above for above in config.output.parents if not above.exists()]  # innermost first
    try:
        _make_folder(config.output.parent)
        return {**(yield from segment(config, segmenter)), "error": None, "code": 0}
    except DamagedInputError as error:
        return {**error.report, "error": str(error), "code": int(error.code)}
    except IcnetError as error:
        return {**named, "error": str(error), "code": int(error.code)}
    except Exception as error:  # a bug met by one video is no reason to lose the night's other videos
        words = f"internal error (a bug): {type(error).__name__}: {error}"
        return {**named, "error": words, "code": int(ExitCode.BUG)}
    finally:
        _remove_empty(made)


def _load(config: SegmentConfig) -> Segmenter:
    from icnet_cli.inference.choice import Work
    from icnet_cli.inference.segmenter import load

    work = Work(None, config.size)  # videos of many sizes, unless --size makes them one
    return load(config.weights, config.device, config.precision, config.size, config.backend, work)


# What is done, and where to -----------------------------------------------------------------------------------------


def plan_jobs(config: SegmentConfig) -> list[Job]:
    """Every video of a batch and its output, in natural order.

    Raises:
        IcnetError: USAGE for pictures among videos, an output that is a file or lies in a source, two videos whose
            outputs would have one name, and outputs that exist; INPUT where a source is missing or holds no video.
    """
    _check_output_folder(config)
    found = [pair for source in (config.source, *(config.more or ())) for pair in _videos(source)]
    jobs = [Job(video, config.output / name) for video, name in _named(list(dict.fromkeys(found)), config)]
    _check_names(jobs)
    for job in jobs:
        _check_free(job, config)
    return jobs


def _named(found: list[tuple[Path, PurePath]], config: SegmentConfig) -> list[tuple[Path, PurePath]]:
    """Each video's name in the output folder; a GIF beside a video of its name, as previews are, keeps its suffix."""
    names = [(video, _output_name(name, config)) for video, name in found]
    taken = {name for video, name in names if video.suffix.lower() != GIF}
    return [
        (video, name.with_name(video.name + name.suffix))
        if video.suffix.lower() == GIF and name in taken
        else (video, name)
        for video, name in names
    ]


def _check_output_folder(config: SegmentConfig) -> None:
    output = config.output
    suffix = output.suffix.lower()
    if str(output) == STDOUT or (suffix in (*CONTAINERS, *PICTURE_SUFFIXES) and not output.is_dir()):
        raise usage_error(f"several videos go to a folder, and {output} is none; name a folder")
    if output.exists() and not output.is_dir():
        raise usage_error(f"{output} exists and is not a folder; name another output")
    if config.stats is not None:
        raise usage_error("--stats is for one source, and there are several; leave it out")
    target = resolved(output)
    for source in (config.source, *(config.more or ())):
        folder = Path(os.path.realpath(source))
        if folder.is_dir() and (folder == target or folder in target.parents):
            raise usage_error(f"{output} lies in the source {source}; name a folder elsewhere")


def _videos(source: str) -> list[tuple[Path, PurePath]]:
    """The videos that a source names, each with its name in the output folder."""
    path = Path(source)
    if path.is_dir():
        return _of_folder(path)
    matched = _matches(source)
    files = matched or [path]
    if any(_is_picture(file) for file in files):
        raise usage_error(
            f"{source} is a picture, and several sources are for videos; quote a pattern of pictures, or name a folder"
        )
    if not matched and not path.exists():
        raise input_error(f"cannot read {source}: there is no such file")
    return [(file, PurePath(file.name)) for file in sorted(files, key=natural_key)]


def _of_folder(folder: Path) -> list[tuple[Path, PurePath]]:
    files = list(files_below(folder))
    videos = sorted((file for file in files if _is_video(file)), key=natural_key)
    pictures = [file for file in files if _is_picture(file)]
    if pictures:
        what = "pictures and videos" if videos else "pictures"
        raise usage_error(f"{folder} holds {what} ({pictures[0].name}); several sources are for videos alone")
    if not videos:
        raise input_error(f"the folder {folder} holds no videos ({', '.join(VIDEO_SUFFIXES)})")
    return [(file, PurePath(file.relative_to(folder))) for file in videos]


def _matches(pattern: str) -> list[Path]:
    if os.path.lexists(pattern) or not glob.has_magic(pattern):
        return []
    return [Path(name) for name in glob.glob(pattern, recursive=True) if os.path.isfile(name)]


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in (*VIDEO_SUFFIXES, GIF)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES


def _output_name(name: PurePath, config: SegmentConfig) -> PurePath:
    """A folder for labels; else a video in the container it came in where that can be written."""
    if config.view == "labels":
        return name.with_suffix("")
    suffix = name.suffix if name.suffix.lower() in CONTAINERS else _ELSEWHERE
    renamed = name.with_suffix(suffix)
    check_output(renamed.name, config.codec, crf=config.crf, preset=config.preset)
    return renamed


def _check_names(jobs: list[Job]) -> None:
    seen: dict[Path, Path] = {}
    for job in jobs:
        other = seen.setdefault(job.output, job.source)
        if other != job.source:
            raise usage_error(f"{other} and {job.source} would both be written to {job.output}; rename one")
    for job in jobs:
        inside = next((parent for parent in job.output.parents if parent in seen), None)
        if inside is not None:
            raise usage_error(
                f"{job.source} would be written into {inside}, the output of {seen[inside]}; rename one"
            )


def _check_free(job: Job, config: SegmentConfig) -> None:
    output = job.output
    if is_too_long(output):  # .ts, say, becomes .mp4
        raise usage_error(
            f"{printable(job.source, 60)} would be written under a name that is too long; rename it"
        )
    if output.exists() and os.path.samefile(output, job.source):
        raise usage_error(f"{output} is an input itself; name another output folder")
    if config.overwrite or config.resume:
        return
    unfinished = held_by(output)
    if unfinished is not None:
        raise usage_error(
            f"{unfinished}, of a run that was stopped: continue it with --resume, or start anew with -y"
        )
    if any(output.iterdir()) if output.is_dir() else output.exists():
        raise usage_error(f"{output} exists; overwrite it with -y or name another output folder")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(f"cannot write {folder}: {why(error)}") from error


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):  # not empty: it holds what this video gave, or another
        for folder in folders:
            folder.rmdir()

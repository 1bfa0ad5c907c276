"""Which runs are written in segments, and how one begins or goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from icnet_cli.config import PaintConfig, SegmentConfig
from icnet_cli.errors import input_error, why
from icnet_cli.video.partfolder import PartFolder, part_of

from .identity import asked_for, content_of, contents_of, programs
from .ledger import Ledger
from .outputs import Plan, Source, plan_recorded
from .resume import LONG_S, Job
from .sinks import open_sink
from .sources import PictureSource, Selection, VideoSource
from .stats import StatsFile

# Containers whose word on how long they are is their index, or what their own muxer measured.
_DECLARING = ("mov", "matroska", "avi")


def open_job(
    config: SegmentConfig | PaintConfig, plan: Plan, source: Source, *, labels: Path | None = None
) -> Job | None:
    """Claim NAME.part/ for a run, and find out what earlier ones have done; None for what needs no such folder.

    Folders of pictures have one always, videos where they are long, or where nobody knows how long they become.

    Args:
        labels: what is painted, of `icnet paint`: it belongs to the source.

    Raises:
        IcnetError: USAGE where another process or another job has it, or an earlier run may yet be resumed.
    """
    if plan.kind not in ("video", "folder"):
        return None
    seconds = expected_seconds(source, plan)
    is_long = None if seconds is None else seconds > LONG_S
    needs_none = plan.kind == "video" and is_long is False
    if needs_none and not part_of(plan.target).exists():
        return None
    folder = PartFolder(plan.target)
    folder.claim()
    job = Job(folder, is_long, plan.rate, _identity(config, source, labels), overwrite=config.overwrite)
    try:
        job.settle(config.resume)
    except BaseException:
        job.leave()
        raise
    if needs_none:  # what was there is of a run that could not be resumed
        folder.discard()
        return None
    return job


def expected_seconds(source: Source, plan: Plan) -> float | None:
    """How long the output becomes; None where that is not known for sure."""
    if isinstance(source, PictureSource):
        return float((source.total or 0) / plan.rate)
    reader, taken = source.reader, source.selection
    lengths = []
    if not source.is_pipe and reader.info.container_name.startswith(_DECLARING) and reader.info.duration_s:
        lengths.append(
            min(reader.info.duration_s, reader.end_s or reader.info.duration_s) - (reader.start_s or 0)
        )
    if reader.end_s is not None:
        lengths.append(reader.end_s - (reader.start_s or 0))
    if taken.frames is not None and reader.info.frame_rate:
        lengths.append(float(taken.frames * taken.every / reader.info.frame_rate))
    return min(lengths, default=None)


def _identity(config: SegmentConfig | PaintConfig, source: Source, labels: Path | None) -> dict[str, Any]:
    try:
        content = [None if labels is None else content_of(labels)]
        if isinstance(source, VideoSource):
            passing = source.is_live or source.is_remote or source.is_pipe  # known again by its pictures
            content.append(_passing(config) if passing else content_of(source.reader.path))
        else:
            content.append(contents_of(source.paths))
    except OSError as error:
        raise input_error(f"cannot read {config.source}: {why(error)}") from error
    return {"source": content, "options": asked_for(config), "programs": programs()}


def _passing(config: SegmentConfig | PaintConfig) -> str:
    """What stands for the content of a source that cannot be looked at again."""
    return f"from {config.source}"


# Live sources --------------------------------------------------------------------------------------------------------


def join_recorded(config: SegmentConfig) -> dict[str, Any] | None:
    """Put together what a run over a live source, which was killed, had recorded; nothing is connected to.

    Args:
        config: its source without anything secret, as it was kept.

    Returns:
        The report; None where there is nothing to put together.

    Raises:
        IcnetError: as `open_job`.
    """
    started = time.perf_counter()
    plan = plan_recorded(config)
    folder = PartFolder(plan.target)
    if folder.job is None:
        return None
    folder.claim()
    identity = {"source": [None, _passing(config)], "options": asked_for(config), "programs": programs()}
    job = Job(folder, None, plan.rate, identity, overwrite=config.overwrite)
    try:
        job.settle(resume=True)
        if job.last is None:
            return None
        report = _joined(config, plan, job)
    finally:
        job.leave()
    return {**report, "seconds": time.perf_counter() - started, "end_to_end_fps": 0.0}


def _joined(config: SegmentConfig, plan: Plan, job: Job) -> dict[str, Any]:
    assert job.last is not None
    classes = (job.folder.job or {})["network"]["classes"]
    stats = None
    if config.stats is not None:
        stats = StatsFile(config.stats, overwrite=True, inputs=(), output=plan.target, late=True)
    job.ledger = Ledger(tuple(entry["name"] for entry in classes["classes"]), stats, keeps=True)
    job.ledger.restore(job.last["ledger"])
    sink = open_sink(plan, config, PictureSource([], [], Selection()), job)
    sink.begin(classes)
    frames, seconds = job.done, job.last["seconds"]
    sink.close()
    return {
        "input": config.source,
        "output": str(config.output),
        "view": plan.view,
        "frames": frames,
        "frames_before": frames,
        "frames_damaged": 0,
        "frames_lost": 0,
        "frames_moved": 0,
        "problem": None,
        "left_out": [],
        "duration_s": seconds,
        "class_share": job.ledger.class_share,
    }

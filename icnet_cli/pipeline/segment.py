"""`icnet segment`: road video or pictures in, per-pixel classes out.

Everything that can be refused is refused before torch is imported and weights are read.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from icnet_cli.classes import ClassTable
from icnet_cli.config import STDOUT, SegmentConfig
from icnet_cli.config.live import NOWHERE, is_live_name
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.pixels.cv import cv2

from .artist import Artist, check_names
from .description import describe_classes
from .finished import Expected, expected_of, finished_before
from .identity import network_of
from .items import Labels, Picture
from .jobs import join_recorded, open_job
from .labeller import Labeller, labeller_of
from .lanes import FrameDone, Lanes, Notice, no_signals
from .ledger import Ledger
from .live import inbox_of, live_options, live_report, public_name, tapped
from .onboard import OnBoard, decoder_note, decoder_report, on_board, opener, warms_itself
from .opening import PIPE, open_source
from .outputs import Plan, Source, kind_and_view, plan_output
from .palette import read_palette, recolour
from .resume import Job, begun, take_up
from .sinks import Sink, ToldSink, open_sink
from .sources import Selection, VideoSource
from .stats import StatsFile
from .watched import Watched

if TYPE_CHECKING:
    from icnet_cli.inference.segmenter import Segmenter

__all__ = ["DamagedInputError", "FrameDone", "segment"]


class DamagedInputError(IcnetError):
    """The input was damaged; what could be decoded has been written, and `report` tells of it."""

    def __init__(self, message: str, report: dict[str, Any]) -> None:
        super().__init__(message, ExitCode.INPUT)
        self.report = report


def segment(
    config: SegmentConfig, segmenter: Segmenter | None = None, watched: Watched | None = None
) -> Generator[FrameDone | Notice, None, dict[str, Any]]:
    """Label every picture of a source and write what is asked for; a generator that ends with its report.

    Args:
        segmenter: instead of loading `config.weights`; then its device, precision and size hold.
        watched: for whoever wants to see the pictures, or to end the run before its source ends.

    Returns:
        The report of `icnet segment --json`. `seconds` and `end_to_end_fps` are of the run proper, `startup_s` of
        loading the weights.

    Raises:
        IcnetError: for anything refused, missing or failing; nothing is then left under the output's name.
        DamagedInputError: for a damaged input, after the output is complete.
    """
    config.check()
    kind_and_view(config)
    palette = read_palette(config.palette)
    over = _over_before(config)
    if over is not None:
        return over
    if segmenter is None:
        check_names(config, palette)
    with ExitStack() as stack:
        opened = _open(config, stack)
        started = time.perf_counter()
        segmenter = segmenter or (yield from _load(opened.config, opened.source, opened.job))
        run = _Run(opened, segmenter, palette, watched or Watched(), stack)
        yield from run.notices()
        startup_s = time.perf_counter() - started
        report = (yield from run.frames()) | {"startup_s": startup_s}
    if report["problem"]:
        raise DamagedInputError(f"{report['problem']}; {written(config)} what could be decoded", report)
    return report


def _over_before(config: SegmentConfig) -> dict[str, Any] | None:
    """The report of a resumed run that has nothing left to label: its file is made of what is there, or was before."""
    if config.resume and is_live_name(config.source):
        recorded = join_recorded(replace(config, source=public_name(config.source)))
        if recorded is not None:
            return recorded
    return finished_before(config, partial(_expected, config))


def _expected(config: SegmentConfig) -> Expected | None:
    """What a run would write; None where its source can be read only once, or has gone since."""
    if config.source == PIPE or is_live_name(config.source):
        return None
    try:
        source = open_source(config.source, _selection(config), config.stream, config.max_pixels)
    except IcnetError:
        return None
    with closing(source):
        return expected_of(source)


@dataclass
class _Opened:
    """What a run reads and writes.

    Attributes:
        config: as given, but that its source's name has nothing secret in it.
        lanes: once they run, what they hold is theirs to close.
    """

    config: SegmentConfig
    source: Source
    plan: Plan
    job: Job | None
    sink: Sink
    stats: StatsFile | None
    lanes: Lanes | None = None


def _open(config: SegmentConfig, stack: ExitStack) -> _Opened:
    """Open the source and, where nothing speaks against it, what is to be written; `stack` closes both."""
    selection, live = _selection(config), live_options(config)
    source = open_source(config.source, selection, config.stream, config.max_pixels, live, opener(config))
    config = replace(config, source=public_name(config.source))
    opened: _Opened | None = None

    def ours() -> Lanes | None:
        return opened.lanes if opened else None

    def started() -> bool:
        lanes = ours()
        return lanes is not None and lanes.started

    def close_source() -> None:
        lanes = ours()
        if lanes is None or lanes.stopped:
            source.close()

    stack.callback(close_source)
    plan = plan_output(config, source)
    with no_signals():
        job = open_job(config, plan, source)
        stack.callback(lambda: job.leave() if job and not started() else None)
        sink = open_sink(plan, config, source, job)
        stack.callback(lambda: None if started() else sink.abort())
    opened = _Opened(config, source, plan, job, sink, _stats(config, plan, source, stack, job))
    return opened


class _Run:
    """A source's pictures through a network to a sink, with what is counted on the way."""

    def __init__(
        self,
        opened: _Opened,
        segmenter: Segmenter,
        palette: ClassTable | None,
        watched: Watched,
        stack: ExitStack,
    ) -> None:
        config, source, job = opened.config, opened.source, opened.job
        self.opened, self.watched = opened, watched
        segmenter.reset_times()
        classes = recolour(segmenter.classes, palette)
        self.artist = Artist(config, opened.plan.view, source, classes)
        description = describe_classes(classes, config.ids, opened.plan.view)
        self.ledger = Ledger(segmenter.classes.names, opened.stats, keeps=job is not None)
        self.before = take_up(job, self.ledger, network_of(segmenter, description) if job else None)
        opened.sink.begin(description)
        labeller = labeller_of(config, segmenter, source)
        stack.callback(labeller.close)
        self.tally = _Tally(segmenter, labeller, self.ledger)
        keeps = source.is_live or watched.screen is not None
        self.board = on_board(config, segmenter, source, self.artist, self.tally.note, keeps=keeps)

    def notices(self) -> Generator[Notice, None, None]:
        """What is not done the way it was asked for, or should be."""
        config = self.opened.config
        fallback = decoder_note(config, self.opened.source)
        if config.hwaccel == "cuda" and fallback:
            yield Notice(fallback)
        for note in self.board.notes if self.board else ():
            yield Notice(note)

    def frames(self) -> Generator[FrameDone | Notice, None, dict[str, Any]]:
        """All of them; returns the report."""
        opened, board = self.opened, self.board
        config, source, job = opened.config, opened.source, opened.job
        running = time.perf_counter()
        pictures: Iterator[Any] = begun(iter(source)) if job is None else job.pictures(source)
        inbox = inbox_of(source, config, self.watched)
        if inbox is not None:
            pictures = iter(source)
        taps = tapped(ToldSink(opened.sink, self.ledger.book), source, self.artist, self.watched)
        network, render = (board.flights, board.render) if board else (self.tally.label, self.artist.render)
        lanes = opened.lanes = Lanes(pictures, network, render, taps, source.total, inbox)
        lanes.done = self.before
        self.watched.begin(lanes.finish, is_live=source.is_live)
        yield from lanes.run()
        if job is None:
            self.ledger.publish(())
        seconds = time.perf_counter() - running
        report = _report(config, opened.plan, source, opened.sink, lanes, self.tally, self.artist, board)
        report |= {"seconds": seconds, "frames_before": self.before}
        report |= live_report(source, inbox) | decoder_report(config, source)
        report |= board.report() if board else {}
        return report | {"end_to_end_fps": (lanes.done - self.before) / seconds}


def written(config: SegmentConfig) -> str:
    """Where the pictures are now, in words."""
    if config.output == NOWHERE:
        return "the window showed"
    return "stdout was given" if str(config.output) == STDOUT else f"{config.output} holds"


def _selection(config: SegmentConfig) -> Selection:
    return Selection(config.start_s, config.end_s, config.frames, config.every)


def _stats(
    config: SegmentConfig, plan: Plan, source: Source, stack: ExitStack, job: Job | None
) -> StatsFile | None:
    if config.stats is None:
        return None
    overwrite = config.overwrite or (job is not None and job.is_over)  # a killed run gives it its name first
    stats = StatsFile(
        config.stats, overwrite=overwrite, inputs=source.paths, output=plan.target, late=job is not None
    )
    stack.callback(stats.abort)
    return stats


def _load(config: SegmentConfig, source: Source, job: Job | None) -> Generator[Notice, None, Segmenter]:
    from icnet_cli.inference.choice import Work
    from icnet_cli.inference.device import slow_precision
    from icnet_cli.inference.segmenter import load

    # Pictures may differ in size, and each size would be another network to build; a video has one.
    size = source.size if isinstance(source, VideoSource) else config.size
    work = Work(source.total, size)
    backend = "torch" if config.needs_torch and config.backend == "auto" else config.backend
    if backend == "auto" and job is not None and job.backend:
        backend = job.backend  # which `auto` might not take for the rest alone
    segmenter = load(config.weights, config.device, config.precision, config.size, backend, work)
    slow = slow_precision(segmenter.precision, segmenter.device)
    if slow:
        yield Notice(slow)
    if size is not None:
        to_build = segmenter.still_to_build(*size)
        if to_build:
            yield Notice(to_build)
        if not warms_itself(config, segmenter):
            segmenter.warm(*size)
    return segmenter


class _Tally:
    """Has pictures labelled, and counts the pixels of each class."""

    def __init__(self, segmenter: Segmenter, labeller: Labeller, ledger: Ledger) -> None:
        self.segmenter, self.labeller, self.ledger = segmenter, labeller, ledger
        self.input_size: tuple[int, int] | None = None

    def label(self, picture: Picture) -> Labels:
        labels, confidence = self.labeller.label(picture)
        pixels = cv2.calcHist([labels], [0], None, [256], [0, 256]).reshape(-1)
        self.note(picture, pixels, confidence)
        return labels

    def note(self, picture: Picture, pixels: np.ndarray, confidence: float | None) -> None:
        """A picture has been labelled: pixels of each of 256 classes."""
        self.input_size = self.input_size or self.segmenter.input_size(*picture.size)
        self.ledger.note(picture, pixels, confidence)


def _report(
    config: SegmentConfig,
    plan: Plan,
    source: Source,
    sink: Sink,
    lanes: Lanes,
    tally: _Tally,
    artist: Artist,
    board: OnBoard | None,
) -> dict[str, Any]:
    segmenter = tally.segmenter
    stages = board.stage_times(lanes.times) if board else _stage_times(segmenter, lanes)
    return {
        "input": config.source,
        "output": None if config.output == NOWHERE else str(config.output),
        "view": plan.view,
        "frames": lanes.done,
        "frames_damaged": source.frames_damaged,
        "frames_lost": source.frames_lost,
        "frames_moved": source.frames_moved,
        "problem": source.problem,
        "left_out": list(sink.left_out),
        "duration_s": source.duration_s,
        "device": str(segmenter.device),
        "precision": segmenter.precision,
        "backend": segmenter.backend,
        "model": segmenter.meta.model,
        "size": list(tally.input_size or ()),
        "output_size": list(artist.output_size or ()),
        "stages_ms": {name: median(times or (0.0,)) for name, times in stages.items()},
        **_tails(stages),
        "class_share": tally.ledger.class_share,
        **tally.labeller.report(),
    }


def _stage_times(segmenter: Segmenter, lanes: Lanes) -> dict[str, tuple[float, ...]]:
    """The milliseconds of the last pictures, a stage."""
    host = {name: times.recent for name, times in lanes.times.items()}
    painted = {"render": host["render"], "encode": host["encode"]}
    return {"decode": host["decode"], **segmenter.stage_times, **painted}


def _tails(stages: dict[str, tuple[float, ...]]) -> dict[str, dict[str, float]]:
    """The slow end of each stage: the milliseconds that 95 and 99 of 100 pictures stay under."""
    return {
        f"stages_ms_p{share}": {
            name: float(np.percentile(times or (0.0,), share)) for name, times in stages.items()
        }
        for share in (95, 99)
    }

"""`icnet paint`: labels that were written before, over their video again; no network, and no torch."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import fields, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from icnet_cli.config import PaintConfig, SegmentConfig
from icnet_cli.errors import input_error, usage_error
from icnet_cli.pixels.cv import cv2
from icnet_cli.video.labels import LabelVideo
from icnet_cli.video.source import NoSuchStreamError

from .artist import Artist, choose_classes
from .description import describe_classes, described_classes
from .finished import Expected, finished_before
from .items import Labels, Picture
from .jobs import open_job
from .lanes import FrameDone, Lanes, Notice, no_signals
from .opening import PIPE, open_source
from .outputs import Plan, Source, plan_output
from .palette import read_palette, recolour
from .resume import begun, take_up
from .segment import DamagedInputError, written
from .sinks import Sink, open_sink
from .sources import PictureSource, Selection, VideoSource


def paint(config: PaintConfig) -> Generator[FrameDone | Notice, None, dict[str, Any]]:
    """Paint a label video over what it was made from: the picture that `segment` gave, or another look of it.

    The source is read as it was then (its range, its stream); of its frames those are taken that have labels.

    Returns:
        The report of `icnet paint --json`.

    Raises:
        IcnetError: for anything refused, missing or failing; nothing is then left under the output's name.
        DamagedInputError: for a damaged input, after the output is complete.
    """
    config.check()
    palette = read_palette(config.palette)
    over = finished_before(config, partial(_expected, config))
    if over is not None:
        return over
    with ExitStack() as stack:
        lanes: Lanes | None = None
        labels = LabelVideo(config.labels, config.max_pixels)
        stack.callback(lambda: labels.close() if lanes is None or lanes.stopped else None)
        classes, lookup = described_classes(labels.description, str(config.labels))
        choose_classes(classes, config.only, "--only")
        choose_classes(classes, config.blur, "--blur")
        source = _open_source(config, labels)
        stack.callback(lambda: source.close() if lanes is None or lanes.stopped else None)
        as_segment = _as_segment(config, len(labels.times.pts))
        plan = plan_output(as_segment, source)
        if plan.target == config.labels.resolve():
            raise usage_error(f"{config.output} holds the labels; name another output")
        with no_signals():
            job = open_job(config, plan, source, labels=config.labels)
            stack.callback(lambda: job.leave() if job and (lanes is None or not lanes.started) else None)
            sink = open_sink(plan, as_segment, source, job)
            stack.callback(lambda: sink.abort() if lanes is None or not lanes.started else None)
        if isinstance(source, VideoSource):
            source.wants_rgb = not source.wants_planes
        classes = recolour(classes, palette)
        artist = Artist(as_segment, plan.view, source, classes)
        description = describe_classes(classes, "train", plan.view)
        before = take_up(job, None, {"classes": description})
        sink.begin(description)
        pairs = _Pairs(labels, source, config.frames)
        pictures = begun(iter(pairs)) if job is None else job.pictures(pairs)

        running = time.perf_counter()
        lanes = Lanes(
            pictures, lambda picture: cv2.LUT(picture.labels, lookup), artist.render, sink, pairs.total
        )
        lanes.done = before
        yield from lanes.run()
        report = _report(config, plan, pairs, sink, lanes, before, time.perf_counter() - running)
        report["output_size"] = list(artist.output_size or ())
    if report["problem"]:
        raise DamagedInputError(f"{report['problem']}; {written(as_segment)} what could be decoded", report)
    return report


def _expected(config: PaintConfig) -> Expected:
    """A frame for each label, or fewer: the source need not have all that were labelled."""
    with LabelVideo(config.labels, config.max_pixels) as labels:
        count = len(labels.times.pts)
    return Expected(min(count, config.frames or count), lambda: 1, (config.labels, Path(config.source)))


def _as_segment(config: PaintConfig, count: int) -> SegmentConfig:
    """What `segment` would have been told for the same picture, with labels of `count` frames."""
    told = {item.name: getattr(config, item.name) for item in fields(config) if item.name != "labels"}
    return SegmentConfig(**{**told, "frames": max(1, min(count, config.frames or count))})


def _open_source(config: PaintConfig, labels: LabelVideo) -> Source:
    if config.source == PIPE:
        raise usage_error("paint reads its video from a file, not from a pipe")
    times = labels.times
    selection = Selection(times.start_s, times.end_s)
    stream = times.stream if config.stream is None else config.stream
    if times.pictures:
        selection, stream = Selection(), config.stream
    try:
        source = open_source(config.source, selection, stream, config.max_pixels)
    except NoSuchStreamError:
        if config.stream is not None:
            raise
        # A copy may have its sound in front. Whether it is the video shows by its sizes and times.
        source = open_source(config.source, selection, None, config.max_pixels)
    if isinstance(source, PictureSource) != times.pictures:
        made_from = "pictures" if times.pictures else "a video"
        source.close()
        raise usage_error(f"{config.labels} was made from {made_from}, which {config.source} is not")
    return source


class _Pairs:
    """The source's pictures that have labels, with them."""

    def __init__(self, labels: LabelVideo, source: Source, frames: int | None) -> None:
        self._labels, self._source, self._frames = labels, source, frames
        self.total = min(frames or len(labels.times.pts), len(labels.times.pts))
        self._missing = 0  # labels whose frame the source has not
        self._ticks = Fraction(0)
        self._ended_early = False
        self._from = 0  # pictures before this one were painted by an earlier run
        self._ending: dict[str, Any] | None = None

    @property
    def duration_s(self) -> float | None:
        return None if self._labels.times.pictures else float(self._ticks)

    @property
    def frames_damaged(self) -> int:
        if self._ending is not None:
            return int(self._ending["damaged"])
        return self._source.frames_damaged + self._labels.reader.frames_damaged

    @property
    def frames_lost(self) -> int:
        if self._ending is not None:
            return int(self._ending["lost"])
        return self._source.frames_lost + self._labels.reader.frames_lost

    @property
    def problem(self) -> str | None:
        if self._ending is not None:
            return self._ending["problem"]
        found = [self._source.problem] if self._source.problem else []
        wounds = self._labels.reader.frames_damaged + self._labels.reader.frames_lost
        if self._ended_early or wounds:
            found.append(f"{self._labels.path} is damaged or truncated")
        if self._missing:
            found.append(f"{self._missing} of the labels belong to frames that {self._source_name} has not")
        return "; ".join(found) or None

    @property
    def _source_name(self) -> str:
        return str(self._source.paths[0]) if self._source.paths else "the source"

    def __iter__(self) -> Iterator[Picture]:
        given, numbered = 0, self._numbered()
        current = next(numbered, None)
        for picture in self._source:
            while current is not None and self._order(current[0], picture) < 0:
                self._missing += 1
                current = next(numbered, None)
            if current is None or given == self._frames:
                break
            if self._order(current[0], picture) > 0:
                continue  # one that was left out then, by --every say
            paired = self._pair(picture, *current)
            if picture.index >= self._from:
                yield paired
            given += 1
            current = next(numbered, None)
        if given != self._frames:
            self._missing += (current is not None) + sum(1 for _ in numbered)
        if not given:
            raise input_error(
                f"none of the labels in {self._labels.path} belongs to a frame of {self._source_name}; "
                "is it what they were made from?"
            )

    def resume_at(self, mark: dict[str, Any]) -> bool:
        """Two videos are not sought at once: what was painted is decoded again (`read_to`), which is quick."""
        return False

    def read_to(self, mark: dict[str, Any]) -> bool:
        """Go on with the picture of a mark."""
        self._from = mark["picture"][0]
        return True

    def ending(self) -> dict[str, Any]:
        """What is told of both when they are read, for `restore`."""
        ticks = [self._ticks.numerator, self._ticks.denominator]
        damage = {"damaged": self.frames_damaged, "lost": self.frames_lost}
        return {"problem": self.problem, "ticks": ticks, **damage}

    def restore(self, ending: dict[str, Any]) -> None:
        """As if both had been read to their ends here."""
        self._ending, self._ticks = ending, Fraction(*ending["ticks"])

    def _numbered(self) -> Iterator[tuple[int, Labels]]:
        """Each label picture with its place in the list of times."""
        count = len(self._labels.times.pts)
        place = -1
        for place, labels in enumerate(self._labels):
            if place >= count:
                break
            yield place, labels
        self._ended_early = place + 1 < count

    def _order(self, place: int, picture: Picture) -> int:
        """Whether the labels at `place` belong before (-1), to (0) or after (1) a picture.

        Times are compared exactly. Only where the clocks differ, in a copy of the video in another container, does
        half a tick of the coarser one count as the same: that is what its rounding may have moved.
        """
        times = self._labels.times
        if picture.pts is None or picture.time_base is None:
            gap, slack = Fraction(times.numbers[place] - picture.index), Fraction(0)
        else:
            gap = times.pts[place] * times.time_base - picture.pts * picture.time_base
            coarser = max(times.time_base, picture.time_base)
            slack = Fraction(0) if times.time_base == picture.time_base else coarser / 2
        return 0 if abs(gap) <= slack else (1 if gap > 0 else -1)

    def _pair(self, picture: Picture, place: int, labels: Labels) -> Picture:
        if labels.shape != picture.size:
            found, expected = ("x".join(map(str, size)) for size in (labels.shape, picture.size))
            raise input_error(
                f"the labels are {found} and {self._source_name} is {expected}; it is not what they were made from"
            )
        if picture.time_base is None:
            return replace(picture, labels=labels)
        duration = self._labels.times.durations[place] * self._labels.times.time_base
        self._ticks += duration
        return replace(picture, labels=labels, duration=round(duration / picture.time_base))


def _report(
    config: PaintConfig, plan: Plan, pairs: _Pairs, sink: Sink, lanes: Lanes, before: int, seconds: float
) -> dict[str, Any]:
    return {
        "labels": str(config.labels),
        "input": config.source,
        "output": str(config.output),
        "view": plan.view,
        "frames": lanes.done,
        "frames_damaged": pairs.frames_damaged,
        "frames_lost": pairs.frames_lost,
        "problem": pairs.problem,
        "left_out": list(sink.left_out),
        "duration_s": pairs.duration_s,
        "seconds": seconds,
        "end_to_end_fps": (lanes.done - before) / seconds,
        "frames_before": before,
        "stages_ms": {stage: lanes.times[stage].median for stage in ("decode", "render", "encode")},
    }


__all__ = ["DamagedInputError", "FrameDone", "paint"]

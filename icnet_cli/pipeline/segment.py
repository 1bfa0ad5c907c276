"""`icnet segment`: road video or pictures in, per-pixel classes out.

Everything that can be refused is refused before torch is imported and weights are read.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from icnet_cli.config import STDOUT, SegmentConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.pixels.cv import cv2

from .artist import Artist
from .description import describe_classes
from .items import Labels, Picture
from .lanes import FrameDone, Lanes, Notice, no_signals
from .outputs import Plan, Source, plan_output
from .palette import read_palette, recolour
from .sinks import Sink, open_sink
from .sources import Selection, VideoSource, open_source
from .stats import StatsFile

if TYPE_CHECKING:
    from icnet_cli.inference.segmenter import Segmenter

__all__ = ["DamagedInputError", "FrameDone", "segment"]


class DamagedInputError(IcnetError):
    """The input was damaged; what could be decoded has been written, and `report` tells of it."""

    def __init__(self, message: str, report: dict[str, Any]) -> None:
        super().__init__(message, ExitCode.INPUT)
        self.report = report


def segment(
    config: SegmentConfig, segmenter: Segmenter | None = None
) -> Generator[FrameDone | Notice, None, dict[str, Any]]:
    """Label every picture of a source and write what is asked for; a generator that ends with its report.

    Args:
        segmenter: instead of loading `config.weights`; then its device, precision and size hold.

    Returns:
        The report of `icnet segment --json`. `seconds` and `end_to_end_fps` are of the run proper, `startup_s` of
        loading the weights.

    Raises:
        IcnetError: for anything refused, missing or failing; nothing is then left under the output's name.
        DamagedInputError: for a damaged input, after the output is complete.
    """
    config.check()
    palette = read_palette(config.palette)
    with ExitStack() as stack:
        source = open_source(config.source, _selection(config), config.stream, config.max_pixels)
        lanes: Lanes | None = None
        stack.callback(lambda: source.close() if lanes is None or lanes.stopped else None)
        plan = plan_output(config, source)
        with no_signals():
            sink = open_sink(plan, config, source)
            stack.callback(lambda: sink.abort() if lanes is None or not lanes.started else None)
        stats = _stats(config, plan, source, stack)

        started = time.perf_counter()
        segmenter = segmenter or (yield from _load(config, source))
        segmenter.reset_times()
        classes = recolour(segmenter.classes, palette)
        artist = Artist(config, plan.view, source, classes)
        sink.begin(describe_classes(classes, config.ids, plan.view))
        tally = _Tally(segmenter, stats, config.confidence)

        running = time.perf_counter()
        lanes = Lanes(iter(source), tally.label, artist.render, sink, source.total)
        yield from lanes.run()
        if stats is not None:
            stats.close()
        seconds = time.perf_counter() - running
        report = _report(config, plan, source, sink, lanes, tally, artist)
        report |= {"seconds": seconds, "startup_s": running - started}
        report["end_to_end_fps"] = lanes.done / seconds
    if report["problem"]:
        raise DamagedInputError(f"{report['problem']}; {written(config)} what could be decoded", report)
    return report


def written(config: SegmentConfig) -> str:
    """Where the pictures are now, in words."""
    return "stdout was given" if str(config.output) == STDOUT else f"{config.output} holds"


def _selection(config: SegmentConfig) -> Selection:
    return Selection(config.start_s, config.end_s, config.frames, config.every)


def _stats(config: SegmentConfig, plan: Plan, source: Source, stack: ExitStack) -> StatsFile | None:
    if config.stats is None:
        return None
    stats = StatsFile(config.stats, overwrite=config.overwrite, inputs=source.paths, output=plan.target)
    stack.callback(stats.abort)
    return stats


def _load(config: SegmentConfig, source: Source) -> Generator[Notice, None, Segmenter]:
    from icnet_cli.inference.choice import Work
    from icnet_cli.inference.segmenter import load

    # Pictures may differ in size, and each size would be another network to build; a video has one.
    size = source.size if isinstance(source, VideoSource) else config.size
    work = Work(source.total, size)
    segmenter = load(config.weights, config.device, config.precision, config.size, config.backend, work)
    if size is not None:
        to_build = segmenter.still_to_build(*size)
        if to_build:
            yield Notice(to_build)
        segmenter.warm(*size)
    return segmenter


class _Tally:
    """Labels pictures, counts the pixels of each class, and writes the statistics' rows."""

    def __init__(self, segmenter: Segmenter, stats: StatsFile | None, confidence: bool) -> None:
        self.segmenter, self._stats, self._confidence = segmenter, stats, confidence
        self.input_size: tuple[int, int] | None = None
        self._pixels = np.zeros(256)

    def label(self, picture: Picture) -> Labels:
        confidence: float | None = None
        if self._confidence:
            labels, confidence = _labels_and_confidence(self.segmenter, picture)
        else:
            labels = self.segmenter.labels(picture.rgb)
        self.input_size = self.input_size or self.segmenter.input_size(*labels.shape)
        pixels = cv2.calcHist([labels], [0], None, [256], [0, 256]).reshape(-1)
        self._pixels += pixels
        if self._stats is not None:
            self._stats.write(picture, self._share_of(pixels), confidence)
        return labels

    @property
    def class_share(self) -> dict[str, float]:
        return self._share_of(self._pixels)

    def _share_of(self, pixels: np.ndarray) -> dict[str, float]:
        names = self.segmenter.classes.names
        return dict(zip(names, (pixels[: len(names)] / pixels.sum()).tolist(), strict=True))


def _labels_and_confidence(segmenter: Segmenter, picture: Picture) -> tuple[Labels, float]:
    """Labels, and the mean over the network's small score map of the largest softmax: near that of every pixel."""
    scores = segmenter.forward(segmenter.prepare([picture.rgb]))
    confidence = float(scores.float().softmax(dim=1).amax(dim=1).mean())
    return segmenter.postprocess(scores, picture.size)[0], confidence


def _report(
    config: SegmentConfig,
    plan: Plan,
    source: Source,
    sink: Sink,
    lanes: Lanes,
    tally: _Tally,
    artist: Artist,
) -> dict[str, Any]:
    segmenter, times = tally.segmenter, lanes.times
    return {
        "input": config.source,
        "output": str(config.output),
        "view": plan.view,
        "frames": lanes.done,
        "frames_damaged": source.frames_damaged,
        "frames_lost": source.frames_lost,
        "problem": source.problem,
        "left_out": list(sink.left_out),
        "duration_s": source.duration_s,
        "device": str(segmenter.device),
        "precision": segmenter.precision,
        "backend": segmenter.backend,
        "model": segmenter.meta.model,
        "size": list(tally.input_size or ()),
        "output_size": list(artist.output_size or ()),
        "stages_ms": {
            "decode": times["decode"].median,
            **segmenter.stages_ms,
            "render": times["render"].median,
            "encode": times["encode"].median,
        },
        **_tails(
            {
                "decode": times["decode"].recent,
                **segmenter.stage_times,
                "render": times["render"].recent,
                "encode": times["encode"].recent,
            }
        ),
        "class_share": tally.class_share,
    }


def _tails(stages: dict[str, tuple[float, ...]]) -> dict[str, dict[str, float]]:
    """The slow end of each stage: the milliseconds that 95 and 99 of 100 pictures stay under."""
    return {
        f"stages_ms_p{share}": {
            name: float(np.percentile(times or (0.0,), share)) for name, times in stages.items()
        }
        for share in (95, 99)
    }

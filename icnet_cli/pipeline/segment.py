"""`icnet segment`: road video or pictures in, per-pixel classes out.

Everything that can be refused is refused before torch is imported and weights are read.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.classes import ClassTable
from icnet_cli.config import SegmentConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.pixels.cv import cv2
from icnet_cli.pixels.legend import Legend
from icnet_cli.pixels.overlay import Painter
from icnet_cli.pixels.yuv import YuvColour

from .items import Labels, Picture
from .lanes import FrameDone, Lanes
from .outputs import Plan, plan_output
from .palette import read_palette, recolour
from .sinks import Rendered, Sink, describe_classes, open_sink
from .sources import PictureSource, Selection, VideoSource, open_source

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
) -> Generator[FrameDone, None, dict[str, Any]]:
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
        source = open_source(config.source, _selection(config), config.stream)
        lanes: Lanes | None = None
        stack.callback(lambda: source.close() if lanes is None or lanes.stopped else None)
        plan = plan_output(config, source)
        sink = _sink(config, plan, source)
        stack.callback(lambda: sink.abort() if lanes is None else None)

        started = time.perf_counter()
        segmenter = segmenter or _load(config)
        segmenter.reset_times()
        classes = recolour(segmenter.classes, palette)
        artist = _Artist(config, plan, source, classes)
        sink.begin(describe_classes(classes, config.ids, plan.view))
        tally = _Tally(segmenter, artist)

        running = time.perf_counter()
        lanes = Lanes(iter(source), tally.label, artist.render, sink, source.total)
        yield from lanes.run()
        seconds = time.perf_counter() - running
        report = _report(config, plan, source, sink, lanes, tally)
        report |= {"seconds": seconds, "startup_s": running - started}
        report["end_to_end_fps"] = lanes.done / seconds
    if report["problem"]:
        raise DamagedInputError(f"{report['problem']}; {config.output} holds what could be decoded", report)
    return report


def _selection(config: SegmentConfig) -> Selection:
    return Selection(config.start_s, config.end_s, config.frames, config.every)


def _sink(config: SegmentConfig, plan: Plan, source: VideoSource | PictureSource) -> Sink:
    if not isinstance(source, VideoSource):
        return open_sink(plan, config, None, None)
    height, width = source.size
    size = (height, 2 * width) if plan.view == "side-by-side" else (height, width)
    # Painted on the planes as they were decoded; labels, and pictures in files, want no planes.
    source.wants_planes = plan.kind == "video" and plan.view != "labels"
    return open_sink(plan, config, source.reader, size)


def _load(config: SegmentConfig) -> Segmenter:
    from icnet_cli.inference.segmenter import load

    return load(config.weights, config.device, config.precision, config.size)


class _Artist:
    """Makes of a picture and its labels what the sink takes."""

    def __init__(
        self, config: SegmentConfig, plan: Plan, source: VideoSource | PictureSource, classes: ClassTable
    ) -> None:
        self._view, self._alpha, self._legend = plan.view, config.alpha, config.legend
        self._names, self._palette = classes.names, classes.palette_array()
        self._values = classes.ids_of_train_ids() if config.ids == "dataset" else None
        self._colour = YuvColour()
        if isinstance(source, VideoSource):
            colour = source.reader.info.colour
            self._colour = YuvColour.named(colour.matrix_name, colour.full_range)
        self.output_size: tuple[int, int] | None = None

    def render(self, picture: Picture, labels: Labels) -> Rendered:
        if self._view == "labels":
            self.output_size = picture.size
            return labels if self._values is None else cv2.LUT(labels, self._values)
        painter = self._painter(picture.size)
        self.output_size = painter.output_size(picture.size)
        if picture.planes is not None:
            return painter.paint_planes(picture.planes, labels, self._colour)
        return painter.paint_rgb(picture.rgb, labels)

    @lru_cache(maxsize=4)  # noqa: B019  (an artist lives as long as its job; pictures may differ in size)
    def _painter(self, size: tuple[int, int]) -> Painter:
        legend = Legend(self._names, self._palette, size) if self._legend else None
        return Painter(self._palette, self._view, self._alpha, legend)


class _Tally:
    """Labels pictures, and counts the pixels of each class."""

    def __init__(self, segmenter: Segmenter, artist: _Artist) -> None:
        self.segmenter, self.artist = segmenter, artist
        self.input_size: tuple[int, int] | None = None
        self._pixels = np.zeros(256)

    def label(self, rgb: NDArray[np.uint8]) -> Labels:
        labels = self.segmenter.labels(rgb)
        self.input_size = self.input_size or self.segmenter.input_size(*labels.shape)
        self._pixels += cv2.calcHist([labels], [0], None, [256], [0, 256]).reshape(-1)
        return labels

    @property
    def class_share(self) -> dict[str, float]:
        names = self.segmenter.classes.names
        return dict(zip(names, (self._pixels[: len(names)] / self._pixels.sum()).tolist(), strict=True))


def _report(
    config: SegmentConfig,
    plan: Plan,
    source: VideoSource | PictureSource,
    sink: Sink,
    lanes: Lanes,
    tally: _Tally,
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
        "output_size": list(tally.artist.output_size or ()),
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

"""`icnet compare`: two weights on what is named, and the video or the page of it."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.checkpoints.bundled import find_weights
from icnet_cli.checkpoints.format import LoadedWeights, load_weights
from icnet_cli.checkpoints.start import refuse_trunk_only
from icnet_cli.config import CompareConfig
from icnet_cli.errors import usage_error
from icnet_cli.evaluation.compare import Comparison, PairDone
from icnet_cli.evaluation.evaluate import check_classes_fit
from icnet_cli.evaluation.folders import claim_folder
from icnet_cli.evaluation.page import PAGE, write_page
from icnet_cli.evaluation.predict import segmenter_of
from icnet_cli.inference.choice import Work, check_backend, device_for
from icnet_cli.inference.device import choose_device, choose_precision
from icnet_cli.inference.exported import ExportedEngine, is_exported, open_engine
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.outputs import refuse_unwritable
from icnet_cli.pixels.overlay import Painter
from icnet_cli.pixels.wipe import Wipe
from icnet_cli.reports.compare_page import compare_page
from icnet_cli.reports.figures import short_names
from icnet_cli.video import CONTAINERS, VideoWriter, check_output

from .material import FrameMaterial, Material, open_material
from .segment import DamagedInputError
from .sources import VideoSource

PAGE_SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class CompareDone:
    """After each picture. `disagreement` is the share of its pixels."""

    done: int
    total: int | None
    disagreement: float


def compare(config: CompareConfig) -> Generator[CompareDone, None, dict[str, Any]]:
    """Compare two weights; ends with the report of `icnet compare --json`.

    Raises:
        IcnetError: 2 for arguments and for weights of unlike classes, 3 for a source that cannot be read, 4 for
            weights, 5 for an output that cannot be written, 6 for the device.
        DamagedInputError: for a damaged source, after the output is complete.
    """
    config.check()
    # Wrong words are told before a file is read.
    check_backend(config.backend, config.device, config.precision)
    choose_precision(config.precision, choose_device(device_for(config.backend, config.device)))
    is_video = _is_video(config)
    a, b = (_load(name, config) for name in (config.a, config.b))
    check_classes_fit(a, b.meta.classes, b.path)
    with ExitStack() as stack:
        material = open_material(config)
        stack.callback(material.close)
        if material.classes is not None:
            check_classes_fit(a, material.classes, Path(config.source))
        output = _open_output(config, is_video, material, a.meta.classes.palette_array())
        stack.callback(lambda: output.abort() if output else None)
        segmenters = [_segmenter(one, config, material) for one in (a, b)]
        comparison = Comparison(*segmenters, in_order=material.kind == "video", apart=material.apart)
        started = time.perf_counter()
        for event in comparison.events(material.pictures()):
            if output is not None:
                output.add(material, event)
            yield CompareDone(event.done, material.total, event.differ)
        document = _document(config, material, segmenters, comparison, time.perf_counter() - started)
        if output is not None:
            document["output"] = str(output.path)
            output.finish(document, comparison)
    if material.problem:
        raise DamagedInputError(f"{material.problem}; compared on what could be decoded", document)
    return document


def _load(name: str, config: CompareConfig) -> LoadedWeights | ExportedEngine:
    path = find_weights(name)
    if is_exported(path):
        return open_engine(path, config.device, config.precision, config.backend)
    loaded = load_weights(path)
    refuse_trunk_only(loaded.meta, name)
    return loaded


def _segmenter(
    weights: LoadedWeights | ExportedEngine, config: CompareConfig, material: Material
) -> Segmenter:
    """On a dataset of the size at which `icnet eval` measures, so that the figures are those."""
    work = Work(material.total, material.one_size)
    return segmenter_of(weights, config, work, at_training_size=material.kind == "dataset")


def _document(
    config: CompareConfig,
    material: Material,
    segmenters: list[Segmenter],
    comparison: Comparison,
    seconds: float,
) -> dict[str, Any]:
    document = comparison.to_dict()
    for key, name, segmenter in zip("ab", (config.a, config.b), segmenters, strict=True):
        document[key] = {
            "weights": name,
            "model": segmenter.meta.model,
            "size": list(segmenter.input_size(*comparison.first_size)),
            "device": str(segmenter.device),
            "precision": segmenter.precision,
            "backend": segmenter.backend,
            **document[key],
        }
    return {
        "source": config.source,
        "kind": material.kind,
        "split": material.split,
        **document,
        "problem": material.problem,
        "seconds": seconds,
    }


# What is written ------------------------------------------------------------------------------------------------------


def _is_video(config: CompareConfig) -> bool:
    """Whether the output is a video, by its name; what is neither that nor a page is refused."""
    if config.output is None or config.output.is_dir():
        return False
    suffix = config.output.suffix.lower()
    if suffix in CONTAINERS:
        check_output(config.output)
        return True
    if suffix and suffix not in PAGE_SUFFIXES:
        raise usage_error(
            f"-o {config.output} is neither a video (.mp4 .mkv .mov .webm) nor a page (a folder, or .html)"
        )
    return False


def _titles(a: str, b: str) -> tuple[str, str]:
    """What the two are called in a picture: without their endings, where that tells them apart."""
    names = short_names(a, b)
    bare = [str(Path(name).with_suffix("")) for name in names]
    return (bare[0], bare[1]) if bare[0] != bare[1] else names


class _WipeVideo:
    """A video with A left of a moving border and B right of it; its other tracks and all times are the source's."""

    def __init__(
        self, path: Path, config: CompareConfig, source: VideoSource, palette: NDArray[np.uint8]
    ) -> None:
        self.path = path
        height, width = source.size
        a, b = _titles(config.a, config.b)
        self._wipe = Wipe(Painter(palette), (f"A {a}", f"B {b}"), source.size)
        self._writer: VideoWriter | None = VideoWriter(
            path, source.reader, width=width, height=height, overwrite=config.overwrite
        )
        self._start: float | None = None

    def add(self, material: Material, event: PairDone) -> None:
        assert isinstance(material, FrameMaterial)
        picture = material.current
        assert picture is not None
        assert picture.pts is not None
        assert self._writer is not None
        now = picture.seconds or 0.0
        self._start = now if self._start is None else self._start
        shown = self._wipe.paint(picture.rgb, event.a, event.b, now - self._start)
        self._writer.write(
            shown, pts=picture.pts, time_base=picture.time_base, duration=picture.duration or 0
        )

    def finish(self, document: dict[str, Any], comparison: Comparison) -> None:
        assert self._writer is not None
        document["left_out"] = list(self._writer.left_out)
        writer, self._writer = self._writer, None
        writer.close()  # which leaves nothing behind where it fails

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.abort()


class _Page:
    """The page, in a folder or as a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, material: Material, event: PairDone) -> None:
        """The comparison itself keeps what a page shows."""

    def finish(self, document: dict[str, Any], comparison: Comparison) -> None:
        text = compare_page(
            document,
            comparison.classes.palette_array(),
            comparison.shots,
            comparison.series,
            comparison.heat,
        )
        write_page(self.path, text, document)

    def abort(self) -> None:
        """Nothing is written before the end."""


def _open_output(
    config: CompareConfig, is_video: bool, material: Material, palette: NDArray[np.uint8]
) -> _WipeVideo | _Page | None:
    path = config.output
    if path is None:
        return None
    if is_video:
        if not isinstance(material, FrameMaterial) or not isinstance(material.source, VideoSource):
            raise usage_error(f"-o {path} is a video, and {config.source} is none; name a folder or .html")
        return _WipeVideo(path, config, material.source, palette)
    if path.suffix.lower() not in PAGE_SUFFIXES:
        claim_folder("-o", path, config.overwrite)
        return _Page(path / PAGE)
    refuse_unwritable(path, overwrite=config.overwrite)
    return _Page(path)

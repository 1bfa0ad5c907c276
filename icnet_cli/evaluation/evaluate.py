"""How well weights do on labelled pictures: one confusion matrix at the labels' own size."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

from icnet_cli.checkpoints.bundled import find_weights
from icnet_cli.checkpoints.format import LoadedWeights, load_weights
from icnet_cli.checkpoints.start import refuse_trunk_only
from icnet_cli.classes import ClassTable
from icnet_cli.config import EvalConfig
from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.data.layouts import recognise
from icnet_cli.errors import IcnetError, input_error, usage_error
from icnet_cli.evaluation.branches import (
    BranchStudy,
    Consumer,
    studied,
    with_ablation,
    with_branches,
)
from icnet_cli.evaluation.confusion import Confusion, Labels
from icnet_cli.evaluation.differences import Differences
from icnet_cli.evaluation.folders import PredictionFolder, claim_folder, claim_predictions, free_folder
from icnet_cli.evaluation.page import ReportPage
from icnet_cli.evaluation.predict import Image, Predictor, segmenter_of
from icnet_cli.evaluation.regions import RegionStudy
from icnet_cli.evaluation.report import EvalReport, Protocol
from icnet_cli.inference.choice import Work, check_backend, device_for
from icnet_cli.inference.device import choose_device, choose_precision
from icnet_cli.inference.exported import ExportedEngine, is_exported, open_engine

RUNS = Path("runs/eval")


@dataclass(frozen=True)
class ImageDone:
    """After each picture. `miou` is that of all pictures so far; `damaged` were left out."""

    done: int
    total: int
    name: str
    miou: float
    damaged: int


class Observer(Interface):
    """What else is made of every picture of an evaluation, and the keys that it adds to the report."""

    def add(self, name: str, image: Image, truth: Labels, labels: Labels) -> None: ...

    def figures(self) -> dict[str, Any]: ...


def evaluate(config: EvalConfig) -> Generator[ImageDone, None, EvalReport]:
    """Measure as `config` says; an event a picture, and the report as the generator's return value.

    Raises:
        IcnetError: before the first picture 2 arguments, 3 data, 4 weights, 6 device; later 3 for a picture
            that does not decode, 5 for a prediction that cannot be written, 6 where memory does not suffice.
    """
    config.check()
    # Wrong words are told before a file is read.
    check_backend(config.backend, config.device, config.precision)
    choose_precision(config.precision, choose_device(device_for(config.backend, config.device)))
    weights = _weights(config)
    layout = recognise(config.dataset)
    check_classes_fit(weights, layout.classes, config.dataset)
    dataset = SegmentationDataset(layout, [config.split], skip_damaged=config.skip_damaged)
    dataset.check_files()
    predictions = claim_predictions(config, dataset) if config.predictions else None
    work = Work(len(dataset), dataset.one_size)
    predictor = _predictor(config, weights, work)
    observers = _observers(config, weights, predictor, work)
    page = _page(config, weights)
    observers += [page] if page else []
    report = yield from Evaluation(dataset, predictor, predictions, observers).events(config)
    if page:
        page.write(report.to_dict())
    return report


def _weights(config: EvalConfig) -> LoadedWeights | ExportedEngine:
    """The network of a weights file as `config` wants it, or a file of `icnet export` as it is."""
    path = find_weights(config.weights)
    if not is_exported(path):
        loaded = load_weights(path)
        refuse_trunk_only(loaded.meta, config.weights)
        return with_ablation(with_branches(loaded, config.branches), config.ablation)
    engine = open_engine(path, config.device, config.precision, config.backend)
    for flag, value in (("--branches", config.branches), ("--ablation", config.ablation)):
        if value is not None:
            raise usage_error(f"{flag} needs the network itself, and {path} is an exported file")
    _check_averaging(config, engine)
    return engine


def _check_averaging(config: EvalConfig, engine: ExportedEngine) -> None:
    asked = {
        "--input-scale": config.input_scale != 1,
        "--scales": config.scales != (1.0,),
        "--flip": config.flip,
    }
    given = [flag for flag, wanted in asked.items() if wanted]
    if given and not engine.gives_scores:
        raise usage_error(
            f"{engine.path} gives labels, which can be neither scaled nor averaged; leave {' and '.join(given)} out"
        )
    scaled = " and ".join(flag for flag in given if flag != "--flip")
    if scaled and engine.fixed_size is not None:
        raise usage_error(
            f"{engine.path} takes pictures of one size alone; leave {scaled} out, or export with --dynamic"
        )


def _page(config: EvalConfig, weights: LoadedWeights | ExportedEngine) -> ReportPage | None:
    if config.report is None:
        return None
    claim_folder("--report", config.report, config.overwrite)
    return ReportPage(config.report, weights.meta.classes, None if config.regions else weights.meta.model)


def _predictor(config: EvalConfig, weights: LoadedWeights | ExportedEngine, work: Work) -> Predictor:
    segmenter = segmenter_of(weights, config, work, at_training_size=True)
    known = config.size or work.picture_size
    if known is not None:
        segmenter.warm(*known)
    return Predictor(segmenter, [scale * config.input_scale for scale in config.scales], config.flip)


def _observers(
    config: EvalConfig,
    weights: LoadedWeights | ExportedEngine,
    predictor: Predictor,
    work: Work,
) -> list[Observer]:
    consumers: list[Consumer] = []
    if config.regions:
        folder = config.output or free_folder(RUNS, weights.path.stem)
        claim_folder("-o", folder, config.overwrite)
        consumers.append(RegionStudy(folder, config.region_bin))
    if config.diff:
        claim_folder("--diff", config.diff, config.overwrite)
        consumers.append(Differences(config.diff, weights.meta.classes))
    names: tuple[str, ...] = ()
    if isinstance(weights, LoadedWeights):
        names = studied(weights.meta.config, config.branches, config.regions)
    if not (names or consumers):
        return []
    others = {name: _branch(config, weights, name, work) for name in names}
    last = weights.meta.config.get("branches") or weights.meta.model
    return [BranchStudy(others, (last, predictor), consumers)]


def _branch(config: EvalConfig, weights: LoadedWeights | ExportedEngine, name: str, work: Work) -> Predictor:
    assert isinstance(weights, LoadedWeights)
    return _predictor(config, with_branches(weights, name), replace(work, frames=0))


class Evaluation:
    """One pass of a predictor over a dataset."""

    def __init__(
        self,
        dataset: SegmentationDataset,
        predictor: Predictor,
        predictions: PredictionFolder | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.dataset, self.predictor, self.predictions = dataset, predictor, predictions
        self.observers = observers
        self.confusion = Confusion(dataset.classes.num_classes)
        self.damaged = dataset.num_damaged
        self._sizes: set[tuple[int, int]] = set()

    def events(self, config: EvalConfig) -> Generator[ImageDone, None, EvalReport]:
        """Measure every picture; of `config` the report has what the weights are called and what was ablated."""
        start = time.perf_counter()
        total = len(self.dataset)
        for index, sample in enumerate(self.dataset.samples):
            self._measure(index, sample.name)
            yield ImageDone(index + 1, total, sample.name, self.confusion.miou, self.damaged)
        if not self.predictor.images:
            raise input_error(f"no picture of {self.dataset.layout.root} could be decoded; restore its files")
        return self._report(config, time.perf_counter() - start)

    def _measure(self, index: int, name: str) -> None:
        try:
            image, truth = self.dataset.read(index)
        except IcnetError:
            # Whole by its structure (`check_files`), and yet it does not decode.
            if not self.dataset.skip_damaged:
                raise
            self.damaged += 1
            return
        labels = self.predictor.labels(image)
        self.confusion.update(truth, labels)
        self._sizes.add(self.predictor.segmenter.input_size(*truth.shape))
        if self.predictions:
            self.predictions.write(name, labels)
        for observer in self.observers:
            observer.add(name, image, truth, labels)

    def _report(self, config: EvalConfig, seconds: float) -> EvalReport:
        segmenter = self.predictor.segmenter
        protocol = Protocol(
            dataset=self.dataset.layout.name,
            split=",".join(self.dataset.splits),
            size=next(iter(self._sizes)) if len(self._sizes) == 1 else None,
            scales=self.predictor.scales,
            flip=self.predictor.flip,
            branches=segmenter.meta.config.get("branches"),
            ablation=config.ablation,
        )
        figures: dict[str, Any] = {"predictions": self.predictions.to_dict()} if self.predictions else {}
        for observer in self.observers:
            figures |= observer.figures()
        return EvalReport(
            weights=config.weights,
            model=segmenter.meta.model,
            classes=self.dataset.classes,
            confusion=self.confusion,
            protocol=protocol,
            images=self.predictor.images,
            images_damaged=self.damaged,
            model_ms=self.predictor.model_ms,
            seconds=seconds,
            device=str(segmenter.device),
            precision=segmenter.precision,
            backend=segmenter.backend,
            card=segmenter.meta.card,
            data=self.dataset.layout.root.resolve().name,
            figures=figures,
        )


def check_classes_fit(weights: LoadedWeights | ExportedEngine, found: ClassTable, dataset: Path) -> None:
    """Raise a usage error naming both sides unless the dataset's classes are the weights', in their order."""
    own = weights.meta.classes
    if own.names == found.names:
        return
    raise usage_error(
        f"{weights.path} knows {_in_words(own)}, but {dataset} has {_in_words(found)}; "
        "choose weights trained on these classes"
    )


def _in_words(classes: ClassTable) -> str:
    names = ", ".join(classes.names[:4]) + (", ..." if classes.num_classes > 4 else "")
    return f"the {classes.num_classes} classes of {classes.name} ({names})"

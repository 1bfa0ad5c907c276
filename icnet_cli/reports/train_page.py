"""The page of a training run, made from what its folder holds; a run that was stopped early has one, too.

A run folder holds `run.json` (what was asked for), `metrics.csv`, `environment.json` (where it ran, from which
step on) and `samples/`: a few validation pictures, their truth, and what the network said of them at each evaluation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.classes import IGNORE_INDEX, ClassTable
from icnet_cli.documents import read_json
from icnet_cli.errors import IcnetError, input_error
from icnet_cli.pixels.files import labels_at, read_picture
from icnet_cli.reports.axes import Point
from icnet_cli.reports.figures import class_key, labels_figure, photo, score, short_name
from icnet_cli.reports.html import Child, Html, Section, el, facts, page, paragraph, tiles
from icnet_cli.reports.plots import SMOOTH_FROM, read_metrics, smoothed
from icnet_cli.reports.svg import Chart, line_chart, thinned

RUN_FILE, METRICS_FILE, ENVIRONMENT_FILE = "run.json", "metrics.csv", "environment.json"
SAMPLES, CLASSES_FILE = "samples", "classes.json"
PAGE = "report.html"
SHOWN = 6  # predictions of one picture, from the first evaluation to the last
_MOST_SAMPLES = 8
_PREDICTION = re.compile(r"(\d{1,12})-(\d{1,3})\.png")

_NOTHING: tuple[Any, ...] = (None, False, [], {}, "")
_PATHS = ("dataset", "recipe", "pretrained", "teachers")
_NOT_TOLD = ("dataset", "output", "resume")
_TITLES = {"icnet": "icnet", "cpu": "CPU", "gpu": "GPU", "cuda": "CUDA"}

Row = Mapping[str, float]


@dataclass(frozen=True)
class SamplePicture:
    """One validation picture over the run: its labels by step."""

    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    predictions: Mapping[int, NDArray[np.uint8]]


@dataclass(frozen=True)
class RunRecord:
    """What a run folder tells. Only `rows` is always there."""

    name: str
    rows: Sequence[Row]
    run: Mapping[str, Any] = field(default_factory=dict)
    environments: Sequence[Mapping[str, Any]] = ()
    classes: ClassTable | None = None
    samples: Sequence[SamplePicture] = ()


def sample_path(folder: Path, what: str, number: int) -> Path:
    """`what` is image, truth, or a step."""
    suffix = ".jpg" if what == "image" else ".png"
    return folder / SAMPLES / f"{what}-{number}{suffix}"


def read_run(folder: Path) -> RunRecord:
    """The record in a run folder. What is missing or damaged beside the metrics is left out of the page.

    Raises:
        IcnetError: INPUT where the folder holds no metrics of a run.
    """
    if not (folder / METRICS_FILE).is_file():
        raise input_error(
            f"{folder} holds no {METRICS_FILE}; name the folder of a training run that has taken steps"
        )
    run, environments = _json(folder / RUN_FILE), _json(folder / ENVIRONMENT_FILE)
    known = [one for one in environments if isinstance(one, dict)] if isinstance(environments, list) else []
    classes = _classes(folder / SAMPLES / CLASSES_FILE)
    return RunRecord(
        name=folder.resolve().name,
        rows=read_metrics(folder / METRICS_FILE),
        run=run if isinstance(run, dict) else {},
        environments=known,
        classes=classes,
        samples=_samples(folder) if classes else (),
    )


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def _classes(path: Path) -> ClassTable | None:
    document = _json(path)
    try:
        return ClassTable.from_dict(document) if isinstance(document, dict) else None
    except IcnetError:
        return None


def _samples(folder: Path) -> list[SamplePicture]:
    found: dict[int, dict[int, Path]] = {}
    for path in (folder / SAMPLES).glob("*.png"):
        match = _PREDICTION.fullmatch(path.name)
        if match and int(match[2]) < _MOST_SAMPLES:
            found.setdefault(int(match[2]), {})[int(match[1])] = path
    samples = []
    for number in sorted(found):
        try:
            image = read_picture(sample_path(folder, "image", number))
            truth = _labels(sample_path(folder, "truth", number))
            steps = thinned(sorted(found[number]), SHOWN)
            predictions = {step: _labels(found[number][step]) for step in steps}
        except IcnetError:
            continue  # killed while it was written
        samples.append(SamplePicture(image, truth, predictions))
    return samples


def _labels(path: Path) -> NDArray[np.uint8]:
    return np.ascontiguousarray(read_picture(path)[..., 0])  # a grey picture read as RGB


def train_page(record: RunRecord) -> str:
    """The page as HTML."""
    document = run_document(record)
    sections = [
        Section("headline", "Headline figures", [tiles(_headline(document))], "Headline"),
        Section("curves", "Curves", [_curves(record)]),
    ]
    if record.samples and record.classes:
        sections.append(Section("samples", "Predictions over time", _over_time(record), "Predictions"))
    sections.append(Section("setup", "What was asked for", [facts(_setup(record))], "Setup"))
    if record.environments:
        sections.append(Section("machine", "Where it ran", _machines(record), "Machine"))
    palette = dict(zip(record.classes.names, record.classes.palette, strict=True)) if record.classes else {}
    what = record.run.get("model", "Training")
    lead = f"{what}: best mIoU {score(document['best_miou'])} after {document['step']} steps."
    return page(f"Training run {record.name}", lead, sections, document, palette)


def run_document(record: RunRecord) -> dict[str, Any]:
    """The page's figures as JSON has them."""
    evaluations = [
        {
            "step": int(row["step"]),
            "miou": _finite(row["miou"]),
            "pixel_accuracy": _finite(row.get("pixel_accuracy")),
        }
        for row in record.rows
        if "miou" in row
    ]
    known = [one for one in evaluations if one["miou"] is not None]
    best = max(known, key=lambda one: one["miou"] or 0.0, default=None)
    losses = [row["loss"] for row in record.rows if "loss" in row]
    rates = [row["images_per_s"] for row in record.rows if math.isfinite(row.get("images_per_s", math.nan))]
    last = record.rows[-1] if record.rows else {}
    return {
        "run": record.name,
        "model": record.run.get("model"),
        "best_miou": best["miou"] if best else None,
        "best_step": best["step"] if best else None,
        "step": int(last.get("step", 0)),
        "epoch": _finite(last.get("epoch")),
        "seconds": _finite(last.get("seconds")),
        "last_loss": _finite(losses[-1]) if losses else None,
        "images_per_s": median(rates) if rates else None,
        "evaluations": evaluations,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _headline(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    number = len(document["evaluations"])
    evaluations = "1 evaluation" if number == 1 else f"{number} evaluations"
    at = f"at step {document['best_step']}, of {evaluations}" if number else "not evaluated yet"
    if number and document["best_step"] is None:
        at = f"no labelled pixel in {evaluations}"
    figures = [("Best mIoU", score(document["best_miou"]), at)]
    figures.append(("Steps", str(document["step"]), f"epoch {document['epoch'] or 0:.0f}"))
    if document["last_loss"] is not None:
        figures.append(("Loss", f"{document['last_loss']:.4f}", "of the last step written down"))
    if document["images_per_s"] is not None:
        figures.append(("Throughput", f"{document['images_per_s']:.1f}", "images/s, median"))
    if document["seconds"] is not None:
        figures.append(("Time", _clock(document["seconds"]), "training, all parts of a resumed run"))
    return figures


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _curves(record: RunRecord) -> Html:
    loss, faded = {"loss": _points(record.rows, "loss")}, frozenset[str]()
    if len(loss["loss"]) >= SMOOTH_FROM:
        loss, faded = {"smoothed": smoothed(loss["loss"]), "each row": loss["loss"]}, frozenset({"each row"})
    accuracy = {
        "mIoU": _points(record.rows, "miou"),
        "pixel accuracy": _points(record.rows, "pixel_accuracy"),
    }
    charts = [
        Chart(loss, _told("Loss", next(iter(loss.values()))), "step", "loss", faded, low=0.0),
        Chart(
            accuracy, _told("mIoU", accuracy["mIoU"]), "step", "on the validation split", low=0.0, high=1.0
        ),
    ]
    for name, words in (("lr", "learning rate"), ("images_per_s", "images a second")):
        points = _points(record.rows, name)
        charts.append(Chart({words: points}, _told(words.capitalize(), points), "step", words, low=0.0))
    return el("div", [line_chart(chart) for chart in charts], class_="charts")


def _points(rows: Sequence[Row], name: str) -> list[Point]:
    return [(row["step"], row[name]) for row in rows if name in row]


def _told(name: str, points: Sequence[Point]) -> str:
    """A curve in words."""
    known = [point for point in points if all(map(math.isfinite, point))]
    if not known:
        return f"{name}: no values yet"
    (x0, y0), (x1, y1) = known[0], known[-1]
    return f"{name} from {y0:.4g} at step {x0:.0f} to {y1:.4g} at step {x1:.0f}"


def _over_time(record: RunRecord) -> list[Html]:
    assert record.classes is not None
    names, palette = record.classes.names, record.classes.palette_array()
    parts: list[Html] = [
        paragraph(
            "The same validation pictures at evaluations from the first to the last. Hatched: not labelled. "
            "A pointer over a picture of classes names the class."
        ),
        class_key(names, palette.tolist()),
    ]
    for number, sample in enumerate(record.samples, start=1):
        pictures = [
            photo(sample.image, f"Input of picture {number}", "Input"),
            labels_figure(sample.truth, names, palette, "Truth", "Truth"),
        ]
        for step, labels in sample.predictions.items():
            pictures.append(
                labels_figure(labels, names, palette, f"Prediction at step {step}", _right(sample, step))
            )
        parts.append(el("article", el("h3", f"Picture {number}"), el("div", pictures, class_="quad")))
    return parts


def _right(sample: SamplePicture, step: int) -> str:
    labels = sample.predictions[step]
    truth = labels_at(sample.truth, labels.shape)
    counted = truth != IGNORE_INDEX
    if not counted.any():
        return f"Step {step}: nothing is labelled"
    return f"Step {step}: {float((truth == labels)[counted].mean()):.1%} right"


def _setup(record: RunRecord) -> list[tuple[str, Child]]:
    run = record.run
    recipe, config = (run[key] if isinstance(run.get(key), dict) else {} for key in ("recipe", "config"))
    pairs: list[tuple[str, Child]] = []
    if "dataset" in run:
        pairs.append(("Dataset", _words("dataset", run["dataset"])))
    for title, key in (("Network", "model"), ("Batch", "batch"), ("Batches a step", "accumulate")):
        if key in run:
            pairs.append((title, str(run[key])))
    if "lr" in run:
        pairs.append(("Base learning rate", f"{run['lr']}"))
    if run.get("processes", 1) != 1:
        pairs.append(("Processes", str(run["processes"])))
    # What is empty and options that were left alone say nothing; folders are the machine's own.
    pairs += [
        (f"Recipe: {_spaced(key)}", _words(key, value))
        for key, value in recipe.items()
        if value not in _NOTHING
    ]
    told = {key: value for key, value in config.items() if value not in _NOTHING and key not in _NOT_TOLD}
    pairs += [(f"Option: {_spaced(key)}", _words(key, value)) for key, value in told.items()]
    return pairs or [("Setup", f"{RUN_FILE} is missing or damaged")]


def _spaced(key: str) -> str:
    return key.replace("_", " ")


def _words(key: str, value: Any) -> str:
    """A value of a recipe or an option; of a path its last part."""
    if isinstance(value, Mapping):
        return ", ".join(
            f"{_spaced(name)} {_words(name, part)}" for name, part in value.items() if part not in _NOTHING
        )
    if isinstance(value, list):
        return ", ".join(_words(key, part) for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return short_name(str(value)) if key in _PATHS else str(value)


def _machines(record: RunRecord) -> list[Html]:
    parts = []
    for one in record.environments:
        known = {key: value for key, value in one.items() if value is not None and key != "step"}
        pairs = [(_TITLES.get(key, _spaced(key).capitalize()), str(value)) for key, value in known.items()]
        if len(record.environments) > 1:
            parts.append(el("h3", f"From step {one.get('step', 0)} on"))
        parts.append(facts(pairs))
    return parts

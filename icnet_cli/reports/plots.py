"""What is plotted: a run's metrics over its steps, and named points such as mIoU against frames a second."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from icnet_cli.errors import input_error

from .axes import PANEL_HEIGHT, Panel, Point, draw_panels, finite_range

SMOOTH_FROM = 60  # a loss curve of fewer points is drawn as it is

METRICS_COLUMNS = ("step", "epoch", "loss", "lr", "miou", "pixel_accuracy", "images_per_s", "seconds")


class ScatterPoint(NamedTuple):
    """One named point; points of one group share a colour and stand in the legend."""

    name: str
    x: float
    y: float
    group: str = ""


def plot_scatter(
    points: Iterable[ScatterPoint], path: Path, title: str = "", xlabel: str = "", ylabel: str = ""
) -> None:
    """Write named points as a PNG, each with its name beside it: mIoU against fps, say."""
    groups: dict[str, list[Point]] = {}
    names: dict[Point, str] = {}
    for point in points:
        groups.setdefault(point.group, []).append((point.x, point.y))
        names[point.x, point.y] = point.name
    panel = Panel(groups, title, xlabel, ylabel, lines=False, labels=names)
    draw_panels([panel], path, panel_height=2 * PANEL_HEIGHT)


def plot_training(metrics: Path, path: Path) -> None:
    """Write a run's loss, mIoU and learning rate as one PNG of three panels over the steps.

    Args:
        metrics: the run's metrics.csv (`METRICS_COLUMNS`), miou empty on rows without an evaluation.
            A last row cut short by a kill is left out. A step's rows are one: a row of its own may
            hold its evaluation, and where a resumed run wrote a step again the later values hold.
        path: the PNG.

    Raises:
        IcnetError: input, a file that is not a metrics.csv; output, a PNG that cannot be written.
    """
    rows = read_metrics(metrics)
    loss = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    curves, faded = {"loss": loss}, frozenset[str]()
    if len(loss) >= SMOOTH_FROM:
        curves, faded = {"each row": loss, "smoothed": smoothed(loss)}, frozenset({"each row"})
    miou = {"miou": [(row["step"], row["miou"]) for row in rows if "miou" in row]}
    rate = {"lr": [(row["step"], row["lr"]) for row in rows if "lr" in row]}
    best = max((y for _, y in miou["miou"] if math.isfinite(y)), default=None)
    heading = "mIoU" if best is None else f"mIoU, best {best:.4f}"
    panels = [
        Panel(curves, "Loss", faded=faded, from_zero=True),
        Panel(miou, heading, from_zero=True),
        Panel(rate, "Learning rate", xlabel="step", from_zero=True),
    ]
    draw_panels(panels, path, panel_height=250, x_range=finite_range(row["step"] for row in rows))


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows in order of their steps, empty cells left out."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = {"step", "loss", "lr", "miou"} - set(reader.fieldnames or ())
            lines = [] if missing else list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise input_error(f"{path} cannot be read as a run's metrics.csv: {error}") from error
    if missing:
        raise input_error(f"{path} is not a run's metrics.csv: it has no column {', '.join(sorted(missing))}")
    by_step: dict[float, dict[str, float]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = {name: float(cell) for name, cell in line.items() if name in METRICS_COLUMNS and cell != ""}
            by_step.setdefault(row["step"], {}).update(row)
        except (TypeError, ValueError, KeyError) as error:
            if number < len(lines):  # the last row may have been cut short by a kill
                raise input_error(f"{path}: row {number} is not a row of metrics: {error}") from error
    return [by_step[step] for step in sorted(by_step)]


def smoothed(points: Sequence[Point]) -> list[Point]:
    """A running mean over a fiftieth of the curve.

    The window is centred, but at the end only its past half stays (a curve that ends in one noisy
    row seems to turn), and at the start it shrinks to nothing, where the loss falls steeply.
    """
    half = max(2, len(points) // 100)
    values = np.array([y for _, y in points])
    means = []
    for i, (x, _) in enumerate(points):
        reach = min(half, i)
        means.append((x, float(values[i - reach : i + reach + 1].mean())))
    return means

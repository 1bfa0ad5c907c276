"""A pruning run's folder: what it is to do, how far it is, and its result as JSON, CSV and a plot.

prune.json            the plan and the rows measured so far
step-0.safetensors    the weights it starts from; step-1 ... are fine-tuned
step-1/               the training run after the first cut
pruned.safetensors, steps.csv, miou-ms.png
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from icnet_cli.checkpoints.format import write_atomically
from icnet_cli.config import PruneConfig
from icnet_cli.documents import read_json
from icnet_cli.errors import IcnetError, input_error
from icnet_cli.pruning.widths import Step
from icnet_cli.reports.plots import ScatterPoint, plot_scatter
from icnet_cli.training.recipe import Recipe, recipe_from_dict

RUNS = Path("runs/prune")
STATE_FILE = "prune.json"
_PATHS = ("data", "output", "resume")
_SIZES = ("size", "crop")


@dataclass
class Row:
    """One network of the run: the parent (no cut), then each step's.

    Attributes:
        keep: share of the full-width network's channels; ms: of the network alone, on the device at the run's size.
        miou_before, miou_pruned, miou_tuned: before the cut, after it (BatchNorm recalibrated) and after tuning;
            None where there is no data, or where it has not come to that.
        held: False for a step that `--max-drop` took back.
    """

    keep: float
    params_m: float
    gflops: float
    ms: float
    miou_before: float | None = None
    miou_pruned: float | None = None
    miou_tuned: float | None = None
    held: bool = True
    done: bool = False


@dataclass
class State:
    """Everything that an interrupted run needs to go on; written after each change.

    Attributes:
        dataset: where the data is (this file stays on the machine). recipe: of the fine-tuning; None without it.
        sensitivity: accuracy lost by group, as far as it is measured, for `--target-ms`.
        finished: all steps are done, and the output is written or about to be.
    """

    config: dict[str, Any]
    name: str
    dataset: str | None
    recipe: dict[str, Any] | None
    size: tuple[int, int]
    sensitivity: dict[str, float] = field(default_factory=dict)
    plan: list[Step] | None = None
    start: Row | None = None
    rows: list[Row] = field(default_factory=list)
    finished: bool = False

    def save(self, folder: Path) -> None:
        """Write it down, whole or not at all."""
        text = json.dumps(asdict(self), indent=1)
        write_atomically(folder / STATE_FILE, lambda part: part.write_text(text, encoding="utf-8"))

    @property
    def prune_config(self) -> PruneConfig:
        """What the run was told."""
        known = {item.name for item in fields(PruneConfig)}
        values = {key: value for key, value in self.config.items() if key in known}
        values |= {key: Path(values[key]) for key in _PATHS if values.get(key) is not None}
        values |= {key: tuple(values[key]) for key in _SIZES if values.get(key) is not None}
        return PruneConfig(**values)

    @property
    def tuning_recipe(self) -> Recipe | None:
        """How it fine-tunes; None for a run that only cuts."""
        return None if self.recipe is None else recipe_from_dict(self.recipe, STATE_FILE)


def load_state(folder: Path) -> State:
    """Raises IcnetError, exit 3, where `folder` holds no pruning run."""
    try:
        document = read_json(folder / STATE_FILE)
        plan = document["plan"]
        return State(
            **document
            | {
                "size": tuple(document["size"]),
                "plan": None if plan is None else [Step(keep, counts) for keep, counts in plan],
                "start": None if document["start"] is None else Row(**document["start"]),
                "rows": [Row(**row) for row in document["rows"]],
            }
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise damaged(folder) from error


def damaged(folder: Path) -> IcnetError:
    """To be raised by the caller."""
    return input_error(f"{folder} is not a pruning run to resume: {STATE_FILE} is missing or damaged")


@dataclass(frozen=True)
class PruneReport:
    """The command's result.

    Attributes:
        start: the network it began with; steps: one a cut; rolled_back: whether `max_drop` ended it early.
    """

    start: Row
    steps: list[Row]
    output: Path
    run_dir: Path
    model: str
    size: tuple[int, int]
    device: str
    precision: str
    rolled_back: bool

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `icnet prune --json`."""
        return {
            "steps": [_shown(row) for row in self.steps],
            "output": str(self.output),
            "start": _shown(self.start),
            "run_dir": str(self.run_dir),
            "model": self.model,
            "size": list(self.size),
            "device": self.device,
            "precision": self.precision,
            "rolled_back": self.rolled_back,
        }

    def write(self) -> None:
        """steps.csv, and miou-ms.png where mIoU was measured, into the run folder."""
        rows = [_shown(row) for row in (self.start, *self.steps)]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(
            self.run_dir / "steps.csv", lambda part: part.write_text(text.getvalue(), encoding="utf-8")
        )
        points = list(_points(self.start, self.steps))
        if points:
            height, width = self.size
            plot_scatter(
                points,
                self.run_dir / "miou-ms.png",
                title=f"{self.model}, pruned",
                xlabel=f"ms a picture at {height}x{width}, {self.device} {self.precision}",
                ylabel="mIoU",
            )


def _shown(row: Row) -> dict[str, Any]:
    return {key: value for key, value in asdict(row).items() if key != "done"}


def _points(start: Row, steps: list[Row]) -> list[ScatterPoint]:
    figures = [(start, "before", start.miou_before)]
    figures += [(row, "pruned", row.miou_pruned) for row in steps]
    figures += [(row, "tuned", row.miou_tuned) for row in steps]
    return [
        ScatterPoint(f"{row.keep:g}", row.ms, miou, group) for row, group, miou in figures if miou is not None
    ]

"""A run's record: metrics.csv in its folder, and TensorBoard where it is asked for."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from icnet_cli.checkpoints.format import write_atomically
from icnet_cli.errors import input_error, usage_error
from icnet_cli.reports.plots import METRICS_COLUMNS
from icnet_cli.reports.train_page import METRICS_FILE
from icnet_cli.training.events import EvalDone, StepDone

# Every row would make megabytes of a long run and say no more.
EVERY = 10


class MetricsLog:
    """Appends a row of the first step, of each tenth, and of each evaluation."""

    def __init__(self, folder: Path, tensorboard: bool = False) -> None:
        self.path = folder / METRICS_FILE
        self._board = require_tensorboard()(str(folder / "tensorboard")) if tensorboard else None
        self._told = 0  # the step of the last event that was looked at

    def _row(self, **values: Any) -> None:
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, METRICS_COLUMNS)
            if new:
                writer.writeheader()
            writer.writerow(values)

    def step(self, event: StepDone) -> None:
        """Note the batch that ended a step; those after it, of which the next step is made, have its number too."""
        ended, self._told = event.step > self._told, event.step
        if not ended or (
            event.step % EVERY and event.step != 1
        ):  # the first: a run of a few steps has a curve
            return
        self._row(
            step=event.step,
            epoch=event.epoch,
            loss=f"{event.loss:.6f}",
            lr=f"{event.lr:.8f}",
            images_per_s=f"{event.images_per_s:.2f}",
            seconds=f"{event.seconds:.1f}",
        )
        self._scalars(event.step, loss=event.loss, lr=event.lr, images_per_s=event.images_per_s)

    def evaluation(self, event: EvalDone, seconds: float) -> None:
        self._row(
            step=event.step,
            epoch=event.epoch,
            miou=f"{event.miou:.6f}",
            pixel_accuracy=f"{event.pixel_accuracy:.6f}",
            seconds=f"{seconds:.1f}",
        )
        self._scalars(event.step, miou=event.miou, pixel_accuracy=event.pixel_accuracy)

    def rewind(self, step: int) -> None:
        """Forget rows past `step`: a run that died after its last checkpoint takes those steps again.

        Raises:
            IcnetError: exit 3 where the file is no such record; it is left as it is.
        """
        self._told = step
        if not self.path.exists():
            return
        rows = [row for row in self._rows() if row["step"].isdigit() and int(row["step"]) <= step]
        write_atomically(self.path, lambda part: _write_rows(part, rows))

    def _rows(self) -> list[dict[str, str]]:
        """All that are whole: the last may be cut short."""
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                if reader.fieldnames is not None and "step" not in reader.fieldnames:
                    raise ValueError("it has no column `step`")
                return [row for row in reader if None not in row and None not in row.values()]
        except (OSError, ValueError, csv.Error) as error:
            raise input_error(
                f"{self.path} cannot be read as this run's record ({error}); move it away: --resume begins a new one"
            ) from error

    def _scalars(self, step: int, **values: float) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def _write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, METRICS_COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


class NoLog(MetricsLog):
    """The record of a process that keeps none: among several that train together one does."""

    def __init__(self) -> None:
        self._board, self._told = None, 0

    def _row(self, **values: Any) -> None:
        pass

    def rewind(self, step: int) -> None:
        pass


def require_tensorboard() -> Any:
    """The writer that --tensorboard needs; asked for before a run has a folder, too.

    Raises:
        IcnetError: exit 2 where its extra is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise usage_error("--tensorboard needs its extra: pip install 'icnet[tensorboard]'") from error
    return SummaryWriter

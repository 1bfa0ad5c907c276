"""What a pruning run tells while it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from icnet_cli.training.trainer import Event as TrainEvent


@dataclass(frozen=True)
class Working:
    """Something other than training: `done` of `total` `unit`s of it; `news` says what came of it.

    The first has `run_dir`, from which an interrupted run goes on.
    """

    what: str
    done: int
    total: int
    unit: str = "networks"
    news: str | None = None
    run_dir: Path | None = None


@dataclass(frozen=True)
class Tuning:
    """The trainer's event in step `step` of `steps`."""

    step: int
    steps: int
    event: TrainEvent


Event = Working | Tuning

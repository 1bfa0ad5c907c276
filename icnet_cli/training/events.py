"""What a training says of itself while it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepDone:
    """After each batch; `step` counts the optimizer's steps."""

    step: int
    epoch: int
    progress: float  # 0..1 of the run
    loss: float
    lr: float
    images_per_s: float
    seconds: float


@dataclass(frozen=True)
class EvalDone:
    """After each evaluation; `best` says whether none before was better."""

    step: int
    epoch: int
    miou: float
    pixel_accuracy: float
    best: bool


@dataclass(frozen=True)
class Notice:
    """Something that its user should know, most often before the first step."""

    text: str


Event = StepDone | EvalDone | Notice

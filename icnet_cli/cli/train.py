"""`icnet train`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from icnet_cli.cli.console import LoopConsole, emit, emit_json
from icnet_cli.cli.progress import Status, clock, say_news, watch
from icnet_cli.config import TrainConfig

_MEMORY = 0.95  # of the figures shown: a single step's loss and pace jump about


def train(config: TrainConfig, console: LoopConsole) -> None:
    """Train a network on a folder of pictures and labels.

    \b
    Examples:
      icnet train camvid/                    ICNet by the layout's own recipe
      icnet train camvid/ --model fast-scnn --time-budget 90m
      icnet train cityscapes/ --keep 0.5 --splits train,val
      icnet train camvid/ --resume runs/train/icnet-1
      torchrun --nproc-per-node 4 -m icnet_cli train cityscapes/
    """
    from icnet_cli.training.launch import find_place
    from icnet_cli.training.trainer import train as run

    speaks = find_place().speaks
    report = watch(run(config), console.progress if speaks else "none", Narrator().status)
    if not speaks:
        return
    if console.json:
        emit_json(report.to_dict())
        return
    nothing = "no labelled pixel to measure on" if report.has_val else "no validation split"
    best = nothing if report.best_miou is None else f"best mIoU {report.best_miou:.4f}"
    lines = [f"{report.step} step{'' if report.step == 1 else 's'} in {clock(report.seconds)}, {best}"]
    if report.damaged:
        lines.append(f"{report.damaged} damaged pair{'s were' if report.damaged > 1 else ' was'} left out")
    for line in lines:
        say_news(line, console.progress)
    emit(str(report.run_dir))


class Narrator:
    """Turns the trainer's events into statuses, with the loss and the pace smoothed for the eye."""

    def __init__(self) -> None:
        self._smooth: dict[str, float] = {}
        self._miou: float | None = None
        self._last: Status | None = None

    def status(self, event: Any) -> Status | None:
        """The status after a step, an evaluation or a notice; None for the report."""
        if hasattr(event, "text"):
            return replace(self._last or Status(done=0, unit="steps"), news=event.text)
        if hasattr(event, "loss"):
            self._last = self._step(event)
            return self._last
        return self._evaluation(event) if hasattr(event, "miou") else None

    def _step(self, event: Any) -> Status:
        return Status(
            done=event.step,
            unit="steps",
            share=event.progress,
            rate=self._smoothed("images_per_s", event.images_per_s),
            rate_unit="images/s",
            # From all of the run so far: with a time budget this is exact.
            left_s=event.seconds * (1 - event.progress) / event.progress if event.progress > 0 else None,
            notes={
                "epoch": event.epoch,
                "loss": self._smoothed("loss", event.loss),
                "mIoU": self._miou,
                "lr": event.lr,
            },
        )

    def _evaluation(self, event: Any) -> Status:
        self._miou = event.miou
        news = f"step {event.step}: mIoU {event.miou:.4f}, pixel accuracy {event.pixel_accuracy:.4f}"
        before = self._last or Status(done=event.step, unit="steps")
        return Status(
            done=event.step,
            unit="steps",
            share=before.share,
            rate=before.rate,
            rate_unit="images/s",
            left_s=before.left_s,
            notes={**before.notes, "mIoU": event.miou},
            news=f"{news}, the best so far" if event.best else news,
        )

    def _smoothed(self, name: str, value: float) -> float:
        before = self._smooth.get(name, value)
        # A loss that is not finite must be seen, and must not stay in the average.
        if not math.isfinite(value):
            return value
        self._smooth[name] = before * _MEMORY + value * (1 - _MEMORY)
        return self._smooth[name]

"""The training loop: a generator of small events, which the command line turns into a display."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from icnet_cli.checkpoints.format import WeightsMeta, save_weights
from icnet_cli.checkpoints.state import load_state, save_state
from icnet_cli.config import TrainConfig
from icnet_cli.errors import ExitCode, IcnetError, check_error
from icnet_cli.evaluation.evaluate import evaluate_network
from icnet_cli.models import Network
from icnet_cli.reports.plots import plot_training
from icnet_cli.training.loader import AugmentedDataset, epoch_batches, load_batches, worker_count
from icnet_cli.training.losses import CascadeLoss, class_weights
from icnet_cli.training.metrics import MetricsLog
from icnet_cli.training.optim import Ema, build_optimizer, rate_at
from icnet_cli.training.run import Run, label_shares, prepare
from icnet_cli.training.signals import DeferredSignals

CHECKPOINT_EVERY_S = 120.0
NON_FINITE_LIMIT = 3


@dataclass(frozen=True)
class StepDone:
    step: int
    epoch: int
    progress: float  # 0..1 of the run
    loss: float
    lr: float
    images_per_s: float
    seconds: float


@dataclass(frozen=True)
class EvalDone:
    step: int
    epoch: int
    miou: float
    pixel_accuracy: float
    best: bool


@dataclass(frozen=True)
class TrainReport:
    run_dir: Path
    best_miou: float | None
    step: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "run_dir": str(self.run_dir),
            "best_miou": self.best_miou,
            "step": self.step,
            "seconds": round(self.seconds, 3),
        }


Event = StepDone | EvalDone


def train(config: TrainConfig) -> Generator[Event, None, TrainReport]:
    """Train as `config` says; the generator's value is the report.

    Raises:
        IcnetError: 2 arguments, 3 data, 4 weights, 6 device, 7 diverged, 130 and 143 after a signal (state saved).
    """
    config.check()
    run = prepare(config)
    return (yield from Trainer(run).events())


class Trainer:
    """One run's moving parts: network, optimizer, average, and how far they are."""

    def __init__(self, run: Run) -> None:
        self.run, self.recipe = run, run.recipe
        self.memory_format = torch.channels_last
        self.network: Network = run.network.to(run.device).to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(self.network, self.recipe.optimizer, run.lr)
        self.ema = Ema(self.network, self.recipe.ema) if self.recipe.ema else None
        weight = class_weights(label_shares(run.train), self.recipe.loss) if self._weighted else None
        self.loss = CascadeLoss(self.recipe.loss, weight, run.network.align_corners).to(run.device)
        self.autocast = _autocast(run.config.precision, run.device)
        self.scaler = torch.amp.GradScaler(run.device.type, enabled=self.autocast is torch.float16)
        self.step, self.epoch, self.batch_in_epoch = 0, 0, 0
        self.accumulated = 0  # batches of the next step that are done; it runs on from epoch to epoch
        self.elapsed_s, self.best_miou, self.non_finite = 0.0, -1.0, 0
        self.next_eval = 1.0 / self.recipe.evaluations
        self.log = MetricsLog(run.folder, run.config.tensorboard)
        self._started = self._saved_at = time.monotonic()
        if run.resumed:
            self._restore(load_state(run.folder))

    @property
    def _weighted(self) -> bool:
        return self.recipe.loss.class_weights != "none"

    # How far the run is -------------------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """Spent training, over all resumed parts."""
        return self.elapsed_s + time.monotonic() - self._started

    def progress(self, batches_in_epoch: int = 1) -> float:
        """0..1 of the run. A time budget compresses the schedule, so that the rate still reaches zero at its end."""
        if self.recipe.steps:
            done = self.step / self.recipe.steps
        else:
            done = (self.epoch + self.batch_in_epoch / max(1, batches_in_epoch)) / (self.recipe.epochs or 1)
        if self.run.config.time_budget_s:
            done = max(done, self.seconds / self.run.config.time_budget_s)
        return min(1.0, done)

    # The loop -----------------------------------------------------------------------------------------------------

    def events(self) -> Generator[Event, None, TrainReport]:
        with DeferredSignals() as signals:
            while self.progress() < 1.0:
                yield from self._epoch(signals)
            yield from self._evaluate()
        self._save()
        self._save_weights("last")
        self.log.close()
        plot_training(self.log.path, self.run.folder / "curves.png")
        best = self.best_miou if self.best_miou >= 0 else None
        return TrainReport(self.run.folder, best, self.step, self.seconds)

    def _epoch(self, signals: DeferredSignals) -> Iterator[Event]:
        stage = self.recipe.stage_at(self.progress())
        batch = self.run.config.batch or stage.batch or self.run.batch
        config = self.run.config
        batches = epoch_batches(len(self.run.train), batch, config.seed, self.epoch)
        dataset = AugmentedDataset(self.run.train, self.recipe.augment, stage, self.recipe.normalisation.fill)
        loader = load_batches(
            dataset,
            batches[self.batch_in_epoch :],
            config.seed,
            self.epoch,
            worker_count(config.workers, self.run.device),
            self._on_gpu,
        )
        before = time.monotonic()
        for pictures, labels in loader:
            progress = self.progress(len(batches))
            if progress >= 1.0:
                return
            loss, lr = self._train_batch(pictures, labels, rate_at(progress, self.recipe.schedule))
            now = time.monotonic()
            rate = len(pictures) / max(1e-9, now - before)
            before = now
            event = StepDone(self.step, self.epoch, self.progress(len(batches)), loss, lr, rate, self.seconds)
            self.log.step(event)
            yield event
            if progress >= self.next_eval:
                yield from self._evaluate()
                self.next_eval = progress + 1.0 / self.recipe.evaluations
                before = time.monotonic()
            self._save_if_due(signals)
        self.epoch, self.batch_in_epoch = self.epoch + 1, 0

    def _train_batch(self, pictures: Tensor, labels: Tensor, factor: float) -> tuple[float, float]:
        """One forward and backward pass, and the optimizer's step when the effective batch is full."""
        lr = self.run.lr * factor
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        # Dropout is a function of (seed, step) alone, so a resumed run drops what an uninterrupted one does.
        counter = self.step * self.run.accumulate + self.accumulated
        torch.manual_seed(int(np.random.SeedSequence((self.run.config.seed, counter)).generate_state(1)[0]))
        self.network.train()
        x = self.recipe.normalisation.apply(pictures.to(self.run.device, non_blocking=True))
        x = x.contiguous(memory_format=self.memory_format)
        with torch.autocast(self.run.device.type, self.autocast, enabled=self.autocast is not None):
            outputs = self.network(x)
        loss = self.loss(outputs, labels.to(self.run.device, non_blocking=True))
        value = float(loss.detach())
        self._check_finite(value, lr)
        if math.isfinite(value):
            self.scaler.scale(loss / self.run.accumulate).backward()
        self.batch_in_epoch += 1
        self.accumulated += 1
        if self.accumulated == self.run.accumulate:
            self._optimizer_step()
        return value, lr

    def _optimizer_step(self) -> None:
        if self.recipe.optimizer.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.optimizer.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step, self.accumulated = self.step + 1, 0
        if self.ema:
            self.ema.update(self.network)

    def _check_finite(self, value: float, lr: float) -> None:
        self.non_finite = 0 if math.isfinite(value) else self.non_finite + 1
        if self.non_finite >= NON_FINITE_LIMIT:
            raise check_error(
                f"training diverged: the loss was not finite {NON_FINITE_LIMIT} times running at step {self.step}, "
                f"learning rate {lr:.3g}; the last good checkpoint is in {self.run.folder}; try a lower --lr"
            )

    # Measuring and keeping ----------------------------------------------------------------------------------------

    def averaged(self) -> Network:
        """The network to measure and to keep: the moving average where there is one."""
        network = copy.deepcopy(self.network)
        if self.ema:
            network.load_state_dict(self.ema.shadow)
        return network.eval()

    def _evaluate(self) -> Iterator[Event]:
        if self.run.val is None:
            return
        confusion = evaluate_network(
            self.averaged(), self.run.val, self.recipe.eval_size, self.run.device, self.recipe.normalisation
        )
        better = confusion.miou > self.best_miou
        if better:
            self.best_miou = confusion.miou
            self._save_weights("best")
        event = EvalDone(self.step, self.epoch, confusion.miou, confusion.pixel_accuracy, better)
        self.log.evaluation(event, self.seconds)
        yield event

    def _save_weights(self, name: str) -> None:
        run = self.run
        card = {
            "recipe": self.recipe.name,
            "seed": run.config.seed,
            "step": self.step,
            "epochs": self.epoch,
            "splits": list(self.recipe.splits),
            "dataset": run.layout.name,
        }
        meta = WeightsMeta.of(
            run.network,
            run.layout.classes,
            self.recipe.train_size,
            normalisation=self.recipe.normalisation,
            card=card,
        )
        save_weights(run.folder / f"{name}.safetensors", self.averaged(), meta)

    def _save_if_due(self, signals: DeferredSignals) -> None:
        if signals.code is not None:
            path = self._save()
            word = "interrupted" if signals.code is ExitCode.INTERRUPTED else "terminated"
            raise IcnetError(
                f"{word} at step {self.step}; saved {path}; go on with --resume {self.run.folder}",
                signals.code,
            )
        if time.monotonic() - self._saved_at > CHECKPOINT_EVERY_S:
            self._save()

    def _save(self) -> Path:
        self._saved_at = time.monotonic()
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "scaler": self.scaler.state_dict(),
            "gradients": [None if p.grad is None else p.grad for p in self.network.parameters()],
            "step": self.step,
            "epoch": self.epoch,
            "batch_in_epoch": self.batch_in_epoch,
            "accumulated": self.accumulated,
            "seconds": self.seconds,
            "best_miou": self.best_miou,
            "next_eval": self.next_eval,
        }
        return save_state(self.run.folder, self.step, state)

    def _restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.ema and state["ema"]:
            self.ema.load_state_dict(state["ema"])
        # Gradients of an effective batch that was half accumulated when the run was saved.
        for parameter, gradient in zip(self.network.parameters(), state["gradients"], strict=True):
            parameter.grad = None if gradient is None else gradient.to(parameter.device)
        self.step, self.epoch, self.batch_in_epoch = state["step"], state["epoch"], state["batch_in_epoch"]
        self.accumulated = state.get("accumulated", 0)
        self.elapsed_s, self.best_miou = state["seconds"], state["best_miou"]
        self.next_eval = state["next_eval"]
        self.log.rewind(self.step)

    @property
    def _on_gpu(self) -> bool:
        return self.run.device.type == "cuda"


def _autocast(precision: str, device: torch.device) -> torch.dtype | None:
    """fp32 on a CPU; on a GPU bf16 where it has it (no loss scaling needed), else fp16."""
    if precision == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]

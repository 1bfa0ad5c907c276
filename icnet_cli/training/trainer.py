"""The training loop: a generator of small events, which the command line turns into a display."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from icnet_cli.checkpoints.state import list_states, load_state, save_state, state_path
from icnet_cli.config import TrainConfig
from icnet_cli.errors import ENDED, AlreadyToldError, ExitCode, IcnetError, check_error
from icnet_cli.reports.plots import plot_training
from icnet_cli.training.conduct import arithmetic, memory_words
from icnet_cli.training.events import EvalDone, Event, Notice, StepDone
from icnet_cli.training.feed import batches_of, open_feed
from icnet_cli.training.journal import Journal
from icnet_cli.training.keeping import checkpoint_words, keep_weights, kept_miou
from icnet_cli.training.loader import WorkerLostError
from icnet_cli.training.metrics import MetricsLog, NoLog
from icnet_cli.training.optim import rate_at
from icnet_cli.training.prepare import prepare
from icnet_cli.training.ranks import joined
from icnet_cli.training.recipe import Stage
from icnet_cli.training.resumed import newness
from icnet_cli.training.run import Run
from icnet_cli.training.signals import DeferredSignals
from icnet_cli.training.step import Stepper
from icnet_cli.training.validation import BrokenOffError, validate

CHECKPOINT_EVERY_S = 120.0
NON_FINITE_LIMIT = 3
# How many steps a GPU is left to itself between two looks at its losses, at the clock and at signals.
LOOK_EVERY = 16


@dataclass(frozen=True)
class TrainReport:
    """The command's result; `best_miou` is None where there was nothing to measure on; `damaged` were left out.

    `has_val` is whether there was a split to measure on, labelled or not.
    """

    run_dir: Path
    best_miou: float | None
    step: int
    seconds: float
    damaged: int = 0
    has_val: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {
            "run_dir": str(self.run_dir),
            "best_miou": self.best_miou,
            "step": self.step,
            "seconds": round(self.seconds, 3),
            "images_damaged": self.damaged,
        }


def train(config: TrainConfig) -> Generator[Event, None, TrainReport]:
    """Train as `config` says; the generator's value is the report.

    Under torchrun each process calls this; all yield the same events, and the first one alone writes files.

    Raises:
        IcnetError: 2 arguments, 3 data, 4 weights, 6 device, 7 diverged, 129, 130 and 143 after a signal (state saved).
    """
    with joined(partial(newness, config.resume) if config.resume else None) as ranks:
        config.check()
        run = prepare(config, ranks)
        try:
            for text in run.notices():
                yield Notice(text)
            return (yield from Trainer(run).events())
        except IcnetError as error:
            # A picture that is found damaged on the way, a full disk: hours of steps are not lost with them.
            if error.code in (ExitCode.INPUT, ExitCode.OUTPUT):
                error.add_note(f"when that is mended, go on with --resume {run.folder}")
            raise
        finally:
            run.release()


@dataclass(frozen=True)
class _Seen:
    """A batch that is done, its loss perhaps still on the device."""

    step: int
    epoch: int
    progress: float
    loss: Tensor
    lr: float
    pictures: int


class Trainer:
    """One run: how far it is, what it has seen, and what it keeps."""

    def __init__(self, run: Run) -> None:
        self.run, self.recipe, self.ranks = run, run.recipe, run.ranks
        self.stage: Stage | None = run.recipe.stage_at(0.0)  # None while it measures
        with self._words():
            self.stepper = Stepper(run)
            self.feed = open_feed(run)
        self.step, self.epoch, self.batch_in_epoch = 0, 0, 0
        self.epoch_batches, self.epoch_start = 1, 0.0  # batches of this epoch, and the progress it began at
        self.elapsed_s, self.best_miou, self.non_finite = 0.0, -1.0, 0
        self.next_eval = 1.0 / self.recipe.evaluations
        self.owed = False  # an evaluation, that a signal broke off or that is due
        self.measured = False  # the network as it is
        self.look_every = LOOK_EVERY if self.stepper.deferred else 1
        self.seen: list[_Seen] = []
        self.saved: Path | None = None
        self.log = MetricsLog(run.folder, run.config.tensorboard) if self.ranks.writes else NoLog()
        self.journal = Journal(run) if self.ranks.writes else None
        self._started = self._saved_at = self._looked_at = time.monotonic()
        self._noted: str | None = None
        self._agreed_s = 0.0
        self._agreed_code: ExitCode | None = None
        if run.resumed:
            self._go_on()
        if self.journal:
            self.journal.begin(self.step)

    # How far the run is -------------------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """Spent training, over all resumed parts."""
        # Ranks must not differ on when the time is up: theirs is what they agreed on at their last look.
        return self._own_seconds() if self.ranks.alone else self._agreed_s

    def _own_seconds(self) -> float:
        return self.elapsed_s + time.monotonic() - self._started

    def progress(self) -> float:
        """0..1 of the run. A time budget compresses the schedule, so that the rate still reaches zero at its end."""
        if self.recipe.steps:
            done = self.step / self.recipe.steps
        else:
            done = (self.epoch + self.batch_in_epoch / self.epoch_batches) / (self.recipe.epochs or 1)
        if self.run.config.time_budget_s:
            done = max(done, self.seconds / self.run.config.time_budget_s)
        return min(1.0, done)

    # The loop -----------------------------------------------------------------------------------------------------

    def events(self) -> Generator[Event, None, TrainReport]:
        with DeferredSignals() as signals, arithmetic(self.run), self._words():
            yield from self._settle(signals)
            while self.progress() < 1.0:
                try:
                    yield from self._epoch(signals)
                except WorkerLostError as error:
                    yield from self._keep_what_is_done(signals, error)
            yield from self._look(signals)
            self.stepper.captured = None  # gives its graph's memory back
            self.owed = not self.measured
            yield from self._settle(signals)
        if self.ranks.writes:
            self._save()
        keep_weights(self.run, self.stepper.averaged(), "last", self.step, self.epoch)
        self.log.close()
        if self.ranks.writes and self.log.path.exists():  # a few steps without an evaluation leave no row
            plot_training(self.log.path, self.run.folder / "curves.png")
        if self.journal:
            self.journal.write_page()
        self.ranks.meet()
        best = self.best_miou if self.best_miou >= 0 else None
        return TrainReport(
            self.run.folder, best, self.step, self.seconds, self.run.damaged, self.run.val is not None
        )

    def _epoch(self, signals: DeferredSignals) -> Iterator[Event]:
        if self.batch_in_epoch == 0:
            self.epoch_start = self.progress()
        # Of the epoch's start, so that one begun in a stage is finished in it, resumed or not.
        self.stage = stage = self.recipe.stage_at(self.epoch_start)
        batches = batches_of(self.run, stage, self.epoch)
        self.epoch_batches = len(batches)
        for pictures, labels in self.feed.batches(stage, self.epoch, batches[self.batch_in_epoch :]):
            progress = self.progress()
            if progress >= 1.0:
                return
            self._train_batch(pictures, labels, self.run.lr * rate_at(progress, self.recipe.schedule))
            due = progress >= self.next_eval
            if not (due or self._time_to_look(signals)):
                continue
            yield from self._look(signals)
            if due:
                self.owed, self.next_eval = True, progress + 1.0 / self.recipe.evaluations
                yield from self._settle(signals)
            self._save_if_due(signals)
        self.epoch, self.batch_in_epoch = self.epoch + 1, 0

    def _keep_what_is_done(self, signals: DeferredSignals, error: WorkerLostError) -> Iterator[Event]:
        """Save, and end: as a signal says, where it was one that ended a process which reads pictures."""
        if not self.ranks.alone:  # the others are amid a batch, and cannot be asked
            raise error
        yield from self._look(signals)
        self._save_if_due(signals)
        path = self.saved if self.non_finite else self._save()
        kept = f"; saved {path}; go on with --resume {self.run.folder}" if path else ""
        raise IcnetError(f"{error}{kept}", error.code) from error

    def _train_batch(self, pictures: Tensor, labels: Tensor, lr: float) -> None:
        # Dropout is a function of (seed, step) alone, so a resumed run drops what an uninterrupted one does.
        counter = self.step * self.run.accumulate + self.stepper.accumulated
        words = (self.run.config.seed, counter, *([self.ranks.rank] if self.ranks.rank else []))
        torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1)[0]))
        loss, ended_step = self.stepper.batch(pictures, labels, lr)
        self.batch_in_epoch += 1
        self.step += ended_step
        self.measured = False
        self.seen.append(
            _Seen(self.step, self.epoch, self.progress(), loss, lr, self.ranks.world * len(pictures))
        )

    def _time_to_look(self, signals: DeferredSignals) -> bool:
        if not self.ranks.alone:  # all at the same batch, and none while gradients are still each rank's own
            return len(self.seen) >= self.look_every and not self.stepper.accumulated
        return len(self.seen) >= self.look_every or signals.code is not None

    def _look(self, signals: DeferredSignals) -> Iterator[Event]:
        """Read the losses of the batches since the last look, and agree with the other ranks on signals and time."""
        if not self.seen:
            return
        seen, self.seen = self.seen, []
        losses = self.ranks.sum(torch.stack([batch.loss for batch in seen])).tolist()
        code, self._agreed_s = self.ranks.largest(float(signals.code or 0), self._own_seconds())
        self._agreed_code = ExitCode(int(code)) if code else None
        now = time.monotonic()
        rate = sum(batch.pictures for batch in seen) / max(1e-9, now - self._looked_at)
        self._looked_at = now
        for batch, loss in zip(seen, losses, strict=True):
            self._check_finite(batch, loss)
            event = StepDone(batch.step, batch.epoch, batch.progress, loss, batch.lr, rate, self.seconds)
            self.log.step(event)
            yield event
        if self.stepper.note and self.stepper.note != self._noted:
            self._noted = self.stepper.note
            yield Notice(self._noted)

    def _check_finite(self, batch: _Seen, loss: float) -> None:
        self.non_finite = 0 if math.isfinite(loss) else self.non_finite + 1
        if self.non_finite >= NON_FINITE_LIMIT:
            if not self.ranks.writes:  # all see the same losses, and the first knows the checkpoints
                raise AlreadyToldError("training diverged", ExitCode.CHECK)
            good = (
                f"the last good checkpoint is {self.saved}"
                if self.saved
                else "no checkpoint was saved before"
            )
            raise check_error(
                f"training diverged: the loss was not finite {NON_FINITE_LIMIT} times running at step {batch.step}, "
                f"learning rate {batch.lr:.3g}; {good}; go on with --resume {self.run.folder} and a lower --lr"
            )

    # Measuring and keeping ----------------------------------------------------------------------------------------

    def _settle(self, signals: DeferredSignals) -> Iterator[Event]:
        """Make the evaluation that is owed. A signal breaks it off: who sends one may not wait for minutes."""
        if not self.owed:
            return
        try:
            yield from self._evaluate(partial(self._told_to_stop, signals))
            self.owed = False
        except BrokenOffError:
            self._save_if_due(signals)

    def _told_to_stop(self, signals: DeferredSignals) -> bool:
        """Whether a signal has come, to any rank: all ask it at the same time."""
        if not self.ranks.alone and self.stepper.accumulated:
            return False  # gradients that are each rank's own cannot be kept: the step is finished first
        code = self.ranks.largest(float(signals.code or 0))[0]
        self._agreed_code = ExitCode(int(code)) if code else None
        return bool(code)

    def _evaluate(self, told_to_stop: Callable[[], bool]) -> Iterator[Event]:
        if self.run.val is None:
            return
        network = self.stepper.averaged()
        stage, self.stage = self.stage, None
        confusion = validate(self.run, network, told_to_stop)
        if self.journal:
            self.journal.sample(network, self.step)
        self.stage = stage
        self.measured = True
        better = confusion.miou > self.best_miou
        if better:
            self.best_miou = confusion.miou
            keep_weights(self.run, network, "best", self.step, self.epoch, best_miou=self.best_miou)
        event = EvalDone(self.step, self.epoch, confusion.miou, confusion.pixel_accuracy, better)
        self.log.evaluation(event, self.seconds)
        if self.journal:
            self.journal.write_page()
        yield event
        self._looked_at = time.monotonic()

    def _save_if_due(self, signals: DeferredSignals) -> None:
        # Several heed what they agreed on: a signal that one of them has had since is for their next look.
        code = signals.code if self.ranks.alone else self._agreed_code
        if code is not None and (self.ranks.alone or not self.stepper.accumulated):
            word = ENDED[code]
            if not self.ranks.writes:
                self.ranks.meet()
                raise AlreadyToldError(word, code)
            path = self._save()
            self.ranks.meet()  # a launcher that sees one process end may kill the others
            raise IcnetError(
                f"{word} at step {self.step}; saved {path}; go on with --resume {self.run.folder}",
                code,
            )
        # What is not finite may be in the network's statistics already: the checkpoint before is the good one.
        due = time.monotonic() - self._saved_at > CHECKPOINT_EVERY_S
        if (
            due
            and self.ranks.writes
            and not self.non_finite
            and (self.ranks.alone or not self.stepper.accumulated)
        ):
            self._save()

    def _save(self) -> Path:
        self._saved_at = time.monotonic()
        state = self.stepper.state_dict() | {
            "step": self.step,
            "epoch": self.epoch,
            "batch_in_epoch": self.batch_in_epoch,
            "epoch_batches": self.epoch_batches,
            "epoch_start": self.epoch_start,
            "seconds": self.seconds,
            "best_miou": self.best_miou,
            "next_eval": self.next_eval,
            "non_finite": self.non_finite,
            "owed": self.owed,
            "measured": self.measured,
        }
        self.saved = save_state(self.run.folder, self.step, state)
        return self.saved

    def _go_on(self) -> None:
        """From the newest checkpoint; from the beginning where the run was stopped before its first."""
        folder = self.run.folder
        state = self.ranks.first(lambda: load_state(folder) if list_states(folder) else None)
        if state is not None:
            with checkpoint_words(self.run):
                self._restore(state)
            # Weights that were kept after the checkpoint may be better than what these steps come to once more.
            self.best_miou = max(self.best_miou, self.ranks.first(lambda: kept_miou(folder)))
        self.log.rewind(self.step)

    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.epoch = state["step"], state["epoch"]
        self.elapsed_s, self.best_miou = state["seconds"], state["best_miou"]
        self.next_eval, self.non_finite = state["next_eval"], state.get("non_finite", 0)
        self.owed, self.measured = state.get("owed", False), state.get("measured", False)
        self._agreed_s, before = self.elapsed_s, state.get("epoch_batches", 0)
        self.epoch_start = state.get("epoch_start", self.progress())
        self.batch_in_epoch = state["batch_in_epoch"]
        stage = self.recipe.stage_at(self.epoch_start)
        self.epoch_batches = len(batches_of(self.run, stage, self.epoch))
        same = before in (0, self.epoch_batches)
        if not same:  # batches of another size now: the same share of the epoch is done
            self.batch_in_epoch = self.batch_in_epoch * self.epoch_batches // before
        self.stepper.load_state_dict(state, same)
        self.saved = state_path(self.run.folder, self.step)

    def _words(self) -> Any:
        return memory_words(self.run, lambda: self.stage)

"""`icnet prune`: cut, measure, fine-tune, step by step; a generator of small events."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Generator
from dataclasses import replace
from typing import Any

from icnet_cli.checkpoints.format import LoadedWeights, WeightsMeta, load_weights, save_weights
from icnet_cli.checkpoints.start import CARD_KEY
from icnet_cli.checkpoints.state import list_states
from icnet_cli.config import PruneConfig
from icnet_cli.errors import ENDED, ExitCode, IcnetError, check_error, device_error
from icnet_cli.inference.device import choose_device, choose_precision
from icnet_cli.models import Network
from icnet_cli.pruning.begin import Beginning, begin, resume
from icnet_cli.pruning.events import Event, Tuning, Working
from icnet_cli.pruning.measuring import Gauge
from icnet_cli.pruning.planning import check_target, plan_cuts
from icnet_cli.pruning.recalibrate import recalibrate
from icnet_cli.pruning.state import PruneReport, Row
from icnet_cli.pruning.surgery import prune_network
from icnet_cli.pruning.widths import Step, kept_share
from icnet_cli.training.record import claim
from icnet_cli.training.run import Run
from icnet_cli.training.trainer import Trainer


def prune(config: PruneConfig) -> Generator[Event, None, PruneReport]:
    """Prune as `config` says; the generator's value is the report.

    Raises:
        IcnetError: 2 arguments, 3 data, 4 weights, 5 output, 6 device, 7 where no step holds --max-drop or
            fine-tuning diverged, 129, 130 and 143 after a signal (state saved).
    """
    config.check()
    beginning = resume(config) if config.resume else begin(config)
    try:
        return (yield from Job(beginning).events())
    finally:
        beginning.lock.release()


class Job:
    """One pruning run, step by step; what it has done is in its folder, from which it goes on."""

    def __init__(self, beginning: Beginning) -> None:
        config, self.folder = beginning.config, beginning.folder
        self.config, self.state, self.tuning = config, beginning.state, beginning.tuning
        device = choose_device(config.device)
        self.gauge = Gauge(self.tuning, self.state.size, device, choose_precision(config.precision, device))

    def events(self) -> Generator[Event, None, PruneReport]:
        """Go on from wherever the state is; see `prune`."""
        start = self._file(0)
        yield Working("the parent", 0, 1, news=self._opening(), run_dir=self.folder)
        for remark in self.tuning.remarks if self.tuning else ():
            yield Working("the parent", 0, 1, news=remark)
        if self.state.plan is None:
            self._check_target(start.network)
        if self.state.start is None:
            self.state.start = self.gauge.row(start.network, kept_share(start.network.config))
            self.state.start.miou_before = self.gauge.miou(start.network)
            self._save()
        if self.state.plan is None:
            cuts = yield from plan_cuts(self.config, start.network, self.gauge)
            self.state.plan, self.state.sensitivity = cuts.steps, cuts.sensitivity
            self._save()
        for index, step in enumerate(self.state.plan, start=1):
            row = self._known(index)
            if not (row and row.done):
                row = yield from self._step(index, step)
            if not row.held:
                break
        return self._finish()

    def _opening(self) -> str:
        if self.state.finished:
            return f"{self.folder} is complete already; this is its table again"
        return (
            f"pruning {self.state.name} in {self.folder}; if interrupted: icnet prune --resume {self.folder}"
        )

    def _check_target(self, network: Network) -> None:
        """Before anything that takes long; a refused run leaves no folder: there is nothing to go on with."""
        try:
            check_target(self.config, network, self.gauge)
        except IcnetError:
            shutil.rmtree(self.folder)
            raise

    @property
    def _cuts(self) -> int:
        assert self.state.plan is not None
        return len(self.state.plan)

    # One step -----------------------------------------------------------------------------------------------------

    def _step(self, index: int, step: Step) -> Generator[Event, None, Row]:
        parent = self._file(index - 1)
        network = prune_network(parent.network, step.counts, step.keep)
        folder = self.folder / f"step-{index}"
        row = self._known(index)
        tuned_before = row is not None and bool(list_states(folder))
        if row is None or not tuned_before:
            yield Working(f"step {index}: cutting to {step.keep:g}", index - 1, self._cuts, "cuts")
            row = self.gauge.row(network, step.keep)
            row.miou_before = self._miou_before(index)
            del self.state.rows[index - 1 :]
            self.state.rows.append(row)
        if not self.config.no_tune:
            assert self.tuning is not None
            run = replace(self.tuning, network=network, folder=folder, resumed=tuned_before)
            network = yield from self._tune(index, self._budgeted(run), row)
        else:
            row.miou_pruned = self.gauge.miou(network)
        self._close_step(index, network, parent.meta, row)
        return row

    def _tune(self, index: int, run: Run, row: Row) -> Generator[Event, None, Network]:
        if not run.resumed:
            if run.folder.exists():  # stopped before its first checkpoint: there is nothing to go on with
                shutil.rmtree(run.folder)
            for done, total in recalibrate(run):
                yield Working(f"step {index}: recalibrating BatchNorm", done, total, "batches")
            row.miou_pruned = self.gauge.miou(run.network)
            self._save()
            claim(run)
            yield Working(f"step {index}: fine-tuning", index - 1, self._cuts, "cuts", _cut_news(index, row))
        number = self._cuts
        # The step before may be held by a cycle of references, and its pictures on the device with it.
        gc.collect()
        events = Trainer(run).events()
        try:
            while True:
                yield Tuning(index, number, next(events))
        except StopIteration as end:
            row.miou_tuned = end.value.best_miou
        except IcnetError as error:
            raise self._in_words(error, run, index, number) from error
        finally:
            events.close()
        name = "last" if row.miou_tuned is None else "best"
        return load_weights(run.folder / f"{name}.safetensors").network

    def _budgeted(self, run: Run) -> Run:
        """The run with its share of `--tune-total` and `--time-budget`: the same for every step."""
        number = len(self.state.plan or (0,))
        if self.config.tune_total is not None:
            steps = max(1, self.config.tune_total // number)
            run = replace(run, recipe=replace(run.recipe, epochs=None, steps=steps))
        if self.config.time_budget_s is not None:
            run = replace(run, config=replace(run.config, time_budget_s=self.config.time_budget_s / number))
        return run

    def _in_words(self, error: IcnetError, run: Run, index: int, number: int) -> IcnetError:
        """The trainer's message, which is of a training run, in the words of the whole pruning run."""
        if error.code is ExitCode.DEVICE:
            smaller = f"go on with icnet prune --resume {self.folder} --batch {run.batch // 2}"
            cure = smaller if run.batch >= 4 else "begin again with a smaller --crop"
            return device_error(f"out of memory on {run.device} in step {index} of {number}; {cure}")
        if error.code not in ENDED:
            return error
        return IcnetError(
            f"{ENDED[error.code]} in step {index} of {number}; go on with icnet prune --resume {self.folder}",
            error.code,
        )

    def _close_step(self, index: int, network: Network, parent: WeightsMeta, row: Row) -> None:
        """Keep the step's network, and say whether `--max-drop` lets it stand."""
        assert self.state.start is not None
        reached, before = row.miou_tuned, self.state.start.miou_before
        if self.config.max_drop is not None and reached is not None and before is not None:
            row.held = before - reached <= self.config.max_drop / 100
        meta = self._meta(network, parent, row)
        save_weights(self.folder / f"step-{index}.safetensors", network, meta)
        row.done = True
        self._save()

    def _meta(self, network: Network, parent: WeightsMeta, row: Row) -> WeightsMeta:
        # The parent's figures are not this network's; where its data and licence come from is.
        left_out = ("metrics", "best_miou") if self.config.no_tune else ("metrics", "best_miou", CARD_KEY)
        card = {key: value for key, value in parent.card.items() if key not in left_out}
        return WeightsMeta.of(
            network,
            parent.classes,
            parent.train_size,
            normalisation=parent.normalisation,
            card=card,
            history=[*parent.history, self._entry(parent, row)],
        )

    def _entry(self, parent: WeightsMeta, row: Row) -> dict[str, Any]:
        number = len(self.state.plan or ())
        tuned = "one-shot" if number == 1 else f"progressive, {number} steps"
        entry: dict[str, Any] = {
            "method": "L1 sum of each filter, tied layers jointly",
            "schedule": "cut only" if self.config.no_tune else tuned,
            "from": parent.config.get("keep"),
            "keep": row.keep,
            "miou_before": row.miou_before,
            "miou_pruned": row.miou_pruned,
            "miou_tuned": row.miou_tuned,
        }
        if self.tuning is not None and self.tuning.val is not None:
            sizes = {self.tuning.input_size(*size) for size in self.tuning.val.sizes}
            entry["protocol"] = {
                "dataset": self.tuning.layout.name,
                "split": self.tuning.recipe.val_split,
                "size": list(sizes.pop()) if len(sizes) == 1 else None,  # as in eval's
            }
        return entry

    # Keeping ------------------------------------------------------------------------------------------------------

    def _known(self, index: int) -> Row | None:
        return self.state.rows[index - 1] if len(self.state.rows) >= index else None

    def _file(self, index: int) -> LoadedWeights:
        return load_weights(self.folder / f"step-{index}.safetensors")

    def _miou_before(self, index: int) -> float | None:
        assert self.state.start is not None
        before = self.state.rows[index - 2].miou_tuned if index > 1 else None
        return self.state.start.miou_before if index == 1 else before

    def _save(self) -> None:
        self.state.save(self.folder)

    def _finish(self) -> PruneReport:
        """The last step that holds becomes the output."""
        assert self.state.start is not None
        rows = self.state.rows
        held = len([row for row in rows if row.held])
        output = self.config.output or self.folder / "pruned.safetensors"
        report = PruneReport(
            self.state.start, rows, output, self.folder, self._file(0).meta.model, self.state.size,
            str(self.gauge.device), self.gauge.precision, rolled_back=held < len(rows),
        )  # fmt: skip
        self.state.finished = True  # before the output is there: what lies in its place afterwards is its own
        self._save()
        report.write()
        if held == 0:
            raise check_error(
                f"the first step already loses more than --max-drop {self.config.max_drop:g} points of mIoU "
                f"(kept as {self.folder / 'step-1.safetensors'}); try more --steps or longer fine-tuning"
            )
        last = self._file(held)
        save_weights(output, last.network, last.meta)
        return report


def _cut_news(index: int, row: Row) -> str:
    before, after = ("-" if miou is None else f"{miou:.4f}" for miou in (row.miou_before, row.miou_pruned))
    return f"step {index}: cut to {row.keep:g}, {row.params_m:.2f} M parameters; mIoU {before} before, {after} after"

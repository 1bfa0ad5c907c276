"""`icnet prune`: cut, measure, fine-tune, step by step; a generator of small events."""

from __future__ import annotations

import math
import shutil
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from icnet_cli.checkpoints.format import LoadedWeights, WeightsMeta, load_weights, save_weights
from icnet_cli.checkpoints.state import list_states
from icnet_cli.config import PRUNE_STEPS, PruneConfig
from icnet_cli.errors import ExitCode, IcnetError, check_error, device_error, output_error, usage_error
from icnet_cli.evaluation.folders import free_folder
from icnet_cli.evaluation.network import Pairs, evaluate_network
from icnet_cli.inference.device import choose_device, choose_precision
from icnet_cli.models import Network
from icnet_cli.models.count import gflops, parameters_m
from icnet_cli.pruning.latency import check_reachable, measure_ms, search
from icnet_cli.pruning.recalibrate import recalibrate
from icnet_cli.pruning.sensitivity import drops, exponents
from icnet_cli.pruning.source import Source, check_output, check_writable, find_source, open_tuning
from icnet_cli.pruning.state import RUNS, PruneReport, Row, State, damaged, load_state
from icnet_cli.pruning.surgery import prune_network
from icnet_cli.pruning.widths import Step, counts_at, full_counts, kept_share, steps_between
from icnet_cli.training.run import Run, claim
from icnet_cli.training.trainer import Event as TrainEvent
from icnet_cli.training.trainer import Trainer

PROBED = 16  # validation pictures that tell one group's sensitivity from another's
# What --resume may be told anew: it is the machine's, not the run's.
_TOLD_ANEW = ("device", "precision", "workers", "cache", "batch", "skip_damaged")


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
Events = Generator[Event, None, Any]


def prune(config: PruneConfig) -> Generator[Event, None, PruneReport]:
    """Prune as `config` says; the generator's value is the report.

    Raises:
        IcnetError: 2 arguments, 3 data, 4 weights, 5 output, 6 device, 7 where no step holds --max-drop or
            fine-tuning diverged, 130 and 143 after a signal (state saved).
    """
    config.check()
    job = _resumed(config) if config.resume else _begun(config)
    return (yield from job.events())


def _begun(config: PruneConfig) -> Job:
    device = choose_device(config.device)  # a wrong word is told before a file is read
    choose_precision(config.precision, device)
    source = find_source(config)
    if config.output is not None:
        check_output(config.output, config.overwrite, source.weights.path)
    network = source.weights.network
    if config.keep is not None:
        _check_keep(network, config.keep, config.round_to, source)
    tuning = open_tuning(config, source, source.dataset) if source.dataset else None
    folder = free_folder(RUNS, source.name)
    state = State(
        config=replace(config, output=config.output and config.output.absolute()).to_dict(),
        name=source.name,
        dataset=str(source.dataset.resolve()) if source.dataset else None,
        recipe=tuning.recipe.to_dict() if tuning else None,
        size=config.size or source.weights.meta.train_size,
    )
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise output_error(f"run folder {folder} cannot be made: {error}") from error
    save_weights(folder / "step-0.safetensors", network, source.weights.meta)
    state.save(folder)
    return Job(config, folder, state, tuning)


def _resumed(config: PruneConfig) -> Job:
    assert config.resume is not None
    state = load_state(config.resume)
    stored = _as_told(state, config)
    if stored.output is not None:
        check_writable(stored.output)
        if stored.output.exists() and not (state.finished or stored.overwrite):
            raise usage_error(f"{stored.output}, which this run is to write, exists now; move it away first")
    start = load_weights(config.resume / "step-0.safetensors")
    tuning = None
    if state.dataset:
        source = Source(start, Path(state.dataset), None)
        tuning = open_tuning(stored, source, Path(state.dataset), state.tuning_recipe)
    return Job(stored, config.resume, state, tuning)


def _as_told(state: State, config: PruneConfig) -> PruneConfig:
    """What the run was told at first, and what it is told now of the machine."""
    assert config.resume is not None
    told = {name: getattr(config, name) for name in _TOLD_ANEW}
    told = {name: value for name, value in told.items() if value != getattr(PruneConfig, name)}
    try:
        stored = replace(state.prune_config, **told)
        wrong = stored.problems()
    except (TypeError, ValueError) as error:
        raise damaged(config.resume) from error
    if wrong:  # the folder's word is no better than the user's
        raise damaged(config.resume)
    return stored


def _check_keep(network: Network, keep: float, round_to: int, source: Source) -> None:
    there = kept_share(network.config)
    if keep >= there:
        raise usage_error(
            f"--keep {keep:g} is not below what {source.weights.path} keeps already, {there:g}; give less"
        )
    if counts_at(network.config, keep, round_to) == dict(network.config.channels):
        raise usage_error(
            f"--keep {keep:g} cuts nothing of {source.weights.path}, which keeps {there:g}: "
            f"channels go in multiples of --round-to {round_to}, and as many stay"
        )


class _Some:
    """At most `PROBED` pictures of a dataset, spread evenly over it."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs, self.stride = pairs, max(1, math.ceil(len(pairs) / PROBED))

    def __len__(self) -> int:
        return math.ceil(len(self.pairs) / self.stride)

    def read(self, index: int) -> Any:
        return self.pairs.read(index * self.stride)


class Job:
    """One pruning run: its folder, how far it is, and what it tunes and measures with.

    `tuning` has the data, the device and the recipe; None where there is no data.
    """

    def __init__(self, config: PruneConfig, folder: Path, state: State, tuning: Run | None) -> None:
        self.config, self.folder, self.state, self.tuning = config, folder, state, tuning
        self.device = choose_device(config.device)
        self.precision = choose_precision(config.precision, self.device)

    def events(self) -> Generator[Event, None, PruneReport]:
        """Go on from wherever the state is; see `prune`."""
        start = self._file(0)
        news = (
            f"pruning {self.state.name} in {self.folder}; if interrupted: icnet prune --resume {self.folder}"
        )
        yield Working("the parent", 0, 1, news=news, run_dir=self.folder)
        if self.state.plan is None:
            self._check_target(start.network)
        if self.state.start is None:
            self.state.start = self._row(start.network, kept_share(start.network.config))
            self.state.start.miou_before = self._miou(start.network)
            self._save()
        if self.state.plan is None:
            self.state.plan = yield from self._plan(start.network)
            self._save()
        for index, step in enumerate(self.state.plan, start=1):
            row = self._known(index)
            if not (row and row.done):
                row = yield from self._step(index, step)
            if not row.held:
                break
        return self._finish()

    # What to cut --------------------------------------------------------------------------------------------------

    def _check_target(self, network: Network) -> None:
        """Before anything that takes long; a refused run leaves no folder: there is nothing to go on with."""
        if self.config.target_ms is None:
            return
        kind, config = type(network), network.config
        try:
            check_reachable(config, kind, self._ms, self.config.target_ms, self.config.round_to)
        except IcnetError:
            shutil.rmtree(self.folder)
            raise

    def _plan(self, network: Network) -> Generator[Event, None, list[Step]]:
        config = self.config
        if config.keep is not None:
            goal = Step(config.keep, counts_at(network.config, config.keep, config.round_to))
        else:
            goal = yield from self._goal_for_ms(network)
        once = config.one_shot or config.no_tune
        return steps_between(
            network.config, goal, 1 if once else config.steps or PRUNE_STEPS, config.round_to
        )

    def _goal_for_ms(self, network: Network) -> Generator[Event, None, Step]:
        config, kind = network.config, type(network)
        target, round_to = self.config.target_ms, self.config.round_to
        assert target is not None
        yield from self._measure_sensitivity(network)
        yield Working("searching for the widths", 0, 1)
        counts = search(config, kind, self._ms, target, exponents(self.state.sensitivity), round_to)
        share = sum(counts.values()) / sum(full_counts(config).values())
        return Step(round(share, 4), counts)

    def _measure_sensitivity(self, network: Network) -> Events:
        """Where nothing can be measured there are no sensitivities: every group is then cut alike."""
        if self.tuning is None or self.tuning.val is None:
            return
        pictures = _Some(self.tuning.val)
        total = len(network.config.channels)
        losses: dict[str, float] = {}
        for done, (name, loss) in enumerate(
            drops(network, lambda it: self._miou_on(it, pictures), self.config.round_to), start=1
        ):
            losses[name] = loss
            yield Working("how much each matters", done, total, "layers")
        self.state.sensitivity = losses

    # One step -----------------------------------------------------------------------------------------------------

    def _step(self, index: int, step: Step) -> Generator[Event, None, Row]:
        parent = self._file(index - 1)
        network = prune_network(parent.network, step.counts, step.keep)
        folder = self.folder / f"step-{index}"
        row = self._known(index)
        tuned_before = row is not None and bool(list_states(folder))
        if row is None or not tuned_before:
            yield Working(f"step {index}: cutting to {step.keep:g}", 0, 1)
            row = self._row(network, step.keep)
            row.miou_before = self._miou_before(index)
            del self.state.rows[index - 1 :]
            self.state.rows.append(row)
        if not self.config.no_tune:
            assert self.tuning is not None
            run = replace(self.tuning, network=network, folder=folder, resumed=tuned_before)
            network = yield from self._tune(index, self._budgeted(run), row)
        else:
            row.miou_pruned = self._miou(network)
        self._close_step(index, network, parent.meta, row)
        return row

    def _tune(self, index: int, run: Run, row: Row) -> Generator[Event, None, Network]:
        if not run.resumed:
            if run.folder.exists():  # stopped before its first checkpoint: there is nothing to go on with
                shutil.rmtree(run.folder)
            for done, total in recalibrate(run):
                yield Working(f"step {index}: recalibrating BatchNorm", done, total, "batches")
            row.miou_pruned = self._miou(run.network)
            self._save()
            claim(run)
            yield Working(f"step {index}: fine-tuning", 1, 1, news=_cut_news(index, row))
        assert self.state.plan is not None
        number = len(self.state.plan)
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
        if error.code not in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
            return error
        word = "interrupted" if error.code is ExitCode.INTERRUPTED else "terminated"
        return IcnetError(
            f"{word} in step {index} of {number}; go on with icnet prune --resume {self.folder}", error.code
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
        card = {key: value for key, value in parent.card.items() if key != "metrics"}
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
            size = self.tuning.recipe.eval_size
            entry["protocol"] = {
                "dataset": self.tuning.layout.name,
                "split": self.tuning.recipe.val_split,
                "size": list(size) if size else None,
            }
        return entry

    # Measuring ----------------------------------------------------------------------------------------------------

    def _row(self, network: Network, keep: float) -> Row:
        operations = gflops(network, *self.state.size)
        return Row(keep, round(parameters_m(network), 4), round(operations, 4), round(self._ms(network), 4))

    def _ms(self, network: Network) -> float:
        return measure_ms(network, self.state.size, self.device, self.precision)

    def _miou(self, network: Network) -> float | None:
        if self.tuning is None or self.tuning.val is None:
            return None
        return self._miou_on(network, self.tuning.val)

    def _miou_on(self, network: Network, pictures: Pairs) -> float:
        assert self.tuning is not None
        recipe = self.tuning.recipe
        network = network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        confusion = evaluate_network(network, pictures, recipe.eval_size, self.device, recipe.normalisation)
        return float(confusion.miou)

    def _miou_before(self, index: int) -> float | None:
        assert self.state.start is not None
        before = self.state.rows[index - 2].miou_tuned if index > 1 else None
        return self.state.start.miou_before if index == 1 else before

    # Keeping ------------------------------------------------------------------------------------------------------

    def _known(self, index: int) -> Row | None:
        return self.state.rows[index - 1] if len(self.state.rows) >= index else None

    def _file(self, index: int) -> LoadedWeights:
        return load_weights(self.folder / f"step-{index}.safetensors")

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
            str(self.device), self.precision, rolled_back=held < len(rows),
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

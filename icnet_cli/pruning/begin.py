"""A pruning run before its first event: begun anew, or taken up from its folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from icnet_cli.checkpoints.format import load_weights, save_weights
from icnet_cli.config import PruneConfig
from icnet_cli.errors import output_error, usage_error
from icnet_cli.evaluation.folders import free_folder
from icnet_cli.inference.device import choose_device, choose_precision
from icnet_cli.models import Network
from icnet_cli.pruning.source import Source, check_output, check_writable, find_source, open_tuning
from icnet_cli.pruning.state import RUNS, State, damaged, load_state
from icnet_cli.pruning.widths import counts_at, kept_share
from icnet_cli.training.held import RunLock
from icnet_cli.training.record import lasting_weights
from icnet_cli.training.run import Run

# What --resume may be told anew: it is the machine's, not the run's.
_TOLD_ANEW = ("device", "precision", "workers", "cache", "batch", "skip_damaged")


@dataclass(frozen=True)
class Beginning:
    """A run's options, its folder, how far it is, and what it tunes and measures with.

    Attributes:
        tuning: the data, the device and the recipe; None where there is no data, or no more need of it.
        lock: keeps other processes out of the folder.
    """

    config: PruneConfig
    folder: Path
    state: State
    tuning: Run | None
    lock: RunLock


def begin(config: PruneConfig) -> Beginning:
    """A new run, its folder made and the network that it starts from kept in it."""
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
        recipe=lasting_weights(tuning.recipe.to_dict()) if tuning else None,
        size=config.size or source.weights.meta.train_size,
    )
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise output_error(f"run folder {folder} cannot be made: {error}") from error
    lock = RunLock()
    lock.take(folder)
    save_weights(folder / "step-0.safetensors", network, source.weights.meta)
    state.save(folder)
    return Beginning(config, folder, state, tuning, lock)


def resume(config: PruneConfig) -> Beginning:
    """The run that `config.resume` names, where it stopped."""
    assert config.resume is not None
    lock = RunLock()
    with lock.kept():
        return _resume(config, config.resume, lock)


def _resume(config: PruneConfig, folder: Path, lock: RunLock) -> Beginning:
    load_state(folder)  # what is no pruning run is refused before anything is made in it
    lock.take(folder)
    state = load_state(folder)
    stored = _as_told(state, config)
    if stored.output is not None:
        check_writable(stored.output)
        if stored.output.exists() and not (state.finished or stored.overwrite):
            raise usage_error(f"{stored.output}, which this run is to write, exists now; move it away first")
    start = load_weights(folder / "step-0.safetensors")
    tuning = None
    if state.dataset and not state.finished:  # else nothing is tuned or measured any more
        source = Source(start, Path(state.dataset), None)
        tuning = open_tuning(stored, source, Path(state.dataset), state.tuning_recipe)
    return Beginning(stored, folder, state, tuning, lock)


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

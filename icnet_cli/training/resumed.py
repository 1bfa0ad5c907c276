"""A run that goes on: which folder `--resume` means, what it says of itself, and what it may be told anew."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from icnet_cli.checkpoints.bundled import lasting
from icnet_cli.checkpoints.state import list_states
from icnet_cli.config import TrainConfig
from icnet_cli.config.train import FIXED
from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.data.layouts import Layout
from icnet_cli.documents import read_json
from icnet_cli.errors import IcnetError, input_error, usage_error
from icnet_cli.models import build
from icnet_cli.reports.train_page import RUN_FILE
from icnet_cli.training.held import LOCK_FILE, RunLock, is_held

RUNS = Path("runs/train")
NEWEST = Path("newest")  # --resume newest

_FINISHED_FILE = "last.safetensors"  # written when a run has come to its end
_MOST_VALUES = 1 << 30  # of a network; the largest here has a twentieth

# What a resumed run keeps of the command before unless it is told otherwise: without it, it would be another run.
_KEPT = ("batch", "accumulate", "lr", "seed", "time_budget_s", "skip_damaged", "deterministic", "precision")


def resumed(config: TrainConfig, lock: RunLock) -> tuple[TrainConfig, dict[str, Any]]:
    """The configuration of a run that goes on, and what its folder says of it; `lock` keeps others out of that.

    Raises:
        IcnetError: exit 2 for an option that would make it another run and where another process is training in its
            folder, 3 where its folder is none or damaged.
    """
    assert config.resume is not None
    folder = find_run(config.resume)
    lock.take(folder)
    stored = _stored(folder)
    _check_same(config, folder, stored)
    for part in folder.glob(".*.part"):  # of a save that was killed
        with suppress(OSError):
            part.unlink()
    first = stored["config"]
    changes: dict[str, Any] = {"resume": folder, "output": None, "model": stored["model"]}
    changes |= {name: first.get(name) for name in ("keep", "pretrained", "recipe")}
    told = {name for name in _KEPT if getattr(config, name) != getattr(TrainConfig, name)}
    size_told = told & {"batch", "accumulate"}
    for name in set(_KEPT) - told - ({"batch", "accumulate"} if size_told else set()):
        changes[name] = first.get(name, getattr(TrainConfig, name))
    config = replace(config, **changes)
    try:
        config.check()  # the folder's word is no better than the user's
    except TypeError as error:
        raise _damaged(folder) from error
    # Stopped before its first checkpoint (it was killed at once, or memory ran out), it begins again.
    return config, stored | {"has_state": bool(list_states(folder))}


def _check_same(config: TrainConfig, folder: Path, stored: dict[str, Any]) -> None:
    """Raise a usage error for an option that would make the run another one: it would not be heeded."""
    recipe = stored["recipe"].get("name") if isinstance(stored["recipe"], dict) else None
    first = stored["config"] | {"model": stored["model"], "recipe": recipe}
    same = {"recipe": stored["config"].get("recipe")}  # other words for it
    given_start = config.pretrained and lasting(config.pretrained)  # as the record has it
    for name in FIXED:
        given, own = getattr(config, name), first.get(name)
        if name == "pretrained" and given_start == own:
            continue
        if given not in (None, own, same.get(name)):
            begun = f"without --{name}" if own is None else f"with --{name} {own}"
            raise usage_error(f"{folder} was begun {begun}; leave --{name} out")
    if config.output and config.output.resolve() != folder.resolve():
        raise usage_error(f"{folder} goes on where it is, not in {config.output}; leave -o out")


def check_network(config: TrainConfig, stored: dict[str, Any], layout: Layout) -> None:
    """Raise an input error where the record's network cannot be built, or is not one of these classes."""
    assert config.resume is not None
    try:
        # Without memory: what the file claims is checked before anything is allocated.
        with torch.device("meta"):
            network = build(stored["model"], stored["model_config"])
    except (ValueError, TypeError, RuntimeError) as error:
        raise _damaged(config.resume) from error
    values = sum(tensor.numel() for tensor in network.state_dict().values())
    if network.num_classes != layout.classes.num_classes or values > _MOST_VALUES:
        raise _damaged(config.resume)


def check_classes(config: TrainConfig, stored: dict[str, Any], layout: Layout) -> None:
    """Raise a usage error where the dataset is not the one that the run has learnt from."""
    found = layout.classes
    own = stored["classes"] or [f"{stored['model_config'].get('num_classes')} classes"]
    if own == list(found.names) or own == [f"{found.num_classes} classes"]:
        return
    raise usage_error(
        f"{config.resume} learns {_some(own)}, but {config.dataset} has {_some(found.names)}; "
        "name the dataset that it was begun with"
    )


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"


def with_cache(config: TrainConfig, stored: dict[str, Any] | None, device: torch.device) -> TrainConfig:
    """With `--cache device` again where the run had it: it rounds otherwise than the host does.

    On a CPU, where it is slow, only for a run that was begun there.
    """
    first = stored["config"] if stored else {}
    untold = config.cache == TrainConfig.cache
    if untold and first.get("cache") == "device" and device.type in ("cuda", first.get("device")):
        return replace(config, cache="device")
    return config


def what_changed(
    stored: dict[str, Any], train: SegmentationDataset, val: SegmentationDataset | None
) -> list[str]:
    """What is no longer as the run's record has it of the same splits, a line each; older records have nothing."""
    known = stored["samples"] if isinstance(stored["samples"], dict) else {}
    found = []
    for name, dataset, purpose, therefore in (
        ("train", train, "to learn from", "they come in another order, so it goes on as another run would"),
        ("val", val, "to measure on", "mIoU before and after is not of the same pictures"),
    ):
        before, now = known.get(name), dataset.fingerprint if dataset else None
        if not isinstance(before, dict) or now is None or before.get("splits") != now["splits"]:
            continue
        if before != now:
            counts = f"{before.get('count')} pictures {purpose} then, {now['count']} now"
            other = ", of other names" if before.get("count") == now["count"] else ""
            found.append(f"the data has changed since this run was stopped: {counts}{other}; {therefore}")
    return found


def find_run(told: Path) -> Path:
    """The run folder that --resume means: itself, the newest one in it, or the newest of all.

    Where another process is training in the newest, it is the newest of those that were stopped, if there is one.

    Raises:
        IcnetError: exit 3 where there is none.
    """
    if (told / RUN_FILE).is_file():
        return told
    inside = RUNS if told == NEWEST and not told.exists() else told
    runs = [path.parent for path in inside.glob(f"*/{RUN_FILE}")]
    if not runs:
        raise input_error(f"{inside} is not a run folder to resume, and holds none: no {RUN_FILE}")
    runs.sort(key=_touched, reverse=True)
    if not is_held(runs[0]):
        return runs[0]
    # Never one that came to its end: who has no stopped run means the one that is refused.
    stopped = (run for run in runs if not (run / _FINISHED_FILE).exists() and not is_held(run))
    return next(stopped, runs[0])


def _touched(run: Path) -> int:
    """When anything in a run folder was last written (ns): the newest is the run trained last, not begun last."""
    newest = 0
    with suppress(OSError):
        for file in run.iterdir():
            with suppress(OSError):  # a link to nothing, or a file of a save that is going on
                newest = max(newest, 0 if file.name == LOCK_FILE else file.stat().st_mtime_ns)
    return newest


def newness(told: Path) -> int:
    """When the run that --resume means was last written, -1 where this machine has none."""
    try:
        return _touched(find_run(told))
    except (IcnetError, OSError):
        return -1


def _stored(folder: Path) -> dict[str, Any]:
    try:
        document = read_json(folder / RUN_FILE)
        found = {key: document[key] for key in ("recipe", "model", "model_config", "config")}
        if not (isinstance(found["config"], dict) and isinstance(found["model_config"], dict)):
            raise TypeError("config")
        # What nobody else looks at: the rest is checked as if the user had said it.
        first = found["config"]
        if not (isinstance(first.get("pretrained"), str | None) and isinstance(first.get("seed", 0), int)):
            raise TypeError("config")
        if not _is_words(document.get("classes")):
            raise TypeError("classes")
        # Which older runs do not have.
        return found | {key: document.get(key) for key in ("classes", "samples")}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(folder) from error


def _is_words(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(word, str) for word in value))


def _damaged(folder: Path) -> IcnetError:
    return input_error(f"{folder} is not a run folder to resume: {RUN_FILE} is missing or damaged")

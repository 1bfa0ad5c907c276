"""A run that goes on: which folder `--resume` means, what it says of itself, and what it may be told anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from icnet_cli.checkpoints.state import list_states
from icnet_cli.config import TrainConfig
from icnet_cli.data.layouts import Layout
from icnet_cli.documents import read_json
from icnet_cli.errors import IcnetError, input_error, usage_error

RUNS = Path("runs/train")
RUN_FILE = "run.json"
NEWEST = Path("newest")  # --resume newest

# What a resumed run keeps of the command before unless it is told otherwise: without it, it would be another run.
_KEPT = ("batch", "accumulate", "lr", "seed", "time_budget_s", "skip_damaged", "deterministic", "precision")
# What it cannot be told anew: its network and its recipe are as they were begun.
_FIXED = ("model", "keep", "pretrained", "recipe")


def resumed(config: TrainConfig) -> tuple[TrainConfig, dict[str, Any]]:
    """The configuration of a run that goes on, and what its folder says of it.

    Raises:
        IcnetError: exit 2 for an option that would make it another run, 3 where its folder is none or damaged.
    """
    assert config.resume is not None
    folder = find_run(config.resume)
    stored = _stored(folder)
    _check_same(config, folder, stored)
    for part in folder.glob(".*.part"):  # of a save that was killed
        part.unlink(missing_ok=True)
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
    same = {"model": TrainConfig.model, "recipe": stored["config"].get("recipe")}  # other words for it
    for name in _FIXED:
        given, own = getattr(config, name), first.get(name)
        if given not in (None, own, same.get(name)):
            begun = f"without --{name}" if own is None else f"with --{name} {own}"
            raise usage_error(f"{folder} was begun {begun}; leave --{name} out")
    if config.output and config.output.resolve() != folder.resolve():
        raise usage_error(f"{folder} goes on where it is, not in {config.output}; leave -o out")


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


def find_run(told: Path) -> Path:
    """The run folder that --resume means: itself, the newest one in it, or the newest of all.

    Raises:
        IcnetError: exit 3 where there is none.
    """
    if (told / RUN_FILE).is_file():
        return told
    inside = RUNS if told == NEWEST and not told.exists() else told
    runs = [path.parent for path in inside.glob(f"*/{RUN_FILE}")]
    if not runs:
        raise input_error(f"{inside} is not a run folder to resume, and holds none: no {RUN_FILE}")
    return max(runs, key=_touched)


def _touched(run: Path) -> int:
    """When anything in a run folder was last written (ns): the newest is the run trained last, not begun last."""
    return max(file.stat().st_mtime_ns for file in run.iterdir())


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
        return found | {"classes": document.get("classes")}  # which older runs do not have
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(folder) from error


def _damaged(folder: Path) -> IcnetError:
    return input_error(f"{folder} is not a run folder to resume: {RUN_FILE} is missing or damaged")

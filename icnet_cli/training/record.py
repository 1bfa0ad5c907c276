"""A run's folder: taken by one process, with what the run is written down in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from icnet_cli.checkpoints.bundled import lasting
from icnet_cli.checkpoints.format import write_atomically
from icnet_cli.errors import output_error, usage_error
from icnet_cli.reports.train_page import RUN_FILE
from icnet_cli.training.held import in_use, is_held
from icnet_cli.training.run import Run


def claim(run: Run) -> None:
    """Make the run folder, keep other processes out of it, and write down what it is.

    Raises:
        IcnetError: exit 2 for a folder that holds a run already, be it one that another process is training; 5 where
            it cannot be made.
    """
    _refuse_taken(run.folder)
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(f"run folder {run.folder} cannot be made: {error}") from error
    with run.lock.kept():
        run.lock.take(run.folder)
        _refuse_taken(run.folder)  # by one that was as quick
        write_down(run)


def _refuse_taken(folder: Path) -> None:
    if is_held(folder):
        raise in_use(folder)
    if (folder / RUN_FILE).exists():
        raise usage_error(f"{folder} holds a run already; go on with --resume {folder}, or choose another -o")


def lasting_weights(record: dict[str, Any]) -> dict[str, Any]:
    """A recipe's or a command's record whose weights are found from whatever folder it is gone on with."""
    pretrained, teachers = record["pretrained"], record["teachers"]
    return record | {
        "pretrained": pretrained and lasting(pretrained),
        "teachers": teachers and [lasting(teacher) for teacher in teachers],
    }


def write_down(run: Run) -> None:
    """`run.json`: what a run is, as its last command has it. It stays on the machine, as the paths in it do."""
    document = {
        "config": lasting_weights(run.config.to_dict()) | {"resume": None},
        "recipe": lasting_weights(run.recipe.to_dict()),
        "model": run.config.model,
        "model_config": run.network.config_dict(),
        "dataset": str(run.config.dataset.resolve()),
        "classes": list(run.layout.classes.names),
        "samples": {
            "train": run.train.fingerprint,
            "val": run.val.fingerprint if run.val else None,
        },
        "batch": run.batch,
        "accumulate": run.accumulate,
        "lr": run.lr,
        "processes": run.ranks.world,
    }
    text = json.dumps(document, indent=1)
    write_atomically(run.folder / RUN_FILE, lambda part: part.write_text(text, encoding="utf-8"))

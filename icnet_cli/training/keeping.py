"""What a run leaves in its folder beside checkpoints: the best and the last weights, each with its card."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from icnet_cli.checkpoints.format import WeightsMeta, read_meta, save_weights
from icnet_cli.errors import ExitCode, IcnetError, input_error, is_out_of_memory
from icnet_cli.models import Network
from icnet_cli.training.run import Run


def keep_weights(
    run: Run, network: Network, name: str, step: int, epoch: int, best_miou: float | None = None
) -> None:
    """Write `network` as `name`.safetensors into the run's folder, on the rank that writes.

    Raises:
        IcnetError: exit 5, they cannot be written; 7, they are not finite.
    """
    if not run.ranks.writes:
        return
    card: dict[str, Any] = {
        "recipe": run.recipe.name,
        "seed": run.config.seed,
        "step": step,
        "epochs": epoch,
        "splits": list(run.recipe.splits),
        "dataset": run.layout.name,
    }
    if best_miou is not None:
        card["best_miou"] = best_miou
    if run.teachers:
        card["teachers"] = [Path(teacher).name for teacher in run.recipe.teachers]
    meta = WeightsMeta.of(
        run.network, run.layout.classes, run.train_size, normalisation=run.recipe.normalisation, card=card
    )
    try:
        save_weights(run.folder / f"{name}.safetensors", network, meta)
    except IcnetError as error:
        if error.code is ExitCode.CHECK:
            error.add_note(f"training diverged; go on with --resume {run.folder} and a lower --lr")
        raise


def kept_miou(folder: Path) -> float:
    """What the best weights of a run folder measured when they were written; -1 where nothing says so."""
    try:
        measured = read_meta(folder / "best.safetensors").card.get("best_miou")
    except IcnetError:
        return -1.0
    return measured if isinstance(measured, float) else -1.0


@contextmanager
def checkpoint_words(run: Run) -> Iterator[None]:
    """A checkpoint that loads but is no state of this network, in one line."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if is_out_of_memory(error) or isinstance(error, torch.distributed.DistError):
            raise
        raise input_error(
            f"the newest checkpoint of {run.folder} is not one of this run's; remove it: --resume takes the one before"
        ) from error

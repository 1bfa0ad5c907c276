"""What is looked at before a run's first step, so that nothing is refused, and nobody surprised, after hours."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.errors import IcnetError, input_error, usage_error
from icnet_cli.training.loader import batch_count
from icnet_cli.training.recipe import Recipe
from icnet_cli.training.run import Run


def what_labels_lack(dataset: SegmentationDataset, most: int = 50) -> list[str]:
    """A remark where half of one's own classes or more are in no label file, as where a mask's object is 255: ignored.

    At most `most` files are looked at. Raises an input error where nothing in them is labelled at all.
    """
    looked_at = np.unique(np.linspace(0, len(dataset) - 1, min(most, len(dataset))).round().astype(int))
    seen: set[int] = set()
    for index in looked_at:
        with suppress(IcnetError):  # a damaged one is told, or left out, where it is read to learn from
            seen |= {*np.unique(dataset.layout.read_labels(dataset.samples[index])).tolist()}
    names = dataset.classes.names
    lacking = [name for index, name in enumerate(names) if index not in seen]
    check = f"icnet data check {dataset.layout.root} tells more"
    if seen and len(lacking) == len(names):
        raise input_error(
            f"no pixel is labelled in {len(looked_at)} label files of {dataset.layout.root}; {check}"
        )
    if not seen or dataset.layout.name != "folder" or 2 * len(lacking) < len(names):
        return []
    some = ", ".join(lacking[:4]) + (", ..." if len(lacking) > 4 else "")
    files = f"the {len(looked_at)} label files that were looked at"
    return [f"{len(lacking)} of {len(names)} classes ({some}) are nowhere in {files}; {check}"]


def check_batch_norm(run: Run) -> None:
    together = run.ranks.world if run.device.type == "cuda" else 1  # SyncBatchNorm is for GPUs
    for stage in run.recipe.stages or (run.recipe.stage_at(0.0),):
        size = run.batch_of(stage)
        if size * together * run.network.smallest_map(*stage.crop_size) < 2:
            height, width = stage.crop_size
            raise usage_error(
                f"batch {size} at {height}x{width} gives BatchNorm a single value a channel; use --batch 2 or more"
            )


def check_some_step(run: Run) -> None:
    """Raise a usage error where so few pictures fill not even one step: what was kept would be random weights."""
    epochs, pictures = run.recipe.epochs, len(run.train)
    if run.resumed or not epochs:
        return
    stages = (run.recipe.stage_at(epoch / epochs) for epoch in range(epochs))
    batches = sum(batch_count(pictures, run.batch_of(stage) * run.ranks.world) for stage in stages)
    if batches < run.accumulate:
        raise usage_error(
            f"the run would end before its first step: with --epochs {epochs} the {pictures} pictures make {batches} "
            f"of the {run.accumulate} batches of {run.batch} that a step takes; give more --epochs, or --steps N"
        )


def check_repeatable(recipe: Recipe) -> None:
    """Raise a usage error for a loss of which torch has no deterministic version on a GPU."""
    parts = {"ohem": recipe.loss.ohem < 1, "lovasz": bool(recipe.loss.lovasz)}
    used = [name for name, there in parts.items() if there]
    if used:
        raise usage_error(
            f"--deterministic: recipe {recipe.name}'s loss uses {' and '.join(used)}, which does not repeat its bits "
            "on a GPU; leave one of the two out"
        )

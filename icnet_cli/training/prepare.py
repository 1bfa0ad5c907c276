"""Makes a training run before its first step: data, network, recipe, folder. All refusals happen by then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from icnet_cli.checkpoints.format import WeightsMeta
from icnet_cli.config import TrainConfig
from icnet_cli.data.dataset import SegmentationDataset, check_splits, split_name
from icnet_cli.data.layouts import Layout, recognise
from icnet_cli.errors import usage_error
from icnet_cli.evaluation.folders import free_folder
from icnet_cli.models import Network, build
from icnet_cli.reports.train_page import RUN_FILE
from icnet_cli.training.beforehand import (
    check_batch_norm,
    check_repeatable,
    check_some_step,
    what_labels_lack,
)
from icnet_cli.training.distil import find_teachers
from icnet_cli.training.held import RunLock
from icnet_cli.training.metrics import require_tensorboard
from icnet_cli.training.pretrained import network_to_train, other_pictures, read_start, shape_of, start_from
from icnet_cli.training.ranks import ALONE, Ranks
from icnet_cli.training.recipe import Recipe, load_recipe, recipe_from_dict
from icnet_cli.training.record import claim, write_down
from icnet_cli.training.resumed import (
    RUNS,
    check_classes,
    check_network,
    resumed,
    what_changed,
    with_cache,
)
from icnet_cli.training.run import Run


def prepare(config: TrainConfig, ranks: Ranks = ALONE) -> Run:
    """Open, build and check everything, and make the run folder.

    Raises:
        IcnetError: with the code that fits: 2 for arguments, 3 for data, 4 for weights, 6 for the device.
    """
    if config.tensorboard and ranks.writes:
        require_tensorboard()
    run = assemble(config, ranks=ranks)
    with run.lock.kept():
        check_some_step(run)
        if ranks.writes:
            if run.resumed:
                write_down(run)  # what it was told anew: a batch that fits now, more time
            else:
                claim(run)
        ranks.meet()  # what one of them refuses ends all before the first step
    return run


def assemble(
    config: TrainConfig, network: Network | None = None, recipe: Recipe | None = None, ranks: Ranks = ALONE
) -> Run:
    """Open, build and check everything but the run folder, which `claim` makes.

    Args:
        network, recipe: used as they are instead of what `config` would build: how a pruned network is fine-tuned.
        ranks: the processes that train together.

    Raises:
        IcnetError: as `prepare`.
    """
    lock = RunLock()
    with lock.kept():
        return _assemble(config, network, recipe, ranks, lock)


def _assemble(
    config: TrainConfig, network: Network | None, recipe: Recipe | None, ranks: Ranks, lock: RunLock
) -> Run:
    layout = recognise(config.dataset)
    stored, told = None, config.resume
    if config.resume:
        # The run folder may be on one machine alone: see `joined`, which makes the first rank of that one.
        config, stored = ranks.first(lambda: resumed(config, lock))
        check_classes(config, stored, layout)
        check_network(config, stored, layout)
    model = config.model or _named_by_start(config)
    config = replace(config, model=model)
    recipe = recipe or _recipe(config, model, layout, stored)
    device = ranks.device(config.device)
    config = with_cache(config, stored, device)
    cache = config.cache == "memory"  # on a device it is in `resident` instead
    train = SegmentationDataset(layout, recipe.splits, cache=cache, skip_damaged=config.skip_damaged)
    train.check_files()
    val = _validation(layout, recipe, config, config.cache != "none")
    started_from = None
    if network is None:
        network, started_from = _network(config, model, recipe, layout, stored)
    batch, accumulate, lr = _batch(config, recipe, ranks.world)
    folder = config.resume or config.output or ranks.first(lambda: free_folder(RUNS, model))
    remarks = [f"going on with {folder}"] if told != config.resume else []
    remarks += what_changed(stored, train, val) if stored else what_labels_lack(train)
    run = Run(
        config, recipe, folder, layout, train, val, network, device, batch, accumulate, lr, stored is not None, ranks,
        started_from, find_teachers(recipe.teachers, layout.classes), tuple(remarks), lock=lock,
    )  # fmt: skip
    check_batch_norm(run)
    if config.deterministic and device.type == "cuda":
        check_repeatable(recipe)
    return run


def _named_by_start(config: TrainConfig) -> str:
    """The network of a run that names none; weights to start from may be the recipe's."""
    said = load_recipe(config.recipe).pretrained if config.recipe else None
    return network_to_train(config.pretrained or said)


def _recipe(config: TrainConfig, model: str, layout: Layout, stored: dict[str, Any] | None) -> Recipe:
    if stored:
        recipe = recipe_from_dict(stored["recipe"], RUN_FILE)
    else:
        recipe = load_recipe(config.recipe or default_recipe(model, layout.name))
    if config.splits or not stored:
        check_splits(config.splits or recipe.splits)
    changes: dict[str, Any] = {}
    if config.splits:
        changes["splits"] = config.splits
    if config.teachers:
        changes["teachers"] = config.teachers
    if config.epochs or config.steps:
        changes |= {"epochs": config.epochs, "steps": config.steps}
    if config.crop:
        changes |= {"crop_size": config.crop, "stages": ()}
    return replace(recipe, **changes)


def default_recipe(model: str, layout: str) -> str:
    """The recipe of a dataset layout: the papers' for the sets they used, our own elsewhere."""
    if layout in ("camvid", "camvid-original"):
        return "camvid-fast-scnn" if model == "fast-scnn" else "camvid-icnet"
    if layout == "cityscapes":
        return "cityscapes-fast-scnn" if model == "fast-scnn" else "cityscapes-icnet"
    return "coco-stuff" if layout == "coco-stuff" else "folder"


def _validation(
    layout: Layout, recipe: Recipe, config: TrainConfig, cache: bool
) -> SegmentationDataset | None:
    if not layout.has_split(split_name(recipe.val_split)):
        return None
    val = SegmentationDataset(layout, (recipe.val_split,), cache=cache, skip_damaged=config.skip_damaged)
    val.check_files()
    return val


def _network(
    config: TrainConfig, model: str, recipe: Recipe, layout: Layout, stored: dict[str, Any] | None
) -> tuple[Network, str | None]:
    """The network before its first step, and how much of it came from which weights."""
    torch.manual_seed(config.seed)
    if stored and stored["has_state"]:
        return _built_again(stored), None
    start = config.pretrained or recipe.pretrained
    learnt = read_start(start) if start else None
    network = _built_again(stored) if stored else _built(config, model, recipe, layout, learnt)
    if not start:
        return network, None
    taken, tensors = start_from(network, start), len(network.state_dict())
    more = other_pictures(learnt, recipe.normalisation) if learnt else ""
    return network, f"{taken} of the network's {tensors} tensors start from {start}{more}"


def _built_again(stored: dict[str, Any]) -> Network:
    return build(stored["model"], stored["model_config"])


def _built(
    config: TrainConfig, model: str, recipe: Recipe, layout: Layout, start: WeightsMeta | None
) -> Network:
    said = recipe.model.get(model, {})
    options = {key: value for key, value in said.items() if value is not None} | {"keep": config.keep or 1.0}
    if start and config.keep is None:
        options |= shape_of(start, model)
    options["num_classes"] = layout.classes.num_classes
    try:
        return build(model, options)
    except ValueError as error:
        raise usage_error(f"recipe {recipe.name} does not fit {model}: {error}") from error


def label_shares(dataset: SegmentationDataset, most: int = 400) -> list[float]:
    """Share of the labelled pixels of each class, from at most `most` samples spread evenly over the data."""
    counts = np.zeros(256, dtype=np.int64)
    for index in np.unique(np.linspace(0, len(dataset) - 1, min(most, len(dataset))).round().astype(int)):
        counts += np.bincount(dataset.read(int(index))[1].ravel(), minlength=256)
    known = counts[: dataset.classes.num_classes]
    return (known / max(1, known.sum())).tolist()


def _batch(config: TrainConfig, recipe: Recipe, world: int) -> tuple[int, int, float]:
    """(pictures of a process at once, batches a step, learning rate). The rate follows the effective batch."""
    batch = config.batch or -(-recipe.batch // world)
    accumulate = config.accumulate or max(1, round(recipe.batch / (batch * world)))
    lr = config.lr or recipe.optimizer.lr * (batch * world * accumulate / recipe.batch)
    return batch, accumulate, lr

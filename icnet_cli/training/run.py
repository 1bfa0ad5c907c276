"""What a training run is made of before its first step: data, network, recipe, folder. All refusals happen here."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from icnet_cli.checkpoints.bundled import find_weights
from icnet_cli.checkpoints.foreign import is_foreign, read_foreign
from icnet_cli.checkpoints.format import load_weights, read_meta, write_atomically
from icnet_cli.config import TrainConfig
from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.data.layouts import Layout, recognise
from icnet_cli.errors import input_error, output_error, usage_error, weights_error
from icnet_cli.inference.device import choose_device
from icnet_cli.models import Network, build
from icnet_cli.training.recipe import Recipe, load_recipe, recipe_from_dict

RUNS = Path("runs/train")
RUN_FILE = "run.json"


@dataclass(frozen=True)
class Run:
    """Everything `Trainer` needs; nothing in it changes while training."""

    config: TrainConfig
    recipe: Recipe
    folder: Path
    layout: Layout
    train: SegmentationDataset
    val: SegmentationDataset | None
    network: Network
    device: torch.device
    batch: int
    accumulate: int
    lr: float
    resumed: bool


def prepare(config: TrainConfig) -> Run:
    """Open, build and check everything, and make the run folder.

    Raises:
        IcnetError: with the code that fits: 2 for arguments, 3 for data, 4 for weights, 6 for the device.
    """
    run = assemble(config)
    if not run.resumed:
        claim(run)
    return run


def assemble(config: TrainConfig, network: Network | None = None, recipe: Recipe | None = None) -> Run:
    """Open, build and check everything but the run folder, which `claim` makes.

    Args:
        network, recipe: used as they are instead of what `config` would build: how a pruned network is fine-tuned.

    Raises:
        IcnetError: as `prepare`.
    """
    layout = recognise(config.dataset)
    stored = _stored(config.resume) if config.resume else None
    if stored and config.model not in (TrainConfig.model, stored["model"]):
        raise usage_error(f"{config.resume} trains {stored['model']}, not {config.model}; leave --model out")
    recipe = recipe or _recipe(config, layout, stored)
    device = choose_device(config.device)
    cache = config.cache != "none"
    train = SegmentationDataset(layout, recipe.splits, cache=cache, skip_damaged=config.skip_damaged)
    train.check_files()
    val = _validation(layout, recipe, config, cache)
    network = network or _network(config, recipe, layout, stored)
    batch, accumulate, lr = _batch(config, recipe)
    _check_batch_norm(network, recipe, batch)
    folder = config.resume or config.output or _new_folder(config.model)
    return Run(
        config, recipe, folder, layout, train, val, network, device, batch, accumulate, lr, stored is not None
    )


def _recipe(config: TrainConfig, layout: Layout, stored: dict[str, Any] | None) -> Recipe:
    if stored:
        recipe = recipe_from_dict(stored["recipe"], RUN_FILE)
    else:
        recipe = load_recipe(config.recipe or default_recipe(config.model, layout.name))
    changes: dict[str, Any] = {}
    if config.splits:
        changes["splits"] = config.splits
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
    if recipe.val_split not in layout.splits():
        return None
    val = SegmentationDataset(layout, (recipe.val_split,), cache=cache, skip_damaged=config.skip_damaged)
    val.check_files()
    return val


def _network(config: TrainConfig, recipe: Recipe, layout: Layout, stored: dict[str, Any] | None) -> Network:
    torch.manual_seed(config.seed)
    if stored:
        return build(stored["model"], stored["model_config"])
    start = config.pretrained or recipe.pretrained
    options = dict(recipe.model.get(config.model, {})) | {"keep": config.keep or 1.0}
    if start and config.keep is None:
        options |= _shape_of(start, config.model)
    options["num_classes"] = layout.classes.num_classes
    try:
        network = build(config.model, options)
    except ValueError as error:
        raise usage_error(f"recipe {recipe.name} does not fit {config.model}: {error}") from error
    if start:
        start_from(network, start)
    return network


def _shape_of(start: str, model: str) -> dict[str, Any]:
    """The channels and all else that `start` was built with, a pruned network's too, where it is one of ours."""
    path = find_weights(start)
    if is_foreign(path):
        return {}
    meta = read_meta(path)
    # What training needs and an exported form may lack: the auxiliary classifiers, and the whole cascade.
    needed = {"aux": True, "branches": "sub124"}
    added = {name: value for name, value in needed.items() if name in meta.config}
    return {**meta.config, **added} if meta.model == model else {}


def start_from(network: Network, weights: str | Path) -> int:
    """Copy every tensor of a weights file that has the same name and shape; returns how many were taken.

    Other people's files are converted first (see `checkpoints.foreign`): a ResNet-50 gives the trunk its start.

    Raises:
        IcnetError: exit 4 where hardly any fits: two unlike networks share a bias or two by accident.
    """
    path = find_weights(weights)
    source = read_foreign(path).state if is_foreign(path) else load_weights(path).network.state_dict()
    target = network.state_dict()
    fitting = {k: v for k, v in source.items() if k in target and v.shape == target[k].shape}
    if len(fitting) < len(target) / 10:
        raise weights_error(
            f"{weights}: {len(fitting)} of its {len(source)} tensors fit this network of {len(target)}; "
            "is it another model, or another --keep?"
        )
    network.load_state_dict(fitting, strict=False)
    return len(fitting)


def label_shares(dataset: SegmentationDataset, most: int = 400) -> list[float]:
    """Share of the labelled pixels of each class, from at most `most` samples spread evenly over the data."""
    counts = np.zeros(256, dtype=np.int64)
    for index in np.unique(np.linspace(0, len(dataset) - 1, min(most, len(dataset))).round().astype(int)):
        counts += np.bincount(dataset.read(int(index))[1].ravel(), minlength=256)
    known = counts[: dataset.classes.num_classes]
    return (known / max(1, known.sum())).tolist()


def _batch(config: TrainConfig, recipe: Recipe) -> tuple[int, int, float]:
    """(pictures in memory, batches a step, learning rate). The rate follows the effective batch."""
    batch = config.batch or recipe.batch
    accumulate = config.accumulate or max(1, round(recipe.batch / batch))
    lr = config.lr or recipe.optimizer.lr * batch * accumulate / recipe.batch
    return batch, accumulate, lr


def _check_batch_norm(network: Network, recipe: Recipe, batch: int) -> None:
    for stage in recipe.stages or (recipe.stage_at(0.0),):
        size = stage.batch or batch
        if size * network.smallest_map(*stage.crop_size) < 2:
            height, width = stage.crop_size
            raise usage_error(
                f"batch {size} at {height}x{width} gives BatchNorm a single value a channel; use --batch 2 or more"
            )


def _new_folder(model: str) -> Path:
    taken = {path.name for path in RUNS.glob(f"{model}-*")}
    number = next(n for n in range(1, 10**6) if f"{model}-{n}" not in taken)
    return RUNS / f"{model}-{number}"


def claim(run: Run) -> None:
    """Make the run folder and write down what it is; refuse one that holds a run already."""
    if (run.folder / RUN_FILE).exists():
        raise usage_error(
            f"{run.folder} holds a run already; go on with --resume {run.folder}, or choose another -o"
        )
    document = {
        "config": run.config.to_dict(),
        "recipe": run.recipe.to_dict(),
        "model": run.config.model,
        "model_config": run.network.config_dict(),
        "dataset": str(run.config.dataset.resolve()),
        "batch": run.batch,
        "accumulate": run.accumulate,
        "lr": run.lr,
    }
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(f"run folder {run.folder} cannot be made: {error}") from error
    text = json.dumps(document, indent=1)
    write_atomically(run.folder / RUN_FILE, lambda part: part.write_text(text, encoding="utf-8"))


def _stored(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        return {key: document[key] for key in ("recipe", "model", "model_config")}
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise input_error(
            f"{folder} is not a run folder to resume: {RUN_FILE} is missing or damaged"
        ) from error

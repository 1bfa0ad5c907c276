"""What a training run is made of before its first step: data, network, recipe, folder. All refusals happen here."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from icnet_cli.checkpoints.bundled import lasting
from icnet_cli.checkpoints.format import LoadedWeights, WeightsMeta, write_atomically
from icnet_cli.config import TrainConfig
from icnet_cli.data.dataset import SegmentationDataset, check_splits, split_name
from icnet_cli.data.layouts import Layout, recognise
from icnet_cli.errors import IcnetError, input_error, output_error, usage_error
from icnet_cli.evaluation.folders import free_folder
from icnet_cli.inference.device import slow_precision
from icnet_cli.inference.segmenter import default_input_size, measured_size
from icnet_cli.models import Network, build
from icnet_cli.reports.train_page import RUN_FILE
from icnet_cli.training.distil import find_teachers
from icnet_cli.training.held import RunLock, in_use, is_held
from icnet_cli.training.metrics import require_tensorboard
from icnet_cli.training.pretrained import network_to_train, other_pictures, read_start, shape_of, start_from
from icnet_cli.training.ranks import ALONE, Ranks
from icnet_cli.training.recipe import Recipe, Stage, load_recipe, recipe_from_dict
from icnet_cli.training.resumed import (
    RUNS,
    check_classes,
    check_network,
    resumed,
    what_changed,
    with_cache,
)


@dataclass(frozen=True)
class Run:
    """Everything `Trainer` needs; nothing in it changes while training.

    Attributes:
        batch: pictures of one process at once; `accumulate` of them, over all `ranks`, make a step at rate `lr`.
        started_from: how much of the network came from which weights, in words.
        teachers: whose probabilities it learns from, beside the labels.
        remarks: what else its user should know, a line each.
        measured_at: (height, width) of the network's input where it is measured, if the user names one.
        lock: keeps other processes out of `folder`, on the first rank.
    """

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
    ranks: Ranks = ALONE
    started_from: str | None = None
    teachers: tuple[LoadedWeights, ...] = ()
    remarks: tuple[str, ...] = ()
    measured_at: tuple[int, int] | None = None
    lock: RunLock = field(default_factory=RunLock)

    def release(self) -> None:
        """Let other processes train in the folder; nothing is written there any more. Safe to call twice."""
        self.lock.release()

    def notices(self) -> list[str]:
        """What its user should know before the first step, a line each."""
        slow = slow_precision(self.config.precision, self.device)
        found = [text for text in (*self.remarks, self.started_from, slow) if text]
        if self.teachers:
            found.append(f"it learns from {', '.join(self.recipe.teachers)} too")
        if self.damaged:
            pairs = "1 damaged pair is" if self.damaged == 1 else f"{self.damaged} damaged pairs are"
            found.append(f"{pairs} left out")
        if self.turned:
            pictures = "1 picture has" if self.turned == 1 else f"{self.turned} pictures have"
            found.append(
                f"{pictures} an EXIF rotation, which is not followed: labels have to be of the pixels as stored; "
                f"icnet data check {self.layout.root} tells more"
            )
        if self.val is None:
            splits = ", ".join(self.layout.splits())
            found.append(
                f"{self.config.dataset} has no split {self.recipe.val_split!r} to measure on (found {splits}): "
                "there will be no mIoU and no best.safetensors"
            )
        elif shared := len({*self.train.samples} & {*self.val.samples}):
            found.append(
                f"{shared} of the {len(self.val)} pictures that it is measured on are trained on too "
                f"(splits {', '.join(self.recipe.splits)}, measured on {self.recipe.val_split}): "
                "mIoU flatters, and best.safetensors is chosen by it"
            )
        return found

    @cached_property
    def train_size(self) -> tuple[int, int]:
        """(height, width) that the weights file will name: the scale of use.

        Without an `eval_size` a recipe trains at the pictures' own scale. The crop says nothing of it: of large
        pictures it shows a part, and around small ones it is filled up. So the weights name the size of a typical
        picture, in multiples of 32.
        """
        if self.recipe.eval_size:
            return self.recipe.eval_size
        typical = self.train.typical_size()
        return default_input_size(typical, typical)

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) at which the network is measured on a picture of that size: where `icnet eval` does it.

        So the figure that weights are chosen by is the one that they have afterwards, on pictures of any shape.
        """
        return self.measured_at or measured_size((height, width), self.train_size)

    @property
    def damaged(self) -> int:
        """Pairs of pictures and labels that are left out."""
        return self.train.num_damaged + (self.val.num_damaged if self.val else 0)

    @property
    def turned(self) -> int:
        """Pictures that are to be shown otherwise than their pixels are stored."""
        return self.train.num_turned + (self.val.num_turned if self.val else 0)

    def batch_of(self, stage: Stage) -> int:
        """Pictures of one process at once in a stage of the recipe."""
        of_stage = -(-stage.batch // self.ranks.world) if stage.batch else None
        return self.config.batch or of_stage or self.batch


def prepare(config: TrainConfig, ranks: Ranks = ALONE) -> Run:
    """Open, build and check everything, and make the run folder.

    Raises:
        IcnetError: with the code that fits: 2 for arguments, 3 for data, 4 for weights, 6 for the device.
    """
    if config.tensorboard and ranks.writes:
        require_tensorboard()
    run = assemble(config, ranks=ranks)
    with run.lock.kept():
        _check_some_step(run)
        if ranks.writes:
            if run.resumed:
                _write_down(run)  # what it was told anew: a batch that fits now, more time
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
    _check_batch_norm(run)
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


def _check_batch_norm(run: Run) -> None:
    together = run.ranks.world if run.device.type == "cuda" else 1  # SyncBatchNorm is for GPUs
    for stage in run.recipe.stages or (run.recipe.stage_at(0.0),):
        size = run.batch_of(stage)
        if size * together * run.network.smallest_map(*stage.crop_size) < 2:
            height, width = stage.crop_size
            raise usage_error(
                f"batch {size} at {height}x{width} gives BatchNorm a single value a channel; use --batch 2 or more"
            )


def _check_some_step(run: Run) -> None:
    """Raise a usage error where so few pictures fill not even one step: what was kept would be random weights."""
    epochs, pictures = run.recipe.epochs, len(run.train)
    if run.resumed or not epochs:
        return
    stages = (run.recipe.stage_at(epoch / epochs) for epoch in range(epochs))
    batches = sum(-(-pictures // (run.batch_of(stage) * run.ranks.world)) for stage in stages)
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
        _write_down(run)


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


def _write_down(run: Run) -> None:
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

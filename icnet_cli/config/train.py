"""What `icnet train` and `icnet prune` can be told."""

# ruff: noqa: RUF009  (the helpers only spell out dataclasses.field and its metadata)

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from icnet_cli.config.fields import Config, argument, option
from icnet_cli.config.shared import (
    CUTS,
    MODELS,
    NETWORK,
    SCHEDULE,
    WHAT,
    cache_option,
    crop_option,
    device_option,
    lr_option,
    overwrite_option,
    precision_option,
    recipe_option,
    seed_option,
    size_option,
    skip_damaged_option,
    time_budget_option,
    train_batch_option,
    workers_option,
)

# What a resumed training run cannot be told anew: its network and its recipe are as they were begun.
FIXED = ("model", "keep", "pretrained", "recipe")


@dataclass(frozen=True)
class TrainConfig(Config):
    """`icnet train`: a folder of pictures and labels in, weights out."""

    dataset: Path = argument("DATASET", "A folder: Cityscapes, CamVid, COCO-Stuff, or images/ and labels/.")
    model: str | None = option(
        None,
        "Network to train.",
        choices=MODELS,
        panel=NETWORK,
        shows="icnet; with --pretrained, the network that these weights are of",
    )
    keep: float | None = option(
        None,
        "Share of the full-width network's channels to build.",
        above=0,
        maximum=1,
        panel=NETWORK,
        shows="1; with --pretrained, the channels of these weights",
    )
    pretrained: str | None = option(
        None,
        "Weights to start from; layers whose shapes differ start fresh.",
        metavar="NAME|FILE",
        panel=NETWORK,
        shows="what the recipe says",
        completes="weights",
    )
    teachers: tuple[str, ...] | None = option(
        None,
        "Weights to learn from beside the labels, with commas.",
        metavar="NAME|FILE,...",
        panel=NETWORK,
        shows="none",
    )
    device: str = device_option()
    precision: str = precision_option()
    deterministic: bool = option(
        False, "Only algorithms that give the same bits each time; slower on a GPU.", panel=NETWORK
    )

    output: Path | None = option(
        None,
        "Run folder.",
        flags=("--output", "-o"),
        metavar="DIR",
        env=False,
        panel=WHAT,
        shows="runs/train/MODEL-N",
    )
    resume: Path | None = option(
        None,
        "Go on with this run folder, from its last checkpoint; newest is the last one under runs/train.",
        metavar="DIR|newest",
        env=False,
        panel=WHAT,
    )
    splits: tuple[str, ...] | None = option(
        None,
        "Splits to train on, with commas: train,val. Of val/10, every tenth sample.",
        metavar="NAME,...",
        panel=WHAT,
        shows="what the recipe says",
    )
    skip_damaged: bool = skip_damaged_option()
    cache: str = cache_option()
    workers: int | None = workers_option()
    tensorboard: bool = option(
        False, "Also write TensorBoard events (needs the tensorboard extra).", panel=WHAT
    )

    recipe: str | None = recipe_option("the dataset layout's")
    epochs: int | None = option(
        None, "Passes over the data.", minimum=1, panel=SCHEDULE, shows="the recipe's"
    )
    steps: int | None = option(None, "Optimizer steps.", minimum=1, panel=SCHEDULE, shows="the recipe's")
    time_budget_s: float | None = time_budget_option("the schedule")
    batch: int | None = train_batch_option()
    accumulate: int | None = option(
        None,
        "Batches summed into one step.",
        minimum=1,
        panel=SCHEDULE,
        shows="what keeps the recipe's effective batch",
    )
    lr: float | None = lr_option()
    crop: tuple[int, int] | None = crop_option()
    seed: int = seed_option()

    def begun_with(self) -> tuple[str, ...]:
        """See `Config.begun_with`."""
        return FIXED if self.resume is not None else ()

    def _contradictions(self) -> list[str]:
        if self.epochs is not None and self.steps is not None:
            return ["--epochs and --steps both set the length; give one"]
        return []


PRUNE_STEPS = 2  # of progressive pruning: from 1 to 0.5 by way of 0.75
# All else a resumed pruning run has from its beginning.
_OF_THE_MACHINE = (
    "resume", "device", "precision", "workers", "cache", "batch", "size", "seed", "skip_damaged",
)  # fmt: skip
# Of these data is read too: to measure on, where there is any.
_OF_DATA, _OF_TUNING = ("recipe", "cache", "skip_damaged"), ("workers", "batch", "lr", "crop", "seed")


@dataclass(frozen=True)
class PruneConfig(Config):
    """`icnet prune`: fewer channels, and the accuracy that fine-tuning wins back."""

    weights: str | None = argument(
        "WEIGHTS",
        "A .safetensors file or a bundled name; left out, the newest run under runs/train.",
        completes="weights",
        default=None,
    )
    data: Path | None = option(
        None,
        "Dataset to fine-tune and to measure on.",
        metavar="DIR",
        panel=WHAT,
        env=False,
        shows="the one that the weights' run was trained on",
    )
    output: Path | None = option(
        None,
        "The pruned weights.",
        flags=("--output", "-o"),
        metavar="FILE",
        env=False,
        panel=WHAT,
        shows="pruned.safetensors in the run folder",
    )
    overwrite: bool = overwrite_option()
    resume: Path | None = option(
        None,
        "Go on with this run folder (runs/prune/NAME-N), in the step it was in.",
        metavar="DIR",
        env=False,
        panel=WHAT,
    )
    skip_damaged: bool = skip_damaged_option()
    cache: str = cache_option()
    workers: int | None = workers_option()

    keep: float | None = option(
        None,
        "Prune to this share of the full-width network's channels, whatever the weights have now.",
        above=0,
        maximum=1,
        panel=CUTS,
    )
    target_ms: float | None = option(
        None,
        "Prune until the network takes no longer than this on the device at --size.",
        above=0,
        panel=CUTS,
    )
    max_drop: float | None = option(
        None,
        "Stop, and go back to the last step that holds, once mIoU has fallen by more than this many "
        "points (hundredths).",
        minimum=0,
        maximum=100,
        panel=CUTS,
    )
    progressive: bool = option(
        False,
        "Cut in steps, each fine-tuned before the next. This is what happens unless --one-shot.",
        env=False,
        panel=CUTS,
    )
    one_shot: bool = option(False, "Cut once.", env=False, panel=CUTS)
    steps: int | None = option(
        None,
        "Equal steps of progressive pruning.",
        minimum=1,
        maximum=100,
        panel=CUTS,
        shows=str(PRUNE_STEPS),
    )
    no_tune: bool = option(False, "Cut only; needs no data.", env=False, panel=CUTS)
    round_to: int = option(
        8, "Channel counts are multiples of this, and at least this.", minimum=1, maximum=512, panel=CUTS
    )

    recipe: str | None = recipe_option("that of the weights' run, else the dataset layout's")
    tune_epochs: int | None = option(
        None,
        "Passes over the data after each cut.",
        minimum=1,
        panel=SCHEDULE,
        shows="a tenth of the recipe's",
    )
    tune_steps: int | None = option(
        None, "Optimizer steps after each cut.", minimum=1, panel=SCHEDULE, shows="a tenth of the recipe's"
    )
    tune_total: int | None = option(
        None,
        "Optimizer steps of all fine-tuning together, an equal share after each cut.",
        minimum=1,
        panel=SCHEDULE,
    )
    time_budget_s: float | None = time_budget_option("all fine-tuning")
    batch: int | None = train_batch_option()
    lr: float | None = lr_option()
    crop: tuple[int, int] | None = crop_option()
    seed: int = seed_option()

    size: tuple[int, int] | None = size_option(
        "Size of the network's input at which it is timed and measured, height x width.",
        shows="the weights' training size; measured at what eval takes",
    )
    device: str = device_option()
    precision: str = precision_option()

    def unread(self) -> dict[str, str]:
        """See `Config.unread`."""
        if not self.no_tune:
            return {}
        found = dict.fromkeys(self.given(_OF_TUNING), "is for the fine-tuning, and --no-tune leaves it out")
        if self.data is None:
            found |= dict.fromkeys(
                self.given(_OF_DATA), "is for data, and --no-tune without --data reads none"
            )
        return {flag: f"{flag} {why}" for flag, why in found.items()}

    def begun_with(self) -> tuple[str, ...]:
        """See `Config.begun_with`."""
        if self.resume is None:
            return ()
        return tuple(item.name for item in fields(self) if item.name not in _OF_THE_MACHINE)

    def _contradictions(self) -> list[str]:
        if self.resume is not None:
            given = self.given(self.begun_with())
            goes_on = "--resume goes on with the run's own arguments"
            return [f"{goes_on}; leave out {', '.join(given)}"] if given else []
        found = []
        if (self.keep is None) == (self.target_ms is None):
            found.append("give --keep (0.5, say) or --target-ms, one of the two")
        if self.one_shot and (self.progressive or self.steps is not None):
            found.append("--one-shot cuts once; leave out --progressive and --steps")
        if self.no_tune and (self.progressive or self.steps is not None):
            found.append("--no-tune cuts once; --progressive and --steps are for fine-tuning in between")
        if self.no_tune and self.max_drop is not None:
            found.append("--max-drop is measured after fine-tuning; leave out --no-tune")
        lengths = self.given(("tune_epochs", "tune_steps", "tune_total"))
        if self.no_tune and (lengths or self.time_budget_s is not None):
            given = lengths or ["--time-budget"]
            found.append(f"--no-tune has no fine-tuning; leave out {' and '.join(given)}")
        if len(lengths) > 1:
            found.append(f"{' and '.join(lengths)} each set the length; give one")
        cuts = 1 if self.one_shot else self.steps or PRUNE_STEPS
        if self.tune_total is not None and self.tune_total < cuts:
            found.append(f"--tune-total {self.tune_total} is less than one step for each of --steps {cuts}")
        return found

"""What a training run is made of: data, network, recipe, folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from icnet_cli.checkpoints.format import LoadedWeights
from icnet_cli.config import TrainConfig
from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.data.layouts import Layout
from icnet_cli.inference.device import slow_precision
from icnet_cli.inference.segmenter import default_input_size, measured_size
from icnet_cli.models import Network
from icnet_cli.training.held import RunLock
from icnet_cli.training.ranks import ALONE, Ranks
from icnet_cli.training.recipe import Recipe, Stage


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

"""Where an epoch's batches come from: read and augmented by the host, or by the training device from its own memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

from icnet_cli.training.loader import AugmentedDataset, epoch_batches, load_batches, share_of, worker_count
from icnet_cli.training.recipe import Stage
from icnet_cli.training.resident import Resident
from icnet_cli.training.run import Run


class Feed(Protocol):
    """Batches in order: pictures uint8 (N, 3, H, W) RGB and labels uint8 (N, H, W), augmented."""

    def batches(
        self, stage: Stage, epoch: int, batches: list[list[int]]
    ) -> Iterator[tuple[Tensor, Tensor]]: ...


class HostFeed:
    """Read from files or from the host's memory, augmented there, in worker processes where there are any."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.workers = worker_count(run.config.workers, run.device)
        if self.workers and run.config.cache == "memory":
            run.train.preload()  # what a worker decodes dies with it at the epoch's end

    def batches(self, stage: Stage, epoch: int, batches: list[list[int]]) -> Iterator[tuple[Tensor, Tensor]]:
        recipe = self.run.recipe
        dataset = AugmentedDataset(self.run.train, recipe.augment, stage, recipe.normalisation.fill)
        pin = self.run.device.type == "cuda"
        return load_batches(dataset, batches, self.run.config.seed, epoch, self.workers, pin)


def open_feed(run: Run) -> Feed:
    return Resident(run) if run.config.cache == "device" else HostFeed(run)


def batches_of(run: Run, stage: Stage, epoch: int) -> list[list[int]]:
    """This rank's part of each of an epoch's batches."""
    ranks = run.ranks
    together = run.batch_of(stage) * ranks.world
    return share_of(epoch_batches(len(run.train), together, run.config.seed, epoch), ranks.rank, ranks.world)

"""Batches whose order and augmentation are functions of (seed, epoch, index) alone: a resumed run sees the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from icnet_cli.data.augment import AugmentConfig, augment
from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.training.recipe import Stage


class Key(NamedTuple):
    """Which sample, drawn how: everything its augmentation depends on."""

    seed: int
    epoch: int
    sample: int


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """The epoch's permutation of the data, drawn from nothing but (seed, epoch)."""
    return np.random.default_rng((seed, epoch)).permutation(count).tolist()


def epoch_batches(count: int, batch: int, seed: int, epoch: int) -> list[list[int]]:
    """Full batches only, as BatchNorm and the learning rate expect; a set smaller than one batch is repeated."""
    order = epoch_order(count, seed, epoch)
    order = (order * -(-batch // max(1, count)))[: max(batch, count)]
    return [order[start : start + batch] for start in range(0, len(order) - batch + 1, batch)]


def worker_count(asked: int | None, device: torch.device) -> int:
    """Processes that read and augment: what is asked for, else one a core on a GPU (at most 8)."""
    if asked is not None:
        return asked
    # On a CPU the network itself takes every core; reading in other processes would only take them away.
    return min(8, torch.get_num_threads()) if device.type == "cuda" else 0


class AugmentedDataset(Dataset[tuple[Tensor, Tensor]]):
    """Reads and augments one sample a `Key`: uint8 (3, H, W) RGB and uint8 (H, W)."""

    def __init__(
        self, dataset: SegmentationDataset, config: AugmentConfig, stage: Stage, fill: tuple[int, int, int]
    ) -> None:
        self.dataset, self.stage, self.fill = dataset, stage, fill
        self.config = replace(config, scale_range=stage.scale_range)

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor]:
        image, labels = self.dataset.read(key.sample)
        # Three words tell this generator from the two that draw the epoch's order.
        rng = np.random.default_rng(tuple(key))
        image, labels = augment(image, labels, self.stage.crop_size, self.config, rng, self.fill)
        picture = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return picture, torch.from_numpy(np.ascontiguousarray(labels))


def load_batches(
    dataset: AugmentedDataset, batches: list[list[int]], seed: int, epoch: int, workers: int, pin: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """The epoch's batches, in order: uint8 (N, 3, H, W) and uint8 (N, H, W)."""
    keys = [[Key(seed, epoch, index) for index in batch] for batch in batches]
    # Given explicitly, because a loader without one draws a seed from torch's global generator and so moves it.
    generator = torch.Generator().manual_seed(0)
    yield from DataLoader(
        dataset, batch_sampler=keys, num_workers=workers, pin_memory=pin, generator=generator
    )

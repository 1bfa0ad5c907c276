"""Batches whose order and augmentation are functions of (seed, epoch, index) alone: a resumed run sees the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from icnet_cli.data.augment import AugmentConfig, augment
from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.errors import ExitCode, IcnetError, device_error
from icnet_cli.training.recipe import Stage


class Key(NamedTuple):
    """Which sample, drawn how: everything its augmentation depends on."""

    seed: int
    epoch: int
    sample: int

    @property
    def rng(self) -> np.random.Generator:
        """Three words tell this generator from the two that draw the epoch's order."""
        return np.random.default_rng(tuple(self))


class _Refusal(NamedTuple):
    """An error met in a worker process, where an exception would lose its exit code on the way."""

    message: str
    code: int


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """The epoch's permutation of the data, drawn from nothing but (seed, epoch)."""
    return np.random.default_rng((seed, epoch)).permutation(count).tolist()


def epoch_batches(count: int, batch: int, seed: int, epoch: int) -> list[list[int]]:
    """Full batches only, as BatchNorm and the learning rate expect: every sample once, and the last batch filled up.

    What fills it is the beginning of the same epoch's order, again; a set smaller than a batch is repeated so.
    """
    order = epoch_order(count, seed, epoch)
    full = -(-count // batch) * batch
    order = (order * -(-full // max(1, count)))[:full]
    return [order[start : start + batch] for start in range(0, len(order), batch)]


def share_of(batches: list[list[int]], rank: int, world: int) -> list[list[int]]:
    """The part of each batch that one of `world` processes takes: all parts together are the batch, in its order."""
    if world == 1:
        return batches
    size = len(batches[0]) // world if batches else 0
    return [batch[rank * size : (rank + 1) * size] for batch in batches]


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

    def __getitem__(self, key: Key) -> Any:
        try:
            image, labels = self.dataset.read(key.sample)
        except IcnetError as error:
            return _Refusal(str(error), int(error.code))
        image, labels = augment(image, labels, self.stage.crop_size, self.config, key.rng, self.fill)
        picture = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return picture, torch.from_numpy(np.ascontiguousarray(labels))


def _collate(samples: list[Any]) -> Any:
    refusal = next((sample for sample in samples if isinstance(sample, _Refusal)), None)
    return refusal or tuple(default_collate(samples))


def load_batches(
    dataset: AugmentedDataset, batches: list[list[int]], seed: int, epoch: int, workers: int, pin: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """The epoch's batches, in order: uint8 (N, 3, H, W) and uint8 (N, H, W).

    Raises:
        IcnetError: exit 3, a picture that does not decode; 6, a worker process that was killed.
    """
    keys = [[Key(seed, epoch, index) for index in batch] for batch in batches]
    # Given explicitly, because a loader without one draws a seed from torch's global generator and so moves it.
    generator = torch.Generator().manual_seed(0)
    loader = DataLoader(
        dataset,
        batch_sampler=keys,
        num_workers=workers,
        pin_memory=pin,
        generator=generator,
        collate_fn=_collate,
    )
    try:
        for loaded in loader:
            if isinstance(loaded, _Refusal):
                raise IcnetError(loaded.message, ExitCode(loaded.code))
            yield loaded
    except RuntimeError as error:
        if "DataLoader worker" in str(error) and "kill" in str(error):
            raise device_error(
                "a process that reads pictures was killed, by want of memory as a rule; give fewer --workers"
            ) from error
        raise

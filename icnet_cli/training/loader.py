"""Batches whose order and augmentation are functions of (seed, epoch, index) alone: a resumed run sees the same."""

from __future__ import annotations

import atexit
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from icnet_cli.data.augment import AugmentConfig, augment
from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.errors import ExitCode, IcnetError, ending_signals
from icnet_cli.training.recipe import Stage

# Each epoch has processes of its own. On Linux they are forked, which is not what Python does by itself from 3.14 on:
# started anew, each would first load torch, which takes longer than a small epoch.
_START = "fork" if sys.platform == "linux" else None


class Key(NamedTuple):
    """Which sample, drawn how: everything its augmentation depends on."""

    seed: int
    epoch: int
    sample: int

    @property
    def rng(self) -> np.random.Generator:
        """Three words tell this generator from the two that draw the epoch's order."""
        return np.random.default_rng(tuple(self))


class WorkerLostError(IcnetError):
    """A process that reads pictures is gone (exit 6). It is met between two batches: what was trained is whole."""

    def __init__(self) -> None:
        super().__init__(
            "a process that reads pictures was killed, by want of memory as a rule; give fewer --workers",
            ExitCode.DEVICE,
        )


class _Refusal(NamedTuple):
    """An error met in a worker process, where an exception would lose its exit code on the way."""

    message: str
    code: int


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """The epoch's permutation of the data, drawn from nothing but (seed, epoch)."""
    return np.random.default_rng((seed, epoch)).permutation(count).tolist()


def batch_count(count: int, batch: int) -> int:
    """How many batches an epoch of `count` samples has."""
    return -(-count // batch)


def epoch_batches(count: int, batch: int, seed: int, epoch: int) -> list[list[int]]:
    """Full batches only, as BatchNorm and the learning rate expect: every sample once, and the last batch filled up.

    What fills it is the beginning of the same epoch's order, again; a set smaller than a batch is repeated so.
    """
    order = epoch_order(count, seed, epoch)
    full = batch_count(count, batch) * batch
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
        IcnetError: exit 3, a picture that does not decode.
        WorkerLostError: a worker process was killed.
    """
    keys = [[Key(seed, epoch, index) for index in batch] for batch in batches]
    # Given explicitly, because a loader without one draws a seed from torch's global generator and so moves it.
    generator = torch.Generator().manual_seed(0)
    loader = DataLoader(
        dataset,
        batch_sampler=keys,
        num_workers=workers,
        multiprocessing_context=_START if workers else None,
        pin_memory=pin,
        generator=generator,
        collate_fn=_collate,
        worker_init_fn=_leave_signals_to_the_parent,
    )
    with _deaths_told_between_batches(loader) as loading:
        for loaded in loading:
            if isinstance(loaded, _Refusal):
                raise IcnetError(loaded.message, ExitCode(loaded.code))
            yield loaded


def _leave_signals_to_the_parent(worker: int) -> None:
    """In a worker: what is sent to all processes of a run, by a terminal or a launcher, is for the one that saves.

    That one then ends its workers by telling them, not by a signal.
    """
    for number in ending_signals():
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _deaths_told_between_batches(loader: DataLoader[Any]) -> Iterator[Iterator[Any]]:
    """The loader's batches; a worker's death is raised where the next one is asked for, and nowhere else.

    torch's handler of SIGCHLD raises wherever this process happens to be, amid an optimizer's step or a save too.
    Without it the loader itself looks after its workers, each five seconds that it waits for one.
    """
    main = threading.current_thread() is threading.main_thread()
    ours = bool(loader.num_workers) and main and hasattr(signal, "SIGCHLD")
    before = signal.getsignal(signal.SIGCHLD) if ours else None
    loading = iter(loader)
    if ours:
        torchs = getattr(before, "__module__", "").startswith("torch.")
        signal.signal(signal.SIGCHLD, signal.SIG_DFL if torchs or before is None else before)
    # At the end of the process Python tells what is left by a signal, which they do not heed, and waits for them.
    at_exit = partial(_kill, loading)
    atexit.register(at_exit)
    try:
        yield loading
    except (RuntimeError, OSError, EOFError) as error:
        if _has_lost_one(loading):
            raise WorkerLostError from error
        raise
    finally:
        if loader.num_workers:
            loading._shutdown_workers()  # type: ignore[attr-defined]
            _kill(loading)
        atexit.unregister(at_exit)
        if ours and before is not None:
            signal.signal(signal.SIGCHLD, before)


def _has_lost_one(loading: Any) -> bool:
    """Whether a worker has not ended by itself: torch says so in several ways, one of them a connection that broke."""
    workers = getattr(loading, "_workers", ())
    for worker in workers:
        worker.join(0.2)  # it may just be ending
    return any(worker.exitcode for worker in workers)


def _kill(loading: Any) -> None:
    """Those that have not ended, though they were told to: stuck in a read, or never told."""
    for worker in getattr(loading, "_workers", ()):
        if worker.is_alive():
            worker.kill()

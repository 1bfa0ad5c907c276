"""BatchNorm statistics measured anew: those of the parent do not fit a network that has lost channels."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from icnet_cli.training.loader import AugmentedDataset, epoch_batches, load_batches, worker_count
from icnet_cli.training.run import Run

MOST_BATCHES = 200
MOST_EPOCHS = 2  # a small set has nothing new to say after that


def recalibrate(run: Run) -> Iterator[tuple[int, int]]:
    """Set the running statistics of `run.network` to their mean over the training data; yields (done, total) batches.

    The pictures are those it will be fine-tuned on, augmentation included, without gradients.
    """
    network = run.network.to(run.device)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average: each batch counts the same
    training = network.training
    network.train()
    try:
        yield from _forward(run)
    finally:
        network.train(training)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _forward(run: Run) -> Iterator[tuple[int, int]]:
    stage = run.recipe.stage_at(1.0)
    dataset = AugmentedDataset(run.train, run.recipe.augment, stage, run.recipe.normalisation.fill)
    seed = run.config.seed
    epochs = [epoch_batches(len(run.train), run.batch_of(stage), seed, epoch) for epoch in range(MOST_EPOCHS)]
    total, done = min(MOST_BATCHES, sum(map(len, epochs))), 0
    for epoch, batches in enumerate(epochs):
        workers = worker_count(run.config.workers, run.device)
        for pictures, _ in load_batches(dataset, batches[: total - done], seed, epoch, workers, pin=False):
            with torch.no_grad():
                run.network(run.recipe.normalisation.apply(pictures.to(run.device)))
            done += 1
            yield done, total

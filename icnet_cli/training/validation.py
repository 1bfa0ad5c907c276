"""The validation split between the ranks, and what breaks an evaluation off."""

from __future__ import annotations

from collections.abc import Callable

import torch

from icnet_cli.evaluation.confusion import Confusion, Labels
from icnet_cli.evaluation.network import Pairs, evaluate_network
from icnet_cli.evaluation.predict import Image
from icnet_cli.models import Network
from icnet_cli.training.run import Run


class BrokenOffError(Exception):
    """An evaluation was told to stop."""


def validate(run: Run, network: Network, told_to_stop: Callable[[], bool]) -> Confusion:
    """The confusion over the whole split, of which each rank measures its share: counts add up exactly.

    Args:
        told_to_stop: asked before each picture, on every rank equally often, so that it may ask the others.

    Raises:
        BrokenOffError: once `told_to_stop`; where it is agreed on, on all ranks at the same picture.
    """
    assert run.val is not None
    share = _Share(run.val, run.ranks.rank, run.ranks.world, told_to_stop)
    confusion = evaluate_network(network, share, run.input_size, run.device, run.recipe.normalisation)
    share.end()
    confusion.matrix = run.ranks.sum(torch.from_numpy(confusion.matrix)).numpy()
    return confusion


class _Share:
    """The pictures of a dataset that one rank measures: each belongs to one rank."""

    def __init__(self, dataset: Pairs, rank: int, world: int, told_to_stop: Callable[[], bool]) -> None:
        self.dataset, self.mine = dataset, range(rank, len(dataset), world)
        self.longest = -(-len(dataset) // world)
        self.told_to_stop = told_to_stop

    def __len__(self) -> int:
        return len(self.mine)

    def read(self, index: int) -> tuple[Image, Labels]:
        self._go_on()
        return self.dataset.read(self.mine[index])

    def end(self) -> None:
        """Ask as often as a rank with a picture more does: they wait for each other."""
        if len(self) < self.longest:
            self._go_on()

    def _go_on(self) -> None:
        if self.told_to_stop():
            raise BrokenOffError

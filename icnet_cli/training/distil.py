"""Distillation: a network learns from others' probabilities beside the labels (Hinton et al. 2015, section 2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from icnet_cli.checkpoints.bundled import find_weights
from icnet_cli.checkpoints.format import LoadedWeights, load_weights
from icnet_cli.classes import ClassTable
from icnet_cli.errors import usage_error
from icnet_cli.inference.fold import ready_network
from icnet_cli.training.normalise import Normalise


class Teachers:
    """Networks that are done learning, asked about the very pictures that the student is given.

    Their probabilities are averaged, so that several teach what none of them knows alone.

    Args:
        align_corners: the student's: where its pixels lie, and so where the teachers are asked.
    """

    def __init__(
        self, loaded: Sequence[LoadedWeights], device: torch.device, align_corners: bool = False
    ) -> None:
        self.students = align_corners
        self.networks = [ready_network(one.network, device, torch.float32) for one in loaded]
        self.normalises = [Normalise(one.meta.normalisation).to(device) for one in loaded]
        self.align_corners = [one.network.align_corners for one in loaded]

    @torch.no_grad()
    def probabilities(self, pictures: Tensor, size: tuple[int, int]) -> Tensor:
        """uint8 (N, 3, H, W) on their device -> float32 (N, K, *size), each pixel's K adding up to 1."""
        return torch.stack([scores.softmax(dim=1) for scores in self._scores(pictures, size)]).mean(dim=0)

    def _scores(self, pictures: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
        teachers = zip(self.networks, self.normalises, self.align_corners, strict=True)
        for network, normalise, align_corners in teachers:
            scores = network.scores(normalise(pictures)).float()  # type: ignore[operator]
            if align_corners != self.students:  # maps of one size whose pixels lie at different places
                whole = (pictures.shape[2], pictures.shape[3])
                scores = F.interpolate(scores, size=whole, mode="bilinear", align_corners=align_corners)
            yield F.interpolate(scores, size=size, mode="bilinear", align_corners=self.students)


def find_teachers(names: Sequence[str], classes: ClassTable) -> tuple[LoadedWeights, ...]:
    """Load the weights of a recipe's `teachers`, files or names.

    Raises:
        IcnetError: exit 4 for a file that is none of ours, 2 for weights of other classes than the dataset's.
    """
    loaded = tuple(load_weights(find_weights(name)) for name in names)
    for name, one in zip(names, loaded, strict=True):
        if one.meta.classes.names != classes.names:
            raise usage_error(
                f"teacher {name} knows {one.meta.classes.num_classes} classes that are not the dataset's "
                f"{classes.num_classes}"
            )
    return loaded

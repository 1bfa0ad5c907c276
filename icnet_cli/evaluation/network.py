"""What a network answers, looked at while it is trained or pruned: no weights file, no report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import nn

from icnet_cli.checkpoints.format import Normalisation
from icnet_cli.evaluation.confusion import Confusion, Labels
from icnet_cli.evaluation.predict import Image, network_input
from icnet_cli.pixels.labels import labels_from_scores, labels_from_scores_torch

# Of a picture's height and width, those of the network's input.
InputSize = Callable[[int, int], tuple[int, int]]


class Pairs(Protocol):
    """What is measured on: pictures with their labels, as `data.SegmentationDataset` gives them."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> tuple[Image, Labels]: ...


def evaluate_network(
    network: nn.Module,
    dataset: Pairs,
    input_size: InputSize,
    device: torch.device,
    normalisation: Normalisation,
) -> Confusion:
    """The confusion of a network on a dataset: what training looks at each epoch.

    Args:
        network: on `device`; its mode is put back as it was.
        dataset: pictures and labels, of any sizes.
        input_size: at what size the network sees a picture of which size.
    """
    confusion = Confusion(int(network.num_classes))  # type: ignore[arg-type]
    training = network.training
    network.eval()
    try:
        for index in range(len(dataset)):
            image, truth = dataset.read(index)
            labels = network_labels(network, image, input_size, device, normalisation)
            confusion.update(truth, labels)
    finally:
        network.train(training)
    return confusion


@torch.inference_mode()
def network_labels(
    network: nn.Module,
    image: Image,
    input_size: InputSize,
    device: torch.device,
    normalisation: Normalisation,
) -> Labels:
    """The arg-max class of each pixel of `image`, uint8 (H, W)."""
    own_size = (image.shape[0], image.shape[1])
    network_size = input_size(*own_size)
    scores = network.scores(network_input(image, network_size, device, normalisation))  # type: ignore[operator]
    align_corners = bool(network.align_corners)
    if device.type != "cpu":
        return labels_from_scores_torch(scores, own_size, align_corners, network_size)[0].cpu().numpy()
    return labels_from_scores(scores[0].permute(1, 2, 0).numpy(), own_size, align_corners, network_size)

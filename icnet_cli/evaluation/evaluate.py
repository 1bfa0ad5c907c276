"""How well a network does on labelled pictures: one confusion matrix at the labels' own size."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from icnet_cli.checkpoints.format import Normalisation
from icnet_cli.evaluation.confusion import Confusion, Labels
from icnet_cli.pixels.files import shrink_or_grow
from icnet_cli.pixels.labels import labels_from_scores, labels_from_scores_torch

Image = NDArray[np.uint8]  # (H, W, 3) RGB


class Pairs(Protocol):
    """What is measured on: pictures with their labels, as `data.SegmentationDataset` gives them."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> tuple[Image, Labels]: ...


def evaluate_network(
    network: nn.Module,
    dataset: Pairs,
    size: tuple[int, int] | None,
    device: torch.device,
    normalisation: Normalisation,
) -> Confusion:
    """The confusion of a network on a dataset: what training looks at each epoch.

    Args:
        network: on `device`; its mode is put back as it was.
        dataset: pictures and labels, of any sizes.
        size: (height, width) of the network's input; None takes each picture's own.
    """
    confusion = Confusion(int(network.num_classes))  # type: ignore[arg-type]
    training = network.training
    network.eval()
    try:
        for index in range(len(dataset)):
            image, truth = dataset.read(index)
            x = network_input(image, size or image.shape[:2], device, normalisation)
            with torch.inference_mode():
                scores = network.scores(x)  # type: ignore[operator]  # (1, K, h, w)
                labels = _labels(scores, truth.shape, bool(network.align_corners), x.shape[2:])
            confusion.update(truth, labels)
    finally:
        network.train(training)
    return confusion


def network_input(
    image: Image, size: tuple[int, int], device: torch.device, normalisation: Normalisation
) -> Tensor:
    """(H, W, 3) RGB uint8 to float (1, 3, height, width), resized to `size` and normalised."""
    resized = np.ascontiguousarray(shrink_or_grow(image, size))
    pixels = torch.from_numpy(resized).to(device).permute(2, 0, 1)[None]  # channels last in memory
    return normalisation.apply(pixels).contiguous(memory_format=torch.channels_last)


def _labels(
    scores: Tensor, size: tuple[int, int], align_corners: bool, network_size: tuple[int, int]
) -> Labels:
    """The arg-max class of each pixel at the labels' size, uint8 (H, W)."""
    height, width = network_size
    if scores.device.type != "cpu":
        labels = labels_from_scores_torch(scores, size, align_corners, (height, width))
        return labels[0].cpu().numpy()
    return labels_from_scores(scores[0].permute(1, 2, 0).numpy(), size, align_corners, (height, width))

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from icnet_cli.checkpoints.format import Normalisation
from icnet_cli.evaluation.confusion import Confusion
from icnet_cli.evaluation.network import evaluate_network

CPU = torch.device("cpu")


def own_size(height, width):
    return height, width


class Small(nn.Module):
    """Scores at a quarter of the input's size, from the colours."""

    num_classes = 4

    def __init__(self, align_corners: bool = False) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.conv = nn.Conv2d(3, self.num_classes, 3, stride=4, padding=1)
        self.dropout = nn.Dropout(0.9)
        self.seen: list[tuple[int, ...]] = []

    def scores(self, x):
        self.seen.append(tuple(x.shape[2:]))
        return self.dropout(self.conv(x))


class Pictures:
    def __init__(self, *sizes: tuple[int, int]) -> None:
        rng = np.random.default_rng(0)
        self.pairs = [
            (rng.integers(0, 256, (*size, 3), np.uint8), rng.choice([0, 1, 2, 3, 255], size).astype(np.uint8))
            for size in sizes
        ]

    def __len__(self):
        return len(self.pairs)

    def read(self, index):
        return self.pairs[index]


@pytest.mark.parametrize("align_corners", [False, True])
def test_it_counts_what_interpolating_the_scores_and_the_arg_max_give(align_corners):
    network, pictures, normalisation = (
        Small(align_corners).eval(),
        Pictures((37, 50), (64, 48)),
        Normalisation(),
    )
    expected = Confusion(4)
    for image, truth in pictures.pairs:
        x = normalisation.apply(torch.from_numpy(image).permute(2, 0, 1)[None])
        with torch.no_grad():
            logits = F.interpolate(
                network.scores(x), truth.shape, mode="bilinear", align_corners=align_corners
            )
        expected.update(truth, logits.argmax(1)[0].numpy().astype(np.uint8))
    found = evaluate_network(network, pictures, own_size, CPU, normalisation)
    assert found.pixels == expected.pixels
    # an exact tie may fall the other way; a wrong geometry moves hundreds
    assert np.abs(found.matrix - expected.matrix).sum() <= 4


def test_the_network_sees_the_size_asked_for_and_labels_are_compared_at_their_own():
    network, pictures = Small(), Pictures((37, 50), (64, 48))
    confusion = evaluate_network(network, pictures, lambda height, width: (32, 96), CPU, Normalisation())
    assert network.seen == [(32, 96), (32, 96)]
    assert confusion.pixels == sum((truth != 255).sum() for _, truth in pictures.pairs)


def test_a_network_in_training_is_measured_without_dropout_and_put_back():
    network, pictures = Small(), Pictures((40, 40))
    network.train()
    first = evaluate_network(network, pictures, own_size, CPU, Normalisation())
    assert network.training
    network.eval()
    assert evaluate_network(network, pictures, own_size, CPU, Normalisation()) == first
    assert not network.training


def test_the_mode_is_put_back_after_a_failure_too():
    network, pictures = Small(), Pictures((40, 40))
    pictures.pairs[0][1][0, 0] = 9
    network.train()
    with pytest.raises(ValueError, match="truth holds the value 9"):
        evaluate_network(network, pictures, own_size, CPU, Normalisation())
    assert network.training


def test_normalisation_and_channel_order_reach_the_network():
    network, pictures = Small(), Pictures((40, 40))
    plain = evaluate_network(network, pictures, own_size, CPU, Normalisation())
    swapped = evaluate_network(network, pictures, own_size, CPU, Normalisation(order="BGR"))
    assert plain != swapped

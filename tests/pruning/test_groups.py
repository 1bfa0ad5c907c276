"""The declared groups against the networks' own code, which says what grows when one count does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from icnet_cli.models import Network
from icnet_cli.pruning.groups import Layer, layers_of, producers
from tests.pruning.tiny import GROUPED, VARIANTS, convs, tiny


def widths(network: Network) -> dict[str, tuple[int, int]]:
    """(outputs, inputs) of each convolution's weight."""
    return {name: (conv.weight.shape[0], conv.weight.shape[1]) for name, (conv, _) in convs(network).items()}


def growth(layers: dict[str, Layer], group: str) -> dict[str, tuple[int, int]]:
    """What the declaration says: by how many channels each weight grows if `group` has one more."""
    return {
        name: (int(layer.output == group), 0 if layer.depthwise else layer.inputs.count(group))
        for name, layer in layers.items()
    }


@pytest.mark.parametrize("variant", GROUPED)
def test_one_more_channel_grows_what_the_groups_say_and_nothing_else(variant: str) -> None:
    network = tiny(variant)
    layers, before = layers_of(network), widths(network)
    assert set(layers) == set(before)  # no convolution is forgotten
    for group, count in network.config.channels.items():
        config = replace(network.config, channels={**network.config.channels, group: count + 1})
        with torch.device("meta"):
            after = widths(type(network)(config))
        grown = {name: (after[name][0] - o, after[name][1] - i) for name, (o, i) in before.items()}
        assert grown == growth(layers, group), group


def test_a_forgotten_layer_would_be_seen() -> None:
    network = tiny("icnet")
    layers = layers_of(network)
    wrong = {**layers, "conv_sub2": Layer(("cff1",), "cff1")}
    assert growth(wrong, "cff2") != growth(layers, "cff2")


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_group_is_written_by_somebody(variant: str) -> None:
    network = tiny(variant)
    unwritten = set(network.config.channels) - set(producers(layers_of(network)))
    assert unwritten == (set() if network.config.aux or "icnet" in variant else {"aux"})

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from icnet_cli.models import Network, build
from icnet_cli.models.count import parameters_m
from icnet_cli.pruning.groups import CLASSES, PICTURE, layers_of, producers
from icnet_cli.pruning.surgery import cut, filter_norms, prune_network, select
from icnet_cli.pruning.widths import counts_at
from tests.pruning.tiny import GROUPED, VARIANTS, convs, difference, tiny

PICTURE_SIZE = (1, 3, 64, 64)
Kept = dict[str, Tensor]


def some_channels(network: Network, seed: int = 0) -> Kept:
    """Of each group about two thirds, drawn at random: not a prefix, so that offsets matter."""
    generator = torch.Generator().manual_seed(seed)
    return {
        group: torch.randperm(count, generator=generator)[: max(1, count * 2 // 3)].sort().values
        for group, count in network.config.channels.items()
    }


def counts_of(kept: Kept) -> dict[str, int]:
    return {group: len(channels) for group, channels in kept.items()}


def all_but(network: Network, group: str, channel: int) -> tuple[Kept, dict[str, int]]:
    kept = {name: torch.arange(count) for name, count in network.config.channels.items()}
    kept[group] = kept[group][kept[group] != channel]
    return kept, counts_of(kept)


def written(layer: tuple[nn.Conv2d, nn.BatchNorm2d | None]) -> list[Tensor]:
    """What makes a layer's channels: filter, BatchNorm weight and bias."""
    conv, norm = layer
    assert norm is not None
    return [conv.weight.data, norm.weight.data, norm.bias.data]


def silence(network: Network, group: str, channels: Tensor) -> None:
    """Zero the filters, BatchNorm weights and biases of `channels` in every layer that writes the group."""
    modules = convs(network)
    for name in producers(layers_of(network)).get(group, ()):
        for tensor in written(modules[name]):
            tensor[channels] = 0


@torch.no_grad()
def tagged(network: Network) -> Network:
    """Every weight says where it stands: 1024 * output + input, exact in fp32. BatchNorms hold the output."""
    for conv, norm in convs(network).values():
        outputs, inputs = torch.arange(conv.weight.shape[0]), torch.arange(conv.weight.shape[1])
        conv.weight.copy_((outputs[:, None] * 1024 + inputs)[:, :, None, None].expand_as(conv.weight))
        if conv.bias is not None:
            conv.bias.copy_(outputs)
        if norm is not None:
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                tensor.copy_(outputs)  # type: ignore[union-attr]
    return network


@pytest.mark.parametrize("variant", VARIANTS)
def test_kept_filters_are_followed_through_every_layer(variant: str) -> None:
    """Each weight of the pruned network is the parent's, from the outputs and inputs that were kept."""
    parent = tagged(tiny(variant))
    there, kept = parent.config.channels, some_channels(parent)
    child = cut(parent, kept, counts_of(kept))
    layers = layers_of(parent)
    seen = 0
    for name, (conv, norm) in convs(child).items():
        layer = layers[name]
        weight = conv.weight[:, :, 0, 0].long()
        rows, columns = weight[:, 0] // 1024, weight[0] % 1024
        assert torch.equal(weight, rows[:, None] * 1024 + columns)
        expected = torch.arange(5) if layer.output == CLASSES else kept[layer.output]
        assert torch.equal(rows, expected), name
        if norm is not None:
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                assert torch.equal(tensor.long(), expected), name  # type: ignore[union-attr]
        if layer.inputs == (PICTURE,) or layer.depthwise:
            assert torch.equal(columns, torch.arange(1 if layer.depthwise else 3))
        else:
            # Concatenated maps follow each other: of each the kept channels, at where it starts.
            starts = [sum(there[g] for g in layer.inputs[:i]) for i in range(len(layer.inputs))]
            expected_inputs = [int(c) + s for g, s in zip(layer.inputs, starts, strict=True) for c in kept[g]]
            assert columns.tolist() == expected_inputs, name
        seen += conv.weight.numel()
    assert seen > 1000


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_pruned_network_computes_what_its_parent_does_without_those_channels(variant: str) -> None:
    """All groups at once: the parent with the others silenced, and the pruned network, give the same scores."""
    parent = tiny(variant)
    kept = some_channels(parent)
    child = cut(parent, kept, counts_of(kept))
    for group, count in parent.config.channels.items():
        others = [c for c in range(count) if c not in set(kept[group].tolist())]
        silence(parent, group, torch.tensor(others))
    assert difference(parent, child, torch.randn(PICTURE_SIZE)) < 1e-5


@pytest.mark.parametrize("variant", GROUPED)
def test_cutting_a_silent_channel_changes_nothing_and_another_does(variant: str) -> None:
    """Each tied group in turn: its last channel silenced in every layer that writes it, then cut."""
    network = tiny(variant).double()  # once: it is edited in place and put right again
    picture = torch.randn(1, 3, 32, 32)
    modules = convs(network)
    for group, names in producers(layers_of(network)).items():
        channel = network.config.channels[group] - 1
        channels = torch.tensor([channel])
        tensors = [t for name in names for t in written(modules[name])]
        before = [tensor[channels].clone() for tensor in tensors]
        silence(network, group, channels)
        assert difference(network, cut(network, *all_but(network, group, channel)), picture) < 1e-5, group
        for name in names:  # the same everywhere in the picture, and past every ReLU
            written(modules[name])[2][channels] = 3.0
        assert difference(network, cut(network, *all_but(network, group, channel)), picture) > 1e-4, group
        for tensor, values in zip(tensors, before, strict=True):
            tensor[channels] = values


def test_a_silent_channel_left_loud_in_one_layer_of_its_group_is_noticed() -> None:
    """The failing twin of a tied group: a residual sum brings the channel back from the layer that was missed."""
    network = tiny("pspnet50")
    silence(network, "conv3", torch.tensor([3]))
    norm = convs(network)["trunk.conv3_2.increase"][1]
    assert norm is not None
    norm.bias.data[3] = 1.0
    child = cut(network, *all_but(network, "conv3", 3))
    assert difference(network, child, torch.randn(PICTURE_SIZE)) > 1e-4


def test_filters_are_ranked_by_their_l1_jointly_where_they_are_tied() -> None:
    network = tiny("pspnet50")
    modules = convs(network)
    names = ["trunk.conv3_1.proj", *(f"trunk.conv3_{block}.increase" for block in (1, 2, 3, 4))]
    total = sum(modules[name][0].weight.double().abs().sum(dim=(1, 2, 3)) for name in names)
    assert torch.allclose(filter_norms(network)["conv3"], total)  # type: ignore[arg-type]
    best = sorted(range(64), key=lambda channel: -float(total[channel].detach()))[:24]  # type: ignore[index]
    assert select(network, {**network.config.channels, "conv3": 24})["conv3"].tolist() == sorted(best)


def test_a_depthwise_filter_counts_for_its_channel() -> None:
    network = tiny("fast-scnn")
    before = select(network, {**network.config.channels, "ltd1": 4})["ltd1"]
    out = next(c for c in range(8) if c not in before.tolist())
    convs(network)["ltd2.depthwise"][0].weight.data[out] = 100.0
    assert out in select(network, {**network.config.channels, "ltd1": 4})["ltd1"].tolist()


def test_the_parent_stays_as_it_is_and_equal_filters_keep_the_first() -> None:
    network = tiny("icnet")
    for conv, _ in convs(network).values():
        conv.weight.data.fill_(1.0)
    before = copy.deepcopy(network.state_dict())
    child = prune_network(network, dict.fromkeys(network.config.channels, 5))
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    kept = select(network, dict(child.config.channels))
    assert all(channels.tolist() == [0, 1, 2, 3, 4] for channels in kept.values())


@pytest.mark.parametrize("wrong", [{"conv1_1": 0}, {"conv1_1": 9}, {"conv9": 8}])
def test_counts_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    network = tiny("icnet")
    with pytest.raises(ValueError, match="counts"):
        prune_network(network, {**network.config.channels, **wrong})


def test_half_of_a_full_icnet_has_the_published_channels() -> None:
    full = build("icnet", {"keep": 1.0, "head": "published"})
    half = prune_network(full, counts_at(full.config, 0.5))
    assert half.config.keep == 0.5
    assert parameters_m(half) == pytest.approx(6.70, abs=0.005)
    published = {  # reference layers of the authors' evaluation network
        "conv1_1": 32, "conv1_2": 32, "conv1_3": 64, "conv2": 128, "conv2_1_reduce": 32, "conv2_1_3x3": 32,
        "conv3": 256, "conv3_4_3x3": 64, "conv4": 512, "conv4_6_reduce": 128, "conv5": 1024, "conv5_3_3x3": 256,
        "conv5_4_k1": 256, "cff1": 128, "cff2": 128, "conv1_sub1": 32, "conv2_sub1": 32, "conv3_sub1": 64,
    }  # fmt: skip
    assert {name: half.config.channels[name] for name in published} == published
    assert half.config.channels == build("icnet", {"keep": 0.5}).config.channels

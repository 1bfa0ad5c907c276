"""Channel surgery: a network with some of its channels, equal to its parent weight for weight.

The papers' criterion: the L1 sum of each filter's weights, ranked within its layer; the smallest go (2017 paper,
section 5.2). Layers that are tied are ranked by their joint L1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from icnet_cli.models import Network
from icnet_cli.pruning.groups import CLASSES, PICTURE, Layer, layers_of, producers
from icnet_cli.pruning.widths import kept_share


def filter_norms(network: Network) -> dict[str, Tensor]:
    """For each group, (channels,) float64: the L1 sum of each channel's filters over all layers that write it."""
    layers = layers_of(network)
    return {
        group: torch.stack([_l1(_conv(network, name)) for name in names]).sum(dim=0)
        for group, names in producers(layers).items()
    }


def _l1(conv: nn.Conv2d) -> Tensor:
    return conv.weight.detach().to("cpu", torch.float64).abs().sum(dim=(1, 2, 3))


def select(network: Network, counts: Mapping[str, int]) -> dict[str, Tensor]:
    """For each group, int64 (count,): the channels with the largest joint L1, in their order in `network`.

    Groups that nothing writes (an auxiliary head that these weights lack) keep nothing and have no entry.
    """
    return {
        # A stable sort, so that equal filters give the same choice on every machine.
        group: norms.argsort(descending=True, stable=True)[: counts[group]].sort().values
        for group, norms in filter_norms(network).items()
    }


def prune_network(network: Network, counts: Mapping[str, int], keep: float | None = None) -> Network:
    """`network` with the `counts` channels a group whose filters are largest; the parent stays as it is.

    Args:
        counts: channels of each group, as the keys of `network.config.channels`; at most what is there.
        keep: the kernel keeping rate that they stand for; default what they amount to.

    Raises:
        ValueError: a count for each group is not given, or is not between 1 and what is there.
    """
    there = network.config.channels
    wrong = [name for name in there if not 1 <= counts.get(name, 0) <= there[name]]
    if wrong or set(counts) != set(there):
        raise ValueError(
            f"counts must give each group 1 up to the channels there are: {wrong or 'other names'}"
        )
    return cut(network, select(network, counts), counts, keep)


def cut(
    network: Network, kept: Mapping[str, Tensor], counts: Mapping[str, int], keep: float | None = None
) -> Network:
    """`network` with only the channels `kept` of each group, on the CPU and in its parent's mode."""
    channels = {name: int(counts[name]) for name in network.config.channels}
    config = replace(network.config, channels=channels)
    config = replace(config, keep=keep or kept_share(config))
    pruned = type(network)(config)
    for name, layer in layers_of(network).items():
        _cut_layer(network.get_submodule(name), pruned.get_submodule(name), layer, kept, network)
    return pruned.train(network.training)


def _cut_layer(
    parent: nn.Module, child: nn.Module, layer: Layer, kept: Mapping[str, Tensor], network: Network
) -> None:
    conv = parent if isinstance(parent, nn.Conv2d) else parent.conv
    rows = None if layer.output == CLASSES else kept[layer.output]
    columns = None if layer.depthwise else _columns(layer, kept, network.config.channels)
    target = child if isinstance(child, nn.Conv2d) else child.conv
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(target, nn.Conv2d)
    weight = _pick(conv.weight.detach().cpu(), rows)
    with torch.no_grad():
        target.weight.copy_(weight if columns is None else weight[:, columns])
        if conv.bias is not None and target.bias is not None:
            target.bias.copy_(_pick(conv.bias.detach().cpu(), rows))
    if conv is not parent:
        state = parent.bn.state_dict()  # type: ignore[union-attr]
        cut_state = {key: _pick(value.cpu(), rows) if value.ndim else value for key, value in state.items()}
        child.bn.load_state_dict(cut_state)  # type: ignore[union-attr]


def _columns(layer: Layer, kept: Mapping[str, Tensor], there: Mapping[str, int]) -> Tensor | None:
    """The kept input channels of a layer; each concatenated group starts where the ones before it end."""
    if layer.inputs == (PICTURE,):
        return None
    parts, offset = [], 0
    for group in layer.inputs:
        parts.append(kept[group] + offset)
        offset += there[group]
    return torch.cat(parts)


def _pick(tensor: Tensor, rows: Tensor | None) -> Tensor:
    return tensor if rows is None else tensor[rows]


def _conv(network: Network, name: str) -> nn.Conv2d:
    module = network.get_submodule(name)
    conv = module if isinstance(module, nn.Conv2d) else module.conv
    assert isinstance(conv, nn.Conv2d)
    return conv

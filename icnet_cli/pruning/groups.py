"""Which channels of a network are one and the same: its tied groups, declared a network.

A group is a key of the network's `channels`: the set of convolutions (with their BatchNorms) whose outputs have that
many channels and must lose the same ones, because a residual sum, the pyramid's sum, a fusion unit or a depthwise
convolution ties them. Each layer below names the group it writes and the groups it reads, in the order in which they
are concatenated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from icnet_cli.models import Network, name_of
from icnet_cli.models.fast_scnn import BLOCKS, GROUPS
from icnet_cli.models.layers import STAGE_BLOCKS
from icnet_cli.models.pyramid import PYRAMID_GRIDS

PICTURE = "picture"  # the three channels of the input: never cut
CLASSES = "classes"  # a classifier's outputs: never cut
_ASPP_BRANCHES = ("conv1x1", "atrous.0", "atrous.1", "atrous.2", "image")


class Layer(NamedTuple):
    """Where a convolution's channels come from and go to, as names of groups.

    A depthwise convolution reads and writes the same channels, so its one input is its output.
    """

    inputs: tuple[str, ...]
    output: str
    depthwise: bool = False


Layers = dict[str, Layer]  # by the module's name: a ConvBN, or a bare classifier


def layers_of(network: Network) -> Layers:
    """Every convolution of `network`, by the name of its ConvBN (or of itself, for a classifier)."""
    return _DECLARED[name_of(network)](network)


def producers(layers: Mapping[str, Layer]) -> dict[str, list[str]]:
    """For each group the layers that write it."""
    found: dict[str, list[str]] = {}
    for name, layer in layers.items():
        if layer.output != CLASSES:
            found.setdefault(layer.output, []).append(name)
    return found


def _trunk() -> Layers:
    layers = {
        "trunk.conv1_1": Layer((PICTURE,), "conv1_1"),
        "trunk.conv1_2": Layer(("conv1_1",), "conv1_2"),
        "trunk.conv1_3": Layer(("conv1_2",), "conv1_3"),
    }
    before = "conv1_3"
    for stage, blocks in STAGE_BLOCKS.items():
        for block in range(1, blocks + 1):
            group, name = f"conv{stage}_{block}", f"trunk.conv{stage}_{block}"
            layers[f"{name}.reduce"] = Layer((before,), f"{group}_reduce")
            layers[f"{name}.conv3x3"] = Layer((f"{group}_reduce",), f"{group}_3x3")
            layers[f"{name}.increase"] = Layer((f"{group}_3x3",), f"conv{stage}")
            if block == 1:
                layers[f"{name}.proj"] = Layer((before,), f"conv{stage}")
            before = f"conv{stage}"
    return layers


def _aspp() -> Layers:
    return {f"aspp.{branch}": Layer(("conv5",), "aspp") for branch in _ASPP_BRANCHES}


def _trunk_aux(network: Network) -> Layers:
    if not network.config.aux:
        return {}
    return {"aux.0": Layer(("conv4",), "aux"), "aux.1": Layer(("aux",), CLASSES)}


def _icnet(network: Network) -> Layers:
    has_aspp = network.config.trunk == "deeplabv3"
    context = ("aspp",) * len(_ASPP_BRANCHES) if has_aspp else ("conv5",)
    layers = _trunk() | (_aspp() if has_aspp else {})
    layers |= {
        "conv5_4_k1": Layer(context, "conv5_4_k1"),
        "conv_sub4": Layer(("conv5_4_k1",), "cff1"),
        "conv3_1_sub2_proj": Layer(("conv3",), "cff1"),
        "conv_sub2": Layer(("cff1",), "cff2"),
        "conv1_sub1": Layer((PICTURE,), "conv1_sub1"),
        "conv2_sub1": Layer(("conv1_sub1",), "conv2_sub1"),
        "conv3_sub1": Layer(("conv2_sub1",), "conv3_sub1"),
        "conv3_sub1_proj": Layer(("conv3_sub1",), "cff2"),
        "conv6_cls": Layer(("cff2",), CLASSES),
    }
    if network.config.aux:
        layers |= {
            "sub4_cls": Layer(("conv5_4_k1",), CLASSES),
            "sub24_cls": Layer(("cff1",), CLASSES),
        }
    return layers


def _pspnet(network: Network) -> Layers:
    own = {"conv5_4_k1": Layer(("conv5",), "conv5_4_k1"), "conv6": Layer(("conv5_4_k1",), CLASSES)}
    return _trunk() | own | _trunk_aux(network)


def _deeplabv3(network: Network) -> Layers:
    own = {
        "project": Layer(("aspp",) * len(_ASPP_BRANCHES), "project"),
        "classifier": Layer(("project",), CLASSES),
    }
    return _trunk() | _aspp() | own | _trunk_aux(network)


def _ds_conv(name: str, before: str, after: str) -> Layers:
    return {
        f"{name}.depthwise": Layer((before,), before, depthwise=True),
        f"{name}.pointwise": Layer((before,), after),
    }


def _fast_scnn(network: Network) -> Layers:
    layers = {"ltd1": Layer((PICTURE,), "ltd1")} | _ds_conv("ltd2", "ltd1", "ltd2")
    layers |= _ds_conv("ltd3", "ltd2", "ltd3")
    before = "ltd3"
    for group in range(1, len(GROUPS) + 1):
        for block in range(1, BLOCKS + 1):
            name, inner = f"gfe{group}.{block - 1}", f"gfe{group}_{block}_expand"
            layers[f"{name}.expand"] = Layer((before,), inner)
            layers[f"{name}.depthwise"] = Layer((inner,), inner, depthwise=True)
            layers[f"{name}.linear"] = Layer((inner,), f"gfe{group}")
            before = f"gfe{group}"
    layers |= {f"ppm.branches.{i}": Layer((before,), "ppm_branch") for i in range(len(PYRAMID_GRIDS))}
    layers |= {
        "ppm.out": Layer((before, *["ppm_branch"] * len(PYRAMID_GRIDS)), "ppm"),
        "ffm_depthwise": Layer(("ppm",), "ppm", depthwise=True),
        "ffm_low": Layer(("ppm",), "ffm"),
        "ffm_high": Layer(("ltd3",), "ffm"),
    }
    layers |= _ds_conv("cls1", "ffm", "cls1") | _ds_conv("cls2", "cls1", "cls2")
    layers["classifier"] = Layer(("cls2",), CLASSES)
    if network.config.aux:
        for name, source in (("aux_ltd", "ltd3"), ("aux_gfe", "ppm")):
            layers |= {f"{name}.0": Layer((source,), "aux"), f"{name}.2": Layer(("aux",), CLASSES)}
    return layers


_DECLARED: dict[str, Callable[[Network], Layers]] = {
    "icnet": _icnet,
    "fast-scnn": _fast_scnn,
    "pspnet50": _pspnet,
    "deeplabv3": _deeplabv3,
}

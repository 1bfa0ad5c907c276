"""Which tensor of somebody else's file is which of ours. Names and shapes only; files are opened in `foreign`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from icnet_cli.errors import weights_error
from icnet_cli.models.layers import STAGE_BLOCKS, ConvBN, Network

Namer = Callable[[str], tuple[str, str]]  # our ConvBN -> (its convolution, its BatchNorm) in their words
BN_PARTS = ("weight", "bias", "running_mean", "running_var")


class Source:
    """The tensors of a foreign file; each is asked for by name and shape, and what nobody asked for is told."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self.taken: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def take(self, name: str, shape: tuple[int, ...] | torch.Size) -> Tensor:
        """The tensor as float32. A vector may come with dimensions of 1 around it, as Caffe's old blobs do.

        Raises:
            IcnetError: exit 4 where it is missing, of another shape, or holds values that are no numbers.
        """
        if name not in self._tensors:
            raise weights_error(f"it lacks the tensor {name}, of shape {_text(shape)}")
        tensor = self._tensors[name]
        same = tuple(tensor.shape) == tuple(shape)
        if not same and not (len(shape) == 1 and _is_vector(tensor, shape[0])):
            raise weights_error(
                f"its {name} has shape {_text(tensor.shape)} where {_text(shape)} is expected"
            )
        if not tensor.dtype.is_floating_point or tensor.layout != torch.strided:
            raise weights_error(f"its {name} holds {tensor.dtype}, not numbers with a fraction")
        tensor = tensor.detach().to("cpu", torch.float32).reshape(tuple(shape)).clone()
        if not torch.isfinite(tensor).all():
            raise weights_error(f"its {name} holds values that are not finite numbers")
        self.taken.append(name)
        return tensor

    def left(self) -> list[str]:
        """Names that nobody has taken."""
        return sorted(set(self._tensors) - set(self.taken))

    def finish(self, known: tuple[str, ...] = ()) -> tuple[str, ...]:
        """What of the rest begins as one of `known` does; anything else is refused (exit 4)."""
        left = self.left()
        unknown = [name for name in left if not name.startswith(known)] if known else left
        if unknown:
            raise weights_error(
                f"it has a tensor that its network does not: {unknown[0]} ({len(unknown)} in all)"
            )
        return tuple(left)


def _is_vector(tensor: Tensor, length: int) -> bool:
    return tensor.ndim <= 4 and math.prod(tensor.shape) == length and max(tensor.shape, default=0) == length


def _text(shape: tuple[int, ...] | torch.Size) -> str:
    return "x".join(str(n) for n in shape) or "a single number"


def conv_bns(network: Network) -> dict[str, ConvBN]:
    return {name: module for name, module in network.named_modules() if isinstance(module, ConvBN)}


def take_conv(state: dict[str, Tensor], ours: str, conv: nn.Conv2d, source: Source, theirs: str) -> None:
    """A convolution that stays one (a classifier)."""
    state[f"{ours}.weight"] = source.take(f"{theirs}.weight", conv.weight.shape)
    if conv.bias is not None:
        state[f"{ours}.bias"] = source.take(f"{theirs}.bias", conv.bias.shape)


def take_conv_bn(
    state: dict[str, Tensor], ours: str, module: ConvBN, source: Source, theirs: tuple[str, str]
) -> None:
    """A convolution and the BatchNorm after it, or a convolution into which its BatchNorm has been merged.

    Ours has no bias, so theirs goes into the BatchNorm: as its bias where it has been merged (with a variance that
    makes the rest the identity, 1 once eps is added), else as a mean that is smaller by it.
    """
    conv, bn = theirs
    shape = module.bn.bias.shape
    state[f"{ours}.conv.weight"] = source.take(f"{conv}.weight", module.conv.weight.shape)
    bias = source.take(f"{conv}.bias", shape) if f"{conv}.bias" in source else torch.zeros(shape)
    if any(f"{bn}.{part}" in source for part in BN_PARTS):
        parts = {part: source.take(f"{bn}.{part}", shape) for part in BN_PARTS}
        parts["running_mean"] -= bias
        if (parts["running_var"] < 0).any():
            raise weights_error(f"its {bn}.running_var is below zero")
    elif f"{conv}.bias" in source:
        one = torch.ones(shape)
        parts = dict(zip(BN_PARTS, (one, bias, torch.zeros(shape), one - module.bn.eps), strict=True))
    else:
        raise weights_error(f"it lacks the tensor {bn}.weight, of shape {_text(shape)}")
    state.update({f"{ours}.bn.{part}": tensor for part, tensor in parts.items()})


def take_network(network: Network, source: Source, namer: Namer) -> dict[str, Tensor]:
    """Every ConvBN of the network, in its own words."""
    state: dict[str, Tensor] = {}
    for name, module in conv_bns(network).items():
        take_conv_bn(state, name, module, source, namer(name))
    return state


# The authors' ICNet, by the layer names of their prototxt -------------------------------------------------------------

_STEM = {"conv1_1": "conv1_1_3x3_s2", "conv1_2": "conv1_2_3x3", "conv1_3": "conv1_3_3x3"}
_BLOCK = {"reduce": "1x1_reduce", "conv3x3": "3x3", "increase": "1x1_increase", "proj": "1x1_proj"}


def caffe_names(ours: str) -> tuple[str, str]:
    """`trunk.conv2_1.reduce` -> `conv2_1_1x1_reduce` and `conv2_1_1x1_reduce/bn`."""
    block, _, part = ours.removeprefix("trunk.").partition(".")
    name = f"{block}_{_BLOCK[part]}" if part else _STEM.get(block, block)
    return name, f"{name}/bn"


# Fast-SCNN, by the attribute names of the common PyTorch port ---------------------------------------------------------

_PORT = {
    "ltd1": ("learning_to_downsample.conv.conv", 0),
    "ltd2.depthwise": ("learning_to_downsample.dsconv1.conv", 0),
    "ltd2.pointwise": ("learning_to_downsample.dsconv1.conv", 3),
    "ltd3.depthwise": ("learning_to_downsample.dsconv2.conv", 0),
    "ltd3.pointwise": ("learning_to_downsample.dsconv2.conv", 3),
    "ppm.out": ("global_feature_extractor.ppm.out.conv", 0),
    "ffm_depthwise": ("feature_fusion.dwconv.conv", 0),
    "ffm_low": ("feature_fusion.conv_lower_res", 0),
    "ffm_high": ("feature_fusion.conv_higher_res", 0),
    "cls1.depthwise": ("classifier.dsconv1.conv", 0),
    "cls1.pointwise": ("classifier.dsconv1.conv", 3),
    "cls2.depthwise": ("classifier.dsconv2.conv", 0),
    "cls2.pointwise": ("classifier.dsconv2.conv", 3),
}
_PORT_BLOCK = {"expand": ("block.0.conv", 0), "depthwise": ("block.1.conv", 0), "linear": ("block", 2)}
PORT_CLASSIFIER = "classifier.conv.1"
PORT_AUX = "auxlayer."


def port_names(ours: str) -> tuple[str, str]:
    """`gfe1.0.expand` -> `global_feature_extractor.bottleneck1.0.block.0.conv.0` and `.1`: a Sequential's places."""
    if ours in _PORT:
        where, index = _PORT[ours]
    elif ours.startswith("ppm.branches."):
        where, index = f"global_feature_extractor.ppm.conv{int(ours[-1]) + 1}.conv", 0
    else:
        group, block, part = ours.split(".")
        inner, index = _PORT_BLOCK[part]
        where = f"global_feature_extractor.bottleneck{group[-1]}.{block}.{inner}"
    return f"{where}.{index}", f"{where}.{index + 1}"


# torchvision's ResNet-50 ----------------------------------------------------------------------------------------------

_RESNET_BLOCK = {
    "reduce": ("conv1", "bn1"),
    "conv3x3": ("conv2", "bn2"),
    "increase": ("conv3", "bn3"),
    "proj": ("downsample.0", "downsample.1"),
}
# Their stem is one 7x7 convolution to 64 channels; the papers' trunk has three 3x3 to 128. So the stem, and the two
# convolutions that read it, start fresh.
RESNET_UNUSED: dict[str, tuple[int, ...]] = {
    "conv1.weight": (64, 3, 7, 7),
    "layer1.0.conv1.weight": (64, 64, 1, 1),
    "layer1.0.downsample.0.weight": (256, 64, 1, 1),
    **{f"bn1.{part}": (64,) for part in BN_PARTS},
    **{f"layer1.0.bn1.{part}": (64,) for part in BN_PARTS},
    **{f"layer1.0.downsample.1.{part}": (256,) for part in BN_PARTS},
}
RESNET_CLASSIFIER = "fc."


def resnet_names(ours: str) -> tuple[str, str]:
    """`trunk.conv3_2.reduce` -> `layer2.1.conv1` and `layer2.1.bn1`."""
    block, part = ours.removeprefix("trunk.").split(".")
    stage, number = block.removeprefix("conv").split("_")
    conv, bn = _RESNET_BLOCK[part]
    prefix = f"layer{int(stage) - 1}.{int(number) - 1}"
    return f"{prefix}.{conv}", f"{prefix}.{bn}"


def take_resnet_trunk(network: Network, source: Source) -> dict[str, Tensor]:
    """The residual blocks of a full-width trunk, but for the two convolutions that read the stem."""
    state: dict[str, Tensor] = {}
    blocks = {f"trunk.conv{stage}_{n + 1}." for stage, count in STAGE_BLOCKS.items() for n in range(count)}
    for name, module in conv_bns(network).items():
        fresh = name in ("trunk.conv2_1.reduce", "trunk.conv2_1.proj")
        if fresh or not any(name.startswith(block) for block in blocks):
            continue
        take_conv_bn(state, name, module, source, resnet_names(name))
    return state

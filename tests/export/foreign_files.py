"""Files of other programs, written from the formats' own descriptions with random weights."""

from __future__ import annotations

import csv
from pathlib import Path

import torch
from torch import Tensor, nn

from icnet_cli.models import build

State = dict[str, Tensor]
TABLE = Path(__file__).parent.parent / "models" / "icnet_layers.csv"


# Protobuf ------------------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def delimited(field: int, payload: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(payload)) + payload


def blob(tensor: Tensor, legacy: bool = False) -> bytes:
    data = delimited(5, tensor.contiguous().numpy().astype("<f4").tobytes())
    if legacy:
        dims = [1] * (4 - tensor.ndim) + list(tensor.shape)
        return b"".join(varint(n << 3) + varint(dim) for n, dim in enumerate(dims, start=1)) + data
    return delimited(7, delimited(1, b"".join(varint(dim) for dim in tensor.shape))) + data


def layer(name: str, kind: str, blobs: list[Tensor], legacy: bool = False) -> bytes:
    head = delimited(1, name.encode()) + delimited(2, kind.encode()) + delimited(4, name.encode())
    return delimited(100, head + b"".join(delimited(7, blob(b, legacy)) for b in blobs))


# The authors' ICNet --------------------------------------------------------------------------------------------------


def settled(network: nn.Module, seed: int = 0) -> nn.Module:
    """BatchNorm as training leaves it: with identities, a wrong mean or variance would not show."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.7, 1.3, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)  # type: ignore[union-attr]
            module.running_var.uniform_(0.6, 1.6, generator=generator)  # type: ignore[union-attr]
    return network.eval()


@torch.no_grad()
def balanced(network: nn.Module, classifier: nn.Conv2d, x: Tensor) -> nn.Module:
    """Take each class's mean score away: with random weights one class wins everywhere, and agreement says nothing."""
    classifier.bias -= network.scores(x).mean(dim=(0, 2, 3))  # type: ignore[operator]
    return network


def caffe_layers() -> dict[str, str]:
    """The prototxt's name of each convolution, and ours; by the published layer table."""
    names: dict[str, str] = {}
    with TABLE.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name, kind = row["name"], row["kind"]
            if kind == "conv":
                stem = name[:7] in ("conv1_1", "conv1_2", "conv1_3")
                names[name] = f"trunk.{name[:7]}" if stem else name
            elif kind.startswith("bottleneck"):
                names[f"{name}_1x1_reduce"] = f"trunk.{name}.reduce"
                names[f"{name}_3x3"] = f"trunk.{name}.conv3x3"
                names[f"{name}_1x1_increase"] = f"trunk.{name}.increase"
                if kind.endswith("+proj"):
                    names[f"{name}_1x1_proj"] = f"trunk.{name}.proj"
    return names


def caffe_blobs(state: State, merged: bool) -> dict[str, tuple[str, list[Tensor]]]:
    """Caffe's layers (type and blobs) that hold these weights."""
    layers: dict[str, tuple[str, list[Tensor]]] = {"data": ("Input", [])}
    for name, ours in caffe_layers().items():
        weight = state[f"{ours}.conv.weight"]
        bn = [state[f"{ours}.bn.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        if merged:
            slope, bias, mean, var = (part.double() for part in bn)
            factor = slope / (var + 1e-5).sqrt()
            bias = bias - mean * factor
            layers[name] = (
                "Convolution",
                [(weight.double() * factor.view(-1, 1, 1, 1)).float(), bias.float()],
            )
        else:
            layers[name] = ("Convolution", [weight])
            layers[f"{name}/bn"] = ("BN", bn)
    layers["conv6_cls"] = ("Convolution", [state["conv6_cls.weight"], state["conv6_cls.bias"]])
    return layers


def caffemodel(layers: dict[str, tuple[str, list[Tensor]]], legacy: bool = False) -> bytes:
    body = b"".join(layer(name, kind, blobs, legacy) for name, (kind, blobs) in layers.items())
    return delimited(1, b"icnet") + body


def published_icnet(x: Tensor) -> nn.Module:
    """A random network of the published form, its classes balanced on `x`."""
    torch.manual_seed(0)
    config = {"keep": 0.5, "head": "published", "align_corners": True, "aux": False}
    network = settled(build("icnet", config))
    return balanced(network, network.conv6_cls, x)  # type: ignore[arg-type]


# Fast-SCNN of the common port ----------------------------------------------------------------------------------------


def _conv(state: State, name: str, out: int, inside: int, kernel: int, bias: bool = False) -> None:
    state[f"{name}.weight"] = torch.randn(out, inside, kernel, kernel) * (2 / (inside * kernel**2)) ** 0.5
    if bias:
        state[f"{name}.bias"] = torch.randn(out) * 0.3


def _bn(state: State, name: str, channels: int) -> None:
    state[f"{name}.weight"] = torch.rand(channels) * 0.6 + 0.7
    state[f"{name}.bias"] = torch.rand(channels) * 0.4 - 0.2
    state[f"{name}.running_mean"] = torch.rand(channels) * 0.4 - 0.2
    state[f"{name}.running_var"] = torch.rand(channels) + 0.6
    state[f"{name}.num_batches_tracked"] = torch.tensor(7)


def _sequence(state: State, name: str, *steps: tuple[int, int, int, int]) -> None:
    """Conv, BatchNorm, ReLU again and again in one Sequential: (index, out, in a group, kernel)."""
    for index, out, inside, kernel in steps:
        _conv(state, f"{name}.{index}", out, inside, kernel)
        _bn(state, f"{name}.{index + 1}", out)


def port_state(aux: bool = True, seed: int = 0) -> State:
    """A state dict with the port's names and shapes, for 19 classes."""
    torch.manual_seed(seed)
    state: State = {}
    down, deep = "learning_to_downsample", "global_feature_extractor"
    _sequence(state, f"{down}.conv.conv", (0, 32, 3, 3))
    _sequence(state, f"{down}.dsconv1.conv", (0, 32, 1, 3), (3, 48, 32, 1))
    _sequence(state, f"{down}.dsconv2.conv", (0, 48, 1, 3), (3, 64, 48, 1))
    inside = 64
    for group, out in enumerate((64, 96, 128), start=1):
        for index in range(3):
            block = f"{deep}.bottleneck{group}.{index}.block"
            _sequence(state, f"{block}.0.conv", (0, 6 * inside, inside, 1))
            _sequence(state, f"{block}.1.conv", (0, 6 * inside, 1, 3))
            _sequence(state, block, (2, out, 6 * inside, 1))
            inside = out
    for index in range(1, 5):
        _sequence(state, f"{deep}.ppm.conv{index}.conv", (0, 32, 128, 1))
    _sequence(state, f"{deep}.ppm.out.conv", (0, 128, 256, 1))
    _sequence(state, "feature_fusion.dwconv.conv", (0, 128, 1, 3))
    for side, channels in (("lower", 128), ("higher", 64)):
        _conv(state, f"feature_fusion.conv_{side}_res.0", 128, channels, 1, bias=True)
        _bn(state, f"feature_fusion.conv_{side}_res.1", 128)
    for index in (1, 2):
        _sequence(state, f"classifier.dsconv{index}.conv", (0, 128, 1, 3), (3, 128, 128, 1))
    _conv(state, "classifier.conv.1", 19, 128, 1, bias=True)
    if aux:
        _sequence(state, "auxlayer", (0, 32, 64, 3))
        _conv(state, "auxlayer.4", 19, 32, 1, bias=True)
    return state


# torchvision's ResNet-50 ---------------------------------------------------------------------------------------------


def resnet_state(seed: int = 0) -> State:
    torch.manual_seed(seed)
    state: State = {}
    _conv(state, "conv1", 64, 3, 7)
    _bn(state, "bn1", 64)
    inside = 64
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), start=1):
        for index in range(blocks):
            name = f"layer{stage}.{index}"
            shapes = ((width, inside, 1), (width, width, 3), (4 * width, width, 1))
            for number, shape in enumerate(shapes, start=1):
                _conv(state, f"{name}.conv{number}", *shape)
                _bn(state, f"{name}.bn{number}", shape[0])
            if index == 0:
                _sequence(state, f"{name}.downsample", (0, 4 * width, inside, 1))
            inside = 4 * width
    state["fc.weight"], state["fc.bias"] = torch.randn(1000, 2048), torch.randn(1000)
    return state

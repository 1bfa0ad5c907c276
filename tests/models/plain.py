"""Both networks a second time: plain functions driven by the layer tables, sharing nothing but weights."""

from __future__ import annotations

import csv
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

FOLDER = Path(__file__).parent
State = dict[str, Tensor]


def rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def conv_bn(
    x: Tensor, state: State, name: str, stride: int = 1, dilation: int = 1, relu: bool = False
) -> Tensor:
    weight = state[f"{name}.conv.weight"]
    padding = dilation * (weight.shape[-1] // 2)
    groups = x.shape[1] // weight.shape[1]
    x = F.conv2d(x, weight, None, stride, padding, dilation, groups)
    mean, var = state[f"{name}.bn.running_mean"], state[f"{name}.bn.running_var"]
    scale = state[f"{name}.bn.weight"] / torch.sqrt(var + 1e-5)
    x = (x - mean.view(1, -1, 1, 1)) * scale.view(1, -1, 1, 1) + state[f"{name}.bn.bias"].view(1, -1, 1, 1)
    return x.clamp(min=0) if relu else x


# ICNet, in the words of its published prototxt ---------------------------------------------------------------------


def interp(x: Tensor, factor: float) -> Tensor:
    height, width = (
        (n - 1) * int(factor) + 1 if factor > 1 else (n - 1) // 2 + 1 for n in (x.shape[2], x.shape[3])
    )
    return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=True)


def icnet_weight_name(layer: str) -> str:
    stem = {"conv1_1_3x3_s2": "conv1_1", "conv1_2_3x3": "conv1_2", "conv1_3_3x3": "conv1_3"}
    return f"trunk.{stem[layer]}" if layer in stem else layer


def bottleneck(x: Tensor, state: State, name: str, stride: int, dilation: int, proj: bool) -> Tensor:
    name = f"trunk.{name}"
    y = conv_bn(x, state, f"{name}.reduce", stride, relu=True)
    y = conv_bn(y, state, f"{name}.conv3x3", dilation=dilation, relu=True)
    y = conv_bn(y, state, f"{name}.increase")
    return (y + (conv_bn(x, state, f"{name}.proj", stride) if proj else x)).clamp(min=0)


def overlapping_pyramid(x: Tensor, kernels: str, strides: str) -> Tensor:
    total = x
    for kernel, stride in zip(kernels.split(), strides.split(), strict=True):
        size, step = ([int(n) for n in pair.split("x")] for pair in (kernel, stride))
        pooled = F.avg_pool2d(x, size, step)
        total = total + F.interpolate(pooled, size=x.shape[2:], mode="bilinear", align_corners=True)
    return total


def icnet_layer(row: dict[str, str], inputs: list[Tensor], state: State) -> Tensor:
    kind, x, name = row["kind"], inputs[0], row["name"]
    if kind in ("shrink2", "zoom2", "zoom4"):
        return interp(x, {"shrink2": 0.5, "zoom2": 2, "zoom4": 4}[kind])
    if kind == "maxpool":
        return F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
    if kind == "sum":
        return (inputs[0] + inputs[1]).clamp(min=0)
    if kind == "pyramid":
        return overlapping_pyramid(x, row["kernel"], row["stride"])
    if kind == "classifier":
        return F.conv2d(x, state["conv6_cls.weight"], state["conv6_cls.bias"])
    stride, dilation = int(row["stride"]), int(row["dilation"])
    if kind.startswith("bottleneck"):
        return bottleneck(x, state, name, stride, dilation, kind.endswith("+proj"))
    return conv_bn(x, state, icnet_weight_name(name), stride, dilation, row["relu"] == "yes")


def icnet_logits(x: Tensor, state: State) -> Tensor:
    maps = {"data": x}
    for row in rows("icnet_layers.csv"):
        maps[row["name"]] = icnet_layer(row, [maps[name] for name in row["inputs"].split()], state)
    return maps["conv6_interp"]


# Fast-SCNN, by its paper's table 1 ----------------------------------------------------------------------------------


def up(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size=tuple(size[-2:]), mode="bilinear", align_corners=False)


def ds_conv(x: Tensor, state: State, name: str, stride: int) -> Tensor:
    return conv_bn(conv_bn(x, state, f"{name}.depthwise", stride), state, f"{name}.pointwise", relu=True)


def inverted_residual(x: Tensor, state: State, name: str, stride: int, t: int) -> Tensor:
    y = conv_bn(x, state, f"{name}.expand", relu=True)
    assert y.shape[1] == t * x.shape[1]
    y = conv_bn(y, state, f"{name}.depthwise", stride, relu=True)
    y = conv_bn(y, state, f"{name}.linear")
    return x + y if y.shape == x.shape else y


def concat_pyramid(x: Tensor, state: State) -> Tensor:
    pooled = [
        up(conv_bn(F.adaptive_avg_pool2d(x, grid), state, f"ppm.branches.{i}", relu=True), x.shape)
        for i, grid in enumerate((1, 2, 3, 6))
    ]
    return conv_bn(torch.cat([x, *pooled], 1), state, "ppm.out", relu=True)


def feature_fusion(high: Tensor, low: Tensor, state: State) -> Tensor:
    low = conv_bn(up(low, high.shape), state, "ffm_depthwise", dilation=4, relu=True)
    return (conv_bn(low, state, "ffm_low") + conv_bn(high, state, "ffm_high")).clamp(min=0)


def fast_scnn_logits(x: Tensor, state: State) -> Tensor:
    y, high, ltd, gfe, cls = x, x, 0, 0, 0
    for row in rows("fast_scnn_table1.csv"):
        block, repeats, stride = row["block"], int(row["n"] or 1), int(row["s"] or 1)
        if row["module"] == "ltd":
            ltd += 1
            plain = block == "conv2d"
            y = (
                conv_bn(y, state, "ltd1", stride, relu=True)
                if plain
                else ds_conv(y, state, f"ltd{ltd}", stride)
            )
            high = y
        elif block == "bottleneck":
            gfe += 1
            for i in range(repeats):
                y = inverted_residual(y, state, f"gfe{gfe}.{i}", stride if i == 0 else 1, int(row["t"]))
        elif block == "ppm":
            y = concat_pyramid(y, state)
        elif block == "ffm":
            y = feature_fusion(high, y, state)
        elif block == "dsconv":
            for _ in range(repeats):
                cls += 1
                y = ds_conv(y, state, f"cls{cls}", stride)
        else:
            y = F.conv2d(y, state["classifier.weight"], state["classifier.bias"])
        assert y.shape[1] == int(row["c"]), row
    return up(y, x.shape)

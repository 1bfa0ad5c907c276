from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icnet_cli.models import NETWORKS, build, depthwise
from icnet_cli.models.depthwise import DepthwiseConv2d

# (stride, dilation, kernel, height, width)
SHAPES = [
    (1, 1, 3, 9, 8),
    (1, 4, 3, 11, 14),
    (1, 2, 5, 9, 9),
    (2, 1, 3, 9, 8),
    (2, 1, 3, 8, 9),
    (2, 2, 3, 7, 10),
]


def convolution(channels: int, stride: int, dilation: int, kernel: int = 3) -> DepthwiseConv2d:
    torch.manual_seed(0)
    return DepthwiseConv2d(channels, kernel, stride, dilation).train()


def by_torch(conv: nn.Conv2d, x: Tensor) -> Tensor:
    return F.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)


def off(value: Tensor, expected: Tensor) -> float:
    return ((value.double() - expected.double()).norm() / expected.double().norm()).item()


@pytest.mark.parametrize(("stride", "dilation", "kernel", "height", "width"), SHAPES)
def test_values_and_gradients_are_those_of_the_plain_convolution(stride, dilation, kernel, height, width):
    conv = convolution(8, stride, dilation, kernel).double()
    x = torch.randn(2, 8, height, width, dtype=torch.float64, requires_grad=True)
    out, expected = conv(x), by_torch(conv, x)
    assert torch.equal(out, expected)
    assert out.shape[2:] == (-(-height // stride), -(-width // stride))
    grad = torch.randn_like(out)
    mine = torch.autograd.grad(out, (x, conv.weight), grad)
    torchs = torch.autograd.grad(expected, (x, conv.weight), grad)
    for value, truth in zip(mine, torchs, strict=True):
        torch.testing.assert_close(value, truth, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (1, 2), (1, 4), (2, 1)])
@pytest.mark.parametrize("size", [(40, 52), (39, 51)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gradients_in_half_precision_are_right(stride, dilation, size, dtype):
    """Torch's own by the weights of a dilated one are not, in bf16 on processors with AVX-512."""
    conv = convolution(32, stride, dilation)
    x = torch.randn(2, 32, *size).to(dtype).to(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", dtype):
        out = conv(x)
    assert out.dtype == dtype
    grad = torch.randn_like(out)
    by_x, by_weight = torch.autograd.grad(out, (x, conv.weight), grad)
    assert by_x.dtype == dtype
    assert by_weight.dtype == torch.float32  # the weights' own
    exact = copy.deepcopy(conv).double()
    exact.weight.data = conv.weight.detach().to(dtype).double()  # what autocast made of them
    exact_x = x.detach().double().requires_grad_()
    truth = torch.autograd.grad(by_torch(exact, exact_x), (exact_x, exact.weight), grad.double())
    assert off(by_x, truth[0]) < 0.01
    assert off(by_weight, truth[1]) < 0.01


def test_a_frozen_weight_or_a_picture_needs_no_gradient():
    conv = convolution(4, 1, 1)
    x = torch.randn(1, 4, 6, 6)
    conv(x).sum().backward()
    assert conv.weight.grad is not None
    conv.weight.requires_grad_(False)
    x.requires_grad_()
    conv(x).sum().backward()
    assert x.grad is not None


def test_where_nothing_is_learnt_it_is_torchs_own(monkeypatch):
    conv = convolution(4, 1, 4)
    x = torch.randn(1, 4, 6, 6)
    # With BatchNorm frozen a network learns in eval mode, too.
    assert type(conv.eval()(x).grad_fn).__name__ == "_OnCPUBackward"
    monkeypatch.setattr(depthwise, "_OnCPU", None)  # not to be touched
    with torch.no_grad():
        assert torch.equal(conv(x), by_torch(conv, x))
    conv.requires_grad_(False)
    assert conv(x).grad_fn is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_convolution_of_every_network_learns_from_true_gradients(name, dtype):
    """As training has them, channels last: each against doubles, for what it was given and what came back to it."""
    torch.manual_seed(0)
    network = build(name, {"num_classes": 5, "keep": 0.25}).train().to(memory_format=torch.channels_last)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    given: dict[nn.Module, Tensor] = {}
    gave: dict[nn.Module, tuple[Tensor | None, Tensor]] = {}
    for conv in convolutions:
        conv.register_forward_pre_hook(lambda m, x: given.update({m: x[0].detach()}))
        conv.register_full_backward_hook(lambda m, by_x, by_out: gave.update({m: (by_x[0], by_out[0])}))
    x = (
        torch.randn(2, 3, 320, 384, requires_grad=True) * 1
    )  # a leaf's clone, so that the first ones tell of it, too
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        scores = network(x.to(memory_format=torch.channels_last))
    labels = [torch.randint(0, 5, (2, *s.shape[2:])) for s in scores]
    sum(F.cross_entropy(s.float(), y) for s, y in zip(scores, labels, strict=True)).backward()
    assert set(gave) == set(convolutions)
    bound = 0.01 if dtype is torch.bfloat16 else 1e-4
    for conv, (by_x, by_out) in gave.items():
        exact, exact_x = copy.deepcopy(conv.weight).double(), given[conv].double().requires_grad_()
        out = F.conv2d(exact_x, exact, None, conv.stride, conv.padding, conv.dilation, conv.groups)
        truth = torch.autograd.grad(out, (exact_x, exact), by_out.double())
        assert off(by_x, truth[0]) < bound
        assert off(conv.weight.grad, truth[1]) < bound


def test_every_depthwise_convolution_of_fast_scnn_is_one():
    network = build("fast-scnn", {"num_classes": 5, "keep": 0.25})
    depthwise = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert len(depthwise) == 14
    assert all(isinstance(m, DepthwiseConv2d) for m in depthwise)

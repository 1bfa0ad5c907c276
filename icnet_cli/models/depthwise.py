"""The gradients of a depthwise convolution on a CPU, by the ways that are right and fast there."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution without bias, of an odd kernel, padded so that stride 1 keeps the size.

    Forward, and on a GPU throughout, it is torch's own. On a CPU its gradients are taken by `_OnCPU`.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H / stride), ceil(W / stride))."""
        weight = self.weight
        learns = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
        if x.device.type != "cpu" or not learns:
            return super().forward(x)
        if torch.is_autocast_enabled("cpu"):  # cast here: within `_OnCPU` a cast would have no gradient
            dtype = torch.get_autocast_dtype("cpu")
            x, weight = x.to(dtype), weight.to(dtype)
        out: Tensor = _OnCPU.apply(x, weight, self.stride[0], self.dilation[0])
        return out


class _OnCPU(torch.autograd.Function):
    """`F.conv2d` with groups = channels, whose gradients are not oneDNN's where those are wrong or slow.

    In bf16, on processors with AVX-512, the weights' gradient of a dilated depthwise convolution comes out as memory
    that nobody wrote (torch 2.13; 1e17 where 1e2 is right), so it is taken in fp32. The input's gradient is a
    convolution of the output's, spread by the stride, with the mirrored kernel: kernels made for the way forward do
    that 1.3 to 6 times as fast as those for the way back, but for a stride in fp32.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.dilation = stride, dilation
        ctx.padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, None, stride, ctx.padding, dilation, weight.shape[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        by_x = by_weight = None
        if ctx.needs_input_grad[0]:
            forwards = ctx.stride == 1 or x.dtype.itemsize < 4
            by_x = _mirrored(ctx, grad, x, weight) if forwards else _backward(ctx, grad, x, weight, 0)
        if ctx.needs_input_grad[1]:
            wide = torch.float32 if ctx.dilation > 1 and x.dtype.itemsize < 4 else x.dtype
            by_weight = _backward(ctx, grad.to(wide), x.to(wide), weight.to(wide), 1).to(weight.dtype)
        return by_x, by_weight, None, None


def _mirrored(ctx: Any, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    if ctx.stride > 1:
        spread = torch.zeros_like(x)
        spread[:, :, :: ctx.stride, :: ctx.stride] = grad
        grad = spread
    return F.conv2d(grad, weight.flip(2, 3), None, 1, ctx.padding, ctx.dilation, weight.shape[0])


def _backward(ctx: Any, grad: Tensor, x: Tensor, weight: Tensor, which: int) -> Tensor:
    """torch's gradient by the input (0) or by the weights (1)."""
    stride, padding, dilation = [ctx.stride] * 2, [ctx.padding] * 2, [ctx.dilation] * 2
    wanted = [which == 0, which == 1, False]
    args = (grad, x, weight, None, stride, padding, dilation, False, [0, 0], weight.shape[0], wanted)
    gradient: Tensor = torch.ops.aten.convolution_backward(*args)[which]
    return gradient

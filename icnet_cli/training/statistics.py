"""BatchNorm's running statistics, which a forward pass changes before anybody knows whether its loss is finite."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Statistics:
    """What a network's BatchNorm layers have gathered, as it was before a batch.

    One pass that overflows would leave NaN in them for good: training goes on without them, and the weights that are
    kept label nothing.
    """

    def __init__(self, network: nn.Module) -> None:
        layers = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        self._now = [buffer for layer in layers for buffer in layer.buffers(recurse=False)]
        self._real = [buffer for buffer in self._now if buffer.is_floating_point()]
        self._before = [buffer.clone() for buffer in self._now]

    def keep(self) -> None:
        """Remember them, before a batch."""
        if self._now:
            torch._foreach_copy_(self._before, self._now)

    def restore_unless(self, finite: Tensor) -> None:
        """After its backward pass: as they were, where `finite` (boolean, of one value) is False or they are not.

        A variance may overflow and the loss not: what is divided by it is 0. Nothing is asked of the device.
        """
        if self._real:
            largest = torch.stack(torch._foreach_norm(self._real, math.inf))
            finite = finite & torch.isfinite(largest).all()
        for now, before in zip(self._now, self._before, strict=True):
            torch.where(finite, now, before, out=now)

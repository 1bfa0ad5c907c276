"""BatchNorm's running statistics, which a forward pass changes before anybody knows whether its loss is finite."""

from __future__ import annotations

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
        buffers = [buffer for layer in layers for buffer in layer.buffers(recurse=False)]
        # One kind of number at a time: over several, torch copies lists one tensor after the other.
        self._real = [buffer for buffer in buffers if buffer.is_floating_point()]  # (C,)
        self._counts = [buffer for buffer in buffers if not buffer.is_floating_point()]  # ()
        self.keep()

    def keep(self) -> None:
        """Remember them, before a batch."""
        if self._real:
            self._real_before, self._counts_before = torch.cat(self._real), torch.stack(self._counts)

    def restore_unless(self, finite: Tensor) -> None:
        """After its backward pass: as they were, where `finite` (boolean, of one value) is False or they are not.

        A variance may overflow and the loss not: what is divided by it is 0. Nothing is asked of the device. All
        are looked at as one: two hundred small tensors one by one keep a GPU waiting for the host.
        """
        if not self._real:
            return
        real, counts = torch.cat(self._real), torch.stack(self._counts)
        finite = finite & torch.isfinite(real).all()
        chosen = torch.where(finite, real, self._real_before).split([tensor.numel() for tensor in self._real])
        torch._foreach_copy_(self._real, list(chosen))
        torch._foreach_copy_(self._counts, list(torch.where(finite, counts, self._counts_before).unbind()))

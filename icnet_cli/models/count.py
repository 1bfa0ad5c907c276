"""What a network costs on paper: parameters and operations, counted by running it on torch's meta device.

Both count what `scores` really runs. So the auxiliary classifiers, which only training uses, are not in the figures,
and an ICNet that stops at `sub4` does not pay for its high branch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

_SMALLEST = (64, 64)  # any size shows which modules run
_SMALL = (
    64,
    128,
)  # runs in milliseconds, and is large enough for the share of each map to be that of a large picture


def parameters_m(network: nn.Module) -> float:
    """Millions of parameters that inference uses. The network has a `scores`, as all built here."""
    return cost(network, *_SMALLEST)[0]


def gflops(network: nn.Module, height: int, width: int) -> float:
    """Thousand millions of operations for one picture, two a multiply-add of the convolutions."""
    return cost(network, height, width)[1]


def cost(network: nn.Module, height: int, width: int) -> tuple[float, float]:
    """`parameters_m` and `gflops` of one run: on the meta device it takes up to a second, whatever the size."""
    used: dict[int, int] = {}
    operations = _Operations()

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        used.update({id(p): p.numel() for p in module.parameters(recurse=False)})
        operations(module, inputs, output)

    twin = copy.deepcopy(network).eval().to("meta")
    with _hooked(twin, note), torch.inference_mode():
        twin.scores(torch.empty(1, 3, height, width, device="meta"))  # type: ignore[operator]
    return sum(used.values()) / 1e6, operations.total / 1e9


def gflops_by_area(network: nn.Module, height: int, width: int) -> float:
    """`gflops` within a hundredth, from a small picture that is run for real on the CPU.

    For whoever is in a hurry: the meta device makes torch import its compiler, a second and a half of start-up.
    """
    counter = _Operations()
    twin = copy.deepcopy(network).eval()
    with _hooked(twin, counter), torch.inference_mode():
        twin.scores(torch.zeros(1, 3, *_SMALL))  # type: ignore[operator]
    return counter.total / 1e9 * height * width / (_SMALL[0] * _SMALL[1])


class _Operations:
    """A hook that counts two operations a multiply-add of each convolution."""

    total = 0

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(module, nn.Conv2d):
            rows, columns = module.kernel_size
            self.total += 2 * output.numel() * (module.in_channels // module.groups) * rows * columns


@contextmanager
def _hooked(network: nn.Module, note: Callable[..., None]) -> Iterator[None]:
    hooks = [module.register_forward_hook(note) for module in network.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()

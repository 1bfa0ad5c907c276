"""Optimizer, learning-rate schedule and the exponential moving average of weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from icnet_cli.training.recipe import OptimizerRecipe, ScheduleRecipe


def parameter_groups(network: nn.Module, recipe: OptimizerRecipe) -> list[dict[str, Any]]:
    """Parameters with and without weight decay, as the recipe's `no_decay` says."""
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            (spared if _spared(module, parameter, recipe) else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _spared(module: nn.Module, parameter: nn.Parameter, recipe: OptimizerRecipe) -> bool:
    if "norm" in recipe.no_decay and parameter.ndim == 1:
        return True
    depthwise = isinstance(module, nn.Conv2d) and module.groups > 1
    return "depthwise" in recipe.no_decay and depthwise


def build_optimizer(
    network: nn.Module, recipe: OptimizerRecipe, lr: float, fused: bool = False
) -> torch.optim.Optimizer:
    """The recipe's optimizer; `fused` is one kernel for all parameters, which heeds a flag on the device."""
    groups = parameter_groups(network, recipe)
    if recipe.name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, fused=fused or None)
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=recipe.momentum, fused=fused or None)
    if fused:
        fill_momentum(optimizer)
    return optimizer


def fill_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Give a fused SGD with momentum the buffers that it lacks: new ones, and after a state from before its first step.

    Its first step makes them without filling them; left out by the flag, it would leave them so.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"] if group.get("momentum") else ():
            if optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def rate_at(progress: float, recipe: ScheduleRecipe) -> float:
    """The factor on the base learning rate after `progress` (0..1) of the run."""
    if progress < recipe.warmup:
        return max(progress / recipe.warmup, 1e-3)
    rest = min(1.0, (progress - recipe.warmup) / max(1e-9, 1 - recipe.warmup))
    if recipe.name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * rest))
    return (1 - rest) ** recipe.power


class Ema:
    """An exponential moving average of a network's parameters and buffers.

    The decay starts low and rises to `decay`, so that the random initial weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.shadow = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        self._paired: nn.Module | None = None

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """All tensors at once: one by one they would keep a GPU waiting for the host."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        if self._paired is not network:
            self._pair(network)
        torch._foreach_lerp_(self._averages, self._values, 1 - decay)
        if self._counts:
            torch._foreach_copy_(self._counts, self._counted)

    def _pair(self, network: nn.Module) -> None:
        """Collect the tensors once: while training they change in place, and collecting takes as long as averaging."""
        now = network.state_dict()
        real = [name for name in now if self.shadow[name].is_floating_point()]
        self._averages, self._values = [self.shadow[name] for name in real], [now[name] for name in real]
        whole = [name for name in now if not self.shadow[name].is_floating_point()]
        self._counts, self._counted = [self.shadow[name] for name in whole], [now[name] for name in whole]
        self._paired = network

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = state["updates"]
        shadow: dict[str, Tensor] = state["shadow"]
        for name, tensor in shadow.items():
            self.shadow[name].copy_(tensor)

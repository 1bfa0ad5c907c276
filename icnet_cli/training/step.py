"""What one batch does to a network: forward, backward, and the optimizer's step when the effective batch is full.

On a GPU nothing here waits for the device: the host runs ahead, and losses are read when the trainer asks for them. On
one GPU both passes are a CUDA graph after some batches of a size: see `captured`. (On several, torch's SyncBatchNorm
waits in each forward pass, to learn which ranks had pictures.)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from icnet_cli.inference.device import choose_precision, has_bf16
from icnet_cli.inference.graphs import Capture
from icnet_cli.models import Network
from icnet_cli.training.captured import CapturedPass
from icnet_cli.training.distil import Teachers
from icnet_cli.training.losses import CascadeLoss, class_weights
from icnet_cli.training.normalise import Normalise
from icnet_cli.training.optim import Ema, build_optimizer, fill_momentum
from icnet_cli.training.prepare import label_shares
from icnet_cli.training.run import Run
from icnet_cli.training.statistics import Statistics


class Stepper:
    """One run's network, optimizer and moving average on their device.

    With `deferred` (a GPU's way) a loss that is not finite is found on the device, where it keeps the optimizer from
    stepping; else the host looks at each loss before the backward pass. Either way such a step changes no weight, and
    none of BatchNorm's statistics.
    `capture` makes CUDA graphs; given, it does so on a CPU too.
    """

    def __init__(self, run: Run, deferred: bool | None = None, capture: Capture | None = None) -> None:
        self.run, self.ranks, self.recipe = run, run.ranks, run.recipe
        self.deferred = run.device.type == "cuda" if deferred is None else deferred
        network = run.network.to(run.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if run.device.type == "cuda" and not self.ranks.alone:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        self.network: Network = network.train()
        self._parameters = list(network.parameters())
        self._statistics = Statistics(network)
        weight = None
        if self.recipe.loss.class_weights != "none":
            weight = class_weights(label_shares(run.train), self.recipe.loss)
        self.loss = CascadeLoss(self.recipe.loss, weight, network.align_corners, self.deferred).to(run.device)
        if not self.ranks.alone:
            self.loss.over_ranks, self.loss.ranks = self._over_ranks, self.ranks.world
        self.autocast = _autocast(run.config.precision, run.device)
        self.normalise = Normalise(self.recipe.normalisation).to(run.device)
        self.trained = _Trained(network, self.loss, self.normalise, self.autocast)
        taught = bool(run.teachers) and self.recipe.loss.distil > 0
        self.teachers = Teachers(run.teachers, run.device, network.align_corners) if taught else None
        self._forward: nn.Module = self.trained if self.ranks.alone else _distributed(self.trained, run)
        self.optimizer = build_optimizer(network, self.recipe.optimizer, run.lr, fused=self.deferred)
        self.scaler = torch.amp.GradScaler(run.device.type, enabled=self.autocast is torch.float16)
        self.ema = Ema(network, self.recipe.ema) if self.recipe.ema else None
        self.captured = None
        if self._fits_a_graph() and (capture or run.device.type == "cuda"):
            self.captured = CapturedPass(self.trained, self._parameters, capture)
        self.accumulated = 0  # batches of the next step that are done; it runs on from epoch to epoch
        self.spoiled = False  # one of them had a loss that is not finite

    def batch(self, pictures: Tensor, labels: Tensor, lr: float) -> tuple[Tensor, bool]:
        """One batch, uint8 (N, 3, H, W) and (N, H, W), at rate `lr`; returns its loss, and whether it ended a step.

        The loss is this rank's share of the loss over all ranks' pictures: their sum is the loss.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        last = self.accumulated + 1 >= self.run.accumulate  # a step begun with more batches may be full
        with self._reducing(last):
            pictures = pictures.to(self.run.device, non_blocking=True)
            labels = labels.to(self.run.device, non_blocking=True)
            self._statistics.keep()
            value, finite = self._pass(pictures, labels)
            self._statistics.restore_unless(finite)
        self.accumulated += 1
        if last:
            self._optimizer_step()
        return value, last

    def _pass(self, pictures: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Forward and backward; the loss, of which nothing but its value is left, and whether it is finite."""
        taught = self._taught(pictures, labels)
        batch = (pictures, labels) if taught is None else (pictures, labels, taught)
        if self.captured is not None:
            value = self.captured(*batch)
            return value, torch.isfinite(value)
        loss = self._forward(*batch)
        value = loss.detach()
        # Of all ranks: BatchNorm's statistics are one.
        told = torch.isfinite(self.ranks.sum(value.clone())) if self.deferred else self._finite(value)
        finite = torch.as_tensor(told)
        if self.deferred or finite:
            # DistributedDataParallel takes the mean of the ranks' gradients; these losses are parts of a sum.
            self.scaler.scale(loss * (self.ranks.world / self.run.accumulate)).backward()
        return value, finite

    @property
    def note(self) -> str | None:
        """What could not be done as it should be, one line."""
        return self.captured.note if self.captured else None

    def _fits_a_graph(self) -> bool:
        """Whether a step is one pass and no more: nothing summed, scaled or exchanged, and no bits to repeat."""
        return (
            self.deferred
            and self.ranks.alone
            and self.run.accumulate == 1
            and not self.scaler.is_enabled()
            and not self.run.config.deterministic
        )

    def averaged(self) -> Network:
        """The network to measure and to keep: the moving average where there is one; the same on all ranks."""
        network = copy.deepcopy(self.network)
        if self.ema:
            network.load_state_dict(self.ema.shadow)
        self.ranks.alike(network)
        return network.eval()

    def _taught(self, pictures: Tensor, labels: Tensor) -> Tensor | None:
        """What the teachers say of a batch; no module of the student's, so that nothing of them is kept or averaged."""
        if self.teachers is None:
            return None
        with torch.autocast(pictures.device.type, self.autocast, enabled=self.autocast is not None):
            return self.teachers.probabilities(pictures, self.loss.main_size(labels))

    def _finite(self, value: Tensor) -> bool:
        finite = bool(torch.isfinite(self.ranks.sum(value.clone())))
        self.spoiled |= not finite
        return finite

    def _reducing(self, last: bool) -> AbstractContextManager[None]:
        """Gradients are exchanged once a step, not once a batch."""
        if isinstance(self._forward, DistributedDataParallel) and not last:
            return self._forward.no_sync()
        return nullcontext()

    def _optimizer_step(self) -> None:
        if not self.spoiled:
            self.scaler.unscale_(self.optimizer)
            self._guard(self._gradient_norm())
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.accumulated, self.spoiled = 0, False
        if self.ema:
            self.ema.update(self.network)

    def _gradient_norm(self) -> Tensor | None:
        """The gradients' length, before it was clipped; None where nobody asks for it."""
        parameters = [p for p in self._parameters if p.grad is not None]
        if self.recipe.optimizer.clip_norm:
            return nn.utils.clip_grad_norm_(parameters, self.recipe.optimizer.clip_norm)
        if self.deferred:
            return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        return None

    def _guard(self, norm: Tensor | None) -> None:
        """Tell the fused optimizer, on the device, to leave its step out; the scaler of fp16 does that by itself."""
        if self.deferred and not self.scaler.is_enabled() and norm is not None:
            self.optimizer.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]

    def _over_ranks(self, total: Tensor) -> Tensor:
        return self.ranks.sum(total.detach().clone())

    # Keeping ------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "scaler": self.scaler.state_dict(),
            "gradients": [p.grad for p in self.network.parameters()],
            "accumulated": self.accumulated,
            "spoiled": self.spoiled,
        }

    def load_state_dict(self, state: Mapping[str, Any], same_batches: bool) -> None:
        """Go on from a state; a step half accumulated goes on too, where its batches are still of the same size."""
        self.network.load_state_dict(state["network"])
        groups = [group | {"fused": self.deferred or None} for group in state["optimizer"]["param_groups"]]
        self.optimizer.load_state_dict(state["optimizer"] | {"param_groups": groups})
        if self.deferred:
            fill_momentum(self.optimizer)
        if state["scaler"]:  # empty where the run had no fp16 so far: its scale is then found anew
            self.scaler.load_state_dict(state["scaler"])
        if self.ema and state["ema"]:
            self.ema.load_state_dict(state["ema"])
        # Gradients of fp16 are kept as they are, times the loss scale: in another precision they mean something else.
        if not same_batches or bool(state["scaler"]) != self.scaler.is_enabled():
            return
        for parameter, gradient in zip(self.network.parameters(), state["gradients"], strict=True):
            parameter.grad = None if gradient is None else gradient.to(parameter.device)
        self.accumulated, self.spoiled = state.get("accumulated", 0), state.get("spoiled", False)


class _Trained(nn.Module):
    """Pictures and labels to their loss: one module, so that what it does not use is seen in its graph."""

    def __init__(
        self, network: Network, loss: CascadeLoss, normalise: Normalise, autocast: torch.dtype | None
    ) -> None:
        super().__init__()
        self.network, self.loss, self.normalise, self.autocast = network, loss, normalise, autocast

    def forward(self, pictures: Tensor, labels: Tensor, taught: Tensor | None = None) -> Tensor:
        x = self.normalise(pictures)
        with torch.autocast(pictures.device.type, self.autocast, enabled=self.autocast is not None):
            outputs = self.network(x)
        return self.loss(outputs, labels, taught)


def _distributed(trained: _Trained, run: Run) -> DistributedDataParallel:
    ids = [run.device.index] if run.device.type == "cuda" else None
    # Where BatchNorm counts each rank's own pictures (on CPUs), the first rank's statistics are everybody's.
    return DistributedDataParallel(trained, device_ids=ids, find_unused_parameters=_some_unused(trained, run))


def _some_unused(trained: _Trained, run: Run) -> bool:
    """Whether some parameters never reach the loss (fewer loss weights than heads, say): tried on a small picture."""
    loss = CascadeLoss(trained.loss.recipe, None, trained.loss.align_corners)
    network = copy.deepcopy(run.network).cpu()
    trial = _Trained(network, loss, Normalise(run.recipe.normalisation), None).train()
    for module in trial.modules():  # one value a channel is no batch to normalise
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    labels = torch.zeros(1, 64, 64, dtype=torch.uint8)
    trial(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), labels).backward()
    return any(p.grad is None for p in network.parameters())


def _autocast(precision: str, device: torch.device) -> torch.dtype | None:
    """fp32 on a CPU; on a GPU bf16 where it has it (no loss scaling needed), else fp16.

    Raises:
        IcnetError: exit 6 for what the device cannot do.
    """
    if precision == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if has_bf16(device) else torch.float16
    return {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}[choose_precision(precision, device)]

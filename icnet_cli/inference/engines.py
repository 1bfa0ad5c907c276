"""The engine for a network, a device, a precision and a backend."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import nn

from icnet_cli.checkpoints.format import Normalisation
from icnet_cli.models.count import gflops_by_area

from .backends.runtimes import runtime_of
from .built import BuiltEngine, weights_digest
from .choice import Work, fastest
from .cuda import CudaEngine
from .engine import Engine, Size, TorchEngine


def build_engine(
    network: nn.Module,
    normalisation: Normalisation,
    device: torch.device,
    precision: str,
    backend: str = "torch",
    work: Work | None = None,
    input_size: Callable[[int, int], Size] | None = None,
) -> Engine:
    """The network made ready to run.

    Args:
        precision: chosen already: fp32, fp16 or bf16.
        backend: `auto` weighs `work`, as the network sees it by `input_size`.

    Raises:
        IcnetError: USAGE for a backend that is not installed.
    """

    if device.type == "cpu" and backend == "auto" and work and work.picture_size:
        assert input_size is not None
        chosen = _worth_it(network, normalisation, work, input_size(*work.picture_size), precision)
        if chosen is not None:
            return chosen
    if device.type == "cpu" and backend not in ("auto", "torch"):
        return BuiltEngine(network, normalisation, runtime_of(backend, precision))
    if device.type == "cuda":
        return CudaEngine(network, normalisation, device, precision, compiled=backend == "compile")
    return TorchEngine(network, normalisation, device, precision)


def _worth_it(
    network: nn.Module, normalisation: Normalisation, work: Work, size: Size, precision: str
) -> Engine | None:
    """The engine that pays for its start-up; None where torch is soonest done."""

    @cache
    def digest() -> str:
        return weights_digest(network)

    @cache
    def engine(name: str) -> BuiltEngine:
        return BuiltEngine(network, normalisation, runtime_of(name, precision), digest=digest())

    name = fastest(
        work, lambda: gflops_by_area(network, *size), lambda name: engine(name).is_built(size), precision
    )
    return None if name == "torch" else engine(name)

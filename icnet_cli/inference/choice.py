"""Which backend runs a network: what was named, or the fastest one here that is worth its start-up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from icnet_cli.config import BACKENDS
from icnet_cli.errors import usage_error

from .backends.runtimes import installed_in, runtime_of
from .device import choose_device

HOST_ONLY = ("openvino", "onnx")  # they run on the CPU alone
UNKNOWN_FRAMES = 3000  # what a pipe or a live source is taken for: two minutes


@dataclass(frozen=True)
class Work:
    """What is to be done, as far as it is known before it begins.

    Attributes:
        frames: pictures to come; None where nobody knows.
        picture_size: the (height, width) they all have; None where they may differ.
    """

    frames: int | None = None
    picture_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Cost:
    """What a backend gives and takes, on a CPU.

    Attributes:
        speed: times torch's own pictures a second, of the network alone.
        open_s: to load the runtime and a network that is on the disk already.
        build_s: to make the network, the first time at a size.
    """

    speed: float
    open_s: float
    build_s: float


# Two idle cores of an AMD EPYC (AVX-512), torch 2.13, OpenVINO 2026.4, ONNX Runtime 1.31: docs/performance.md.
# Slower processors build more slowly and gain more.
COSTS = {
    "fp32": {
        "openvino": Cost(speed=1.15, open_s=0.3, build_s=7),
        "onnx": Cost(speed=1.2, open_s=0.2, build_s=6),
        "compile": Cost(speed=1.1, open_s=2.2, build_s=25),
    },
    "bf16": {"openvino": Cost(speed=2.5, open_s=0.3, build_s=7)},  # of an Intel Xeon with AMX
}
GFLOPS_A_CORE = {"fp32": 80.0, "bf16": 130.0}  # torch's own rate there for these networks
_MARGIN = 2.0  # the gain is an estimate, the wait is certain


def check_backend(backend: str, device: str, precision: str) -> None:
    """Raise a usage error for a backend that cannot be had, as far as words tell: before a file is read."""
    if backend not in BACKENDS:
        raise usage_error(f"--backend must be {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}, not {backend!r}")
    if backend in ("auto", "torch"):
        return
    if backend in HOST_ONLY and device.startswith("cuda"):
        raise usage_error(f"--backend {backend} runs on the CPU; leave --device out, or use --backend torch")
    on_host = device == "cpu" or backend in HOST_ONLY or choose_device(device).type == "cpu"
    if on_host:
        runtime_of(backend, "fp32" if precision == "auto" else precision)


def device_for(backend: str, device: str) -> str:
    """The device to choose: `auto` is the CPU for what runs nowhere else."""
    return "cpu" if backend in HOST_ONLY and device == "auto" else device


def fastest(
    work: Work, gflops: Callable[[], float], is_built: Callable[[str], bool], precision: str = "fp32"
) -> str:
    """The backend that has `work` done soonest on this CPU: torch where none is worth its start-up.

    Args:
        gflops: operations of the network a picture; asked for only where it matters.
        is_built: whether a backend has the network on the disk already.
        precision: chosen already.
    """
    if work.picture_size is None:
        return "torch"  # another size would be another network to build
    installed = installed_in(precision)
    if not installed:
        return "torch"
    frames = UNKNOWN_FRAMES if work.frames is None else work.frames
    torch_s = frames * gflops() / (GFLOPS_A_CORE[precision] * torch.get_num_threads())
    seconds = {"torch": torch_s}
    for name in installed:
        cost = COSTS[precision][name]
        start = cost.open_s + (0 if is_built(name) else cost.build_s)
        seconds[name] = torch_s / cost.speed + _MARGIN * start
    return min(seconds, key=lambda name: seconds[name])

"""Where a network runs and in what arithmetic: devices, precisions, and the cores that are really ours."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import torch

from icnet_cli.errors import device_error, usage_error

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_CGROUP_OF_SELF = Path("/proc/self/cgroup")


def choose_device(name: str = "auto") -> torch.device:
    """`auto` (a GPU where there is one), `cpu`, `cuda` or `cuda:N`.

    Raises:
        IcnetError: USAGE for another name; DEVICE where there is no such GPU.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise usage_error(f"--device must be auto, cpu, cuda or cuda:N, not {name!r}")
    if name == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda", torch.cuda.current_device()) if count else torch.device("cpu")
    if not count:
        built = "no CUDA GPU is available" if torch.version.cuda else "this build of torch has no CUDA"
        raise device_error(f"no device {name}: {built}; use --device cpu")
    index = int(name.partition(":")[2] or torch.cuda.current_device())
    if index >= count:
        raise device_error(f"no device {name}: there are {count} (cuda:0 to cuda:{count - 1})")
    return torch.device("cuda", index)


def choose_precision(name: str, device: torch.device) -> str:
    """`auto` is fp32 on a CPU (bf16 convolutions without AMX are ten times slower) and fp16 on a GPU.

    Raises:
        IcnetError: USAGE for an unknown name; DEVICE for what the device cannot do.
    """
    if name == "auto":
        return "fp16" if device.type == "cuda" else "fp32"
    if name not in PRECISIONS:
        raise usage_error(f"--precision must be auto, {', '.join(PRECISIONS)}, not {name!r}")
    on_gpu = device.type == "cuda"
    if name == "bf16" and on_gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise device_error(f"{device} has no bf16; use --precision fp16")
    return name


def set_exactness(precision: str) -> None:
    """Under fp32 a GPU's convolutions and products keep all their bits: TF32 off."""
    exact = precision == "fp32"
    torch.backends.cuda.matmul.allow_tf32 = not exact
    torch.backends.cudnn.allow_tf32 = not exact


def available_cores() -> int:
    """Cores this process may really use: its affinity, and its control group's share (at least 1)."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = cgroup_cores(_CGROUP_ROOT, _CGROUP_OF_SELF)
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def cgroup_cores(root: Path, of_self: Path) -> float | None:
    """The processor quota in cores, the smallest on the way up to the root; None where there is none.

    Args:
        root: where control groups are mounted; of_self: the process's own line(s), as /proc/self/cgroup.
    """
    try:
        lines = of_self.read_text().splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        if line.count(":") < 2:
            continue
        _, controllers, place = line.split(":", 2)
        folder = root / place.lstrip("/")
        if not controllers:  # version 2
            quotas += _quotas(root, folder, _quota_v2)
        elif "cpu" in controllers.split(","):
            quotas += _quotas(root / "cpu", root / "cpu" / place.lstrip("/"), _quota_v1)
    return min(quotas, default=None)


def _quotas(root: Path, folder: Path, read: object) -> list[float]:
    # Inside a container the line may name a folder of the host's that is not mounted here: its parents are.
    found = []
    for level in (folder, *folder.parents):
        quota = read(level)  # type: ignore[operator]
        if quota is not None:
            found.append(quota)
        if level == root:
            break
    return found


def _quota_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return None if quota <= 0 else quota / int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError, ZeroDivisionError):
        return None


def set_threads(cores: int | None = None) -> int:
    """One torch thread a core that is really available. For the command line's entry; returns the number."""
    cores = cores or available_cores()
    torch.set_num_threads(cores)
    return cores

"""The processor cores that are really ours, and a thread of torch's for each. No torch is imported here."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_CGROUP_OF_SELF = Path("/proc/self/cgroup")


def limit_threads() -> int:
    """Let torch start one thread an available core, unless OMP_NUM_THREADS says otherwise; returns the number.

    For the command line's entry, before torch loads. OpenMP honours a process's affinity by itself but not its
    control group's quota: in a container of 2 cores on a machine of 64 it would start 64 threads.

    Its idle threads are told to spin for a moment only before they sleep. Long spinning takes the core that the
    slowest thread waits for, beside anything else that runs, our own decoder and encoder included; sleeping at once
    is worse still on a virtual machine with nothing else to do, where waking an idle core takes longer than a small
    operator. Frames a second of `icnet segment` on a 960x540 clip, two cores, idle and beside a loop on one core:
    libgomp's own choice 10.6 and 2.0, 1,000 turns 10.0 and 3.2, none 2.6 and 4.9. GOMP_SPINCOUNT in the environment
    has the last word.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    return int(os.environ.setdefault("OMP_NUM_THREADS", str(available_cores())).split(",")[0])


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


def _quotas(root: Path, folder: Path, read: Callable[[Path], float | None]) -> list[float]:
    # Inside a container the line may name a folder of the host's that is not mounted here: its parents are.
    found = []
    for level in (folder, *folder.parents):
        quota = read(level)
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

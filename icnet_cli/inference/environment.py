"""The machine and the versions that figures come from."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

import torch

from icnet_cli import __version__
from icnet_cli.inference.cores import available_cores


def describe(device: torch.device) -> dict[str, Any]:
    """What has to be told beside a figure for it to mean something; no names or paths of the machine."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "icnet": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_model(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "cuda": torch.version.cuda,
    }


def cpu_model(source: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, as well as the system tells it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", source.read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def one_line(environment: dict[str, Any]) -> str:
    """`2 threads of AMD EPYC, torch 2.13, Linux x86_64`; the GPU first where there is one."""
    gpu = f"{environment['gpu']} (CUDA {environment['cuda']}), " if environment["gpu"] else ""
    threads = "1 thread" if environment["threads"] == 1 else f"{environment['threads']} threads"
    return f"{gpu}{threads} of {environment['cpu']}, torch {environment['torch']}, {environment['system']}"

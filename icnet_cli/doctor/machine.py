"""The program and its libraries, the GPU and its driver, and the folders that are used."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from icnet_cli import __version__
from icnet_cli.doctor.findings import ABSENT, BAD, OK, WARNING, Finding, version_of

_OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
_SMI = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
_DRIVER = Path("/proc/driver/nvidia/version")


def program() -> Iterator[Finding]:
    """icnet itself, Python and the system."""
    from icnet_cli.inference.cores import available_cores

    group = "program"
    yield Finding(group, "icnet", OK, __version__)
    yield Finding(group, "python", OK, platform.python_version())
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    yield Finding(group, "system", OK, f"{system}, {available_cores()} cores")


def libraries() -> Iterator[Finding]:
    """What the tool stands on."""
    import torch

    group = "libraries"
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "for CPUs"
    threads = torch.get_num_threads()
    used = f"{threads} thread{'s' * (threads != 1)}"
    yield Finding(group, "torch", OK, f"{torch.__version__}, built {built}, {used}")
    for name in ("numpy", "safetensors"):
        version = version_of(name)
        yield Finding(group, name, OK if version else BAD, version or "not installed")


def opencv() -> Iterator[Finding]:
    """OpenCV: whether it loads, which build it is, and whether that can open windows."""
    import icnet_cli.pixels.cv as ours

    group = "libraries"
    builds = [name for name in _OPENCV if version_of(name)]
    windows = ours.windows_of(ours.cv2.getBuildInformation())
    said = f"{ours.cv2.__version__} ({', '.join(builds) or 'not from pip'}), "
    said += f"windows by {windows}" if windows else "headless: no windows, all else works"
    yield Finding(group, "opencv", OK, said)
    if len(builds) > 1:
        cure = f"pip uninstall -y {' '.join(builds)} && pip install {builds[0]}"
        yield Finding(group, "opencv builds", WARNING, f"{len(builds)} are installed over one another", cure)


def gpu() -> Iterator[Finding]:
    """The driver, and the GPUs that torch can use."""
    import torch

    from icnet_cli.inference.device import has_bf16

    group, driver = "gpu", driver_version()
    if driver:
        yield Finding(group, "driver", OK, driver)
    else:
        yield Finding(group, "driver", ABSENT, "no NVIDIA driver")
    if not torch.cuda.is_available():
        if driver and not torch.version.cuda:
            cure = "install the CUDA build of torch, see pytorch.org/get-started/locally"
            yield Finding(group, "cuda", WARNING, "there is a driver, but this torch is built for CPUs", cure)
        elif driver:
            cure = f"update the driver for CUDA {torch.version.cuda}, or see CUDA_VISIBLE_DEVICES"
            yield Finding(group, "cuda", WARNING, "there is a driver, but torch finds no GPU", cure)
        else:
            yield Finding(group, "cuda", ABSENT, "no CUDA GPU: networks run on the CPU")
        return
    for index in range(torch.cuda.device_count()):
        known = torch.cuda.get_device_properties(index)
        bf16 = "" if has_bf16(torch.device("cuda", index)) else ", no bf16"
        detail = (
            f"{known.name}, {known.total_memory / 2**30:.0f} GiB, compute {known.major}.{known.minor}{bf16}"
        )
        yield Finding(group, f"cuda:{index}", OK, detail)
    cudnn = torch.backends.cudnn.version()
    yield Finding(group, "cudnn", OK if cudnn else WARNING, str(cudnn or "not found"))
    triton = version_of("triton")
    missing = Finding(
        group, "triton", WARNING, "not installed: torch.compile and our kernels need it on a GPU"
    )
    yield Finding(group, "triton", OK, triton) if triton else missing


def driver_version() -> str | None:
    """The NVIDIA driver's version; None where there is none."""
    try:
        done = subprocess.run(_SMI, capture_output=True, text=True, timeout=20, check=True)
        lines = done.stdout.split()
        if lines:
            return lines[0]
    except (OSError, subprocess.SubprocessError):
        pass
    try:
        found = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", _DRIVER.read_text())
    except OSError:
        return None
    return found[1] if found else None


def weights() -> Iterator[Finding]:
    """The weights that come with the tool, and the user's own."""
    from icnet_cli.checkpoints.bundled import bundled_folder, bundled_weights, local_folder, local_weights
    from icnet_cli.checkpoints.digest import published_sha256, sha256

    group, bundled = "weights", bundled_weights()
    if not bundled:
        cure = "install icnet again, or name a file with --weights"
        yield Finding(group, "bundled", BAD, f"none in {bundled_folder()}", cure)
    for name, path in bundled.items():
        published = published_sha256(path)
        whole = published is None or published[0] == sha256(path)
        yield Finding(
            group,
            name,
            OK if whole else BAD,
            "whole" if whole else f"{path} is not the file that was published",
        )
    local = local_weights()
    yield Finding(
        group, "your own", OK if local else ABSENT, f"{', '.join(local) or 'none'} in {local_folder()}"
    )


def folders() -> Iterator[Finding]:
    """Where compiled models are kept, and where work in progress goes."""
    from icnet_cli.inference.cache import FOLDER_VARIABLE, LIMIT_BYTES, cache_folder

    group, cache = "folders", cache_folder()
    if not cache.exists():
        state = OK if writable(cache) else WARNING
        detail = f"{cache}, not made yet"
    else:
        files = [path for path in cache.rglob("*") if path.is_file()]
        used = sum(path.stat().st_size for path in files) / 2**20
        state = OK if writable(cache) else WARNING
        detail = f"{cache}, {len(files)} files, {used:.0f} of {LIMIT_BYTES / 2**20:.0f} MiB"
    cure = (
        None if state == OK else f"name another folder with {FOLDER_VARIABLE}: compiled models are not kept"
    )
    yield Finding(group, "cache", state, detail if state == OK else f"{detail}, not writable", cure)
    free = shutil.disk_usage(tempfile.gettempdir()).free / 2**30
    yield Finding(group, "here", OK if writable(Path.cwd()) else WARNING, _writing(Path.cwd()))
    yield Finding(
        group, "temporary", OK if free > 0.5 else WARNING, f"{tempfile.gettempdir()}, {free:.1f} GiB free"
    )


def _writing(folder: Path) -> str:
    return "runs/ and outputs can be written" if writable(folder) else f"{folder} cannot be written to"


def writable(folder: Path) -> bool:
    """Whether files can be made in `folder`, or in the nearest one above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)

"""Where a network runs and in what arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from icnet_cli.config.fields import device_problem
from icnet_cli.errors import device_error, is_out_of_memory, usage_error
from icnet_cli.inference.processor import cpu_lacks_bf16

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def choose_device(name: str = "auto") -> torch.device:
    """`auto` (a GPU where there is one), `cpu`, `cuda` or `cuda:N`.

    Raises:
        IcnetError: USAGE for another name; DEVICE where there is no such GPU.
    """
    wrong = device_problem(name)
    if wrong:
        raise usage_error(wrong)
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
    """`auto` is fp32 on a CPU (labels of its own, and most have no bf16) and fp16 on a GPU.

    Raises:
        IcnetError: USAGE for an unknown name; DEVICE for what the device cannot do.
    """
    if name == "auto":
        return "fp16" if device.type == "cuda" else "fp32"
    if name not in PRECISIONS:
        raise usage_error(f"--precision must be auto, {', '.join(PRECISIONS)}, not {name!r}")
    if name == "bf16" and device.type == "cuda" and not has_bf16(device):
        raise device_error(f"{device} has no bf16; use --precision fp16")
    return name


def slow_precision(precision: str, device: torch.device) -> str | None:
    """What is to be said where bf16 is asked of a processor that has none: torch makes it up, and takes longer.

    A 256x512 picture takes Fast-SCNN 2.3 times as long with AVX-512 alone, and 17 times with AVX2.
    """
    if precision != "bf16" or device.type != "cpu" or not cpu_lacks_bf16():
        return None
    return (
        "this processor has no bf16 of its own, so that --precision bf16 takes several times as long as fp32"
    )


def has_bf16(gpu: torch.device) -> bool:
    """Whether a GPU computes in bf16 itself; torch's own question is about the current one."""
    with torch.cuda.device(gpu):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def set_exactness(precision: str) -> None:
    """Under fp32 a GPU's convolutions and products keep all their bits: TF32 off."""
    exact = precision == "fp32"
    torch.backends.cuda.matmul.allow_tf32 = not exact
    torch.backends.cudnn.allow_tf32 = not exact


@contextmanager
def device_words(device: torch.device) -> Iterator[None]:
    """Torch's ways of saying that memory ran out, or that the GPU failed, as one line."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            cure = "give a smaller --size or another --device"
            raise device_error(f"out of memory on {device}; {cure}") from error
        if "CUDA error" in str(error):
            first = str(error).splitlines()[0]
            raise device_error(f"{device} failed: {first}; try --device cpu") from error
        raise

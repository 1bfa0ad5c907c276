"""Devices and precisions: what is chosen, and what is refused in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference import processor
from icnet_cli.inference.device import (
    choose_device,
    choose_precision,
    device_words,
    set_exactness,
    slow_precision,
)
from icnet_cli.training.step import _autocast

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs, as far as torch can be asked."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == CPU
    for name in ("cuda", "cuda:1"):
        with pytest.raises(IcnetError, match="--device cpu") as caught:
            choose_device(name)
        assert caught.value.code == ExitCode.DEVICE


@pytest.mark.usefixtures("gpus")
def test_with_gpus() -> None:
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 1)
    assert choose_device("cuda:0") == GPU
    assert choose_device("cpu") == CPU
    with pytest.raises(IcnetError, match="there are 2") as caught:
        choose_device("cuda:2")
    assert caught.value.code == ExitCode.DEVICE


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "", "CPU"])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(IcnetError, match="--device must be") as caught:
        choose_device(name)
    assert caught.value.code == ExitCode.USAGE


def test_auto_never_takes_half_precision_on_a_cpu() -> None:
    assert choose_precision("auto", CPU) == "fp32"
    assert choose_precision("auto", GPU) == "fp16"
    assert choose_precision("bf16", CPU) == "bf16"  # asked for by name, it is the user's choice
    with pytest.raises(IcnetError, match="--precision must be") as caught:
        choose_precision("int8", CPU)
    assert caught.value.code == ExitCode.USAGE


def test_a_gpu_without_bf16_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """That one, not the current one: machines have GPUs of several kinds."""
    current = [torch.device("cuda", 0)]

    @contextmanager
    def entered(device: torch.device) -> Iterator[None]:
        current.append(device)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", entered)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: current[-1].index == 0)
    old = torch.device("cuda", 1)
    assert choose_precision("bf16", torch.device("cuda", 0)) == "bf16"
    with pytest.raises(IcnetError, match=r"cuda:1 has no bf16; use --precision fp16") as caught:
        choose_precision("bf16", old)
    assert caught.value.code == ExitCode.DEVICE
    assert [_autocast("auto", gpu) for gpu in (torch.device("cuda", 0), old)] == [
        torch.bfloat16,
        torch.float16,
    ]


@pytest.mark.parametrize(
    ("features", "told"), [("flags : avx2", True), ("flags : avx512_bf16", False), ("", False)]
)
def test_bf16_that_is_made_up_is_told(monkeypatch: pytest.MonkeyPatch, features: str, told: bool) -> None:
    monkeypatch.setattr(processor, "_features", lambda: features)
    assert (slow_precision("bf16", CPU) is not None) == told
    assert [slow_precision(*asked) for asked in (("fp32", CPU), ("auto", CPU), ("bf16", GPU))] == [None] * 3


_HINTS = "\nCUDA kernel errors might be asynchronously reported at some other API call"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory on cuda:0; give a"),
        (RuntimeError("CUDA error: out of memory" + _HINTS), "out of memory on cuda:0; give a"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), "out of memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), "out of memory"),
        (
            RuntimeError("CUDA error: an illegal memory access was encountered" + _HINTS),
            "cuda:0 failed: CUDA error: an illegal memory access was encountered; try --device cpu",
        ),
        (RuntimeError("CUDA error: unspecified launch failure" + _HINTS), "cuda:0 failed: CUDA error: unspecified"),
    ],
)  # fmt: skip
def test_a_gpus_failure_is_one_line_that_says_which(error: RuntimeError, words: str) -> None:
    with pytest.raises(IcnetError) as caught, device_words(GPU):
        raise error
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)
    assert caught.value.code == ExitCode.DEVICE


def test_a_mistake_of_ours_is_not_the_devices() -> None:
    with pytest.raises(RuntimeError, match="shapes") as caught, device_words(GPU):
        raise RuntimeError("shapes cannot be multiplied")
    assert not isinstance(caught.value, IcnetError)


def test_tf32_is_off_under_fp32() -> None:
    switches = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    try:
        set_exactness("fp16")
        assert all(switch.allow_tf32 for switch in switches)
        set_exactness("fp32")
        assert not any(switch.allow_tf32 for switch in switches)
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.allow_tf32 = value

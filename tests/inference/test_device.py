"""Devices, precisions and cores: what is chosen, and what is refused in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference import device as module
from icnet_cli.inference.allocator import keep_freed_memory
from icnet_cli.inference.device import (
    available_cores,
    cgroup_cores,
    choose_device,
    choose_precision,
    set_exactness,
)

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
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(IcnetError, match="fp16") as caught:
        choose_precision("bf16", GPU)
    assert caught.value.code == ExitCode.DEVICE


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


def make_cgroup(root: Path, place: str, text: str, name: str = "cpu.max") -> None:
    (root / place).mkdir(parents=True, exist_ok=True)
    (root / place / name).write_text(text)


def test_the_smallest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    of_self = tmp_path / "self"
    of_self.write_text("0::/slice/job\n")
    make_cgroup(tmp_path, "slice/job", "400000 100000\n")
    assert cgroup_cores(tmp_path, of_self) == 4
    make_cgroup(tmp_path, "slice", "150000 100000\n")
    assert cgroup_cores(tmp_path, of_self) == 1.5
    make_cgroup(tmp_path, "slice", "max 100000\n")
    assert cgroup_cores(tmp_path, of_self) == 4


def test_a_container_that_sees_only_its_own_root(tmp_path: Path) -> None:
    of_self = tmp_path / "self"
    of_self.write_text("0::/not/mounted/here\n")
    make_cgroup(tmp_path, ".", "50000 100000\n")
    assert cgroup_cores(tmp_path, of_self) == 0.5


def test_version_1_quotas(tmp_path: Path) -> None:
    of_self = tmp_path / "self"
    of_self.write_text("3:cpu,cpuacct:/job\n2:memory:/job\n")
    make_cgroup(tmp_path, "cpu/job", "300000\n", "cpu.cfs_quota_us")
    make_cgroup(tmp_path, "cpu/job", "100000\n", "cpu.cfs_period_us")
    assert cgroup_cores(tmp_path, of_self) == 3
    make_cgroup(tmp_path, "cpu/job", "-1\n", "cpu.cfs_quota_us")
    assert cgroup_cores(tmp_path, of_self) is None


@pytest.mark.parametrize("text", ["0::/job\n", "nonsense\n", ""])
def test_no_quota_is_no_limit(tmp_path: Path, text: str) -> None:
    (tmp_path / "self").write_text(text)
    make_cgroup(tmp_path, "job", "not a number\n")
    assert cgroup_cores(tmp_path, tmp_path / "self") is None
    assert cgroup_cores(tmp_path, tmp_path / "absent") is None


@pytest.mark.parametrize(("quota", "expected"), [(None, 8), (0.2, 1), (1.5, 2), (64, 8)])
def test_cores_are_those_really_available(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(module, "cgroup_cores", lambda *_: quota)
    assert available_cores() == expected


def test_the_allocator_is_told_on_glibc_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert keep_freed_memory() is False

"""Cores: those of the affinity, within the control group's quota."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from icnet_cli.inference import cores as module
from icnet_cli.inference.cores import available_cores, cgroup_cores, limit_threads


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


def test_threads_are_limited_unless_the_user_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_cores", lambda: 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert limit_threads() == 5
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert limit_threads() == 3
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_idle_threads_spin_for_a_moment_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set first, so that what `limit_threads` puts into the environment is taken out again.
    for name in ("GOMP_SPINCOUNT", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    limit_threads()
    assert os.environ["GOMP_SPINCOUNT"] == "1000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    limit_threads()
    assert os.environ["GOMP_SPINCOUNT"] == "5"

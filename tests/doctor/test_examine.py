from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from icnet_cli.config import DoctorConfig
from icnet_cli.doctor import examine as doctor
from icnet_cli.doctor import machine, parity, video
from icnet_cli.doctor.findings import ABSENT, BAD, OK, WARNING, Finding, guarded
from icnet_cli.doctor.parity import Parity, Way
from icnet_cli.errors import device_error
from icnet_cli.inference import processor
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.video.abilities import Ability, decoders, encoders, hardware_decoders, hardware_encoders


def run(config: DoctorConfig, **more: Any) -> tuple[list[Any], doctor.DoctorReport]:
    events, steps = [], doctor.examine(config, **more)
    while True:
        try:
            events.append(next(steps))
        except StopIteration as end:
            return events, end.value


def of(findings: Any, name: str) -> Finding:
    (found,) = (finding for finding in findings if finding.name == name)
    return found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that takes no time."""
    monkeypatch.setattr(parity, "FRAME", (64, 96))
    monkeypatch.setattr(parity, "ways", lambda: [])


def test_this_machine_is_looked_at_and_the_reference_runs(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, report = run(DoctorConfig())
    groups = list(dict.fromkeys(finding.group for finding in report.findings))
    assert groups == ["program", "libraries", "gpu", "backends", "video", "weights", "folders", "parity"]
    assert not report.having(BAD)
    assert "reference" in of(report.findings, "torch cpu fp32").detail
    assert (events[-1].done, events[0].total) == (len(events), len(events))
    document = report.to_dict()
    assert document["ok"]
    assert set(document["findings"][0]) == {"group", "name", "state", "detail", "cure"}


def test_a_way_that_agrees_one_that_does_not_and_one_that_does_not_run(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = [
        Way("same", "cpu", "fp32"),
        Way("near", "cuda", "fp16"),
        Way("far", "cpu", "fp32"),
        Way("off", "cpu", "fp32"),
        Way("fell back", "cuda", "fp16"),
    ]
    monkeypatch.setattr(parity, "ways", lambda: ways)
    true = Parity.labels

    def labels(self: Parity, way: Way) -> tuple[Any, float]:
        if way.backend == "off":
            raise device_error("no device off")
        made, _ = true(self, Way("torch", "cpu", "fp32"))
        self.ran_by = "torch" if way.backend == "fell back" else way.backend
        made = made.copy()
        wrong = {"near": 0.004, "far": 0.002}.get(way.backend, 0) * made.size
        made.ravel()[: round(wrong)] = (made.ravel()[: round(wrong)] + 1) % 11
        return made, 1.0

    monkeypatch.setattr(Parity, "labels", labels)
    _, report = run(DoctorConfig())
    states = {finding.name: finding.state for finding in report.findings if finding.group == "parity"}
    assert states == {
        "torch cpu fp32": OK,
        "same cpu fp32": OK,
        "near cuda fp16": OK,  # half precision may differ on one pixel in two hundred
        "far cpu fp32": BAD,
        "off cpu fp32": WARNING,
        "fell back cuda fp16": WARNING,
    }
    assert "99.8" in of(report.findings, "far cpu fp32").detail
    assert "no device off" in of(report.findings, "off cpu fp32").detail
    assert not report.to_dict()["ok"]


def test_what_is_timed_has_been_warmed(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU compiling and capturing come with the first runs of a size, not with the first alone."""
    asked: list[str] = []
    for name in ("warm", "labels"):
        true = getattr(Segmenter, name)

        def noted(self: Segmenter, *rest: Any, name: str = name, true: Any = true) -> Any:
            asked.append(name)
            return true(self, *rest)

        monkeypatch.setattr(Segmenter, name, noted)
    Parity("icnet-camvid")
    assert asked == ["warm", "labels", "labels"]


def test_parity_is_left_out_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "Parity", None)  # not to be touched
    events, report = run(DoctorConfig(no_parity=True))
    assert "parity" not in {finding.group for finding in report.findings}
    assert events[-1].done == events[-1].total


def test_weights_that_are_not_there_are_a_finding(small: None, tmp_path: Path) -> None:
    _, report = run(DoctorConfig(weights=str(tmp_path / "none.safetensors")))
    (bad,) = report.having(BAD)
    assert bad.name == "torch cpu fp32"
    assert "none.safetensors" in bad.detail


def broken() -> Iterator[Finding]:
    yield Finding("libraries", "first", OK, "1.0")
    raise ImportError("libGL.so.1: cannot open shared object file")


def test_a_check_that_fails_is_a_finding_and_ends_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "CHECKS", (("libraries", "opencv", broken), ("program", "program", machine.program))
    )
    _, report = run(DoctorConfig(no_parity=True), more={"mine": lambda: [Finding("mine", "x", OK, "y")]})
    names = [finding.name for finding in report.findings]
    assert names == ["first", "opencv", "icnet", "python", "system", "x"]
    (bad,) = report.having(BAD)
    assert bad.detail == "ImportError: libGL.so.1: cannot open shared object file"


def test_a_machine_without_torch_is_no_traceback() -> None:
    """Whatever cannot be imported is told of. In a process of its own: a module imported twice is two modules."""
    missing = "import sys; sys.modules.update(dict.fromkeys(('torch', 'cv2', 'av')))"
    program = f"{missing}; from icnet_cli.__main__ import main; sys.argv[1:] = ['doctor', '--json']; main()"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "Traceback" not in ended.stderr
    states = {finding["name"]: finding["state"] for finding in json.loads(ended.stdout)["findings"]}
    assert {states[name] for name in ("torch", "opencv", "codecs", "torch cpu fp32")} == {BAD}
    assert states["icnet"] == OK


def test_one_line_of_what_was_raised() -> None:
    def check() -> list[Finding]:
        raise RuntimeError("first\n  second " + "x" * 999)

    (finding,) = guarded("group", "name", check)
    assert finding.detail.startswith("RuntimeError: first second xxx")
    assert len(finding.detail) == 400
    (finding,) = guarded("group", "name", lambda: [][0])
    assert finding.detail == "IndexError: list index out of range"


class FakeGpu:
    name, total_memory, major, minor = "Fake GPU", 24 * 2**30, 8, 9


@pytest.mark.parametrize(
    ("driver", "built", "gpus", "states"),
    [
        (None, None, 0, {"driver": ABSENT, "cuda": ABSENT}),
        ("550.54", None, 0, {"driver": OK, "cuda": WARNING}),  # torch for CPUs on a machine with a GPU
        ("550.54", "12.8", 0, {"driver": OK, "cuda": WARNING}),
        ("550.54", "12.8", 2, {"driver": OK, "cuda:0": OK, "cuda:1": OK, "cudnn": OK, "triton": WARNING}),
    ],
)
def test_gpus_and_drivers(
    monkeypatch: pytest.MonkeyPatch, driver: str | None, built: str | None, gpus: int, states: dict[str, str]
) -> None:
    monkeypatch.setattr(machine, "driver_version", lambda: driver)
    monkeypatch.setattr(machine, "version_of", lambda name: None)
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: FakeGpu)
    monkeypatch.setattr("icnet_cli.inference.device.has_bf16", lambda gpu: gpu.index == 1)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91000)
    found = list(machine.gpu())
    assert {finding.name: finding.state for finding in found} == states
    if gpus:
        assert of(found, "cuda:0").detail == "Fake GPU, 24 GiB, compute 8.9, no bf16"
        assert of(found, "cuda:1").detail == "Fake GPU, 24 GiB, compute 8.9"
    elif driver:
        assert of(found, "cuda").cure


def test_the_driver_is_asked_for_and_else_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = types.SimpleNamespace(stdout="550.54.15\n550.54.15\n")
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: told)
    assert machine.driver_version() == "550.54.15"

    def absent(*_: Any, **__: Any) -> Any:
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(machine.subprocess, "run", absent)
    monkeypatch.setattr(machine, "_DRIVER", tmp_path / "version")
    assert machine.driver_version() is None
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19\n"
    )
    assert machine.driver_version() == "535.104.05"

    def hangs(*_: Any, **__: Any) -> Any:
        raise subprocess.TimeoutExpired("nvidia-smi", 20)

    monkeypatch.setattr(machine.subprocess, "run", hangs)
    assert machine.driver_version() == "535.104.05"


def test_codecs_are_tried() -> None:
    assert all(ability.works for ability in decoders())
    assert {"libx264", "ffv1"} <= {ability.name for ability in encoders() if ability.works}
    for ability in hardware_encoders() + hardware_decoders():
        assert ability.works != bool(ability.why)
        assert "\n" not in ability.why


def test_what_an_ffmpeg_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    from icnet_cli.video import abilities

    monkeypatch.setattr(
        abilities, "encoders", lambda: [Ability("libx264", True), Ability("libx265", False, "no")]
    )
    monkeypatch.setattr(abilities, "hardware_encoders", lambda: [Ability("h264_nvenc", False, "no")])
    monkeypatch.setattr(
        abilities, "hardware_decoders", lambda: [Ability("cuda", True), Ability("qsv", False, "no")]
    )
    encoding = of(video.codecs(), "encoders")
    assert (encoding.state, encoding.detail) == (WARNING, "libx264; not libx265")
    found = list(video.hardware())
    assert (of(found, "hardware encoders").state, of(found, "hardware decoders").state) == (ABSENT, OK)
    assert of(found, "hardware decoders").detail == "cuda; not qsv"


def test_backends_that_are_not_installed_say_how(monkeypatch: pytest.MonkeyPatch) -> None:
    from icnet_cli.inference.backends import base, runtimes

    monkeypatch.setattr(base.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(runtimes.shutil, "which", lambda name: None)
    found = list(parity.backends())
    assert {finding.name: finding.state for finding in found} == {
        "torch": OK,
        "compile": ABSENT,
        "onnx": ABSENT,
        "openvino": ABSENT,
    }
    assert "pip install 'icnet[onnx]'" in of(found, "onnx").detail
    monkeypatch.setattr(processor, "_features", lambda: "flags : avx2")
    assert not [way for way in parity.ways() if way.device == "cpu"]
    monkeypatch.setattr(processor, "_features", lambda: "flags : amx_bf16")
    assert [way for way in parity.ways() if way.device == "cpu"] == [Way("torch", "cpu", "bf16")]


def test_weights_that_were_changed_are_bad(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from icnet_cli.checkpoints import bundled

    changed = tmp_path / "net.safetensors"
    changed.write_bytes(b"other")
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  net.safetensors\n")
    monkeypatch.setattr(bundled, "bundled_weights", lambda: {"net": changed})
    assert of(machine.weights(), "net").state == BAD
    monkeypatch.setattr(bundled, "bundled_weights", dict)
    assert of(machine.weights(), "bundled").state == BAD


def test_the_cache_folder_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ICNET_CACHE_DIR", str(tmp_path / "cache"))
    assert "not made yet" in of(machine.folders(), "cache").detail
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "a").write_bytes(np.zeros(2 << 20, np.uint8).tobytes())
    assert "1 files, 2 of 1024 MiB" in of(machine.folders(), "cache").detail
    monkeypatch.setattr(machine, "writable", lambda folder: False)
    cache = of(machine.folders(), "cache")
    assert cache.state == WARNING
    assert "ICNET_CACHE_DIR" in (cache.cure or "")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_agrees_with_the_cpu() -> None:
    _, report = run(DoctorConfig())
    assert not report.having(BAD)
    assert of(report.findings, "torch cuda fp32").state == OK

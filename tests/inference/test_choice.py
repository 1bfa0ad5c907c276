"""The backend that is taken: what was named, or what has the work done soonest."""

from __future__ import annotations

import pytest
import torch

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference import processor
from icnet_cli.inference.backends import runtimes
from icnet_cli.inference.choice import COSTS, UNKNOWN_FRAMES, Work, check_backend, device_for, fastest


class Installed:
    precision = "fp32"

    def __init__(self, words: str | None) -> None:
        self.words = words

    def missing(self) -> str | None:
        return self.words


@pytest.fixture(autouse=True)
def openvino_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in COSTS["fp32"]:
        words = None if name == "openvino" else f"{name} is not installed"
        monkeypatch.setitem(runtimes.RUNTIMES, name, Installed(words))  # type: ignore[arg-type]
    monkeypatch.setitem(runtimes.IN_BF16, "openvino", Installed(None))  # type: ignore[arg-type]
    has_bf16(monkeypatch, False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


def has_bf16(monkeypatch: pytest.MonkeyPatch, it_has: bool) -> None:
    monkeypatch.setattr(processor, "_features", lambda: "flags : amx_bf16" if it_has else "flags : avx2")


def chosen(
    frames: int | None, built: bool, size: tuple[int, int] | None = (512, 960), precision: str = "fp32"
) -> str:
    return fastest(Work(frames, size), lambda: 11.4, lambda name: built, precision)  # ICNet at 512x960


def test_a_long_video_is_worth_a_build() -> None:
    assert chosen(20_000, built=False) == "openvino"


def test_a_short_clip_is_not() -> None:
    assert chosen(100, built=False) == "torch"


def test_what_is_built_is_taken_sooner() -> None:
    assert chosen(400, built=True) == "openvino"
    assert chosen(400, built=False) == "torch"
    assert chosen(1, built=True) == "torch"


def test_a_source_of_unknown_length_counts_as_long() -> None:
    assert chosen(None, built=True) == chosen(UNKNOWN_FRAMES, built=True) == "openvino"


def test_pictures_of_many_sizes_are_torchs() -> None:
    assert chosen(20_000, built=True, size=None) == "torch"


def test_what_is_not_installed_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runtimes.RUNTIMES, "openvino", Installed("no"))  # type: ignore[arg-type]
    assert chosen(10**6, built=True) == "torch"


def test_in_bf16_it_is_openvino_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(10**6, built=True, precision="bf16") == "torch"
    has_bf16(monkeypatch, True)
    assert chosen(10**6, built=True, precision="bf16") == "openvino"
    assert chosen(100, built=False, precision="bf16") == "torch"
    assert chosen(10**6, built=True, precision="fp16") == "torch"
    monkeypatch.setitem(runtimes.IN_BF16, "openvino", Installed("no"))  # type: ignore[arg-type]
    assert chosen(10**6, built=True, precision="bf16") == "torch"


def test_bf16_by_name_needs_a_processor_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IcnetError, match="in fp32 on this CPU, not --precision bf16"):
        check_backend("openvino", "cpu", "bf16")
    has_bf16(monkeypatch, True)
    check_backend("openvino", "cpu", "bf16")
    with pytest.raises(IcnetError, match="in fp32 or bf16 on this CPU, not --precision fp16"):
        check_backend("openvino", "cpu", "fp16")
    with pytest.raises(IcnetError, match="in fp32 on this CPU, not --precision bf16"):
        check_backend("compile", "cpu", "bf16")


@pytest.mark.parametrize(
    ("backend", "device", "precision", "words"),
    [
        ("tensorrt", "cpu", "auto", "--backend must be"),
        ("openvino", "cuda", "auto", "runs on the CPU"),
        ("openvino", "auto", "bf16", "fp32"),
        ("onnx", "auto", "auto", "not installed"),
        ("compile", "cpu", "auto", "not installed"),
    ],
)
def test_what_cannot_be_had_is_refused(backend: str, device: str, precision: str, words: str) -> None:
    with pytest.raises(IcnetError, match=words) as caught:
        check_backend(backend, device, precision)
    assert caught.value.code == ExitCode.USAGE


def test_auto_and_torch_need_nothing() -> None:
    for backend in ("auto", "torch"):
        check_backend(backend, "cpu", "bf16")
    assert device_for("openvino", "auto") == "cpu"
    assert device_for("torch", "auto") == "auto"

"""A long run is told once of the way that takes less, and a short one is left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from icnet_cli.cli.tip import Tip
from icnet_cli.config import SegmentConfig
from icnet_cli.inference import device, processor
from icnet_cli.pipeline.lanes import FrameDone

CONFIG = SegmentConfig(source="drive.mp4", output=Path("out.mp4"))


@pytest.fixture(autouse=True)
def no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_features", lambda: "flags : avx2")


def said(
    capsys: pytest.CaptureFixture[str],
    config: SegmentConfig = CONFIG,
    progress: str | None = None,
    total: int | None = 4000,
    seconds: float | None = 1.0,
    slowest: str = "network",
    first: int = 0,
) -> str:
    """What is said over 100 frames of a second each, of which the first is number `first`."""
    times = iter(range(101))
    tip = Tip(config, progress, now=lambda: float(next(times)))
    for done in range(101):
        tip.consider(FrameDone(first + done, total, done, seconds, slowest))
    return capsys.readouterr().err


def test_a_long_run_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys)
    assert told.count("\n") == 1
    assert told.startswith("1:06:20 to go")  # 3,980 frames of a second
    assert "--reuse 3" in told


def test_what_was_done_before_a_resumed_run_is_not_its_pace(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, first=3380).startswith("10:00 to go")
    assert said(capsys, first=3381) == ""  # 599 s


def test_each_of_several_videos_has_a_pace_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    tip = Tip(CONFIG, None, now=lambda: now)
    for frames, frame_s in ((19, 1.0), (2000, 0.1)):
        for done in range(1, frames + 1):
            now += frame_s
            tip.consider(FrameDone(done, 3000, done, 1.0, "network"))
    assert capsys.readouterr().err == ""  # 280 s were left of the second when it was known


@pytest.mark.parametrize(
    ("total", "seconds", "slowest"),
    [
        (600, 1.0, "network"),  # soon over
        (None, 1.0, "network"),  # live
        (4000, None, "network"),  # pictures, between which nothing can be carried
        (4000, 1.0, "encode"),  # it would not help
    ],
)
def test_others_are_left_alone(
    capsys: pytest.CaptureFixture[str], total: int | None, seconds: float | None, slowest: str
) -> None:
    assert said(capsys, total=total, seconds=seconds, slowest=slowest) == ""


@pytest.mark.parametrize(
    "config",
    [
        replace(CONFIG, reuse="auto"),
        replace(CONFIG, realtime=True),
        replace(CONFIG, smooth=0.5),
        replace(CONFIG, weights="net.onnx"),
        replace(CONFIG, weights="NET.XML"),
        replace(CONFIG, batch="4"),
    ],
)
def test_who_has_chosen_is_left_alone(capsys: pytest.CaptureFixture[str], config: SegmentConfig) -> None:
    assert said(capsys, config) == ""


@pytest.mark.parametrize("progress", ["json", "none"])
def test_a_program_is_left_alone(capsys: pytest.CaptureFixture[str], progress: str) -> None:
    assert said(capsys, progress=progress) == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "--precision bf16"),
        ({"reuse": "auto"}, "--precision bf16"),  # both may be asked for
        ({"precision": "bf16"}, "--reuse 3"),
        ({"precision": "fp32"}, "--reuse 3"),  # its exact labels are wanted
        ({"backend": "onnx"}, "--reuse 3"),  # which has no bf16
        ({"reuse": "3", "precision": "bf16"}, ""),
    ],
)
def test_a_processor_with_bf16_is_told_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: dict[str, str], words: str
) -> None:
    monkeypatch.setattr(processor, "_features", lambda: "flags : amx_bf16")
    config = replace(CONFIG, device="cpu", **options)  # type: ignore[arg-type]
    told = said(capsys, config)
    assert (words in told) if words else not told
    assert told.count("\n") == bool(words)
    if config.precision == "auto" and config.backend == "auto":
        assert "--precision bf16" in said(capsys, config, seconds=None)  # pictures


def test_a_gpu_is_not_told_of_bf16(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "_features", lambda: "flags : amx_bf16")
    monkeypatch.setattr(device, "choose_device", lambda name: torch.device("cuda", 0))
    assert "--reuse 3" in said(capsys)

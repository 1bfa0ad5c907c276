"""Scores to labels on a device: interpolate + argmax on every pixel but ties, by torch and by the kernel."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from icnet_cli.inference import upsample
from icnet_cli.inference.upsample import ScoreUpsampler, upsample_torch
from icnet_cli.pixels.labels import labels_from_scores

CPU = torch.device("cpu")
SIDES = st.integers(1, 40)


def plain(scores: torch.Tensor, size: tuple[int, int], align_corners: bool) -> torch.Tensor:
    return F.interpolate(scores, size, mode="bilinear", align_corners=align_corners)


def agree(labels: torch.Tensor, full: torch.Tensor) -> bool:
    """Labels are the arg-max of the full-size scores, ties (to rounding) apart."""
    chosen = full.gather(1, labels.long()[:, None])[:, 0]
    return bool((full.amax(dim=1) - chosen).max() <= 1e-5)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.integers(1, 20), st.booleans(), st.integers(0, 2**31))
def test_labels_are_interpolate_and_argmax(
    h: int, w: int, height: int, width: int, classes: int, align_corners: bool, seed: int
) -> None:
    scores = noise(2, classes, h, w, seed=seed)
    labels = ScoreUpsampler((h, w), (height, width), CPU, align_corners, (height, width))(scores)
    assert labels.shape == (2, height, width)
    assert agree(labels, plain(scores, (height, width), align_corners))


def test_labels_of_the_wrong_corners_do_not_agree() -> None:
    """The twin of the one above."""
    scores = noise(1, 5, 6, 7)
    labels = ScoreUpsampler((6, 7), (40, 50), CPU, False, (40, 50))(scores)
    assert not agree(labels, plain(scores, (40, 50), True))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("network_size", [None, (64, 96)])
def test_labels_are_those_of_the_host(
    align_corners: bool, network_size: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several bands of rows, a network that saw another size, and channels last."""
    monkeypatch.setattr(upsample, "_BAND_ROWS", 16)
    scores = noise(2, 7, 16, 24).to(memory_format=torch.channels_last)
    found = ScoreUpsampler((16, 24), (90, 131), CPU, align_corners, network_size)(scores)
    for one, labels in zip(scores, found, strict=True):
        expected = labels_from_scores(one.permute(1, 2, 0).numpy(), (90, 131), align_corners, network_size)
        assert (labels.numpy() != expected).mean() < 1e-4


def test_of_equal_classes_the_first_is_taken() -> None:
    labels = ScoreUpsampler((4, 4), (9, 9), CPU)(torch.ones(1, 3, 4, 4))
    assert not labels.any()


def test_a_kernel_that_fails_is_replaced_with_a_line() -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no C compiler\nsecond line")

    upsampler = ScoreUpsampler((4, 4), (9, 9), CPU, kernel=broken)
    scores = noise(1, 3, 4, 4)
    assert torch.equal(upsampler(scores), ScoreUpsampler((4, 4), (9, 9), CPU)(scores))
    assert upsampler.note == "scores become labels in torch, not in a Triton kernel: no C compiler"


def test_torch_s_own_failure_is_not_hidden() -> None:
    with pytest.raises(IndexError):
        ScoreUpsampler((4, 4), (9, 9), CPU)(noise(1, 3, 2, 2))


_IN_THE_INTERPRETER = """
import torch
from icnet_cli.inference.upsample import ScoreUpsampler
from icnet_cli.inference.triton_labels import upsample_triton
from tests.inference.test_upsample import CPU, noise

for size, dtype, align in (((9, 13), torch.float32, False), ((3, 300), torch.float16, True)):
    for order in (torch.contiguous_format, torch.channels_last):
        scores = noise(2, 5, 4, 6).to(dtype, memory_format=order)
        pair = [ScoreUpsampler((4, 6), size, CPU, align, (8, 12), kernel)(scores) for kernel in (upsample_triton, None)]
        assert torch.equal(*pair), (size, dtype, order)
flat = torch.ones(1, 3, 4, 6)
assert not ScoreUpsampler((4, 6), (9, 9), CPU, kernel=upsample_triton)(flat).any()
print("equal")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
def test_the_kernel_in_triton_s_interpreter_equals_torch() -> None:
    """The kernel's own source, run by numpy; in a process of its own, as Triton reads the switch when it is loaded."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), *filter(None, sys.path)])
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", _IN_THE_INTERPRETER], cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == "equal", done.stderr[-2000:]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_the_kernel_on_a_gpu_equals_torch(
    dtype: torch.dtype, align_corners: bool, order: torch.memory_format
) -> None:
    pytest.importorskip("triton")
    device = torch.device("cuda")
    scores = noise(3, 19, 128, 256).to(device, dtype, memory_format=order)
    upsampler = ScoreUpsampler((128, 256), (1080, 1920), device, align_corners, (1024, 2048))
    labels = upsampler(scores)
    assert upsampler.note is None
    by_torch = ScoreUpsampler((128, 256), (1080, 1920), device, align_corners, (1024, 2048), upsample_torch)
    assert torch.equal(labels, by_torch(scores))
    on_cpu = ScoreUpsampler((128, 256), (1080, 1920), CPU, align_corners, (1024, 2048))(scores.cpu())
    assert np.mean(labels.cpu().numpy() != on_cpu.numpy()) < 1e-5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_full_size_scores_are_never_held() -> None:
    """Memory: far less than the 19 floats a pixel that interpolate would make."""
    device = torch.device("cuda")
    scores = noise(1, 19, 128, 256).to(device)
    upsampler = ScoreUpsampler((128, 256), (1024, 2048), device)
    upsampler(scores)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    upsampler(scores)
    assert torch.cuda.max_memory_allocated() - before < 8 << 20

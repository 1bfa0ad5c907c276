"""The flow for devices, on the processor: against motion that is known, and against OpenCV's on the same pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from icnet_cli.pixels import flow, flow_torch
from tests.pixels.test_flow import moved, texture


def both(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    twin = flow_torch.flow_between(torch.from_numpy(before), torch.from_numpy(after))
    return flow.flow_between(before, after), twin.numpy()


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (1, 0), (4, -3), (-7, 5), (12, 0)])
def test_both_find_the_motion_within_half_a_pixel(dx: int, dy: int) -> None:
    before = texture(0)
    for found in both(before, moved(before, dx, dy)):
        inner = found[24:-24, 24:-24] + np.array((dx, dy), np.float32)
        assert np.abs(np.median(inner, axis=(0, 1))).max() < 0.1
        assert (np.abs(inner).max(axis=2) < 0.5).mean() > 0.9


def test_the_error_is_the_same_within_a_grey_level() -> None:
    before = texture(1)
    after = moved(before, 3, 1)
    after[40:80, 60:100] = 255
    found = flow.flow_between(before, after)
    one = flow.photometric_error(before, after, found)
    other = flow_torch.photometric_error(
        torch.from_numpy(before), torch.from_numpy(after), torch.from_numpy(found)
    )
    # OpenCV looks up at 1/32 of a pixel.
    assert (np.abs(one - other.numpy()) < 1).mean() > 0.995


def test_maps_are_carried_alike() -> None:
    maps = np.random.default_rng(0).random((30, 40, 7)).astype(np.float32)
    found = np.random.default_rng(1).normal(0, 2, (60, 80, 2)).astype(np.float32)
    one = flow.warp(maps, found)
    other = flow_torch.warp(torch.from_numpy(maps).permute(2, 0, 1)[None], torch.from_numpy(found))
    assert np.abs(one - other[0].permute(1, 2, 0).numpy()).mean() < 0.02


def test_composed_and_resized_alike() -> None:
    rng = np.random.default_rng(2)
    smooth = [flow.resize_flow(rng.normal(0, 1, (6, 8, 2)).astype(np.float32), (40, 60)) for _ in range(2)]
    one, other = smooth
    twin = flow_torch.compose(torch.from_numpy(one), torch.from_numpy(other)).numpy()
    assert np.abs(flow.compose(one, other) - twin)[8:-8, 8:-8].max() < 0.1
    for size in ((40, 60), (80, 90), (20, 30)):
        resized = flow_torch.resize_flow(torch.from_numpy(one), size).numpy()
        assert np.abs(flow.resize_flow(one, size) - resized).max() < 0.02


def test_grey_pictures_are_the_hosts_within_a_level() -> None:
    rgb = np.random.default_rng(3).integers(0, 255, (96, 1200, 3), np.uint8)
    one = flow.reduced_grey(rgb).astype(int)
    other = flow_torch.reduced_grey(torch.from_numpy(rgb)).numpy().astype(int)
    assert one.shape == other.shape
    assert np.abs(one - other).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (31, 40), (33, 480)])
def test_any_size_gives_a_flow(size: tuple[int, int]) -> None:
    grey = torch.zeros(size, dtype=torch.uint8)
    assert flow_torch.flow_between(grey, grey).shape == (*size, 2)


def test_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        flow_torch.flow_between(
            torch.zeros(40, 40, dtype=torch.uint8), torch.zeros(40, 50, dtype=torch.uint8)
        )


@pytest.mark.parametrize("size", [(60, 90), (37, 24), (5, 3), (1, 1), (2, 200)])
def test_the_worst_patch_is_where_most_is_amiss_and_the_same_on_both(size: tuple[int, int]) -> None:
    amiss = np.random.default_rng(5).random(size) < 0.3
    amiss[: size[0] // 3, -(size[1] // 3 or 1) :] = True
    side = min(flow.patch_side(size), *size)
    windows = np.lib.stride_tricks.sliding_window_view(amiss, (side, side))
    expected = windows.mean(axis=(2, 3)).max()
    assert flow.worst_patch(amiss) == pytest.approx(expected, abs=1e-4)
    assert float(flow_torch.worst_patch(torch.from_numpy(amiss))) == pytest.approx(expected, abs=1e-4)

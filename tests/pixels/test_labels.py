"""Scores to labels: equal to interpolate + argmax on every pixel but exact ties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from icnet_cli.pixels.labels import (
    LabelUpsampler,
    labels_from_scores,
    labels_from_scores_torch,
    source_positions,
)

IMPLEMENTATIONS = {
    "numpy": lambda scores, *how: labels_from_scores(scores, *how),
    "torch": lambda scores, *how: labels_from_scores_torch(
        torch.from_numpy(scores).permute(2, 0, 1)[None], *how
    )[0].numpy(),
}


def make_scores(height: int, width: int, num_classes: int, smooth: bool, seed: int) -> np.ndarray:
    """Noise (every cell a border), or regions with borders between them, as a network gives."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(height, width, num_classes)).astype(np.float32)
    if smooth:
        coarse = rng.normal(size=(1, num_classes, 3, 3)).astype(np.float32)
        regions = F.interpolate(torch.from_numpy(coarse), (height, width), mode="bilinear")
        scores = 0.05 * scores + 8 * regions[0].permute(1, 2, 0).numpy()
    return scores.astype(np.float32)


def full_size_scores(scores: np.ndarray, size: tuple[int, int], align_corners: bool) -> np.ndarray:
    """(h, w, K) -> (H, W, K) by torch, in double precision: the reference."""
    batch = torch.from_numpy(scores).double().permute(2, 0, 1)[None]
    full = F.interpolate(batch, size, mode="bilinear", align_corners=align_corners)
    return full[0].permute(1, 2, 0).numpy()


def assert_equal_but_ties(labels: np.ndarray, reference: np.ndarray) -> None:
    """`labels` (H, W) picks the maximum of `reference` (H, W, K); only a tie within rounding may differ."""
    assert labels.dtype == np.uint8
    assert labels.shape == reference.shape[:2]
    chosen = np.take_along_axis(reference, labels[..., None].astype(int), axis=2)[..., 0]
    # A float32 position on an axis of n scores carries about n * 2**-23 of error, whatever computes it.
    slack = 1e-6 * max(reference.shape) * max(1.0, np.abs(reference).max())
    assert (reference.max(axis=2) - chosen <= slack).all()


side = st.integers(1, 9)
full_side = st.integers(1, 61)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@settings(max_examples=80, deadline=None)
@given(
    score_size=st.tuples(side, side),
    size=st.tuples(full_side, full_side),
    num_classes=st.integers(1, 19),
    align_corners=st.booleans(),
    smooth=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_labels_equal_interpolate_and_argmax(
    implementation: str,
    score_size: tuple[int, int],
    size: tuple[int, int],
    num_classes: int,
    align_corners: bool,
    smooth: bool,
    seed: int,
) -> None:
    scores = make_scores(*score_size, num_classes, smooth, seed)
    labels = IMPLEMENTATIONS[implementation](scores, size, align_corners)
    assert_equal_but_ties(labels, full_size_scores(scores, size, align_corners))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("align_corners", [False, True])
def test_a_road_sized_map_has_hardly_a_pixel_that_differs(implementation: str, align_corners: bool) -> None:
    scores = make_scores(40, 64, 11, True, 1)
    labels = IMPLEMENTATIONS[implementation](scores, (320, 512), align_corners)
    reference = full_size_scores(scores, (320, 512), align_corners).argmax(axis=2)
    assert len(np.unique(reference)) > 3
    assert (labels != reference).mean() < 1e-4


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_exact_ties_go_to_the_smaller_class(implementation: str) -> None:
    scores = np.zeros((3, 3, 5), np.float32)
    assert (IMPLEMENTATIONS[implementation](scores, (12, 12), False) == 0).all()
    scores[:, :, 2:4] = 1
    assert (IMPLEMENTATIONS[implementation](scores, (12, 12), False) == 2).all()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_class_that_wins_only_inside_a_cell_is_found(implementation: str) -> None:
    """Second everywhere at the corners, first in the middle: skipping by corners alone would lose it."""
    scores = np.zeros((1, 2, 3), np.float32)
    scores[0, 0], scores[0, 1] = (10, 0, 8), (0, 10, 8)
    labels = IMPLEMENTATIONS[implementation](scores, (1, 16), False)
    assert set(np.unique(labels)) == {0, 1, 2}
    assert_equal_but_ties(labels, full_size_scores(scores, (1, 16), False))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("align_corners", [False, True])
def test_one_step_follows_the_geometry_of_two(implementation: str, align_corners: bool) -> None:
    """A ramp of scores is interpolated without loss, so one step and two must put its border alike."""
    n_scores, n_network, n_out = 9, 65, 200
    scores = np.zeros((2, n_scores, 2), np.float32)
    scores[..., 1] = np.linspace(-1, 1, n_scores)
    direct = IMPLEMENTATIONS[implementation](scores, (2, n_out), align_corners, (2, n_network))
    first = full_size_scores(scores, (2, n_network), align_corners).astype(np.float32)
    twice = full_size_scores(first, (2, n_out), False).argmax(axis=2)
    assert np.abs(direct.astype(int) - twice).sum() <= 2  # the two pixels at the tie itself


def test_positions_differ_between_the_two_conventions() -> None:
    assert source_positions(4, 8, False)[0] == -0.25
    assert source_positions(4, 8, True)[0] == 0
    assert source_positions(4, 8, True)[-1] == 3


def test_half_precision_scores_are_taken() -> None:
    scores = make_scores(6, 7, 5, True, 3).astype(np.float16)
    expected = labels_from_scores(scores.astype(np.float32), (48, 56))
    np.testing.assert_array_equal(labels_from_scores(scores, (48, 56)), expected)


def test_one_upsampler_serves_many_maps() -> None:
    upsampler = LabelUpsampler((6, 7), (48, 56))
    for seed in range(3):
        scores = make_scores(6, 7, 5, True, seed)
        np.testing.assert_array_equal(upsampler(scores), labels_from_scores(scores, (48, 56)))


@pytest.mark.parametrize("shape", [(5, 7, 4), (6, 7), (6, 7, 257), (6, 7, 0)])
def test_scores_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected scores"):
        LabelUpsampler((6, 7), (48, 56))(np.zeros(shape, np.float32))


def test_empty_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1x1"):
        LabelUpsampler((6, 7), (0, 56))

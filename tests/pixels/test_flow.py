"""Flow between two pictures whose motion is known, and what is carried along it."""

from __future__ import annotations

import numpy as np
import pytest

from icnet_cli.pixels.cv import cv2
from icnet_cli.pixels.flow import (
    UNEXPLAINED,
    compose,
    flow_between,
    is_cut,
    leaves_picture,
    photometric_error,
    reduced_grey,
    reduced_size,
    resize_flow,
    warp,
)


def texture(seed: int, height: int = 160, width: int = 200) -> np.ndarray:
    """A smooth random grey picture: something at every scale for the flow to hold on to."""
    noise = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    layers = sum(cv2.GaussianBlur(noise, (0, 0), s) * s for s in (1.5, 4, 10))
    return cv2.normalize(layers, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def moved(picture: np.ndarray, dx: int, dy: int) -> np.ndarray:
    return np.roll(picture, (dy, dx), axis=(0, 1))


def test_flow_tells_where_each_pixel_was() -> None:
    before = texture(0)
    flow = flow_between(before, moved(before, 4, -3))
    inner = flow[20:-20, 20:-20]
    assert flow.dtype == np.float32
    assert flow.shape == (160, 200, 2)
    assert np.abs(np.median(inner, axis=(0, 1)) - (-4, 3)).max() < 0.3


def test_the_same_pictures_give_the_same_flow() -> None:
    before, after = texture(0), moved(texture(0), 5, 2)
    assert np.array_equal(flow_between(before, after), flow_between(before, after))


def test_carried_along_the_flow_is_nearer_than_copied() -> None:
    before = texture(1)
    after = moved(before, 6, 4)
    carried = warp(before, flow_between(before, after))
    error = np.abs(carried.astype(int) - after)[20:-20, 20:-20].mean()
    assert error < 0.2 * np.abs(before.astype(int) - after)[20:-20, 20:-20].mean()


def test_labels_are_carried_without_inventing_classes() -> None:
    labels = np.random.default_rng(2).choice(np.array([0, 7, 200], np.uint8), (60, 80))
    flow = np.random.default_rng(3).normal(0, 3, (60, 80, 2)).astype(np.float32)
    assert set(np.unique(warp(labels, flow, nearest=True))) <= {0, 7, 200}


def test_many_channels_are_carried_as_each_alone() -> None:
    scores = np.random.default_rng(4).random((40, 50, 11)).astype(np.float32)
    flow = np.full((40, 50, 2), 1.5, np.float32)
    carried = warp(scores, flow)
    assert carried.shape == scores.shape
    for c in range(11):
        np.testing.assert_array_equal(carried[..., c], warp(scores[..., c], flow))


def test_whole_steps_carry_exactly_and_the_border_repeats() -> None:
    picture = texture(5, 40, 40)
    carried = warp(picture, np.full((40, 40, 2), (3, 0), np.float32))
    assert np.array_equal(carried[:, :-3], picture[:, 3:])
    assert (carried[:, -1] == picture[:, -1]).all()


def test_two_steps_make_one() -> None:
    one, two = np.full((30, 30, 2), (2, 0), np.float32), np.full((30, 30, 2), (1, -1), np.float32)
    assert np.allclose(compose(one, two), (3, -1))


def test_flow_on_another_grid_has_its_vectors_scaled() -> None:
    flow = np.full((20, 30, 2), (1.0, 2.0), np.float32)
    assert np.allclose(resize_flow(flow, (40, 90)), (3.0, 4.0))
    assert np.allclose(resize_flow(flow, (10, 15)), (0.5, 1.0))


def test_what_was_out_of_the_picture_is_not_explained() -> None:
    flow = np.zeros((20, 20, 2), np.float32)
    flow[:, :3] = (-5, 0)
    out = leaves_picture(flow)
    assert out[:, :3].all()
    assert not out[:, 3:].any()
    grey = texture(6, 20, 20)
    assert (photometric_error(grey, grey, flow)[:, :3] == 255).all()


def test_the_error_is_small_where_flow_explains_and_large_where_something_appeared() -> None:
    before = texture(7)
    after = moved(before, 3, 0)
    after[60:100, 80:120] = np.indices((40, 40)).sum(0) // 4 % 2 * 255  # a chequered thing that was not there
    error = photometric_error(before, after, flow_between(before, after))
    assert (error[20:-20, 130:-20] > UNEXPLAINED).mean() < 0.01
    assert (error[70:90, 90:110] > UNEXPLAINED).mean() > 0.8


def test_a_cut_is_told_from_motion() -> None:
    before, other = texture(8), texture(9)
    after = moved(before, 7, 3)
    assert not is_cut(photometric_error(before, after, flow_between(before, after)))
    assert is_cut(photometric_error(before, other, flow_between(before, other)))


def test_pictures_are_reduced_and_small_ones_are_not() -> None:
    assert reduced_size((540, 960)) == (270, 480)
    assert reduced_size((90, 120)) == (90, 120)
    assert reduced_grey(np.zeros((540, 960, 3), np.uint8)).shape == (270, 480)
    assert flow_between(np.zeros((540, 960, 3), np.uint8), np.zeros((540, 960, 3), np.uint8)).shape == (
        270,
        480,
        2,
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (31, 31), (32, 32), (33, 480)])
def test_any_size_gives_a_flow(size: tuple[int, int]) -> None:
    grey = np.random.default_rng(0).integers(0, 255, size, np.uint8)
    flow = flow_between(grey, grey)
    assert flow.shape == (*size, 2)
    assert np.isfinite(flow).all()
    assert photometric_error(grey, grey, flow).shape == size


def test_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        flow_between(np.zeros((40, 40), np.uint8), np.zeros((40, 50), np.uint8))

"""Flicker and agreement, on pictures whose motion and labels are made here."""

from __future__ import annotations

import math

import numpy as np
import pytest

from icnet_cli.evaluation.temporal import Agreement, Flicker, Step, changed_labels
from icnet_cli.pixels.cv import cv2

SIZE = (120, 160)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A textured picture (H, W, 3), and labels of three upright bands."""
    noise = np.random.default_rng(seed).random(SIZE).astype(np.float32)
    layers = sum(cv2.GaussianBlur(noise, (0, 0), s) * s for s in (1.5, 4, 10))
    grey = cv2.normalize(layers, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    labels = np.repeat(np.array([[0, 1, 2, 1]], np.uint8), SIZE[0], 0).repeat(SIZE[1] // 4, 1)
    return np.repeat(grey[..., None], 3, 2), labels


def drive(seed: int, frames: int, step: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
    """The scene passing by to the right, its labels with it."""
    rgb, labels = scene(seed)
    return [(np.roll(rgb, i * step, axis=1), np.roll(labels, i * step, axis=1)) for i in range(frames)]


def flicker_of(frames: list[tuple[np.ndarray, np.ndarray]]) -> Flicker:
    flicker = Flicker()
    for rgb, labels in frames:
        flicker.add(rgb, labels)
    return flicker


def test_labels_that_move_with_the_picture_do_not_flicker() -> None:
    flicker = flicker_of(drive(0, 5))
    assert flicker.share < 0.005
    assert flicker.agreement < 0.95  # though without flow every border looks like change


def test_labels_that_change_under_a_still_picture_do() -> None:
    rgb, labels = scene(1)
    wrong = labels.copy()
    wrong[20:60, 50:70] = 2
    flicker = flicker_of([(rgb, labels), (rgb, wrong), (rgb, labels)])
    expected = 40 * 20 / labels.size
    assert flicker.share == pytest.approx(expected, rel=0.2)
    assert flicker.agreement == pytest.approx(1 - expected)  # without flow: each pixel of both steps
    shares = flicker.per_class(["a", "b", "c", "d"])
    assert shares["a"] == 0
    assert shares["d"] is None
    assert shares["c"] is not None
    assert shares["b"] is not None
    assert shares["b"] == flicker.changed[1] / flicker.pixels[1] == pytest.approx(expected, rel=0.3)
    assert 0.02 < shares["c"] < 0.1


def test_a_border_one_pixel_off_is_not_flicker_and_three_are() -> None:
    rgb, labels = scene(2)

    def shifted(by: int) -> list[tuple[np.ndarray, np.ndarray]]:
        # Without the columns that np.roll wraps around.
        return [(rgb[:, 8:-8], each[:, 8:-8]) for each in (labels, np.roll(labels, by, axis=1))]

    assert flicker_of(shifted(1)).share == 0
    assert flicker_of(shifted(3)).share > 0.03


@pytest.mark.parametrize(
    ("off", "is_change"), [((0, 0), False), ((1, -1), False), ((2, 0), True), ((0, -2), True)]
)
def test_a_class_is_looked_for_around_the_place_that_it_came_from(
    off: tuple[int, int], is_change: bool
) -> None:
    previous, current = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
    current[9, 12] = 1
    previous[9 - 3 + off[1], 12 + 5 + off[0]] = 1
    step = Step(np.full((20, 30, 2), (5, -3), np.float32), np.ones((20, 30), bool))
    changed = changed_labels(previous, current, step)
    # Where the pixel was, every pixel around it is of the class of the place that it left.
    assert np.argwhere(changed).tolist() == ([[9, 12]] if is_change else [])


def test_beyond_the_picture_there_is_no_class() -> None:
    """What came from outside is of the edge's class: the neighbourhood ends there and does not wrap around."""
    previous, current = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
    previous[:, 0] = previous[0] = 1
    current[19, 29] = 1
    step = Step(np.zeros((20, 30, 2), np.float32), np.ones((20, 30), bool))
    assert changed_labels(previous, current, step)[19, 29]


def test_across_a_cut_nothing_is_counted() -> None:
    (one, labels), (other, _) = scene(3), scene(4)
    flicker = Flicker()
    assert flicker.add(one, labels) is None
    assert flicker.add(other, 2 - labels) is None
    assert flicker.cuts == 1
    assert math.isnan(flicker.share)


def test_another_size_begins_anew() -> None:
    rgb, labels = scene(5)
    flicker = Flicker()
    flicker.add(rgb, labels)
    assert flicker.add(rgb[:80], labels[:80]) is None
    assert flicker.frames == 2


def test_the_labels_given_may_be_overwritten_afterwards() -> None:
    rgb, labels = scene(6)
    flicker, reused = Flicker(), labels.copy()
    flicker.add(rgb, reused)
    reused[:] = 9
    assert flicker.add(rgb, labels) == 0
    shown = flicker.add(rgb, 2 - labels)
    assert shown == flicker.changed.sum() / (flicker.pixels.sum() / 2)
    assert shown == pytest.approx(0.5, abs=0.05)  # the bands of class 1 stay


def test_agreement_is_the_share_of_equal_pixels() -> None:
    agreement = Agreement()
    one = np.zeros((10, 10), np.uint8)
    other = one.copy()
    other[:2] = 1
    assert agreement.add(one, other) == pytest.approx(0.8)
    assert agreement.add(one, one) == 1
    assert agreement.share == pytest.approx(0.9)
    assert math.isnan(Agreement().share)
    with pytest.raises(ValueError, match="compared"):
        agreement.add(one, one[:5])

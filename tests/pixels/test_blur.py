"""Hiding classes: nothing of them is left, everything else is as it was, on RGB and on planes alike."""

from __future__ import annotations

import numpy as np
import pytest

from icnet_cli.pixels.blur import Blur
from icnet_cli.pixels.legend import Legend
from icnet_cli.pixels.overlay import Painter
from icnet_cli.pixels.yuv import Planes, YuvColour

from .test_overlay import PALETTE, joined, split

COLOUR = YuvColour()
MARGIN = 2  # of pictures this small


def scene(height: int = 120, width: int = 160) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A noisy picture, labels with a box of class 2 in it, and where that box is."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (height, width, 3), np.uint8)
    inside = np.zeros((height, width), bool)
    inside[30:80, 41:99] = True
    return picture, np.where(inside, 2, 0).astype(np.uint8), inside


def detail(picture: np.ndarray, where: np.ndarray) -> float:
    """The mean difference between neighbours: what makes a face a face."""
    steps = np.abs(np.diff(picture.astype(int), axis=1))
    return float(steps[where[:, 1:] & where[:, :-1]].mean())


def test_a_class_is_hidden_and_nothing_else() -> None:
    picture, labels, inside = scene()
    before = picture.copy()
    shown = Blur([2]).rgb(picture, labels)
    assert detail(shown, inside) < 0.1 * detail(picture, inside)
    near = np.zeros_like(inside)
    near[30 - MARGIN : 80 + MARGIN, 41 - MARGIN : 99 + MARGIN] = True
    np.testing.assert_array_equal(shown[~near], picture[~near])
    assert detail(Blur([1]).rgb(picture, labels), inside) == detail(picture, inside)  # another class is not
    np.testing.assert_array_equal(picture, before)


def test_two_pictures_that_differ_in_a_detail_are_hidden_alike() -> None:
    """A bright spot of a few pixels, a plate's letter, moves what is left by less than one can tell."""
    picture = np.full((240, 320, 3), 90, np.uint8)
    spotted = picture.copy()
    spotted[100:103, 150:153] = 200
    labels = np.zeros((240, 320), np.uint8)
    difference = Blur([0]).rgb(spotted, labels).astype(int) - Blur([0]).rgb(picture, labels)
    assert np.abs(difference).max() <= 10
    assert np.abs(spotted.astype(int) - picture).max() == 110


@pytest.mark.parametrize("steps", [(1, 1), (1, 2), (2, 2)])
def test_planes_hide_what_rgb_hides(steps: tuple[int, int]) -> None:
    picture, labels, inside = scene()
    planes = split(picture, COLOUR, steps)
    for plane in planes:
        plane.flags.writeable = False  # as a decoder's are
    shown = Blur([2]).planes(planes, labels)
    assert detail(shown.y[..., None], inside) < 0.1 * detail(planes.y[..., None], inside)
    rows, columns = steps
    covered = np.zeros(planes.u.shape, bool)
    np.logical_or.at(covered, tuple(np.argwhere(inside).T // np.array([[rows], [columns]])), True)
    for before, after in zip(planes[1:], shown[1:], strict=True):
        assert detail(after[..., None], covered) < 0.15 * detail(before[..., None], covered)
        assert (after == before).mean() > 0.4


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (15, 21)])
def test_tiny_and_odd_pictures(size: tuple[int, int]) -> None:
    picture, labels = np.full((*size, 3), 7, np.uint8), np.zeros(size, np.uint8)
    assert (Blur([0]).rgb(picture, labels) == 7).all()
    half = (-(-size[0] // 2), -(-size[1] // 2))
    planes = Planes(picture[..., 0], np.full(half, 9, np.uint8), np.full(half, 9, np.uint8))
    assert [p.shape for p in Blur([0]).planes(planes, labels)] == [p.shape for p in planes]


def test_without_the_class_nothing_is_copied() -> None:
    picture, labels, _ = scene()
    assert Blur([1]).rgb(picture, labels) is picture


def test_the_painter_hides_before_it_paints() -> None:
    picture, labels, inside = scene()
    planes = split(picture, COLOUR, (1, 1))
    for view, alpha in (("overlay", 0.2), ("side-by-side", 0.5)):
        painter = Painter(PALETTE, view, alpha, blur=Blur([2]))
        shown, on_planes = painter.paint_rgb(picture, labels), painter.paint_planes(planes, labels, COLOUR)
        assert detail(shown[:, :160], inside) < 0.1 * detail(picture, inside)
        assert detail(joined(on_planes, COLOUR)[:, :160], inside) < 0.15 * detail(picture, inside)
        plain = Painter(PALETTE, view, alpha).paint_rgb(picture, labels)
        assert detail(plain[:, :160], inside) > 0.5 * detail(picture, inside)


@pytest.mark.parametrize("view", ["overlay", "color"])
def test_only_some_classes_are_shown(view: str) -> None:
    picture, labels, inside = scene()
    planes = split(picture, COLOUR, (1, 1))
    painter = Painter(PALETTE, view, 0.5, only=[2])
    whole = Painter(PALETTE, view, 0.5)
    expected = picture if view == "overlay" else np.zeros_like(picture)
    shown = painter.paint_rgb(picture, labels)
    np.testing.assert_array_equal(shown[~inside], expected[~inside])
    np.testing.assert_array_equal(shown[inside], whole.paint_rgb(picture, labels)[inside])
    assert (whole.paint_rgb(picture, labels)[~inside] != expected[~inside]).any()
    on_planes = painter.paint_planes(planes, labels, COLOUR)
    black = COLOUR.from_rgb(np.zeros(3))
    for index, (plane, before) in enumerate(zip(on_planes, planes, strict=True)):
        np.testing.assert_array_equal(plane[~inside], before[~inside] if view == "overlay" else black[index])


def test_a_legend_of_one_class_is_smaller() -> None:
    names = ("road", "sky", "person")
    assert (
        Legend(names[2:], PALETTE[2:], (240, 320)).panel.shape
        < Legend(names, PALETTE, (240, 320)).panel.shape
    )

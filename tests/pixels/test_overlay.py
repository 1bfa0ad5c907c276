"""Painting on RGB pictures and on Y, U, V planes: the two agree, and leave alone what they should."""

from __future__ import annotations

import numpy as np
import pytest

from icnet_cli.pixels.cv import cv2
from icnet_cli.pixels.legend import Legend
from icnet_cli.pixels.overlay import VIEWS, Painter
from icnet_cli.pixels.yuv import Planes, YuvColour, subsampling

PALETTE = np.array([[128, 64, 128], [70, 130, 180], [220, 20, 60]], np.uint8)
NAMES = ("road", "sky", "person")


def split(rgb: np.ndarray, colour: YuvColour, steps: tuple[int, int]) -> Planes:
    yuv = colour.from_rgb(rgb)
    rows, columns = steps
    return Planes(yuv[..., 0].copy(), yuv[::rows, ::columns, 1].copy(), yuv[::rows, ::columns, 2].copy())


def joined(planes: Planes, colour: YuvColour) -> np.ndarray:
    height, width = planes.y.shape
    rows, columns = subsampling(planes)
    chroma = [p.repeat(rows, 0).repeat(columns, 1)[:height, :width] for p in planes[1:]]
    return colour.to_rgb(np.stack([planes.y, *chroma], axis=-1))


def blocks(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A flat picture and labels in 4x4 blocks, so that chroma subsampling loses nothing."""
    picture = np.full((height, width, 3), (90, 160, 40), np.uint8)
    labels = (np.add.outer(np.arange(height) // 4, np.arange(width) // 4) % 3).astype(np.uint8)
    return picture, labels


@pytest.mark.parametrize("matrix", ["smpte170m", "bt709", "bt2020nc"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("steps", [(1, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("view", VIEWS)
def test_planes_and_rgb_show_the_same(
    matrix: str, full_range: bool, steps: tuple[int, int], view: str
) -> None:
    colour = YuvColour(matrix, full_range)
    picture, labels = blocks(16, 20)
    painter = Painter(PALETTE, view, 0.4)
    on_planes = painter.paint_planes(split(picture, colour, steps), labels, colour)
    on_rgb = painter.paint_rgb(picture, labels)
    assert on_rgb.shape == (*painter.output_size((16, 20)), 3)
    assert on_planes.y.shape == painter.output_size((16, 20))
    assert np.abs(joined(on_planes, colour).astype(int) - on_rgb).max() <= 4


@pytest.mark.parametrize("size", [(1, 1), (15, 21), (2, 7), (8, 1), (1, 8)])
@pytest.mark.parametrize("view", VIEWS)
def test_odd_sizes_keep_valid_planes(size: tuple[int, int], view: str) -> None:
    colour = YuvColour()
    picture, labels = blocks(*size)
    planes = split(picture, colour, (2, 2))
    assert planes.u.shape == (-(-size[0] // 2), -(-size[1] // 2))
    painted = Painter(PALETTE, view).paint_planes(planes, labels, colour)
    assert painted.y.shape == Painter(PALETTE, view).output_size(size)
    assert subsampling(painted) == (2, 2)  # raises where the planes do not fit one another
    height, width = painted.y.shape
    assert painted.u.shape == (-(-height // 2), -(-width // 2))


@pytest.mark.parametrize(("matrix", "white", "red"), [("bt709", 235, 63), ("smpte170m", 235, 81)])
def test_the_colours_follow_the_published_matrices(matrix: str, white: int, red: int) -> None:
    """Studio-range luma of white and of pure red, as the standards give them."""
    yuv = YuvColour(matrix).from_rgb(np.array([[255, 255, 255], [255, 0, 0], [0, 0, 0]]))
    assert yuv[:, 0].tolist() == [white, red, 16]
    assert yuv[0, 1:].tolist() == [128, 128]
    assert YuvColour(matrix, full_range=True).from_rgb(np.array([255, 255, 255])).tolist() == [255, 128, 128]


def test_rgb_survives_the_way_there_and_back() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (500, 3))
    for full_range in (False, True):
        colour = YuvColour("bt709", full_range)
        assert np.abs(colour.to_rgb(colour.from_rgb(rgb)).astype(int) - rgb).max() <= 3


def test_alpha_zero_leaves_the_picture_and_one_hides_it() -> None:
    picture, labels = blocks(8, 8)
    np.testing.assert_array_equal(Painter(PALETTE, alpha=0).paint_rgb(picture, labels), picture)
    np.testing.assert_array_equal(Painter(PALETTE, alpha=1).paint_rgb(picture, labels), PALETTE[labels])
    planes = split(picture, YuvColour(), (2, 2))
    painted = Painter(PALETTE, alpha=0).paint_planes(planes, labels, YuvColour())
    for before, after in zip(planes, painted, strict=True):
        np.testing.assert_array_equal(before, after)


def test_side_by_side_keeps_the_picture_on_the_left() -> None:
    picture, labels = blocks(8, 8)
    both = Painter(PALETTE, "side-by-side").paint_rgb(picture, labels)
    np.testing.assert_array_equal(both[:, :8], picture)
    np.testing.assert_array_equal(both[:, 8:], PALETTE[labels])


def test_the_picture_given_is_never_written_to() -> None:
    picture, labels = blocks(64, 96)
    planes = split(picture, YuvColour(), (2, 2))
    for array in (picture, labels, *planes):
        array.setflags(write=False)
    for view in VIEWS:
        painter = Painter(PALETTE, view, legend=Legend(NAMES, PALETTE, (64, 96)))
        painter.paint_rgb(picture, labels)
        painter.paint_planes(planes, labels, YuvColour())


def test_a_label_without_a_colour_is_black() -> None:
    painted = Painter(PALETTE, "color").paint_rgb(np.zeros((1, 1, 3), np.uint8), np.uint8([[255]]))
    assert painted.tolist() == [[[0, 0, 0]]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Painter(PALETTE, "rainbow"), "unknown view"),
        (lambda: Painter(PALETTE, alpha=1.5), "alpha"),
        (lambda: Painter(PALETTE[:, :2]), "palette"),
        (lambda: YuvColour("bt42"), "unknown matrix"),
        (
            lambda: Painter(PALETTE).paint_rgb(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8)),
            "do not fit",
        ),
        (
            lambda: subsampling(Planes(*(np.zeros(s, np.uint8) for s in ((8, 8), (3, 4), (3, 4))))),
            "no picture",
        ),
    ],
)
def test_what_cannot_be_painted_is_refused(call: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()  # type: ignore[operator]


@pytest.mark.parametrize("size", [(120, 160), (360, 480), (1080, 1920)])
def test_the_legend_shows_each_colour_and_no_other(size: tuple[int, int]) -> None:
    panel = Legend(NAMES, PALETTE, size).panel
    colours = {tuple(c) for c in panel.reshape(-1, 3).tolist()}
    assert {tuple(c) for c in PALETTE.tolist()} <= colours
    assert (90, 160, 40) not in colours
    assert panel.shape[0] <= size[0]
    assert panel.shape[1] <= size[1]


def test_the_legend_is_drawn_alike_on_planes_and_rgb() -> None:
    picture, labels = blocks(120, 160)
    painter = Painter(PALETTE, legend=Legend(NAMES, PALETTE, (120, 160)))
    colour = YuvColour("bt709", True)
    on_planes = joined(painter.paint_planes(split(picture, colour, (1, 1)), labels, colour), colour)
    assert np.abs(on_planes.astype(int) - painter.paint_rgb(picture, labels)).max() <= 4


def test_more_classes_than_fit_are_counted_and_tiny_pictures_have_no_legend() -> None:
    names = [f"class {i}" for i in range(200)]
    palette = np.random.default_rng(0).integers(0, 256, (200, 3)).astype(np.uint8)
    panel = Legend(names, palette, (240, 320)).panel
    assert panel.shape[0] <= 240
    assert 0 < panel.shape[1] <= 320
    assert Legend(names, palette, (12, 12)).panel.size == 0
    picture, labels = blocks(12, 12)
    plain = Painter(PALETTE).paint_rgb(picture, labels)
    small = Painter(PALETTE, legend=Legend(NAMES, PALETTE, (12, 12))).paint_rgb(picture, labels)
    np.testing.assert_array_equal(plain, small)


def test_opencv_works_alone() -> None:
    """Its own threads would only compete with decode, network and encode."""
    assert cv2.getNumThreads() == 1

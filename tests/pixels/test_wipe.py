from __future__ import annotations

import numpy as np
import pytest

from icnet_cli.pixels.overlay import Painter
from icnet_cli.pixels.wipe import PERIOD_S, Wipe, border

PALETTE = np.array([(200, 0, 0), (0, 0, 200)], np.uint8)


def test_the_border_swings_and_comes_back() -> None:
    assert border(0, 100) == 50
    assert border(PERIOD_S / 4, 100) == 90
    assert border(3 * PERIOD_S / 4, 100) == 10
    assert border(PERIOD_S, 100) == 50
    assert all(0 <= border(t / 7, width) < max(2, width) for t in range(60) for width in (1, 2, 3, 640))


def test_left_is_the_first_and_right_the_second() -> None:
    picture = np.zeros((60, 200, 3), np.uint8)
    left, right = np.zeros((60, 200), np.uint8), np.ones((60, 200), np.uint8)
    shown = Wipe(Painter(PALETTE, "color"), ("", ""), (60, 200)).paint(picture, left, right, PERIOD_S / 4)
    assert (shown[:, :170] == PALETTE[0]).all()
    assert (shown[:, 190:] == PALETTE[1]).all()
    assert (shown[:, 180] == 255).all()


def test_both_names_are_drawn_in_their_corners() -> None:
    picture = np.zeros((200, 640, 3), np.uint8)
    labels = np.zeros((200, 640), np.uint8)
    painter = Painter(PALETTE, "color")
    plain = Wipe(painter, ("", ""), (200, 640)).paint(picture, labels, labels, 0)
    named = Wipe(painter, ("A one", "B two"), (200, 640)).paint(picture, labels, labels, 0)
    rows, columns = np.nonzero((plain != named).any(axis=2))
    assert rows.max() < 20
    assert {0, 639} <= set(columns)
    assert named[:18, :80].max() > 240  # letters


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 16), (48, 64)])
@pytest.mark.parametrize(
    "name", ["", "x", "a very long name of some weights that nobody can read", "Käfer\n"]
)
def test_any_size_and_any_name(size: tuple[int, int], name: str) -> None:
    labels = np.zeros(size, np.uint8)
    wipe = Wipe(Painter(PALETTE), (name, name), size)
    assert wipe.paint(np.zeros((*size, 3), np.uint8), labels, labels, 1.0).shape == (*size, 3)

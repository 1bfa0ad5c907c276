"""Two labellings of one picture in one: the first left of a border, the second right of it, each with its name."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .cv import cv2
from .overlay import Painter

Array = NDArray[np.uint8]

PERIOD_S = 8.0  # there and back: slow enough to look, short enough to see both of everything
_REACH = 0.4  # the border swings so far from the middle, of the width
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_HEIGHT = 21  # pixels of a capital at scale 1
_PANEL, _INK, _LINE = (24, 24, 24), (255, 255, 255), (255, 255, 255)


def border(seconds: float, width: int) -> int:
    """The column of the border at a time: it begins in the middle and swings, slowest at its ends."""
    middle = 0.5 + _REACH * math.sin(2 * math.pi * seconds / PERIOD_S)
    return min(width - 1, max(1, round(middle * width))) if width > 1 else 0


class Wipe:
    """Paints pairs of labels for pictures of one size.

    Args:
        painter: paints either side, as an overlay or alone.
        names: of the left and of the right; drawn as far as they have room.
    """

    def __init__(self, painter: Painter, names: tuple[str, str], size: tuple[int, int]) -> None:
        self._painter = painter
        self._tags = [_tag(name, size) for name in names]

    def paint(self, picture: Array, left: Array, right: Array, seconds: float) -> Array:
        """(H, W, 3) RGB and two labels (H, W) to RGB of the same size."""
        at = border(seconds, picture.shape[1])
        labels = np.hstack([left[:, :at], right[:, at:]])
        shown = np.ascontiguousarray(self._painter.paint_rgb(picture, labels))
        thick = max(1, round(picture.shape[1] / 480))
        cv2.rectangle(shown, (at - thick, 0), (at + thick - 1, shown.shape[0] - 1), (0, 0, 0), cv2.FILLED)
        shown[:, max(0, at - thick // 2) : at + (thick + 1) // 2] = _LINE
        for tag, is_right in zip(self._tags, (False, True), strict=True):
            height, width = tag.shape[:2]
            column = shown.shape[1] - width if is_right else 0
            shown[:height, column : column + width] = tag
        return shown


def _tag(name: str, size: tuple[int, int]) -> Array:
    """The name on a panel of at most half the picture's width; what has no room is left out."""
    text = int(np.clip(size[0] / 40, 9, 36))
    scale, thickness = text / _FONT_HEIGHT, max(1, round(text / 10))
    candidates = (name if end == len(name) else f"{name[:end]}.." for end in range(len(name), 0, -1))
    room = size[1] // 2 - text
    shown = next((c for c in candidates if cv2.getTextSize(c, _FONT, scale, thickness)[0][0] <= room), "")
    if not shown or size[0] < 2 * text:
        return np.zeros((0, 0, 3), np.uint8)
    width = cv2.getTextSize(shown, _FONT, scale, thickness)[0][0]
    tag = np.full((2 * text, width + text, 3), _PANEL, np.uint8)
    cv2.putText(tag, shown, (text // 2, text * 3 // 2), _FONT, scale, _INK, thickness, cv2.LINE_AA)
    return tag

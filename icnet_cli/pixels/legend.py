"""A legend: each class's colour and name, large enough to read and no larger."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from .cv import cv2
from .yuv import Planes, YuvColour, subsampling

Array = NDArray[np.uint8]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_HEIGHT = 21  # pixels of a capital at scale 1
_SMALLEST_TEXT, _LARGEST_TEXT = 9, 40  # capital height in pixels: legible, and not a poster
_PANEL = (24, 24, 24)
_TEXT = (255, 255, 255)


class Legend:
    """A panel of swatches and names, made once for pictures of one size and drawn into each.

    Args:
        names, palette: K class names and (K, 3) RGB uint8.
        size: (height, width) of the pictures. Names that do not fit at a legible size are counted
            in a last line ("+ 40 more").
    """

    def __init__(self, names: Sequence[str], palette: Array, size: tuple[int, int]) -> None:
        self.size = size
        self._names, self._palette = list(names), np.asarray(palette, np.uint8)

    @cached_property
    def panel(self) -> Array:
        """The panel as (h, w, 3) RGB; (0, 0, 3) where the picture is too small to hold a legible one."""
        height, width = self.size
        text = int(np.clip(height / 45, _SMALLEST_TEXT, _LARGEST_TEXT))
        line, margin = round(text * 1.9), text
        lines = max(0, (height - 2 * margin) // line)
        name_width = max(_text_width(name, text) for name in self._names)
        column = name_width + 4 * text
        columns = max(0, (width - margin) // column)
        if lines == 0 or columns == 0:
            return np.zeros((0, 0, 3), np.uint8)
        shown, entries = self._entries(lines * columns)
        lines = min(lines, len(entries))
        panel = np.full(
            (lines * line + margin, -(-len(entries) // lines) * column + margin, 3), _PANEL, np.uint8
        )
        for index, name in enumerate(entries):
            x, y = margin + index // lines * column, margin // 2 + index % lines * line
            self._draw_entry(panel, index if index < shown else None, name, (x, y), text, line)
        return panel[:height, :width]

    def _entries(self, room: int) -> tuple[int, list[str]]:
        """How many classes are named, and the lines of text."""
        if len(self._names) <= room:
            return len(self._names), self._names
        shown = max(room - 1, 0)
        return shown, [*self._names[:shown], f"+ {len(self._names) - shown} more"]

    def _draw_entry(
        self, panel: Array, label: int | None, name: str, at: tuple[int, int], text: int, line: int
    ) -> None:
        x, y = at
        middle = y + line // 2
        if label is not None:
            top_left, bottom_right = (x, middle - text * 2 // 3), (x + text * 2, middle + text * 2 // 3)
            cv2.rectangle(panel, top_left, bottom_right, self._palette[label].tolist(), cv2.FILLED)
            cv2.rectangle(panel, top_left, bottom_right, (128, 128, 128), 1)
        thickness = max(1, round(text / 10))
        cv2.putText(
            panel, name, (x + text * 5 // 2, middle + text // 2), _FONT, text / _FONT_HEIGHT, _TEXT,
            thickness, cv2.LINE_AA,
        )  # fmt: skip

    def draw_rgb(self, picture: Array) -> None:
        """Draw into the top left corner of a picture (H, W, 3), in place."""
        _cover(picture, self.panel)

    def draw_planes(self, planes: Planes, colour: YuvColour) -> None:
        """Draw into the top left corner of Y, U, V planes, in place."""
        for plane, panel in zip(planes, self.panel_planes(colour, subsampling(planes)), strict=True):
            _cover(plane, panel)

    @lru_cache(maxsize=4)  # noqa: B019  (a legend lives as long as its job)
    def panel_planes(self, colour: YuvColour, steps: tuple[int, int]) -> tuple[Array, ...]:
        """The panel as Y, U, V planes, chroma at one sample for `steps` rows and columns."""
        rows, columns = steps
        yuv = colour.from_rgb(self.panel)
        chroma = yuv[: yuv.shape[0] // rows * rows, : yuv.shape[1] // columns * columns]
        if chroma.size:
            size = (chroma.shape[1] // columns, chroma.shape[0] // rows)
            chroma = cv2.resize(chroma, size, interpolation=cv2.INTER_AREA)
        return tuple(np.ascontiguousarray(part) for part in (yuv[..., 0], chroma[..., 1], chroma[..., 2]))


def _text_width(text: str, height: int) -> int:
    thickness = max(1, round(height / 10))
    (width, _), _ = cv2.getTextSize(text, _FONT, height / _FONT_HEIGHT, thickness)
    return int(width)


def _cover(canvas: Array, panel: Array) -> None:
    """Opaque, so that a swatch has exactly its class's colour."""
    canvas[: panel.shape[0], : panel.shape[1]] = panel

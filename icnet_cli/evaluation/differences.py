"""What each branch of the cascade adds, as pictures: the 2017 paper's Figure 8.

Of each picture NAME, in full size: NAME-sub4.png, NAME-sub24.png and NAME-sub124.png in the classes' colours,
NAME-diff1.png (sub4 to sub24) and NAME-diff2.png (sub24 to sub124), and NAME.png, all of them on one sheet with the
picture and its truth. The paper's maps show where two predictions differ; these also show by colour whether the change
was for the better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.classes import ClassTable
from icnet_cli.evaluation.confusion import IGNORE_INDEX, Labels
from icnet_cli.pixels.cv import cv2
from icnet_cli.pixels.files import shrink_or_grow, write_picture
from icnet_cli.pixels.legend import Legend
from icnet_cli.pixels.overlay import lookup_table

Image = NDArray[np.uint8]  # (H, W, 3) RGB

# Okabe and Ito's colours, which stay apart for colour-blind readers too.
CHANGES: dict[str, tuple[int, int, int]] = {
    "put right": (0, 158, 255),
    "made wrong": (213, 94, 0),
    "wrong before and after": (240, 228, 66),
    "not labelled": (120, 120, 120),
}
_PANEL_WIDTH = 640  # of a sheet's pictures, at most: a sheet is for a screen
_CAPTION, _GAP = 30, 6
_PAPER, _INK = (24, 24, 24), (255, 255, 255)


def difference_map(truth: Labels, before: Labels, after: Labels) -> Image:
    """Where two predictions differ, (H, W, 3) RGB in the colours of `CHANGES`; black where they are the same."""
    differs, ignored = before != after, truth == IGNORE_INDEX
    kinds = (after == truth, before == truth, ~ignored, ignored)
    chosen = np.select([differs & kind for kind in kinds], [1, 2, 3, 4], 0)
    return np.array([(0, 0, 0), *CHANGES.values()], np.uint8)[chosen]


@dataclass(frozen=True)
class Differences:
    """Writes Figure 8's pictures into `folder`, mirroring the pictures' names and sub-folders."""

    folder: Path
    classes: ClassTable

    def add(self, name: str, image: Image, truth: Labels, answers: Mapping[str, Labels]) -> None:
        """Write one picture's. `answers` by branch, in the cascade's order. Raises an output error."""
        table = lookup_table(self.classes.palette_array())
        painted = {branch: table[labels] for branch, labels in answers.items()}
        maps = {
            f"diff{number}": difference_map(truth, answers[a], answers[b])
            for number, (a, b) in enumerate(pairwise(answers), start=1)
        }
        for word, picture in (painted | maps).items():
            write_picture(self.folder / f"{name}-{word}.png", picture)
        sheet = self._sheet(image, table[truth], painted, maps, list(pairwise(answers)))
        write_picture(self.folder / f"{name}.png", sheet)

    def figures(self) -> dict[str, Any]:
        """For the report: where they are."""
        return {"differences": str(self.folder)}

    def _sheet(
        self,
        image: Image,
        truth: Image,
        painted: Mapping[str, Image],
        maps: Mapping[str, Image],
        pairs: Sequence[tuple[str, str]],
    ) -> Image:
        """Three rows: picture, truth and the classes; the predictions; the key and the maps."""
        size = _panel_size(image)
        names = Legend(self.classes.names, self.classes.palette_array(), size).panel
        changes = np.array(list(CHANGES.values()), np.uint8)
        key = Legend([f"diff: {words}" for words in CHANGES], changes, size).panel
        rows = [
            {"picture": image, "truth": truth, "classes": _on_paper(names, size)},
            dict(painted),
            {"": _on_paper(key, size)}
            | {f"{word}: {a} to {b}": maps[word] for word, (a, b) in zip(maps, pairs, strict=True)},
        ]
        return np.vstack([_row(row, size) for row in rows])


def _panel_size(image: Image) -> tuple[int, int]:
    height, width = image.shape[:2]
    shrink = min(1.0, _PANEL_WIDTH / width)
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def _on_paper(panel: Image, size: tuple[int, int]) -> Image:
    paper = np.full((*size, 3), _PAPER, np.uint8)
    paper[: panel.shape[0], : panel.shape[1]] = panel
    return paper


def _row(pictures: Mapping[str, Image], size: tuple[int, int]) -> Image:
    """Pictures side by side, each under its caption."""
    parts = []
    for caption, picture in pictures.items():
        strip = np.full((_CAPTION, size[1], 3), _PAPER, np.uint8)
        cv2.putText(strip, caption, (4, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.55, _INK, 1, cv2.LINE_AA)
        panel = np.vstack([strip, shrink_or_grow(picture, size)])
        parts.append(cv2.copyMakeBorder(panel, 0, _GAP, 0, _GAP, cv2.BORDER_CONSTANT, value=_PAPER))
    return np.hstack(parts)

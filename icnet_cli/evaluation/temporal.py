"""How steady labels are over time, with and without truth.

Flicker is the share of pixels that show the same spot of the scene as a pixel of the frame before, by optical
flow, and yet have another class. What the flow does not explain (photometric error, out of the picture, a scene
cut) is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from icnet_cli.pixels.files import labels_at
from icnet_cli.pixels.flow import (
    UNEXPLAINED,
    Flow,
    Grey,
    flow_between,
    is_cut,
    photometric_error,
    reduced_grey,
    resize_flow,
    warp,
)

Labels = NDArray[np.uint8]  # (H, W)
Picture = NDArray[np.uint8]  # (H, W, 3) RGB


@dataclass(frozen=True)
class Step:
    """What happened from one frame to the next, at the labels' size; None in place of it on a cut.

    Attributes:
        flow: float32 (H, W, 2), from the current frame to the previous.
        known: bool (H, W), where the flow explains the picture.
    """

    flow: Flow
    known: NDArray[np.bool_]


def step_between(previous: Grey, current: Grey, size: tuple[int, int]) -> Step | None:
    """The step from one reduced grey picture to the next for labels of `size`; None where the scene was cut."""
    flow = flow_between(previous, current)
    error = photometric_error(previous, current, flow)
    if is_cut(error):
        return None
    known = labels_at((error <= UNEXPLAINED).astype(np.uint8), size)
    return Step(resize_flow(flow, size), known.astype(bool))


class Flicker:
    """Counts, over the frames of one video in their order, the pixels that change class without cause.

    A class border that moves by a pixel between two frames is where flow and labels are rounded, not flicker: a pixel
    counts as changed only where its class is nowhere within one pixel of the place it came from. The exact labels of
    the rendered street flicker by less than half a percent then.

    Attributes:
        pixels, changed: int64 (256,), by the class a pixel has now: those followed, and those of them that changed.
        frames, cuts: frames added, and scene cuts found among them, across which nothing is counted.
        same, compared: pixels with the class of the same place in the frame before, no flow, and all compared.
    """

    def __init__(self) -> None:
        self.pixels = np.zeros(256, np.int64)
        self.changed = np.zeros(256, np.int64)
        self.frames = self.cuts = self.same = self.compared = 0
        self._grey: Grey | None = None
        self._labels: Labels | None = None

    def add(self, rgb: Picture, labels: Labels) -> float | None:
        """The next frame and its labels of the same size.

        Returns:
            This frame's own share of flicker; None for the first frame, at a cut, and where sizes change.
        """
        grey, before, old = reduced_grey(rgb), self._grey, self._labels
        step = None
        if before is not None and old is not None and old.shape == labels.shape:
            step = step_between(before, grey, (labels.shape[0], labels.shape[1]))
            self.cuts += step is None
        self._grey, self._labels = grey, labels.copy()
        self.frames += 1
        if step is None or old is None:
            return None
        return self.count(old, labels, step)

    def count(self, previous: Labels, current: Labels, step: Step) -> float | None:
        """Count one step whose flow is known already; `add` does both."""
        changed = changed_labels(previous, current, step)
        self.pixels += np.bincount(current[step.known], minlength=256)
        self.changed += np.bincount(current[changed], minlength=256)
        self.same += int((previous == current).sum())
        self.compared += current.size
        followed = int(step.known.sum())
        return int(changed.sum()) / followed if followed else None

    @property
    def share(self) -> float:
        """Changed pixels among those followed; NaN before anything was followed."""
        return _share(int(self.changed.sum()), int(self.pixels.sum()))

    @property
    def agreement(self) -> float:
        """Share of pixels whose class is that of the same place in the frame before, without flow; cuts apart."""
        return _share(self.same, self.compared)

    def per_class(self, names: Sequence[str]) -> dict[str, float | None]:
        """The share by class name; None for a class no followed pixel has."""
        return {
            name: float(self.changed[k] / self.pixels[k]) if self.pixels[k] else None
            for k, name in enumerate(names)
        }


def changed_labels(previous: Labels, current: Labels, step: Step) -> NDArray[np.bool_]:
    """(H, W): pixels the flow explains whose class was nowhere within a pixel of where they came from."""
    came = warp(previous, step.flow, nearest=True)
    differs = (came != current) & step.known
    # Only where they differ is a neighbourhood looked at: some percent of the picture.
    rows, columns = np.nonzero(differs)
    height, width = current.shape
    x = np.rint(columns + step.flow[rows, columns, 0]).astype(np.intp)
    y = np.rint(rows + step.flow[rows, columns, 1]).astype(np.intp)
    found = np.zeros(len(rows), bool)
    wanted = current[rows, columns]
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            near = previous[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)]
            found |= near == wanted
    differs[rows[found], columns[found]] = False
    return np.asarray(differs)


@dataclass
class Agreement:
    """Share of pixels on which two ways of labelling the same frames agree."""

    same: int = 0
    pixels: int = 0
    frames: list[float] = field(default_factory=list)

    def add(self, one: Labels, other: Labels) -> float:
        """Count one frame's labels, both of one size; the frame's own share is returned and kept in `frames`."""
        if one.shape != other.shape:
            raise ValueError(f"labels of {one.shape} and {other.shape} cannot be compared")
        same = int((one == other).sum())
        self.same, self.pixels = self.same + same, self.pixels + one.size
        self.frames.append(same / one.size)
        return self.frames[-1]

    @property
    def share(self) -> float:
        """Over all frames; NaN before the first."""
        return _share(self.same, self.pixels)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")

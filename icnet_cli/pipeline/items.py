"""What flows through the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.pixels.yuv import Planes

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """One decoded picture, upright.

    Attributes:
        name: what its output is called in a folder, "sub-folder/name" without a suffix. Not a Path: pathlib interns the
            parts of each, and after some 70,000 frames CPython's table of such strings is made anew, of 7.7 MB.
        index: the source's own number of it, from 0.
        rgb: (H, W, 3) uint8.
        planes: the same as decoded Y, U, V, where it is to be painted in video; else None.
        pts, duration: in ticks of time_base, on the source's clock; None from pictures.
        labels: where they are known already, because they are painted again.
        arrived: when a live source's picture was received, in seconds of `time.monotonic`; None from files.
        starts_segment: whether what is written begins anew here: the first picture of a run, and every one that a
            resumed run may have to begin with (`pipeline.resume`). What keeps state between pictures forgets it here,
            so that a resumed run gives what an uninterrupted one does.
        mark: where the source is, for `resume_at` of the source; None where it cannot be resumed by seeking.
    """

    name: str
    index: int
    rgb: NDArray[np.uint8]
    planes: Planes | None = None
    pts: int | None = None
    duration: int | None = None
    time_base: Fraction | None = None
    labels: Labels | None = None
    arrived: float | None = None
    starts_segment: bool = False
    mark: Any = None

    @property
    def size(self) -> tuple[int, int]:
        return self.rgb.shape[0], self.rgb.shape[1]

    @property
    def seconds(self) -> float | None:
        """When it is shown, on the source's clock."""
        return None if self.pts is None or self.time_base is None else float(self.pts * self.time_base)

"""Ways of labelling a video beside the network on each frame: how steady each is, how near, and how right.

The network runs once on each frame, and what it gives is shared by all ways that ask for it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from icnet_cli.data.files import read_raw_labels
from icnet_cli.errors import input_error
from icnet_cli.evaluation.confusion import IGNORE_INDEX, Confusion
from icnet_cli.evaluation.report import json_number
from icnet_cli.evaluation.temporal import Agreement, Flicker, Labels, Picture, Step, step_between
from icnet_cli.inference.reuse import FrameScores, Reuse
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pixels.flow import Grey, reduced_grey


@dataclass(frozen=True)
class Way:
    """One way to label frames: what of it is reused, and how much of before counts."""

    reuse: Reuse = field(default_factory=Reuse)
    smooth: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether each frame is labelled for itself."""
        return self.reuse.span == 1 and not self.smooth

    def to_dict(self) -> dict[str, Any]:
        span: int | str = "auto" if self.reuse.auto else self.reuse.span
        return {"reuse": span, "reuse_kind": self.reuse.kind, "smooth": self.smooth}


@dataclass(frozen=True)
class LabelledBefore:
    """A way whose labels have been made already, by something that minds the clock and must not be held up here.

    Attributes:
        found: the labels (H, W) of one frame after another.
        told: what the report says of it: what `Way.to_dict` says, and whatever else is known.
        counts: frames by what became of them, as `FrameScores` counts them.
        runs: on how many of them the network ran.
    """

    found: Iterator[Labels]
    told: Mapping[str, Any]
    counts: Mapping[str, int]
    runs: int

    def labels(self, rgb: Picture) -> Labels:
        """Those of the next frame.

        Raises:
            IcnetError: INPUT where there are none, or those of another size.
        """
        labels = next(self.found, None)
        if labels is None or labels.shape != rgb.shape[:2]:
            raise input_error(
                "the video's frames are not those that were labelled; do they change their size?"
            )
        return labels

    def to_dict(self) -> dict[str, Any]:
        return dict(self.told)


@dataclass(frozen=True)
class FrameMeasured:
    """After each frame."""

    done: int
    total: int | None


class Truth:
    """The exact labels of a video's frames: a folder of greyscale PNGs in their order, or an .npz with `labels`.

    Raises:
        IcnetError: INPUT where there is neither.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: list[Path] = []
        self._array: NDArray[np.uint8] | None = None
        if path.is_dir():
            self._files = sorted(path.glob("*.png"))
        elif path.suffix == ".npz" and path.is_file():
            self._array = _array_of(path)
        if not len(self):
            raise input_error(
                f"{path} has no labels; give a folder of greyscale PNGs, one a frame, or an .npz"
            )

    def __len__(self) -> int:
        return len(self._files) if self._array is None else len(self._array)

    def labels(self, index: int, size: tuple[int, int], num_classes: int) -> Labels:
        """The labels (H, W) of a frame, train ids or 255.

        Raises:
            IcnetError: INPUT where they are missing, of another size, or of other classes.
        """
        if index >= len(self):
            raise input_error(f"{self.path} has labels of {len(self)} frames, and the video has more")
        labels = read_raw_labels(self._files[index]) if self._array is None else self._array[index]
        if labels.shape != tuple(size):
            height, width = labels.shape
            raise input_error(
                f"{self.path}: frame {index} is {height}x{width}, the video's {size[0]}x{size[1]}"
            )
        strange = labels[(labels >= num_classes) & (labels != IGNORE_INDEX)]
        if strange.size:
            raise input_error(
                f"{self.path}: frame {index} holds {int(strange[0])}, expected 0 to {num_classes - 1}"
            )
        return labels


def _array_of(path: Path) -> NDArray[np.uint8]:
    try:
        with np.load(path, allow_pickle=False) as file:
            labels = file["labels"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise input_error(f"{path} has no array `labels`: {error}") from error
    if labels.ndim != 3 or labels.dtype != np.uint8:
        raise input_error(f"{path}: labels must be uint8 (frames, H, W), not {labels.dtype} {labels.shape}")
    return np.asarray(labels)


class _SharedRun:
    """A segmenter whose network runs once a frame, however many ask."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._prepared: Tensor | None = None
        self._scores: Tensor | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._segmenter, name)

    def next_frame(self) -> None:
        self._prepared = self._scores = None

    def prepare(self, frames: Sequence[Picture], size: tuple[int, int] | None = None) -> Tensor:
        if self._prepared is None:
            self._prepared = self._segmenter.prepare(frames, size)
        return self._prepared

    def forward(self, pictures: Tensor) -> Tensor:
        if self._scores is None:
            self._scores = self._segmenter.forward(pictures).clone()
        return self._scores


class _Measured:
    """What one way has given so far."""

    def __init__(self, num_classes: int) -> None:
        self.flicker, self.agreement = Flicker(), Agreement()
        self.confusion = Confusion(num_classes)
        self._last: Labels | None = None

    def add(self, labels: Labels, plain: Labels, truth: Labels | None, step: Step | None) -> None:
        if step is not None and self._last is not None:
            self.flicker.count(self._last, labels, step)
        self._last = labels
        self.agreement.add(labels, plain)
        if truth is not None:
            self.confusion.update(truth, labels)

    def report(self, names: Sequence[str], has_truth: bool) -> dict[str, Any]:
        found: dict[str, Any] = {
            "flicker": json_number(self.flicker.share),
            "flicker_per_class": self.flicker.per_class(names),
            "agreement": json_number(self.agreement.share),
            "neighbour_agreement": json_number(self.flicker.agreement),
        }
        if has_truth:
            iou = [json_number(float(value)) for value in self.confusion.iou]
            found |= {
                "miou": json_number(self.confusion.miou),
                "per_class": dict(zip(names, iou, strict=True)),
            }
        return found


def _scores_of(way: Way, shared: _SharedRun) -> FrameScores:
    return FrameScores(shared, way.reuse, way.smooth)  # type: ignore[arg-type]


def measure(
    segmenter: Segmenter,
    ways: Sequence[Way | LabelledBefore],
    pictures: Iterable[Picture],
    truth: Truth | None = None,
    total: int | None = None,
) -> Generator[FrameMeasured, None, dict[str, Any]]:
    """Label the pictures (H, W, 3) in each way and measure them all; an event a frame.

    Returns:
        `frames`, `cuts`, `per_frame` (the network on each frame) and `ways`, a list: of each `flicker`,
        `flicker_per_class`, `agreement` with per_frame, `neighbour_agreement` (of one frame's labels with the next's,
        without flow), with truth also `miou` and `per_class`; of ways also `network_runs` and `frames` by what became
        of them.

    Raises:
        IcnetError: INPUT for a truth that does not fit, or where there is no frame.
    """
    names = segmenter.classes.names
    shared = _SharedRun(segmenter)
    scores = [way if isinstance(way, LabelledBefore) else _scores_of(way, shared) for way in ways]
    plain, measured = _Measured(len(names)), [_Measured(len(names)) for _ in ways]
    grey: Grey | None = None
    frames = cuts = 0
    for rgb in pictures:
        shared.next_frame()
        size = (rgb.shape[0], rgb.shape[1])
        right = truth.labels(frames, size, len(names)) if truth else None
        before, grey = grey, reduced_grey(rgb)
        step = step_between(before, grey, size) if before is not None and before.shape == grey.shape else None
        cuts += before is not None and before.shape == grey.shape and step is None
        own = segmenter.postprocess(shared.forward(shared.prepare([rgb])), size)[0]
        plain.add(own, own, right, step)
        for each, result in zip(scores, measured, strict=True):
            result.add(each.labels(rgb), own, right, step)
        frames += 1
        yield FrameMeasured(frames, total)
    if not frames:
        raise input_error("the video has no frame that can be decoded")
    found = [
        way.to_dict()
        | result.report(names, truth is not None)
        | {"network_runs": each.runs, "frames": dict(each.counts)}
        for way, each, result in zip(ways, scores, measured, strict=True)
    ]
    return {
        "frames": frames,
        "cuts": cuts,
        "per_frame": plain.report(names, truth is not None),
        "ways": found,
    }

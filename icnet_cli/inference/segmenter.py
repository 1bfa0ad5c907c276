"""Segmenter: a picture in, its labels out, on one device.

Three stages, which the pipeline also calls one by one and times: prepare (resize, normalise, upload), forward
(the network up to its small score map) and postprocess (scores to labels at the picture's own size). An engine does
them (`engine.py`); the Segmenter knows the classes and the sizes, checks what it is given, and keeps the time.
"""

from __future__ import annotations

import math
import operator
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from icnet_cli.checkpoints.bundled import find_weights
from icnet_cli.checkpoints.format import WeightsMeta, load_weights
from icnet_cli.checkpoints.start import refuse_trunk_only
from icnet_cli.classes import ClassTable
from icnet_cli.errors import IcnetError, usage_error

from .choice import Work, check_backend, device_for
from .device import choose_device, choose_precision, device_words
from .engine import Engine, Labels, Picture
from .engines import build_engine
from .exported import ExportedEngine, is_exported, open_engine
from .forked import threads_begin

MULTIPLE = 32  # what the networks' deepest map divides their input by
SMALLEST, LARGEST = 32, 16384  # pixels a side that every network takes
SAME_ASPECT = 0.05  # sizes in multiples of 32 keep an aspect no closer than this
MOST_ENLARGED = 3.0  # times a side: beyond it hardly more is found (docs/recipes.md)
STAGES = ("prepare", "forward", "postprocess")
_TIMES_KEPT = 4096  # of each stage, for medians: memory stays flat however long the video


def default_input_size(size: tuple[int, int], train_size: tuple[int, int]) -> tuple[int, int]:
    """The network's input (height, width) for pictures of `size`, where the user names none.

    The picture's aspect at about the pixel count the weights were trained at, so that things have the size the
    network knows: large pictures are shrunk, and small ones enlarged, up to `MOST_ENLARGED` times a side. Multiples
    of 32, at least 32. Weights trained at sizes of 32k+1, as the authors' own, get such sizes: one pixel more.
    """
    more = 1 if all(side % MULTIPLE == 1 for side in train_size) else 0
    scale = min(MOST_ENLARGED, math.sqrt(train_size[0] * train_size[1] / (size[0] * size[1])))

    def side(pixels: int) -> int:
        nearest = round(pixels * scale / MULTIPLE) * MULTIPLE
        if scale <= 1:  # rounding up would have a picture that is large enough enlarged
            nearest = min(nearest, pixels // MULTIPLE * MULTIPLE)
        return max(SMALLEST, nearest) + more

    return side(size[0]), side(size[1])


def protocol_size(train_size: tuple[int, int], picture: tuple[int, int]) -> tuple[int, int] | None:
    """The training size for pictures of its aspect (within 5 %); for others None: `default_input_size`.

    A picture is never squeezed into another shape unless the user names a size.
    """
    aspect = (train_size[1] * picture[0]) / (train_size[0] * picture[1])
    return train_size if abs(aspect - 1) <= SAME_ASPECT else None


def measured_size(picture: tuple[int, int], train_size: tuple[int, int]) -> tuple[int, int]:
    """The network's input (height, width) where weights are measured on a picture and the user names no size."""
    height, width = protocol_size(train_size, picture) or default_input_size(picture, train_size)
    return max(SMALLEST, height), max(SMALLEST, width)


class Segmenter:
    """Labels pictures with one network on one device. Threads may share one.

    Args:
        network: as trained; kept as it is in `.network`, for fine-tuning. What runs is a folded copy: call
            `refresh` after changing weights.
        meta: what its weights file says: classes, normalisation, training size.
        device, precision: `auto` or by name, see `device`.
        size: the network's input (height, width) for every picture; default `default_input_size`.
        backend: torch, compile, openvino or onnx; or `auto`, the one that has `work` done soonest.
        at_training_size: without `size`, pictures of the training size's aspect have it exactly, as figures are given.

    Raises:
        IcnetError: DEVICE or USAGE for a device, precision or backend that is not to be had.
    """

    def __init__(
        self,
        network: nn.Module,
        meta: WeightsMeta,
        device: str = "auto",
        precision: str = "auto",
        size: tuple[int, int] | None = None,
        backend: str = "torch",
        work: Work | None = None,
        at_training_size: bool = False,
    ) -> None:
        check_backend(backend, device, precision)
        size = _checked_size(size)
        self._network: nn.Module | None = network
        self.device = choose_device(device_for(backend, device))
        self.precision = choose_precision(precision, self.device)
        self._backend, self._work = backend, work
        self._set_up(meta, size, at_training_size)
        self.refresh()

    @classmethod
    def of_exported(
        cls, engine: ExportedEngine, size: tuple[int, int] | None = None, at_training_size: bool = False
    ) -> Segmenter:
        """A Segmenter that runs a file of `icnet export`; it has no `.network`.

        Raises:
            IcnetError: USAGE for a size that the file does not take.
        """
        size = _checked_size(size)
        engine.check_size(size)
        self = cls.__new__(cls)
        self._network, self.engine, self._backend = None, engine, engine.backend
        self.device, self.precision = engine.device, engine.precision
        self._set_up(engine.meta, size or engine.fixed_size, at_training_size)
        self._least = math.ceil(engine.smallest / MULTIPLE) * MULTIPLE
        return self

    def _set_up(self, meta: WeightsMeta, size: tuple[int, int] | None, at_training_size: bool) -> None:
        threads_begin()
        self.meta, self._size, self._least = meta, size, SMALLEST
        self._at_training_size = at_training_size
        self._times: dict[str, deque[float]] = {stage: deque(maxlen=_TIMES_KEPT) for stage in STAGES}

    @property
    def network(self) -> nn.Module:
        """The network as it was given, to fine-tune; an exported file has none (AttributeError)."""
        if self._network is None:
            raise AttributeError(
                "an exported file has no network to train; load the .safetensors it came from"
            )
        return self._network

    def refresh(self) -> None:
        """Fold and upload `.network` again, after its weights have changed."""
        with device_words(self.device):
            self.engine: Engine = build_engine(
                self.network,
                self.meta.normalisation,
                self.device,
                self.precision,
                self._backend,
                self._work,
                self.input_size,
            )

    def still_to_build(self, height: int, width: int) -> str | None:
        """What `warm` would take seconds for, in words; None where it would not."""
        return self.engine.still_to_build(self.input_size(height, width))

    def warm(self, height: int, width: int, size: tuple[int, int] | None = None) -> None:
        """Do now what the first picture of that size would wait for: compiling, and opening what is compiled.

        Args:
            size: the network's input, where `scores` is to be asked for another than its own.
        """
        try:
            with device_words(self.device):
                self.engine.warm(size or self.input_size(height, width))
        except IcnetError:
            if self._backend != "auto":
                raise
            self._backend = "torch"  # nobody asked by name for what cannot be built here
            self.refresh()

    @property
    def classes(self) -> ClassTable:
        return self.meta.classes

    @property
    def ready(self) -> nn.Module:
        """The network that torch runs: a folded copy of `.network` on the device, in its precision.

        AttributeError where another backend runs it.
        """
        ready = getattr(self.engine, "ready", None)
        if ready is None:
            raise AttributeError(f"{self.backend} runs the network, so there is no module of it")
        return ready  # type: ignore[no-any-return]

    @property
    def backend(self) -> str:
        """What runs the network, by its name in reports."""
        return self.engine.backend

    @property
    def stage_times(self) -> dict[str, tuple[float, ...]]:
        """The milliseconds of each of the last pictures, a stage."""
        return {stage: tuple(times) for stage, times in self._times.items()}

    def reset_times(self) -> None:
        """Forget the times measured so far, for a new job."""
        for times in self._times.values():
            times.clear()

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) at which the network sees a picture of that size.

        Raises:
            IcnetError: USAGE where that is no size of a picture.
        """
        height, width = _whole((height, width))
        if min(height, width) < 1:
            raise usage_error(f"a picture has at least 1x1 pixels, not {height}x{width}")
        if self._size is not None:
            return self._size
        fit = measured_size if self._at_training_size else default_input_size
        chosen = fit((height, width), self.meta.train_size)
        return max(self._least, chosen[0]), max(self._least, chosen[1])

    def labels(self, frame: Picture) -> Labels:
        """The class of every pixel: (H, W, 3) RGB uint8, any size from 1x1, to (H, W) uint8 train ids.

        Raises:
            TypeError, ValueError: what is given is no such picture.
            IcnetError: DEVICE where the device's memory does not suffice.
        """
        return self.labels_batch([frame])[0]

    def labels_batch(self, frames: Iterable[Picture]) -> list[Labels]:
        """`labels` of pictures of one size, or of an array (N, H, W, 3) of them, in a single pass of the network."""
        pictures = list(frames)
        with device_words(self.device):
            scores = self.forward(self.prepare(pictures))
            return self.postprocess(scores, pictures[0].shape[:2])

    def stream(self, frames: Iterable[Any]) -> Iterator[tuple[Labels, int | None]]:
        """Labels and pts of any iterable of frames, one by one: `(labels, pts)`.

        A frame is a picture (H, W, 3) RGB uint8, whose pts is None, or anything with `.rgb()` and `.pts`, as
        `icnet_cli.open_video(path)` yields.

        Raises:
            TypeError: for a path, which is to be opened first, and for what is no frame; else as `labels`.
        """
        if isinstance(frames, str | os.PathLike):
            raise TypeError(f"frames are what icnet_cli.open_video({str(frames)!r}) yields, not its path")
        for frame in frames:
            if hasattr(frame, "rgb"):
                yield self.labels(frame.rgb()), frame.pts
            else:
                yield self.labels(frame), None

    @torch.inference_mode()
    def prepare(self, frames: Sequence[Picture], size: tuple[int, int] | None = None) -> Tensor:
        """N pictures (H, W, 3) of one size to what `forward` takes, (N, 3, h, w) on the device.

        Its values and type are the engine's affair: bytes, or floats normalised or not.

        Args:
            size: the (h, w), where it is not `input_size`.

        Raises:
            TypeError, ValueError: as `labels`.
        """
        own = _check_pictures(frames)
        with self._timed("prepare", len(frames)):
            return self.engine.prepare(frames, size or self.input_size(*own))

    @torch.inference_mode()
    def forward(self, pictures: Tensor) -> Tensor:
        """The network's input (N, 3, h, w) to its score map (N, K, h', w'), on the device."""
        with self._timed("forward", len(pictures)):
            return self.engine.forward(pictures)

    @torch.inference_mode()
    def postprocess(self, scores: Tensor, size: tuple[int, int]) -> list[Labels]:
        """Score maps (N, K, h', w') to N labels of `size`, in one step whatever size the network ran at."""
        with self._timed("postprocess", len(scores)):
            return self.engine.postprocess(scores, size, self.input_size(*size))

    @contextmanager
    def _timed(self, stage: str, pictures: int) -> Iterator[None]:
        # Only the last stage waits for a GPU, so there `forward` is what it takes to launch the network.
        start = time.perf_counter()
        yield
        spent = (time.perf_counter() - start) * 1000 / max(1, pictures)
        self._times[stage].extend([spent] * pictures)


def _checked_size(size: Iterable[Any] | None) -> tuple[int, int] | None:
    """The network's input as two whole numbers, whatever pair was given; raises a usage error for anything else."""
    if size is None:
        return None
    height, width = _whole(size)
    if min(height, width) < SMALLEST or max(height, width) > LARGEST:
        bounds = f"from {SMALLEST}x{SMALLEST} to {LARGEST}x{LARGEST}"
        raise usage_error(f"the network's input must be {bounds}, not {height}x{width}")
    return height, width


def _whole(size: Iterable[Any]) -> tuple[int, int]:
    try:
        height, width = map(operator.index, size)
    except (TypeError, ValueError):
        raise usage_error(f"size is (height, width) in whole pixels, not {size!r}") from None
    return height, width


def _check_pictures(frames: Sequence[Picture]) -> tuple[int, int]:
    """The (H, W) that all of them have."""
    if len(frames) == 0:  # an array of pictures has no truth value
        raise ValueError("no pictures were given")
    for frame in frames:
        if not isinstance(frame, np.ndarray):
            raise TypeError(f"a picture is a numpy array, not a {type(frame).__name__}")
        if frame.dtype != np.uint8:
            raise TypeError(f"a picture is uint8 with values 0 to 255, not {frame.dtype}")
        if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise ValueError(f"a picture is (height, width, 3) RGB, not of shape {frame.shape}")
        if frame.shape != frames[0].shape:
            raise ValueError(f"a batch has pictures of one size, not {frames[0].shape} and {frame.shape}")
    return frames[0].shape[0], frames[0].shape[1]


def load(
    name_or_file: str | Path = "icnet-camvid",
    device: str = "auto",
    precision: str = "auto",
    size: tuple[int, int] | None = None,
    backend: str = "torch",
    work: Work | None = None,
) -> Segmenter:
    """A Segmenter from bundled weights by name, from a .safetensors file, or from a file of `icnet export`.

    Raises:
        IcnetError: WEIGHTS for a missing or invalid file, or a trunk that has no trained classifier;
            DEVICE or USAGE as `Segmenter`.
    """
    device = str(device)  # a torch.device will do
    # A wrong word is told before a file is read.
    check_backend(backend, device, precision)
    choose_precision(precision, choose_device(device_for(backend, device)))
    path = find_weights(name_or_file)
    if is_exported(path):
        return Segmenter.of_exported(open_engine(path, device, precision, backend), size)
    loaded = load_weights(path)
    refuse_trunk_only(loaded.meta, name_or_file)
    return Segmenter(loaded.network, loaded.meta, device, precision, size, backend, work)

"""What runs a network behind the Segmenter: one interface, and torch itself as its first implementation.

An engine has three steps, timed apart: prepare (resize, normalise, upload), forward (the network up to its score map)
and postprocess (scores to labels at the picture's own size). Between them go tensors on the engine's device, so that
whoever works on scores (averaging, reuse between frames) needs not know which engine made them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from icnet_cli.checkpoints.format import Normalisation
from icnet_cli.pixels.cv import cv2
from icnet_cli.pixels.files import shrink_or_grow
from icnet_cli.pixels.labels import LabelUpsampler, labels_from_scores_torch

from .device import PRECISIONS, set_exactness
from .fold import ready_network, takes_pictures

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Labels = NDArray[np.uint8]  # (H, W)
Size = tuple[int, int]  # (height, width)


class Engine(Protocol):
    """A network made ready to run on one device in one precision.

    Attributes:
        backend: its name in reports: torch, compile, openvino, onnx.
        device: where `prepare` puts pictures and `forward` puts scores.
        align_corners: of the last upsampling, as the network was trained.
        gives_scores: False where `forward` gives labels (N, 1, h, w) already, as some exported files do.
    """

    backend: str
    device: torch.device
    precision: str
    align_corners: bool
    gives_scores: bool

    def prepare(self, frames: Sequence[Picture], size: Size) -> Tensor:
        """N pictures (H, W, 3) of one size to the network's input (N, 3, *size) on the device."""
        ...

    def forward(self, pictures: Tensor) -> Tensor:
        """The network's input (N, 3, h, w) to its score map (N, K, h', w'), on the device. Threads may ask at once."""
        ...

    def postprocess(self, scores: Tensor, size: Size, network_size: Size) -> list[Labels]:
        """Score maps of pictures that the network saw at `network_size` to N labels of `size`."""
        ...

    def still_to_build(self, size: Size) -> str | None:
        """What takes seconds before the first picture of that network size, in words; None where nothing does."""
        ...

    def warm(self, size: Size) -> None:
        """Do now what the first picture of that network size would wait for: compile, open, capture."""
        ...

    def close(self) -> None:
        """Give back what it holds outside of Python's memory; it is not used afterwards."""
        ...


class HostPixels:
    """The steps before and after the network for engines whose tensors lie in the processor's own memory."""

    def __init__(self, normalisation: Normalisation, align_corners: bool) -> None:
        self.align_corners = align_corners
        self._colours = normalising_matrix(normalisation)

    def prepare(self, frames: Sequence[Picture], size: Size) -> Tensor:
        """Float32, channels last in memory. See `Engine.prepare`."""
        return _stacked([_normalise(shrink_or_grow(f, size), self._colours) for f in map(whole, frames)])

    def stack(self, frames: Sequence[Picture], size: Size) -> Tensor:
        """The pictures as they are, uint8 (N, 3, *size), channels last in memory."""
        return _stacked([shrink_or_grow(frame, size) for frame in map(whole, frames)])

    def postprocess(self, scores: Tensor, size: Size, network_size: Size) -> list[Labels]:
        """See `Engine.postprocess`."""
        maps = scores.float().permute(0, 2, 3, 1).numpy()
        upsample = _upsampler(maps.shape[1:3], size, self.align_corners, network_size)
        return [upsample(one) for one in maps]


class TorchEngine:
    """The folded network, run by torch operator by operator: the default on a CPU, the fallback on a GPU."""

    backend = "torch"
    gives_scores = True

    def __init__(
        self, network: nn.Module, normalisation: Normalisation, device: torch.device, precision: str
    ) -> None:
        self.device, self.precision = device, precision
        self.align_corners = bool(network.align_corners)
        self._dtype, self._normalisation = PRECISIONS[precision], normalisation
        self._pixels = HostPixels(normalisation, self.align_corners)
        if device.type == "cuda":
            set_exactness(precision)
        # Half precision has too few bits for sums of 0..255, and a GPU does its own arithmetic on the way in.
        folds = device.type == "cpu" and precision == "fp32"
        self.ready = ready_network(network, device, self._dtype, normalisation if folds else None)
        self._takes_bytes = folds and takes_pictures(self.ready)

    def prepare(self, frames: Sequence[Picture], size: Size) -> Tensor:
        """See `Engine.prepare`."""
        if self._takes_bytes:
            return self._pixels.stack(frames, size).float()
        if self.device.type == "cpu":
            return self._pixels.prepare(frames, size).to(self._dtype)
        # Bytes cross to the device, a quarter of the floats they become.
        resized = np.stack([shrink_or_grow(frame, size) for frame in map(whole, frames)])
        pictures = torch.from_numpy(resized).to(self.device).permute(0, 3, 1, 2)
        return self._normalisation.apply(pictures).to(self._dtype, memory_format=torch.channels_last)

    def forward(self, pictures: Tensor) -> Tensor:
        """See `Engine.forward`."""
        return self.ready.scores(pictures)  # type: ignore[operator, no-any-return]

    def postprocess(self, scores: Tensor, size: Size, network_size: Size) -> list[Labels]:
        """See `Engine.postprocess`."""
        if self.device.type == "cpu":
            return self._pixels.postprocess(scores, size, network_size)
        labels = labels_from_scores_torch(scores, size, self.align_corners, network_size)
        return list(labels.cpu().numpy())

    def still_to_build(self, size: Size) -> str | None:
        """Nothing has to be built."""
        return None

    def warm(self, size: Size) -> None:
        """Nothing waits for a first picture."""

    def close(self) -> None:
        """Nothing is held outside of Python's memory."""


def whole(frame: Picture) -> Picture:
    """The same picture in one piece of memory, whatever view was given."""
    return np.ascontiguousarray(frame)


def normalising_matrix(normalisation: Normalisation) -> NDArray[np.float32]:
    """(3, 4) float32: RGB 0..255 and a constant 1 to the network's three input channels, in its order."""
    std = np.asarray(normalisation.std, np.float64)
    matrix = np.hstack([np.diag(1 / std), -(np.asarray(normalisation.mean) / std)[:, None]])
    return np.ascontiguousarray(matrix[::-1] if normalisation.order == "BGR" else matrix, np.float32)


def _stacked(pictures: Sequence[NDArray[Any]]) -> Tensor:
    """N pictures (H, W, 3) of one size as (N, 3, H, W), channels last in memory; one picture is not copied."""
    batch = pictures[0][None] if len(pictures) == 1 else np.stack(pictures)
    return torch.from_numpy(batch).permute(0, 3, 1, 2)


def _normalise(picture: Picture, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.transform(picture.astype(np.float32), matrix))


@lru_cache(maxsize=8)
def _upsampler(score_size: Size, size: Size, align_corners: bool, network_size: Size) -> LabelUpsampler:
    return LabelUpsampler(score_size, size, align_corners, network_size)

"""Everything that happens to a video's picture on a device: yuv420 goes in, labels or painted yuv420 come out.

Four stages on tensors that are made once: prepare (turn, convert, resize, normalise), forward (the network up to its
score map), postprocess (scores to labels, and what is counted in them) and render (colours over the planes). None asks
the host for anything, so each can be a graph; and what goes out has a byte a pixel, or one and a half, never scores.

Axes: N pictures of a batch, (H, W) upright pictures with even sides, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from icnet_cli.checkpoints.format import Normalisation
from icnet_cli.pixels.on_device import (
    DevicePainter,
    Resizer,
    TensorPlanes,
    count_classes,
    rgb_from_planes,
    turned,
)
from icnet_cli.pixels.overlay import Painter
from icnet_cli.pixels.yuv import Planes, YuvColour

from .streams import Work
from .upsample import Kernel, ScoreUpsampler

_ALIGNED = 16  # bytes to which the parts of a row begin, so that numbers can lie among them
Size = tuple[int, int]


@dataclass(frozen=True)
class DeviceJob:
    """What is wanted of a device.

    Attributes:
        size: (H, W) of the upright pictures, both even.
        network_size: the network's input.
        colour: how the planes are to be read.
        painter: what paints on the planes; None where labels are to come down.
        batch: pictures at once.
        clockwise, mirror: how the coded pictures become upright (`video.frame.Turn`).
        confidence: whether the mean probability of the pixels' first classes is wanted.
    """

    size: Size
    network_size: Size
    colour: YuvColour
    painter: Painter | None = None
    batch: int = 1
    clockwise: int = 0
    mirror: bool = False
    confidence: bool = False

    def __post_init__(self) -> None:
        if self.size[0] % 2 or self.size[1] % 2:
            raise ValueError(f"pictures with odd sides are not for a device: {self.size}")
        if self.batch < 1:
            raise ValueError(f"a batch has at least one picture, not {self.batch}")

    @property
    def coded_size(self) -> Size:
        """(height, width) of the planes as they go up."""
        return (self.size[1], self.size[0]) if self.clockwise in (90, 270) else self.size


class Landed(NamedTuple):
    """What came down of one picture; the arrays are views of memory that is used again.

    `labels` (H, W), or `planes` painted; `counts` (K,) pixels of each class; `confidence` where it was wanted.
    """

    labels: NDArray[np.uint8] | None
    planes: Planes | None
    counts: NDArray[np.int32]
    confidence: float | None


class DeviceSteps:
    """The stages for one job, over tensors of their own.

    Args:
        network: ready to run on the device in `dtype`: folded, channels last, with `scores`.
        normalisation: None where the network takes 0..255 as they are.
        scores: what runs it, where that is not its own method.
        kernel: of the upsampling (`ScoreUpsampler`).

    Attributes:
        bytes_up, bytes_down: of one picture.
        inputs, outputs: (N, bytes) uint8 on the device: filled before `prepare`, complete after the last stage.
    """

    def __init__(
        self,
        network: nn.Module,
        normalisation: Normalisation | None,
        dtype: torch.dtype,
        job: DeviceJob,
        device: torch.device,
        scores: Callable[[Tensor], Tensor] | None = None,
        kernel: Kernel | None = None,
    ) -> None:
        self.job, self._dtype, self._device = job, dtype, device
        self._scores_of: Callable[[Tensor], Tensor] = scores or network.scores  # type: ignore[assignment]
        self._kernel = kernel
        self._num_classes = int(network.num_classes)  # type: ignore[arg-type]
        self._align_corners = bool(network.align_corners)
        self._resize = Resizer(job.size, job.network_size, device)
        self._normalise = _Normalise(normalisation, device) if normalisation else None
        self._painter: DevicePainter | None = None
        if job.painter is not None:
            self._painter = DevicePainter(job.painter, job.colour, job.size, device)
        self._upsample: ScoreUpsampler | None = None

        self.out_size = self._painter.output_size if self._painter else job.size
        self.bytes_up = _plane_bytes(job.size)
        self._picture_bytes = _plane_bytes(self.out_size) if self._painter else job.size[0] * job.size[1]
        self._counts_at = -(-self._picture_bytes // _ALIGNED) * _ALIGNED
        numbers = self._num_classes + 1  # the last one is the confidence
        self.bytes_down = self._counts_at + -(-4 * numbers // _ALIGNED) * _ALIGNED
        self.inputs = torch.zeros((job.batch, self.bytes_up), dtype=torch.uint8, device=device)
        self.outputs = torch.zeros((job.batch, self.bytes_down), dtype=torch.uint8, device=device)
        self._counts, self._confidence = self._numbers()

    def _numbers(self) -> tuple[Tensor, Tensor]:
        """Views of the outputs' ends: (N, K) int32 and (N,) float32."""
        end = self._counts_at + 4 * self._num_classes
        counts = self.outputs[:, self._counts_at : end].view(torch.int32)
        return counts, self.outputs[:, end : end + 4].view(torch.float32)[:, 0]

    @property
    def stages(self) -> dict[str, Work]:
        """The stages in their order, by name."""
        found: dict[str, Work] = {
            "prepare": self.prepare,
            "forward": self.forward,
            "postprocess": self.postprocess,
        }
        return found | ({"render": self.render} if self._painter else {})

    @property
    def note(self) -> str | None:
        """What could not be done as it should be, one line."""
        return self._upsample.note if self._upsample else None

    @torch.inference_mode()
    def prepare(self) -> None:
        """Planes to the network's input."""
        coded = _planes_of(self.inputs, self.job.coded_size)
        self._planes = turned(coded, self.job.clockwise, self.job.mirror)
        x = self._resize(rgb_from_planes(self._planes, self.job.colour))
        x = self._normalise(x) if self._normalise else x
        self._x = x.to(self._dtype, memory_format=torch.channels_last)

    @torch.inference_mode()
    def forward(self) -> None:
        """The network's input to its score map."""
        self._scores = self._scores_of(self._x)

    @torch.inference_mode()
    def postprocess(self) -> None:
        """Scores to labels, and the numbers that go with them."""
        scores = self._scores
        if self._upsample is None:
            self._upsample = ScoreUpsampler(
                (scores.shape[2], scores.shape[3]), self.job.size, self._device, self._align_corners,
                self.job.network_size, self._kernel,
            )  # fmt: skip
        self._labels = self._upsample(scores)
        self._counts.copy_(count_classes(self._labels, self._num_classes))
        if self.job.confidence:
            self._confidence.copy_(scores.float().softmax(dim=1).amax(dim=1).mean(dim=(1, 2)))
        if self._painter is None:
            self.outputs[:, : self._picture_bytes].copy_(self._labels.flatten(1))

    @torch.inference_mode()
    def render(self) -> None:
        """Labels over planes."""
        assert self._painter is not None
        self._painter.paint(self._planes, self._labels, _planes_of(self.outputs, self.out_size))

    def fill(self, row: NDArray[np.uint8], planes: Planes) -> None:
        """Put a picture's planes, as coded, into a row of `bytes_up` bytes of the host."""
        for target, source in zip(_host_planes(row, self.job.coded_size), planes, strict=True):
            np.copyto(target, source)

    def read(self, row: NDArray[np.uint8]) -> Landed:
        """What is in a row of `bytes_down` bytes of the host."""
        numbers = row[self._counts_at :]
        counts = numbers[: 4 * self._num_classes].view(np.int32)
        confidence = numbers[4 * self._num_classes :][:4].view(np.float32)
        height, width = self.job.size
        return Landed(
            None if self._painter else row[: self._picture_bytes].reshape(height, width),
            Planes(*_host_planes(row, self.out_size)) if self._painter else None,
            counts,
            float(confidence[0]) if self.job.confidence else None,
        )


class _Normalise:
    """`Normalisation.apply` with its numbers on the device already: to upload them is no part of a graph."""

    def __init__(self, normalisation: Normalisation, device: torch.device) -> None:
        self._mean, self._std = (
            torch.tensor(part, device=device).view(1, 3, 1, 1)
            for part in (normalisation.mean, normalisation.std)
        )
        self._flips = normalisation.order == "BGR"

    def __call__(self, rgb: Tensor) -> Tensor:
        x = (rgb - self._mean) / self._std
        return x.flip(1) if self._flips else x


def _plane_bytes(size: Size) -> int:
    return size[0] * size[1] * 3 // 2


def _bounds(size: Size) -> list[tuple[int, int, Size]]:
    """Where Y, U and V lie among the bytes of a picture, and their sizes."""
    luma, chroma = size[0] * size[1], (size[0] // 2, size[1] // 2)
    quarter = luma // 4
    return [
        (0, luma, size),
        (luma, luma + quarter, chroma),
        (luma + quarter, luma + 2 * quarter, chroma),
    ]


def _planes_of(rows: Tensor, size: Size) -> TensorPlanes:
    """Views of (N, bytes)."""
    return TensorPlanes(*(rows[:, start:end].unflatten(1, shape) for start, end, shape in _bounds(size)))


def _host_planes(row: NDArray[np.uint8], size: Size) -> list[NDArray[np.uint8]]:
    return [row[start:end].reshape(shape) for start, end, shape in _bounds(size)]

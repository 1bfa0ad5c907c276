"""A picture to labels at its own size: as `segment` does it, or averaged over scales and mirror images."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from icnet_cli.checkpoints.format import LoadedWeights, Normalisation
from icnet_cli.config import CompareConfig, EvalConfig
from icnet_cli.errors import device_error, is_out_of_memory
from icnet_cli.evaluation.confusion import Labels
from icnet_cli.inference.choice import Work
from icnet_cli.inference.exported import ExportedEngine
from icnet_cli.inference.graphs import CALLS, SIZES
from icnet_cli.inference.segmenter import SMALLEST, Segmenter
from icnet_cli.pixels.files import shrink_or_grow
from icnet_cli.pixels.labels import source_positions

Image = NDArray[np.uint8]  # (H, W, 3) RGB
Size = tuple[int, int]  # (height, width)


class Predictor:
    """Labels pictures with a Segmenter and keeps the time its network took.

    With one scale and no mirror image it runs the Segmenter's own three stages, so that what is measured is
    what `icnet segment` runs. Otherwise the softmax probabilities at each scale, each also from the mirrored
    picture with `flip`, are brought to the picture's size and averaged.
    """

    def __init__(self, segmenter: Segmenter, scales: Sequence[float] = (1.0,), flip: bool = False) -> None:
        self.segmenter, self.scales, self.flip = segmenter, tuple(scales), flip
        self.network_s = 0.0
        self.images = 0
        self._settled: set[object] = set()

    @property
    def model_ms(self) -> float:
        """The network alone, milliseconds a picture: the sum of its passes, without resizing or averaging."""
        return self.network_s * 1000 / self.images if self.images else 0.0

    def labels(self, image: Image) -> Labels:
        """(H, W, 3) RGB uint8 to uint8 (H, W). Raises a device error where memory does not suffice."""
        self.images += 1
        size = (image.shape[0], image.shape[1])
        with _memory_words(self.segmenter.device), torch.inference_mode():
            if self.scales != (1.0,) or self.flip:
                return self._averaged(image, size)
            scores = self._forward(self.segmenter.prepare([image]))
            return self.segmenter.postprocess(scores, size)[0]

    def _averaged(self, image: Image, size: Size) -> Labels:
        total: Tensor | None = None
        for scale in self.scales:
            input_size = scaled_size(self.segmenter.input_size(*size), scale)
            for scores in self._passes(self.segmenter.prepare([image], input_size)):
                full = upsample_scores(scores, size, self.segmenter.engine.align_corners, input_size)
                part = full.softmax(dim=1)
                total = part if total is None else total.add_(part)
        assert total is not None  # a config with no scales is refused
        return total[0].argmax(dim=0).to(torch.uint8).cpu().numpy()

    def _passes(self, x: Tensor) -> Iterator[Tensor]:
        """Scores of the picture and, mirrored back, of its mirror image."""
        yield self._forward(x)
        if self.flip:
            yield self._forward(x.flip(3)).flip(3)

    def _forward(self, x: Tensor) -> Tensor:
        self._settle(x)
        self._wait()
        start = time.perf_counter()
        scores = self.segmenter.forward(x)
        self._wait()
        self.network_s += time.perf_counter() - start
        return scores

    def _settle(self, x: Tensor) -> None:
        """Have what happens once for each size on a GPU, a search for algorithms and a graph's capture, happen untimed.

        Of more sizes than have graphs at a time, none is run in vain.
        """
        key = (x.shape, x.stride())
        if self.segmenter.device.type != "cuda" or key in self._settled or len(self._settled) >= SIZES:
            return
        self._settled.add(key)
        for _ in range(CALLS):
            self.segmenter.forward(x)

    def _wait(self) -> None:
        if self.segmenter.device.type == "cuda":
            torch.cuda.synchronize(self.segmenter.device)


def segmenter_of(
    weights: LoadedWeights | ExportedEngine,
    config: EvalConfig | CompareConfig,
    work: Work,
    *,
    at_training_size: bool,
) -> Segmenter:
    """What runs weights or an exported file as a command says; see `Segmenter` for `at_training_size`."""
    if isinstance(weights, ExportedEngine):
        return Segmenter.of_exported(weights, config.size, at_training_size)
    return Segmenter(
        weights.network,
        weights.meta,
        config.device,
        config.precision,
        config.size,
        config.backend,
        work,
        at_training_size,
    )


def scaled_size(size: Size, scale: float) -> Size:
    """Both sides times `scale`, at least what the networks take."""
    return max(SMALLEST, round(size[0] * scale)), max(SMALLEST, round(size[1] * scale))


def network_input(image: Image, size: Size, device: torch.device, normalisation: Normalisation) -> Tensor:
    """(H, W, 3) RGB uint8 to float (1, 3, height, width), resized to `size` and normalised."""
    resized = np.ascontiguousarray(shrink_or_grow(image, size))
    pixels = torch.from_numpy(resized).to(device).permute(2, 0, 1)[None]
    return normalisation.apply(pixels).contiguous(memory_format=torch.channels_last)


def upsample_scores(scores: Tensor, size: Size, align_corners: bool, network_size: Size) -> Tensor:
    """(N, K, h, w) scores to float32 (N, K, *size), bilinear, with the geometry of `pixels.labels`."""
    scores = scores.float()
    for dim, (n_out, n_network) in enumerate(zip(size, network_size, strict=True), start=2):
        n_in = scores.shape[dim]
        position = torch.from_numpy(source_positions(n_in, n_out, align_corners, n_network))
        position = position.clamp_(0, n_in - 1).to(scores.device)
        low = position.floor().long()
        high = (low + 1).clamp_(max=n_in - 1)
        weight = (position - low).view(-1, *[1] * (3 - dim))
        scores = torch.lerp(scores.index_select(dim, low), scores.index_select(dim, high), weight)
    return scores


@contextmanager
def _memory_words(device: torch.device) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise device_error(
            f"out of memory on {device}; give a smaller --size, fewer --scales or another --device"
        ) from error

"""Scores to full-size labels on a device, in one pass that never holds the full-size scores.

Two implementations of one arithmetic: a Triton kernel where there is Triton and a CUDA device, and torch a band of
rows at a time elsewhere. Both take first the rows and then the columns between four neighbouring scores, in float32
and without fused products, so they give the same labels to the last pixel, ties included.

Axes: N pictures, K classes, (h, w) the score map, (H, W) the labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from icnet_cli.errors import is_out_of_memory
from icnet_cli.pixels.labels import source_positions

Kernel = Callable[[Tensor, "Axis", "Axis", Tensor], None]
_BAND_ROWS = 256


class Axis(NamedTuple):
    """Between which two scores each of n pixels of one axis lies, and how far towards the second."""

    low: Tensor  # (n,) int32
    high: Tensor  # (n,) int32
    weight: Tensor  # (n,) float32


class ScoreUpsampler:
    """(N, K, h, w) scores of any float type to (N, H, W) uint8 labels; the geometry is uploaded once.

    Args:
        score_size, size: (h, w) and (H, W).
        align_corners, network_size: as `pixels.labels.LabelUpsampler`.
        kernel: None takes Triton's where it is to be had; else `upsample_torch` or another of its kind.

    Attributes:
        note: why the kernel could not be used, one line; None where it could, or was not asked for.
    """

    def __init__(
        self,
        score_size: tuple[int, int],
        size: tuple[int, int],
        device: torch.device,
        align_corners: bool = False,
        network_size: tuple[int, int] | None = None,
        kernel: Kernel | None = None,
    ) -> None:
        self.size = size
        networks = network_size or (None, None)
        self._rows, self._columns = (
            _axis(n_in, n_out, align_corners, network, device)
            for n_in, n_out, network in zip(score_size, size, networks, strict=True)
        )
        self.note: str | None = None
        self._kernel = kernel or (upsample_torch if device.type != "cuda" else self._triton_or_torch())

    def __call__(self, scores: Tensor) -> Tensor:
        labels = torch.empty((len(scores), *self.size), dtype=torch.uint8, device=scores.device)
        try:
            self._kernel(scores, self._rows, self._columns, labels)
        except Exception as error:
            if self._kernel is upsample_torch or is_out_of_memory(error):
                raise
            # A kernel is compiled at its first call, for which a machine may lack something.
            self._fall_back(error)
            self._kernel(scores, self._rows, self._columns, labels)
        return labels

    def _triton_or_torch(self) -> Kernel:
        try:
            from .triton_labels import upsample_triton
        except Exception as error:
            self._fall_back(error)
            return upsample_torch
        return upsample_triton

    def _fall_back(self, error: Exception) -> None:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        self.note = f"scores become labels in torch, not in a Triton kernel: {reason}"
        self._kernel = upsample_torch


def _axis(n_in: int, n_out: int, align_corners: bool, network: int | None, device: torch.device) -> Axis:
    position = np.clip(source_positions(n_in, n_out, align_corners, network), 0, n_in - 1)
    low = np.minimum(np.floor(position).astype(np.int32), max(n_in - 2, 0))
    high = np.minimum(low + 1, n_in - 1)
    parts = (low, high, (position - low).astype(np.float32))
    return Axis(*(torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in parts))


def upsample_torch(scores: Tensor, rows: Axis, columns: Axis, labels: Tensor) -> None:
    """The kernel's arithmetic in torch, into `labels` (N, H, W) uint8."""
    scores = scores.float()
    for start in range(0, labels.shape[1], _BAND_ROWS):
        band = slice(start, min(start + _BAND_ROWS, labels.shape[1]))
        upper = scores.index_select(2, rows.low[band])
        lower = scores.index_select(2, rows.high[band])
        between = upper + (lower - upper) * rows.weight[band, None]  # (N, K, band, w)
        left = between.index_select(3, columns.low)
        right = between.index_select(3, columns.high)
        labels[:, band] = (left + (right - left) * columns.weight).argmax(dim=1).to(torch.uint8)

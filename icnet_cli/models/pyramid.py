"""Pyramid pooling: a map averaged over a grid of windows, in the published kernels or the adaptive ones.

Axes as in `layers`.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from .layers import is_free, resize

PYRAMID_GRIDS = (1, 2, 3, 6)


def pyramid_bins(length: int, grid: int, kernels: str = "published") -> list[tuple[int, int]]:
    """The [start, end) of each of `grid` pooling windows over `length` rows or columns.

    `published`: the authors' overlapping kernels. Their files give them for 33x65 only (grid 3 on 33 rows: kernel 13,
    stride 10; grid 6: kernel 8, stride 5); the rule that gives those figures, and is used at all sizes, is stride
    length // 6 for grid 6, twice that for grid 3, length // 2 for grid 2, and a kernel that reaches the end.
    `adaptive`: what adaptive average pooling computes. Maps under 6 rows have no overlapping form and use it too.
    """
    if kernels == "adaptive" or length < 6:
        return [(i * length // grid, -(-(i + 1) * length // grid)) for i in range(grid)]
    stride = {1: length, 2: length // 2, 3: 2 * (length // 6), 6: length // 6}[grid]
    kernel = length - (grid - 1) * stride
    return [(i * stride, i * stride + kernel) for i in range(grid)]


def pooling_matrix(length: int, grid: int, kernels: str, like: Tensor) -> Tensor:
    """(grid, length): row i averages bin i. Two of them pool a map by matrix products, which every exporter takes."""
    if is_free(length):
        return _free_pooling_matrix(length, grid, kernels).to(like)
    if like.is_cuda:
        # A copy from the host in each pass would keep the GPU waiting, and a CUDA graph takes none.
        if torch.compiler.is_compiling():
            return _free_pooling_matrix(length, grid, kernels, like.device).to(like)
        return _kept_pooling_matrix(length, grid, kernels, like.device, like.dtype)
    return _fixed_pooling_matrix(length, grid, kernels).to(like)


def _fixed_pooling_matrix(length: int, grid: int, kernels: str) -> Tensor:
    matrix = torch.zeros(grid, length)
    for row, (start, end) in enumerate(pyramid_bins(length, grid, kernels)):
        matrix[row, start:end] = 1.0 / (end - start)
    return matrix


# For good: a CUDA graph reads them where they lie, long after the pass that asked. A length has some kilobytes.
@cache
def _kept_pooling_matrix(
    length: int, grid: int, kernels: str, device: torch.device, dtype: torch.dtype
) -> Tensor:
    # Whoever asks first may be in inference mode, whose tensors a training pass cannot use.
    with torch.inference_mode(False):
        return _fixed_pooling_matrix(length, grid, kernels).to(device, dtype)


def _free_pooling_matrix(length: int, grid: int, kernels: str, device: torch.device | None = None) -> Tensor:
    """`pooling_matrix` in tensor arithmetic alone, so that an exported graph computes it for every length."""
    position = torch.arange(length, device=device)
    last = torch.full((), length, device=device)
    index = torch.arange(grid, device=device)
    start, end = (index * last) // grid, ((index + 1) * last + grid - 1) // grid
    if kernels == "published":
        step = {2: last // 2, 3: 2 * (last // 6), 6: last // 6}[grid]
        short = last < 6
        start, end = (
            torch.where(short, start, index * step),
            torch.where(short, end, index * step + last - (grid - 1) * step),
        )
    inside = (position >= start[:, None]) & (position < end[:, None])
    return inside.float() / (end - start)[:, None]


def pyramid_pool(x: Tensor, grid: int, kernels: str) -> Tensor:
    """Average pooling to grid x grid: (N, C, H, W) -> (N, C, grid, grid), channels last in memory."""
    if grid == 1:
        return x.mean(dim=(2, 3), keepdim=True)
    rows = pooling_matrix(x.shape[2], grid, kernels, x)
    columns = pooling_matrix(x.shape[3], grid, kernels, x)
    if is_free(*x.shape[2:]):
        return rows @ x @ columns.T  # what follows would tie an exported file to some sizes
    # With the channels last each product is one of large matrices, and a map in channels_last is not copied for it;
    # with the channels first it would be a thousand small ones, each copied: 70 ms of a 1024x2048 picture's 380.
    last = x.permute(0, 2, 3, 1)  # (N, H, W, C)
    pooled = (rows @ last.flatten(2)).unflatten(2, last.shape[2:])  # (N, grid, W, C)
    return (columns @ pooled).permute(0, 3, 1, 2)


class SummedPyramid(nn.Module):
    """ICNet's pyramid pooling: the map plus its four pooled and upsampled copies (2017 paper, section 6).

    A sum where PSPNet concatenates, so it has no weights and keeps the channel count.
    """

    def __init__(self, kernels: str, align_corners: bool) -> None:
        super().__init__()
        self.kernels, self.align_corners = kernels, align_corners

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[2], x.shape[3])
        total = x
        for grid in PYRAMID_GRIDS:
            pooled = pyramid_pool(x, grid, self.kernels)
            # One value a channel is the same everywhere: the sum spreads it.
            total = total + (pooled if grid == 1 else resize(pooled, size, self.align_corners))
        return total

"""Upsample and arg-max in one Triton kernel: four scores a class are read, one byte is written.

Importing this needs Triton, which comes with torch for CUDA. `upsample` says when it is used.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_Axis = tuple[Tensor, Tensor, Tensor]  # the fields of `upsample.Axis`
_BLOCK = 256  # pixels of a row to one program


@triton.jit
def _labels_kernel(
    scores, labels, row_low, row_high, row_weight, column_low, column_high, column_weight,
    width, height, stride_n, stride_k, stride_h, stride_w, num_classes: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0) * block + tl.arange(0, block)
    row = tl.program_id(1)
    picture = tl.program_id(2).to(tl.int64)
    inside = column < width
    # Where a pixel lies between four scores: two rows, the same for all of the program, and two columns.
    left = tl.load(column_low + column, mask=inside, other=0) * stride_w
    right = tl.load(column_high + column, mask=inside, other=0) * stride_w
    across = tl.load(column_weight + column, mask=inside, other=0.0)
    top = scores + picture * stride_n + tl.load(row_low + row) * stride_h
    bottom = scores + picture * stride_n + tl.load(row_high + row) * stride_h
    down = tl.load(row_weight + row)

    best = tl.full([block], float("-inf"), tl.float32)
    found = tl.zeros([block], tl.int32)
    for k in range(num_classes):
        offset = k * stride_k
        top_left = tl.load(top + left + offset, mask=inside, other=0.0).to(tl.float32)
        top_right = tl.load(top + right + offset, mask=inside, other=0.0).to(tl.float32)
        bottom_left = tl.load(bottom + left + offset, mask=inside, other=0.0).to(tl.float32)
        bottom_right = tl.load(bottom + right + offset, mask=inside, other=0.0).to(tl.float32)
        at_left = top_left + (bottom_left - top_left) * down
        at_right = top_right + (bottom_right - top_right) * down
        score = at_left + (at_right - at_left) * across
        better = score > best  # of equals the first class stays, as in argmax
        best = tl.where(better, score, best)
        found = tl.where(better, k, found)
    tl.store(labels + (picture * height + row) * width + column, found.to(tl.uint8), mask=inside)


def upsample_triton(scores: Tensor, rows: _Axis, columns: _Axis, labels: Tensor) -> None:
    """(N, K, h, w) scores of any float type and memory order into `labels` (N, H, W) uint8, contiguous."""
    count, height, width = labels.shape
    grid: Any = (triton.cdiv(width, _BLOCK), height, count)
    with torch.cuda.device_of(scores):  # Triton launches on the current device, whatever its arguments lie on
        _labels_kernel[grid](
            scores, labels, *rows, *columns, width, height, *_strides(scores), scores.shape[1], _BLOCK,
            num_warps=4, enable_fp_fusion=False,
        )  # fmt: skip


def _strides(scores: Tensor) -> tuple[int, int, int, int]:
    n, k, h, w = scores.stride()
    return n, k, h, w

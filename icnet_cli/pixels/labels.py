"""Scores (the network's small map) to labels at full size, exactly and without the full-size scores.

Bilinear interpolation is a convex combination of the four scores at the corners of a cell. Where
one class is the arg-max of all four corners it is the arg-max everywhere inside, so such a cell is
filled without interpolating anything; on road scenes that is 95 % of the picture. Only the cells on
class borders are interpolated, and of those most are settled between two classes by the sign of one
interpolated difference. The result is interpolate + argmax on every pixel but exact ties.

Axes: (h, w) is the score map, (H, W) the labels, K the classes, M cells, R and C pixels in a cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]

# Pixels interpolated at once: bounds the scratch memory on a noise picture, where every cell is a border.
_CHUNK_PIXELS = 1 << 18
_CHUNK_ROWS = 256  # of the torch twin


def source_positions(
    n_in: int, n_out: int, align_corners: bool, n_network: int | None = None
) -> NDArray[np.float32]:
    """Where each of `n_out` pixels falls on an axis of `n_in` scores (float32, unclamped).

    With `n_network` the scores belong to a picture of that many pixels, itself a resized copy of the
    picture asked for; one step then replaces interpolating to `n_network` and again to `n_out`.
    float32 throughout, as torch computes it, so that both round alike.
    """
    pixels = np.arange(n_out, dtype=np.float32)
    half = np.float32(0.5)
    if not align_corners:
        return (pixels + half) * np.float32(n_in / n_out) - half
    if n_network is None or n_network == n_out:
        n_network = n_out
    else:
        pixels = (pixels + half) * np.float32(n_network / n_out) - half
    return pixels * np.float32((n_in - 1) / (n_network - 1) if n_network > 1 else 0.0)


class _Axis(NamedTuple):
    """One axis cut into cells: cell c lies between the scores lo[c] and hi[c].

    The first and last cells lie outside the outermost scores (lo == hi): bilinear interpolation
    repeats the border there.
    """

    lo: NDArray[np.intp]  # (cells,)
    hi: NDArray[np.intp]  # (cells,)
    cell: NDArray[np.intp]  # (n_out,) the cell of each pixel
    pixels: NDArray[np.intp]  # (R, cells) the pixels of each cell; short cells repeat their last
    weight: NDArray[np.float32]  # (R, cells) how far towards `hi` each of those pixels lies
    empty: NDArray[np.bool_]  # (cells,) no pixel falls here (labels smaller than the scores)


def _axis(n_in: int, positions: NDArray[np.float32]) -> _Axis:
    n_out = len(positions)
    floor = np.floor(positions).astype(np.intp)
    cell = np.clip(floor + 1, 0, n_in)
    weight = np.clip(positions - (cell - 1), 0, 1).astype(np.float32)
    starts = np.searchsorted(cell, np.arange(n_in + 2))
    counts = np.diff(starts)
    within = np.minimum(np.arange(max(1, counts.max()))[:, None], np.maximum(counts - 1, 0))
    pixels = np.minimum(starts[:-1] + within, n_out - 1)
    cells = np.arange(n_in + 1)
    return _Axis(
        lo=np.maximum(cells - 1, 0),
        hi=np.minimum(cells, n_in - 1),
        cell=cell,
        pixels=pixels,
        weight=weight[pixels],
        empty=counts == 0,
    )


class LabelUpsampler:
    """Turns score maps of one size into labels of one size; the geometry is worked out once.

    Args:
        score_size: (h, w) of the score map.
        size: (H, W) of the labels.
        align_corners: as the network was trained with.
        network_size: (height, width) the network saw, where that is not `size` (see `source_positions`).
    """

    def __init__(
        self,
        score_size: tuple[int, int],
        size: tuple[int, int],
        align_corners: bool = False,
        network_size: tuple[int, int] | None = None,
    ) -> None:
        if min(*score_size, *size) < 1:
            raise ValueError(f"sizes must be at least 1x1, not {score_size} and {size}")
        self.score_size, self.size = tuple(score_size), tuple(size)
        networks = network_size or (None, None)
        self._rows, self._columns = (
            _axis(n_in, source_positions(n_in, n_out, align_corners, network))
            for n_in, n_out, network in zip(score_size, size, networks, strict=True)
        )

    def __call__(self, scores: Array) -> NDArray[np.uint8]:
        """(h, w, K) float scores, K <= 256, to (H, W) uint8 labels. Channels-last memory is fastest."""
        if scores.ndim != 3 or scores.shape[:2] != self.score_size or not 1 <= scores.shape[2] <= 256:
            raise ValueError(f"expected scores {(*self.score_size, 'K <= 256')}, not {scores.shape}")
        scores = np.ascontiguousarray(scores, dtype=np.float32)
        best = scores.argmax(axis=2).astype(np.uint8)
        rows, columns = self._rows, self._columns
        # `take` is several times faster than indexing, here and below.
        top, bottom = best.take(rows.lo, axis=0), best.take(rows.hi, axis=0)
        by_cell = top.take(columns.lo, axis=1)  # (h+1, w+1), top left corners
        border = by_cell != top.take(columns.hi, axis=1)
        border |= by_cell != bottom.take(columns.lo, axis=1)
        border |= by_cell != bottom.take(columns.hi, axis=1)
        border[rows.empty] = False
        border[:, columns.empty] = False

        # Every cell filled, the border ones wrongly.
        labels = by_cell.take(columns.cell, axis=1).take(rows.cell, axis=0)
        cells = np.argwhere(border)
        step = max(1, _CHUNK_PIXELS // (len(rows.pixels) * len(columns.pixels)))
        for start in range(0, len(cells), step):
            self._mend(labels, scores, best, cells[start : start + step])
        return labels

    def _mend(self, labels: Array, scores: Array, best: Array, cells: Array) -> None:
        """Interpolate the border cells (M, 2) and write their pixels into `labels`.

        M is the last axis of everything here: the loops inside numpy are then thousands of numbers long, not K or R.
        """
        i, j = cells.T
        rows, columns = self._rows, self._columns
        top, bottom = rows.lo.take(i) * scores.shape[1], rows.hi.take(i) * scores.shape[1]
        left, right = columns.lo.take(j), columns.hi.take(j)
        at = np.stack([top + left, top + right, bottom + left, bottom + right])
        corners = scores.reshape(-1, scores.shape[2]).take(at, axis=0)  # (4, M, K)
        corners = np.ascontiguousarray(corners.transpose(2, 0, 1))  # (K, 4, M)
        may_win = _contenders(corners, best.reshape(-1).take(at))
        rivals = may_win.sum(axis=0)
        fewest = 1
        for most in (2, 4, len(corners)):
            some = np.flatnonzero((rivals > fewest) & (rivals <= most))
            if len(some):
                classes = _class_numbers(may_win[:, some], rivals[some].max())
                found = self._winners(corners[:, :, some], classes, i[some], j[some])
                self._scatter(labels, found, i[some], j[some])
            fewest = most

    def _winners(self, corners: Array, classes: Array, i: Array, j: Array) -> Array:
        """The best of `classes` (S, M), ascending, at each pixel of M cells with corners (K, 4, M): (R, C, M) uint8."""
        held = np.take_along_axis(corners, classes[:, None].astype(np.intp), axis=0)  # (S, 4, M)
        if len(classes) == 2:
            first, second = classes
            lead = self._inside(held[0] - held[1], i, j)
            # `second`, and where `first` leads or ties what is missing to it (modulo 256): np.where is 7 times slower.
            return second + (lead >= 0).view(np.uint8) * (first - second)  # type: ignore[no-any-return]
        highest = self._inside(held[0], i, j)
        found = np.broadcast_to(classes[0], highest.shape).copy()
        for one, values in zip(classes[1:], held[1:], strict=True):
            inside = self._inside(values, i, j)
            np.copyto(found, one, where=inside > highest)  # a tie is the smaller class's, as in argmax
            np.maximum(highest, inside, out=highest)
        return found

    def _inside(self, corners: Array, i: Array, j: Array) -> Array:
        """One value at the four corners of the cells (i, j), (4, M), interpolated at their pixels: (R, C, M)."""
        down, across = self._rows.weight.take(i, axis=1), self._columns.weight.take(j, axis=1)
        top = corners[0] + (corners[1] - corners[0]) * across  # (C, M)
        bottom = corners[2] + (corners[3] - corners[2]) * across
        return top + (bottom - top) * down[:, None]  # type: ignore[no-any-return]

    def _scatter(self, labels: Array, found: Array, i: Array, j: Array) -> None:
        """Write `found` (R, C, M) into the pixels of the cells (i, j)."""
        starts = self._rows.pixels.take(i, axis=1) * labels.shape[1]
        labels.reshape(-1)[starts[:, None] + self._columns.pixels.take(j, axis=1)] = found


def _contenders(corners: Array, best: Array) -> Array:
    """The classes that may win somewhere inside each of M cells: (K, 4, M) scores, (4, M) winners -> (K, M) bool.

    A class that wins at no corner cannot win inside either where, at all four, it is below a winner, or below the
    mean of two: a mean of two interpolations is the interpolation of the mean, and never above the larger.
    """
    first, second = best.min(axis=0), best.max(axis=0)
    one, other = (
        np.take_along_axis(corners, winner[None, None].astype(np.intp), axis=0)[0]
        for winner in (first, second)
    )
    bounds = (one + other) / 2, one, other  # (4, M) each
    may_win: Array = np.logical_and.reduce(
        [np.logical_or.reduce(corners >= bound, axis=1) for bound in bounds]
    )
    cells = np.arange(best.shape[1])
    may_win[first, cells] = may_win[second, cells] = True
    return may_win


def _class_numbers(may_win: Array, most: int) -> Array:
    """Each cell's contenders, ascending: (K, M) bool -> (most, M) uint8; short lists repeat their first."""
    if most == 2:
        last = len(may_win) - 1 - may_win[::-1].argmax(axis=0)
        return np.stack([may_win.argmax(axis=0), last]).astype(np.uint8)
    cell, number = np.nonzero(may_win.T)
    rank = may_win.cumsum(axis=0)[number, cell] - 1
    classes = np.repeat(may_win.argmax(axis=0)[None], most, axis=0).astype(np.uint8)
    classes[rank, cell] = number
    return classes


def labels_from_scores(
    scores: Array,
    size: tuple[int, int],
    align_corners: bool = False,
    network_size: tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
    """(h, w, K) scores to (H, W) uint8 labels: `LabelUpsampler` for one picture."""
    return LabelUpsampler(scores.shape[:2], size, align_corners, network_size)(scores)


def labels_from_scores_torch(
    scores: torch.Tensor,
    size: tuple[int, int],
    align_corners: bool = False,
    network_size: tuple[int, int] | None = None,
) -> torch.Tensor:
    """The twin for tensors on any device: (N, K, h, w) scores to (N, H, W) uint8 labels.

    Interpolates and takes the arg-max a band of rows at a time, so that the full-size scores
    never exist at once. Same geometry and same ties as `labels_from_scores`.
    """
    import torch

    def axis(dim: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        n_in, n_out = scores.shape[2 + dim], size[dim]
        network = network_size[dim] if network_size else None
        position = torch.from_numpy(source_positions(n_in, n_out, align_corners, network))
        position = position.clamp_(0, n_in - 1).to(scores.device)
        low = position.floor().long().clamp_(max=max(n_in - 2, 0))
        return low, (low + 1).clamp_(max=n_in - 1), position - low

    top, bottom, down = axis(0)
    left, right, across = axis(1)
    scores = scores.float()
    labels = torch.empty((len(scores), *size), dtype=torch.uint8, device=scores.device)
    for start in range(0, size[0], _CHUNK_ROWS):
        band = slice(start, min(start + _CHUNK_ROWS, size[0]))
        upper, lower = scores[:, :, top[band]], scores[:, :, bottom[band]]
        rows = torch.lerp(upper, lower, down[band][:, None])  # (N, K, band, w)
        full = torch.lerp(rows[..., left], rows[..., right], across)
        labels[:, band] = full.argmax(dim=1).to(torch.uint8)
    return labels

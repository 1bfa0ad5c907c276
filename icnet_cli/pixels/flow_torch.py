"""The twin of `flow` for tensors on any device: the same words, the same meaning, another way to find the motion.

Axes: (h, w) is the reduced grey picture, uint8 as there; a flow is float32 (h, w, 2), x then y.

Dense Lucas-Kanade from coarse to fine: at each level the earlier picture is drawn as the flow so far says, and what is
left is explained by its gradient over a window, a few times. Everything is convolutions and samplings of fixed shapes.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from . import flow as host
from .on_device import Resizer

_LEVELS = 5  # the coarsest has 1/16 of the side, so that 30 pixels are two
_STEPS = 3  # at each level
_RADIUS = 4  # of the window that moves as one
_CALM = 12.0  # grey levels squared: what a gradient must exceed to be believed
_LONGEST_STEP = 1.5  # pixels a step may move, as a gradient says nothing of what lies further


def reduced_grey(rgb: Tensor, longest: int = host.LONGEST_SIDE) -> Tensor:
    """(H, W, 3) RGB uint8 to uint8 (h, w), within a grey level of `flow.reduced_grey`."""
    size = (rgb.shape[0], rgb.shape[1])
    small = _resizer(size, host.reduced_size(size, longest), rgb.device)(rgb.permute(2, 0, 1)[None])[0]
    red, green, blue = small.float()
    return (0.299 * red + 0.587 * green + 0.114 * blue).round().to(torch.uint8)


@lru_cache(maxsize=4)
def _resizer(size: tuple[int, int], to: tuple[int, int], device: torch.device) -> Resizer:
    return Resizer(size, to, device)


def flow_between(previous: Tensor, current: Tensor) -> Tensor:
    """Where each pixel of `current` was in `previous`: float32 (h, w, 2).

    Args:
        previous, current: uint8 (h, w) of one size, on one device.

    Raises:
        ValueError: for pictures of two sizes.
    """
    if previous.shape != current.shape:
        raise ValueError(f"flow needs two pictures of one size, not {previous.shape} and {current.shape}")
    olds, news = _pyramid(previous), _pyramid(current)
    found = torch.zeros((*news[-1].shape[2:], 2), device=current.device)
    for old, new in zip(reversed(olds), reversed(news), strict=True):
        found = resize_flow(found, (new.shape[2], new.shape[3]))
        found = _refine(old, new, found)
    return found


def _pyramid(grey: Tensor) -> list[Tensor]:
    """(1, 1, h, w) float32, each half of the one before, as many as the size has room for."""
    levels = [_blur(grey[None, None].float(), 1)]
    while len(levels) < _LEVELS and min(levels[-1].shape[2:]) >= 2 * host.SMALLEST_SIDE // 2:
        levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True))
    return levels


def _blur(x: Tensor, radius: int) -> Tensor:
    """The mean over a window, which is smaller at the border."""
    side = 2 * radius + 1
    return F.avg_pool2d(x, side, 1, radius, count_include_pad=False)


def _refine(old: Tensor, new: Tensor, flow: Tensor) -> Tensor:
    dx, dy = _gradients(new)
    sums = _blur(torch.cat((dx * dx, dx * dy, dy * dy), 1), _RADIUS)
    xx, xy, yy = sums[:, :1] + _CALM, sums[:, 1:2], sums[:, 2:] + _CALM
    scale = 1 / (xx * yy - xy * xy)
    for _ in range(_STEPS):
        missing = new - warp(old, flow)
        pulls = _blur(torch.cat((dx * missing, dy * missing), 1), _RADIUS)
        px, py = pulls[:, :1], pulls[:, 1:]
        # new(x) = old(x + flow): moving further along the gradient by `step` adds step * gradient.
        step = torch.cat(((yy * px - xy * py) * scale, (xx * py - xy * px) * scale), 1)
        step = step.clamp(-_LONGEST_STEP, _LONGEST_STEP)
        flow = flow + _blur(step, 1)[0].permute(1, 2, 0)
    return flow


def _gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences along columns and rows (1, 1, h, w); the border repeats."""
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    across = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    down = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    return across, down


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """See `flow.resize_flow`."""
    height, width = flow.shape[:2]
    if (height, width) == tuple(size):
        return flow
    maps = flow.permute(2, 0, 1)[None]
    if size[0] < height:
        maps = F.adaptive_avg_pool2d(maps, size)
    else:
        maps = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    return maps[0].permute(1, 2, 0) * _pair(size[1] / width, size[0] / height, flow.device)


def warp(maps: Tensor, flow: Tensor) -> Tensor:
    """(1, C, H, W) maps of the previous frame as they are in the current one, float32; see `flow.warp`."""
    height, width = maps.shape[2:]
    spots = _grid(height, width, flow.device) + resize_flow(flow, (height, width))
    # grid_sample counts from -1 to 1, over the outer edges of the outer pixels.
    places = ((2 * spots + 1) / _pair(width, height, flow.device) - 1)[None]
    # Half precision would round the places to a tenth of a pixel.
    return F.grid_sample(maps.float(), places, mode="bilinear", padding_mode="border", align_corners=False)


def compose(first: Tensor, second: Tensor) -> Tensor:
    """See `flow.compose`."""
    return second + warp(first.permute(2, 0, 1)[None], second)[0].permute(1, 2, 0)


def photometric_error(previous: Tensor, current: Tensor, flow: Tensor) -> Tensor:
    """Float32 (h, w); see `flow.photometric_error`."""
    height, width = current.shape
    came = warp(previous[None, None].float(), flow).round()
    now = current[None, None].float()
    highest = F.max_pool2d(came, 3, 1, 1)
    lowest = -F.max_pool2d(-came, 3, 1, 1)
    off = F.relu(now - highest) + F.relu(lowest - now)
    error = _blur(off, 2)[0, 0]
    spots = _grid(height, width, flow.device) + flow
    outside = ((spots < -0.5) | (spots > _pair(width - 0.5, height - 0.5, flow.device))).any(dim=-1)
    return error.masked_fill(outside, 255.0)


def worst_patch(unexplained: Tensor) -> Tensor:
    """Of (h, w) booleans a number on the device; see `flow.worst_patch`."""
    height, width = unexplained.shape
    side = min(host.patch_side((height, width)), height, width)
    columns = F.avg_pool2d(unexplained[None, None].float(), (side, 1), 1)
    return F.avg_pool2d(columns, (1, side), 1).max()


@lru_cache(maxsize=64)
def _pair(x: float, y: float, device: torch.device) -> Tensor:
    """(2,) float32, uploaded once: a copy at each step of each level would have the host wait for the device."""
    return torch.tensor((x, y), dtype=torch.float32, device=device)


@lru_cache(maxsize=8)
def _grid(height: int, width: int, device: torch.device) -> Tensor:
    """(h, w, 2): each pixel's own column and row."""
    rows, columns = torch.meshgrid(
        torch.arange(height, device=device, dtype=torch.float32),
        torch.arange(width, device=device, dtype=torch.float32),
        indexing="ij",
    )
    return torch.stack((columns, rows), dim=-1)

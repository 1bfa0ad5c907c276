"""Augmentation of a whole batch on the device where the pictures lie: `augment`, with the same random numbers.

The numbers are drawn on the host, in `augment`'s order; what they say of a sample is a row of figures. From the rows a
device makes the batch in some twenty operations: area averages for shrunk pictures (two matrix products), one bilinear
sample, one gather for the labels, one product for the colours; noise and a blur along each axis where the recipe has
them. Results equal `augment`'s but for the rounding of coordinates and values.

Axes: N samples of a batch, M pictures held, H and W of the store, h and w of the crop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from icnet_cli.data.augment import (
    _POSITIONS_TRIED,
    IGNORE_INDEX,
    AugmentConfig,
    _affine,
    _color_matrix,
    _draw_deviation,
    _draw_noise,
    _place,
    _warp,
)
from icnet_cli.errors import usage_error
from icnet_cli.pixels.cv import cv2

Matrix = NDArray[np.float64]
Labels = NDArray[np.uint8]

# What `augment` was able to do when this was written: a change that only it knows would be left out in silence.
_KNOWN = {
    "scale_range", "flip", "rotation_deg", "brightness", "contrast", "saturation", "hue_deg", "channel_noise",
    "noise", "blur",
}  # fmt: skip

# Where in a row each figure stands.
INDEX, SIZE, SHRUNK, IMAGE, LABELS, COLORS, NOISE, BLUR = (
    0,
    slice(1, 3),
    slice(3, 5),
    slice(5, 11),
    slice(11, 17),
    slice(17, 29),
    slice(29, 32),
    32,
)
ROW = 33
_NO_COLORS = np.eye(3, 4)


@dataclass(frozen=True)
class Still:
    """What the host keeps of a picture whose pixels are elsewhere.

    Attributes:
        size: (height, width); mean: of its RGB channels.
        void: side of a square that is sure to hold a solid patch of labelled pixels (`largest_void`).
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    void: int


def check_known(config: AugmentConfig) -> None:
    """Raise a usage error for a change that is made on the host only."""
    strange = [
        field.name
        for field in fields(config)
        if field.name not in _KNOWN and getattr(config, field.name) != field.default
    ]
    if strange:
        raise usage_error(f"augment {', '.join(strange)} is made on the host only; use --cache memory")


def draw(
    index: int,
    still: Still,
    crop: tuple[int, int],
    config: AugmentConfig,
    rng: np.random.Generator,
    labels: Callable[[], Labels],
) -> Matrix:
    """One sample's row of figures, (ROW,), drawn as `augment` draws.

    Args:
        index: of the picture in the store.
        labels: reads its labels; called only where a crop might show none, which is drawn again.
    """
    height, width = still.size
    scale = rng.uniform(*config.scale_range)
    mirror = config.flip and rng.random() < 0.5
    angle = rng.uniform(-config.rotation_deg, config.rotation_deg)
    colors = _color_matrix(config, np.array(still.mean).reshape(1, 1, 3), rng)  # type: ignore[arg-type]
    noise = _draw_noise(config, rng)
    blur = _draw_deviation(config.blur, rng)
    scaled = (max(1, round(height * scale)), max(1, round(width * scale)))
    place = _place(scaled, crop, rng)
    if not _surely_labelled(still, scaled, crop, angle):
        truth = labels()
        for _ in range(_POSITIONS_TRIED - 1):
            affine = _affine(still.size, scaled, place, mirror, angle)
            if _warp(truth, affine, crop, nearest=True).min() != IGNORE_INDEX:
                break
            place = _place(scaled, crop, rng)
    source = scaled if scaled[0] < height else still.size
    row = np.empty(ROW)
    row[INDEX], row[SIZE], row[SHRUNK] = index, still.size, source
    row[IMAGE] = _affine(source, scaled, place, mirror, angle).ravel()
    row[LABELS] = _affine(still.size, scaled, place, mirror, angle).ravel()
    row[COLORS] = (_NO_COLORS if colors is None else colors).ravel()
    row[NOISE], row[BLUR] = noise, blur
    return row


def largest_void(labels: Labels, smallest_scale: float) -> int:
    """Side (pixels) from which on every square of the picture shows a label, however sparsely it is sampled.

    Args:
        smallest_scale: of the crops; sampled at 0.5, a lone labelled pixel can be missed, so only patches count.
    """
    patch = _patch(smallest_scale)
    labelled = cv2.copyMakeBorder(
        (labels != IGNORE_INDEX).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0
    )
    solid = cv2.morphologyEx(labelled, cv2.MORPH_OPEN, np.ones((patch, patch), np.uint8))[1:-1, 1:-1]
    void = cv2.distanceTransform((solid == 0).astype(np.uint8), cv2.DIST_C, 3)
    if solid.any():
        return 2 * math.ceil(float(void.max())) + 2 * patch
    return 2 * max(labels.shape) + 2 * patch


def _patch(scale: float) -> int:
    return math.ceil(math.sqrt(2) / min(1.0, scale)) + 1


def _surely_labelled(still: Still, scaled: tuple[int, int], crop: tuple[int, int], angle: float) -> bool:
    """Whether any crop of this size shows a label: the part of it that lies in the picture is larger than any void."""
    sin, cos = abs(math.sin(math.radians(angle))), abs(math.cos(math.radians(angle)))
    margin = math.hypot(*scaled) / 2 * sin  # by which a turned picture may fall short of the crop
    side = (min(*scaled, *crop) - 2 * margin) / (cos + sin)
    ratio = min(size / new for size, new in zip(still.size, scaled, strict=True))
    return side * ratio > still.void


def sample(
    images: Tensor,
    labels: Tensor,
    rows: Tensor,
    crop: tuple[int, int],
    fill: Tensor,
    shrinks: bool = True,
    grain: Tensor | None = None,
    blur_radius: int = 0,
) -> tuple[Tensor, Tensor]:
    """A batch: pictures uint8 (N, 3, h, w) and labels uint8 (N, h, w).

    Args:
        images: uint8 (M, 3, H, W); labels: uint8 (M, H, W); a smaller picture stands at the upper left.
        rows: float64 (N, ROW), as `draw` makes them.
        fill: (3,) the colour outside of a picture; everything is on one device.
        shrinks: whether any row shrinks its picture.
        grain: float32 (side, side, 3), `augment.grain`, on the device; None where no row has noise.
        blur_radius: `AugmentConfig.blur_radius` of the rows; 0 where none is blurred.
    """
    index = rows[:, INDEX].long()
    x, y = _pixels(rows[:, LABELS], crop)
    new_labels, outside = _pick(labels[index], x, y, rows[:, SIZE])
    pictures = images[index].float()
    if grain is not None:
        pictures = _add_noise(pictures, rows[:, NOISE], grain)
    if shrinks:
        pictures = _shrink(pictures, rows[:, SIZE], rows[:, SHRUNK])
    x, y = _pixels(rows[:, IMAGE], crop)
    new = _interpolate(pictures, x, y, rows[:, SHRUNK])
    if blur_radius:
        new = _blur(new, rows[:, BLUR], blur_radius)
    colors = rows[:, COLORS].view(-1, 3, 4).float()
    flat = torch.baddbmm(colors[:, :, 3:], colors[:, :, :3], new.flatten(2))
    new = flat.view_as(new).round_().clamp_(0, 255)
    new = torch.where(outside[:, None], fill.view(1, 3, 1, 1).to(new), new)
    return new.to(torch.uint8), new_labels


def _pixels(affine: Tensor, crop: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where each pixel of the crop lies in its source: x and y, float64 (N, h, w), pixel centres at whole numbers."""
    a = affine.view(-1, 6, 1, 1)
    rows = torch.arange(crop[0], device=affine.device, dtype=affine.dtype).view(1, -1, 1)
    columns = torch.arange(crop[1], device=affine.device, dtype=affine.dtype).view(1, 1, -1)
    return a[:, 0] * columns + a[:, 1] * rows + a[:, 2], a[:, 3] * columns + a[:, 4] * rows + a[:, 5]


def _pick(labels: Tensor, x: Tensor, y: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """The label nearest to each place, 255 outside; and where that is."""
    x, y = (x + 0.5).floor_(), (y + 0.5).floor_()
    height, width = size[:, 0].view(-1, 1, 1), size[:, 1].view(-1, 1, 1)
    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    at = (y.clamp_(0, labels.shape[1] - 1) * labels.shape[2] + x.clamp_(0, labels.shape[2] - 1)).long()
    found = labels.flatten(1).gather(1, at.flatten(1)).view(at.shape)
    return found.masked_fill(outside, IGNORE_INDEX), outside


def _interpolate(pictures: Tensor, x: Tensor, y: Tensor, size: Tensor) -> Tensor:
    """Bilinear, float (N, 3, h, w) rounded to whole numbers; beyond a picture's edge its border repeats."""
    height, width = pictures.shape[2:]
    x = torch.minimum(x.clamp_(min=0), size[:, 1].view(-1, 1, 1) - 1)
    y = torch.minimum(y.clamp_(min=0), size[:, 0].view(-1, 1, 1) - 1)
    grid = torch.stack([x * (2 / max(1, width - 1)) - 1, y * (2 / max(1, height - 1)) - 1], dim=3)
    return F.grid_sample(pictures, grid.float(), "bilinear", "border", align_corners=True).round_()


def _add_noise(pictures: Tensor, noise: Tensor, grain: Tensor) -> Tensor:
    """Each picture (N, 3, H, W) under its part of the grain; `noise` is `augment.Noise`, (N, 3)."""
    side = grain.shape[0]
    rows = torch.arange(pictures.shape[2], device=grain.device) + noise[:, 1:2].long()
    columns = torch.arange(pictures.shape[3], device=grain.device) + noise[:, 2:3].long()
    part = grain[(rows % side)[:, :, None], (columns % side)[:, None, :]].permute(0, 3, 1, 2)
    return (pictures + noise[:, 0].float().view(-1, 1, 1, 1) * part).round_().clamp_(0, 255)


def _blur(pictures: Tensor, deviation: Tensor, radius: int) -> Tensor:
    """Each picture (N, 3, h, w) by its own Gaussian, the border repeated; a deviation of 0 keeps it bit for bit."""
    count, channels, height, width = pictures.shape
    offset = torch.arange(-radius, radius + 1, device=pictures.device, dtype=deviation.dtype)
    # A deviation of a hundredth has a kernel of one pixel, and no division by zero.
    kernel = torch.exp(-0.5 * (offset / deviation.clamp(min=0.01).view(-1, 1)) ** 2)  # (N, 2 radius + 1)
    kernel = (kernel / kernel.sum(1, keepdim=True)).float().repeat_interleave(channels, 0)
    flat = F.pad(pictures.view(1, -1, height, width), (radius,) * 4, mode="replicate")
    flat = F.conv2d(flat, kernel.view(-1, 1, 1, 2 * radius + 1), groups=count * channels)
    flat = F.conv2d(flat, kernel.view(-1, 1, 2 * radius + 1, 1), groups=count * channels)
    return flat.view_as(pictures).round_()


def _shrink(pictures: Tensor, size: Tensor, shrunk: Tensor) -> Tensor:
    """Each picture at its smaller size, at the upper left: every new pixel the mean of the area it covers."""
    rows = _areas(size[:, 0], shrunk[:, 0], pictures.shape[2])
    columns = _areas(size[:, 1], shrunk[:, 1], pictures.shape[3])
    return (rows[:, None] @ pictures @ columns[:, None].transpose(2, 3)).round_()


def _areas(size: Tensor, shrunk: Tensor, length: int) -> Tensor:
    """(N, length, length): row i of a matrix averages the pixels under pixel i of the shrunk axis.

    An axis that keeps its size gets the identity, bit for bit.
    """
    step = (size / shrunk).view(-1, 1, 1)
    pixel = torch.arange(length, device=size.device, dtype=size.dtype)
    new, old = pixel.view(1, -1, 1), pixel.view(1, 1, -1)
    covered = torch.minimum((new + 1) * step, old + 1) - torch.maximum(new * step, old)
    return (covered.clamp_(min=0) / step).float()

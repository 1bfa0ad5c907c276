"""Augmentation of an image and its labels together: one affine sample with its mirror, one colour
matrix; noise and a blur where they are asked for.

Axes: image (H, W, 3) RGB uint8, labels (H, W) uint8 train ids. Labels are only ever picked (nearest), so no
value appears that was not there; outside the picture they are 255. All chance comes from the given generator.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from icnet_cli.classes import IGNORE_INDEX
from icnet_cli.errors import usage_error
from icnet_cli.pixels.cv import cv2

LARGEST_BLUR = 16  # pixels
LARGEST_NOISE = 64  # grey levels
GRAIN_SIDE = 512  # of the square of noise that all pictures' noise is cut from, pixels
_POSITIONS_TRIED = 10  # before a crop without a single labelled pixel is accepted

_LUMA = np.array([0.299, 0.587, 0.114])  # Rec. 601
_GREY = np.tile(_LUMA, (3, 1))  # projects a colour on its grey
# Of Rodrigues' formula about the axis of greys: made once, as they took a third of the time of drawing a sample.
_AXIS = np.full(3, 3**-0.5)
_SAME, _ACROSS, _ALONG = np.eye(3), np.cross(np.eye(3), _AXIS), np.outer(_AXIS, _AXIS)

Array = NDArray[np.uint8]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class AugmentConfig:
    """How far a training sample may be from the picture it is made of; 0 or False leaves a thing alone.

    `scale_range` is relative to the picture's own size and drawn uniformly, as in the papers' code. A
    strength s of brightness, contrast, saturation or channel_noise draws a factor from [1 - s, 1 + s].
    `noise` and `blur` leave half of the samples alone each, and draw a deviation up to theirs for the rest.
    """

    scale_range: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    rotation_deg: float = 0.0  # drawn from [-rotation_deg, rotation_deg]
    brightness: float = 0.0  # all channels together
    contrast: float = 0.0  # about the picture's mean
    saturation: float = 0.0
    hue_deg: float = 0.0  # turn about the grey axis, drawn from [-hue_deg, hue_deg]
    channel_noise: float = 0.0  # each channel for itself
    noise: float = 0.0  # grey levels, on the picture's own pixels, as a camera's grain
    blur: float = 0.0  # a Gaussian's, pixels of the crop

    def __post_init__(self) -> None:
        low, high = self.scale_range
        if not 0 < low <= high <= 16:
            raise usage_error(f"scale_range is {low} to {high}, expected 0 < smallest <= largest <= 16")
        for name in ("brightness", "contrast", "saturation", "channel_noise"):
            if not 0 <= getattr(self, name) < 1:
                raise usage_error(f"{name} is {getattr(self, name)}, expected 0 to below 1")
        for name in ("rotation_deg", "hue_deg"):
            if not 0 <= getattr(self, name) <= 180:
                raise usage_error(f"{name} is {getattr(self, name)}, expected 0 to 180")
        if not 0 <= self.noise <= LARGEST_NOISE:
            raise usage_error(f"noise is {self.noise}, expected 0 to {LARGEST_NOISE} grey levels")
        if not 0 <= self.blur <= LARGEST_BLUR:
            raise usage_error(f"blur is {self.blur}, expected 0 to {LARGEST_BLUR} pixels")

    @property
    def blur_radius(self) -> int:
        """Pixels on each side of one that its blur looks at: three of the largest deviation, 0 for none."""
        return math.ceil(3 * self.blur)


def augment(
    image: Array,
    labels: Array,
    crop_size: tuple[int, int],
    config: AugmentConfig,
    rng: np.random.Generator,
    fill: tuple[int, int, int],
) -> tuple[Array, Array]:
    """One training sample: image (h, w, 3) and labels (h, w) of `crop_size`, new arrays.

    The picture is scaled, mirrored and turned at random and cut at a random place; where it is smaller than
    the crop it stands at a random place in it, and around it are `fill` and 255. A place without any labelled
    pixel is drawn again, ten times at most. Noise is added before it is scaled, as a camera does; what was cut is
    blurred, then its colours change. Everything is determined by `rng`.
    """
    height, width = labels.shape
    scale = rng.uniform(*config.scale_range)
    mirror = config.flip and rng.random() < 0.5
    angle = rng.uniform(-config.rotation_deg, config.rotation_deg)
    colors = _color_matrix(config, image, rng)
    noise = _draw_noise(config, rng)
    blur = _draw_deviation(config.blur, rng)
    scaled = (max(1, round(height * scale)), max(1, round(width * scale)))

    for _ in range(_POSITIONS_TRIED):
        place = _place(scaled, crop_size, rng)
        affine = _affine(labels.shape, scaled, place, mirror, angle)
        new_labels = _warp(labels, affine, crop_size, nearest=True)
        if new_labels.min() != IGNORE_INDEX:
            break

    # Bilinear sampling of a shrunk picture skips pixels (aliasing), so shrinking averages areas first.
    source = _add_noise(image, noise)
    if scaled[0] < height:
        source = cv2.resize(source, (scaled[1], scaled[0]), interpolation=cv2.INTER_AREA)
    new_image = _warp(source, _affine(source.shape, scaled, place, mirror, angle), crop_size, nearest=False)
    if blur:
        side = 2 * config.blur_radius + 1
        new_image = cv2.GaussianBlur(new_image, (side, side), blur, borderType=cv2.BORDER_REPLICATE)
    if colors is not None:
        new_image = cv2.transform(new_image, colors)
    if angle:
        outside = _warp(np.zeros_like(labels), affine, crop_size, nearest=True)
        new_image[outside != 0] = fill
    else:
        _fill_around(new_image, place, scaled, fill)
    return new_image, new_labels


def _place(scaled: tuple[int, int], crop: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Where the crop's upper left corner lies in the scaled picture; negative where that is smaller."""
    top, left = (
        int(rng.integers(min(room, 0), max(room, 0), endpoint=True))
        for room in (scaled[0] - crop[0], scaled[1] - crop[1])
    )
    return top, left


def _affine(
    source: tuple[int, ...], scaled: tuple[int, int], place: tuple[int, int], mirror: bool, angle: float
) -> Matrix:
    """(2, 3): from a pixel (x, y) of the crop to the pixel of `source` it shows, centre to centre.

    `source` is the shape of what will be sampled: the picture itself or its shrunk copy.
    """
    (source_h, source_w), (height, width), (top, left) = source[:2], scaled, place
    to_scaled = np.array([[1, 0, left + 0.5], [0, 1, top + 0.5], [0, 0, 1]])
    turned = np.vstack([cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0), [0, 0, 1]])
    mirrored = np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]]) if mirror else np.eye(3)
    to_source = np.array([[source_w / width, 0, -0.5], [0, source_h / height, -0.5], [0, 0, 1]])
    return (to_source @ mirrored @ turned @ to_scaled)[:2]


def _warp(picture: Array, affine: Matrix, size: tuple[int, int], nearest: bool) -> Array:
    """`picture` seen through `affine`, (h, w); outside, labels (`nearest`) are 255, an image its border."""
    if nearest:
        return cv2.warpAffine(
            picture,
            affine,
            size[::-1],
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=IGNORE_INDEX,
        )
    # Repeating the border keeps `fill` from bleeding into the picture's last row; it is painted afterwards.
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, affine, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _fill_around(
    image: Array, place: tuple[int, int], scaled: tuple[int, int], fill: tuple[int, int, int]
) -> None:
    """Paint `fill` above, below, left and right of an upright picture (in place)."""
    top, left = (max(0, -start) for start in place)
    bottom, right = (max(0, size - start) for size, start in zip(scaled, place, strict=True))
    image[:top] = image[bottom:] = fill
    image[:, :left] = image[:, right:] = fill


def _color_matrix(config: AugmentConfig, image: Array, rng: np.random.Generator) -> Matrix | None:
    """(3, 4): random brightness, contrast, saturation, hue and channel gains as one map; None for none.

    The numbers are drawn whether used or not, so a strength of 0 does not move the other draws.
    """
    brightness, contrast, saturation = 1 + np.array(
        [config.brightness, config.contrast, config.saturation]
    ) * rng.uniform(-1, 1, 3)
    hue = np.deg2rad(config.hue_deg) * rng.uniform(-1, 1)
    gains = 1 + config.channel_noise * rng.uniform(-1, 1, 3)
    strengths = (config.brightness, config.contrast, config.saturation, config.hue_deg, config.channel_noise)
    if not any(strengths):
        return None
    matrix = saturation * np.eye(3) + (1 - saturation) * _GREY
    matrix = gains[:, None] * (brightness * contrast * matrix @ _hue_turn(hue))
    mean = float(_LUMA @ cv2.mean(image)[:3]) if config.contrast else 0.0
    offset = gains * brightness * (1 - contrast) * mean
    return np.column_stack([matrix, offset])


# Networks trained on one camera's clean, sharp pictures lean on what only those have. Of the same camera's held-out
# pictures Fast-SCNN found two points more when they were blurred a little first, nine less when a little more, and half
# under noise of ten grey levels. So noise and blur; where a recipe has neither, nothing is drawn: it keeps its numbers.
def _draw_deviation(largest: float, rng: np.random.Generator) -> float:
    """A deviation for half of the samples, 0 for the rest."""
    return max(0.0, largest * rng.uniform(-1, 1)) if largest else 0.0


class Noise(NamedTuple):
    """One sample's noise: its deviation in grey levels, 0 for none, and where in the grain it begins."""

    deviation: float = 0.0
    top: int = 0
    left: int = 0


def _draw_noise(config: AugmentConfig, rng: np.random.Generator) -> Noise:
    if not config.noise:
        return Noise()
    deviation = _draw_deviation(config.noise, rng)
    top, left = rng.integers(0, GRAIN_SIDE, 2)
    return Noise(deviation, int(top), int(left))


@cache
def grain() -> NDArray[np.float32]:
    """(GRAIN_SIDE, GRAIN_SIDE, 3): noise of deviation 1. The same always, so that a device can hold it."""
    return np.random.default_rng(0).standard_normal((GRAIN_SIDE, GRAIN_SIDE, 3), np.float32)


def _add_noise(image: Array, noise: Noise) -> Array:
    """The picture under its part of the grain, which begins anew where it ends."""
    if not noise.deviation:
        return image
    noisy = np.empty_like(image)
    for rows, grain_rows in _pieces(noise.top, image.shape[0]):
        for columns, grain_columns in _pieces(noise.left, image.shape[1]):
            part = grain()[grain_rows, grain_columns] * np.float32(noise.deviation)
            noisy[rows, columns] = cv2.add(image[rows, columns], part, dtype=cv2.CV_8U)
    return noisy


def _pieces(start: int, length: int) -> Iterator[tuple[slice, slice]]:
    """Where `length` pixels lie in a grain that is entered at `start` and begins anew at its end."""
    done = 0
    while done < length:
        at = (start + done) % GRAIN_SIDE
        count = min(length - done, GRAIN_SIDE - at)
        yield slice(done, done + count), slice(at, at + count)
        done += count


def _hue_turn(angle: float) -> Matrix:
    """(3, 3): the turn by `angle` (radians) about the grey axis, Rodrigues' formula; greys stay."""
    return np.cos(angle) * _SAME + np.sin(angle) * _ACROSS + (1 - np.cos(angle)) * _ALONG

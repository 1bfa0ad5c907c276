"""Procedural surfaces: brick and stone with windows, foliage, bare branches, fences, clouds."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from icnet_cli.pixels.cv import cv2
from street.canvas import Texture

TILE = 512
PER_METRE = 30  # texture pixels of a facade
WALLS = (
    (128, 92, 72), (158, 136, 104), (140, 134, 124), (196, 190, 180), (116, 117, 116), (92, 72, 62), (150, 118, 92),
)  # fmt: skip
FASCIAS = ((28, 60, 46), (34, 40, 92), (120, 30, 30), (40, 40, 44), (150, 128, 60), (90, 92, 96))


@cache
def noise_tile(roughness: float, seed: int) -> np.ndarray:
    """float32 (TILE, TILE): noise of zero mean and unit deviation that repeats without a seam.

    roughness is the exponent of its spectrum: 0 is white, 1 is like stone, 2 like clouds.
    """
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal((TILE, TILE)))
    radius = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None])
    radius[0, 0] = 1.0
    spectrum *= radius**-roughness
    spectrum[0, 0] = 0.0
    tile = np.fft.irfft2(spectrum, s=(TILE, TILE))
    return (tile / tile.std()).astype(np.float32)


def noise(
    rng: np.random.Generator, size: tuple[int, int], roughness: float, stretch: float = 1.0
) -> np.ndarray:
    """float32 (h, w): a random piece of a noise tile, stretched sideways."""
    height, width = size
    tile = _four_tiles(roughness)
    rows, columns = min(height, TILE), min(max(2, int(width / stretch)), TILE)
    top, left = rng.integers(0, TILE, 2).tolist()
    piece = tile[top : top + rows, left : left + columns]
    return cv2.resize(piece, (width, height), interpolation=cv2.INTER_LINEAR)


@cache
def _four_tiles(roughness: float) -> np.ndarray:
    """A tile beside itself, so that a piece may begin anywhere."""
    return np.tile(noise_tile(roughness, 11), (2, 2))


def _picture(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


def wall(rng: np.random.Generator, size: tuple[int, int], colour: tuple[int, int, int]) -> np.ndarray:
    """float32 (h, w, 3): courses of brick or stone, with stains."""
    light = 1 + 0.09 * noise(rng, size, 0.0, stretch=4.0) + 0.07 * noise(rng, size, 1.5)
    light *= (1 - 0.12 * (np.arange(size[0]) % 4 == 0))[:, None]
    return light[..., None].astype(np.float32) * np.array(colour, np.float32)


def _rectangle(
    picture: np.ndarray, left: float, top: float, width: float, height: float, colour: tuple
) -> None:
    """Fill a rectangle given in metres from the top left."""
    low = (round(left * PER_METRE), round(top * PER_METRE))
    high = (round((left + width) * PER_METRE) - 1, round((top + height) * PER_METRE) - 1)
    cv2.rectangle(picture, low, high, colour, -1)


def _window(
    picture: np.ndarray, rng: np.random.Generator, left: float, top: float, size: tuple[float, float]
) -> None:
    width, height = size
    frame = (205, 203, 198) if rng.random() < 0.7 else (60, 56, 52)
    _rectangle(picture, left - 0.12, top + height, width + 0.24, 0.14, (168, 164, 156))  # the sill
    _rectangle(picture, left - 0.08, top - 0.2, width + 0.16, 0.2, (96, 90, 84))  # the lintel and its shadow
    _rectangle(picture, left, top, width, height, frame)
    rows = 2 if height > 1.2 else 1
    for row in range(rows):
        for column in range(2):
            glass = rng.uniform(22, 62) * np.array((0.92, 1.0, 1.08)) + (rng.random() < 0.12) * 70
            pane = (width / 2 - 0.1, height / rows - 0.1)
            at = left + 0.06 + column * width / 2, top + 0.05 + row * height / rows
            _rectangle(picture, *at, *pane, tuple(glass.tolist()))
            _rectangle(picture, *at, pane[0], pane[1] * 0.35, tuple((glass * 1.4 + 8).tolist()))


def _shop(picture: np.ndarray, rng: np.random.Generator, width: float, floor: float) -> None:
    fascia = FASCIAS[rng.integers(len(FASCIAS))]
    _rectangle(picture, 0.3, floor - 3.2, width - 0.6, 3.2, (52, 48, 46))
    _rectangle(picture, 0.3, floor - 3.3, width - 0.6, 0.7, fascia)
    for letter in np.arange(1.2, width - 2.0, 0.42):
        if rng.random() < 0.75:
            _rectangle(picture, letter, floor - 3.1, 0.26, 0.34, (205, 200, 185))
    for left in np.arange(0.5, width - 2.0, 2.1):
        glass = rng.uniform(24, 58)
        _rectangle(picture, left, floor - 2.4, 1.9, 2.0, (glass, glass * 1.03, glass * 1.06))
        for _ in range(5):  # goods on show
            goods = tuple(rng.uniform(30, 170, 3).tolist())
            _rectangle(picture, left + rng.uniform(0, 1.5), floor - rng.uniform(0.7, 2.0), 0.35, 0.3, goods)


def facade(rng: np.random.Generator, width: float, height: float) -> Texture:
    """The street side of a house of whole storeys, width x height metres."""
    size = (round(height * PER_METRE), round(width * PER_METRE))
    picture = np.ascontiguousarray(wall(rng, size, WALLS[rng.integers(len(WALLS))]))
    bay = rng.uniform(1.9, 2.9)
    pane = (bay * rng.uniform(0.42, 0.68), rng.uniform(1.3, 1.8))
    storeys, bays = max(1, round(height / 3.1)), int((width - 0.6) / bay)
    shop = rng.random() < 0.5
    for storey in range(storeys - 1 if shop else storeys):
        for column in range(bays):
            left = (width - bays * bay) / 2 + column * bay + (bay - pane[0]) / 2
            _window(picture, rng, left, 0.85 + storey * height / storeys, pane)
    if shop:
        _shop(picture, rng, width, height)
    else:
        door = FASCIAS[rng.integers(len(FASCIAS))]
        _rectangle(picture, width * 0.55 - 0.12, height - 2.35, 1.24, 2.35, (168, 164, 156))
        _rectangle(picture, width * 0.55, height - 2.2, 1.0, 2.2, tuple(0.6 * shade for shade in door))
    _rectangle(picture, 0, 0, width, 0.18, (150, 146, 138))  # the cornice, and the shadow it throws
    _rectangle(picture, 0, 0.18, width, 0.22, (56, 52, 50))
    _rectangle(picture, width - 0.12, 0, 0.12, height, (48, 46, 44))  # the drain pipe hides the joint
    picture *= (1 + 0.05 * noise(rng, size, 0.5))[..., None]
    return Texture(_picture(picture))


def plain(
    rng: np.random.Generator, colour: tuple[int, int, int], size: tuple[int, int] = (160, 160)
) -> Texture:
    """A gable wall or a roof."""
    return Texture(_picture(wall(rng, size, colour)))


def leaves(rng: np.random.Generator, size: tuple[int, int], ragged: float = 1.0) -> Texture:
    """A crown or a hedge (ragged 0: a hedge, whole but for its top)."""
    height, width = size
    fine, coarse = noise(rng, size, 0.6), noise(rng, size, 1.4)
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    if ragged:  # a handful of overlapping balls of leaves
        balls = [(*rng.uniform(-0.5, 0.5, 2), rng.uniform(0.3, 0.5)) for _ in range(9)]
        reach = np.min([np.hypot(rows - y, columns - x) / r for y, x, r in balls], axis=0) * 0.72
    else:
        reach = np.where(rows < 0, -0.55 - rows, -1) + 0.75
    solid = (reach + 0.12 * coarse + 0.06 * fine < 0.72) & (np.abs(columns) < 1) & (rows > -1)
    light = np.clip(0.66 + 0.26 * fine + 0.2 * coarse - 0.3 * rows, 0.12, 1.5)
    tint = np.array(((58, 68, 42), (72, 74, 50), (50, 62, 46))[rng.integers(3)], np.float32)
    holes = (fine + 0.6 * coarse > 1.9) & (ragged > 0)
    return Texture(
        _picture(light[..., None] * tint), np.where(solid, np.where(holes, 90, 255), 0).astype(np.uint8)
    )


SOLID_AIR = 64  # how much of the sky the air between twigs takes away, of 255


def _grow(
    picture: np.ndarray, rng: np.random.Generator, foot: tuple[float, float], angle: float, length: float
) -> None:
    tip = (foot[0] + length * math.cos(angle), foot[1] + length * math.sin(angle))
    ends = [(round(4 * x), round(4 * y)) for x, y in (foot, tip)]
    cv2.line(picture, *ends, 255 if length > 14 else 190, max(1, int(length / 9)), cv2.LINE_AA, 2)
    if length > 6:
        for turn, shorter in zip(rng.uniform(-0.75, 0.75, 3), rng.uniform(0.6, 0.82, 3), strict=True):
            _grow(picture, rng, tip, angle + turn, length * shorter)


def branches(rng: np.random.Generator, size: int = 256) -> Texture:
    """A tree in winter. The air between its twigs is dimmed, and belongs to the tree."""
    alpha = np.zeros((size, size), np.uint8)
    for angle in np.linspace(-2.2, -0.95, 4):
        _grow(alpha, rng, (size / 2, size * 0.98), angle + rng.uniform(-0.12, 0.12), size * 0.155)
    near = cv2.GaussianBlur(alpha, (0, 0), size / 40)
    edge = size // 32  # a crown must not end in a straight line where its picture does
    near[:edge] = near[:, :edge] = near[:, -edge:] = 0
    dim = np.where(near > 20, np.clip(near.astype(float) * 0.9, SOLID_AIR, 200), 0)
    colour = np.array((72, 64, 56), np.float32) * (1 + 0.2 * noise(rng, (size, size), 0.5))[..., None]
    return Texture(_picture(colour), np.maximum(alpha, dim).astype(np.uint8))


def fence(rng: np.random.Generator, boards: bool, size: tuple[int, int] = (96, 512)) -> Texture:
    """Boards, or railings through which one sees."""
    colour = (88, 74, 60) if boards else (58, 60, 62)
    rgb = wall(rng, size, colour)
    columns = np.arange(size[1]) % 16
    rgb *= np.where(columns < 2, 0.5, 1.0)[None, :, None]
    if boards:
        return Texture(_picture(rgb))
    rows = np.arange(size[0])[:, None]
    bars = (columns < 6)[None] | (rows < 8) | ((rows > 72) & (rows < 80))
    rgb = np.where(bars[..., None], rgb * 1.5, rgb * 0.8)
    return Texture(_picture(rgb), np.where(bars, 255, 90).astype(np.uint8))


def clouds(rng: np.random.Generator, size: tuple[int, int], cover: float) -> np.ndarray:
    """float32 (h, w, 3): an overcast sky (cover 1) or a pale blue one with haze at its foot (cover 0)."""
    height, width = size
    tile = cv2.resize(noise(rng, (128, 160), 1.7), (width, height), interpolation=cv2.INTER_CUBIC)
    high = np.linspace(1, 0, height)[:, None]
    blue = (
        np.array((222, 234, 248), np.float32) * (1 - high[..., None])
        + np.array((176, 204, 240)) * high[..., None]
    )
    white = (
        np.array((246, 248, 250), np.float32) * (1 - (0.05 * cover * (1.2 + tile) * (0.4 + high)))[..., None]
    )
    share = np.clip(cover + 0.35 * tile + (0.5 - high), 0, 1)[..., None]
    return (blue * (1 - share) + white * share).astype(np.float32)

"""The ground, pixel by pixel: where each ray of the camera meets the street, and what lies there."""

from __future__ import annotations

import numpy as np

from icnet_cli.pixels.cv import cv2
from street.bodies import PAVEMENT, ROAD, TREE
from street.canvas import HAZE_RANGE, SHIFT, Canvas
from street.scene import Scene
from street.textures import noise_tile

PAINT, YELLOW = (196, 196, 190), (168, 148, 78)
# What lies where, by zone: grass, paving, kerb, asphalt.
COLOURS = np.array(((74, 86, 50), (112, 109, 105), (136, 134, 129), (86, 88, 91)), np.float32)
LABELS = np.array((TREE, PAVEMENT, PAVEMENT, ROAD), np.uint8)
MAX_Z = 900.0  # metres; the ground is one colour long before


def paint_ground(canvas: Canvas, scene: Scene, shadows: list[np.ndarray]) -> None:
    """Road, kerb, pavement and verge, with markings and shadows, below the horizon."""
    top, lateral, z, footprint = _hits(canvas, scene)
    zone = _zones(scene, lateral, z)
    on_road = zone == 3
    light = _grain(lateral, z, footprint)
    light += np.where(on_road, _wear(lateral, z, scene), _joints(np.abs(lateral), z, footprint))
    light *= _sunlight(scene, lateral, z) * _shade(canvas, shadows)[top:]
    colour = COLOURS[zone]
    for share, paint in _markings(scene, lateral, z, footprint):
        share = (share * on_road * np.float32(0.85))[..., None]
        colour += (np.array(paint, np.float32) - colour) * share
    colour *= light[..., None]
    colour += (canvas.haze.astype(np.float32) - colour) * (1 - np.exp(z * np.float32(-1 / HAZE_RANGE)))[
        ..., None
    ]
    below = (np.isfinite(footprint) * np.uint8(255)).astype(np.uint8)
    cv2.copyTo(cv2.convertScaleAbs(colour), below, canvas.image[top:])
    cv2.copyTo(LABELS[zone], below, canvas.labels[top:])


def _zones(scene: Scene, lateral: np.ndarray, z: np.ndarray) -> np.ndarray:
    """0 grass, 1 paving, 2 kerb, 3 asphalt."""
    beside = np.abs(lateral)
    walk = np.where(lateral > 0, scene.pavement[1], scene.pavement[0]) + np.float32(scene.road + 1.2)
    crossing = (z > scene.junction[0]) & (z < scene.junction[1])
    zone = (beside < walk).astype(np.uint8) + (beside < scene.road + 0.16)
    zone[(beside < scene.road) | crossing] = 3
    return zone


def _hits(canvas: Canvas, scene: Scene) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """First row that sees ground; lateral and z in metres for each pixel from there; metres a pixel spans."""
    camera = canvas.camera
    columns = ((np.arange(camera.width) - camera.centre[0]) / camera.focal).astype(np.float32)
    rows = ((np.arange(camera.height) - camera.centre[1]) / camera.focal).astype(np.float32)
    right, down, forward = camera.rotation.astype(np.float32)
    falls = np.abs(right[1] * columns).max()  # roll lifts one end of a row
    slope = -(rows * down[1] + forward[1])  # grows downwards: metres fallen a metre of ray
    top = int(np.argmax(slope > -falls + 1e-4))
    rows = rows[top:, None]
    ray = [columns * right[i] + rows * down[i] + forward[i] for i in range(3)]
    seen = ray[1] < -1.5e-3
    reach = np.where(seen, -camera.position[1] / np.where(seen, ray[1], -1.0), 1.0)
    z = np.minimum(camera.position[2] + reach * ray[2], MAX_Z).astype(np.float32)
    lateral = (camera.position[0] + reach * ray[0]).astype(np.float32) - np.float32(
        scene.settings.bend
    ) * z * z
    footprint = np.where(seen, reach / camera.focal, np.inf).astype(np.float32)
    return top, lateral, z, footprint


def _sample(tile: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The tile repeated over the plane, at x and y in tile pixels."""
    return cv2.remap(tile, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _grain(lateral: np.ndarray, z: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """float32 light around 1: stones up close, patches and stains further off."""
    fine = _sample(noise_tile(0.3, 3), lateral * 60, z * 60) / (1 + footprint * 90)
    middle = _sample(noise_tile(0.8, 5), lateral * 9, z * 5) / (1 + footprint * 8)
    return 1 + 0.11 * fine + 0.06 * middle + 0.05 * _sample(noise_tile(1.4, 7), lateral * 2.5, z * 1.2)


def _wear(lateral: np.ndarray, z: np.ndarray, scene: Scene) -> np.ndarray:
    """Tyres polish two tracks a lane; now and then the road has been dug up and patched."""
    tracks = 0.05 * np.cos((np.abs(lateral) - abs(scene.lane)) * (2 * np.pi / 1.5))
    patch = _sample(noise_tile(1.4, 9), lateral * 6 + 100, z * 1.5) > 1.35
    return np.where(patch, tracks - 0.14, tracks)


def _joints(beside: np.ndarray, z: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Dark joints between paving slabs, where they are near enough to be seen."""
    gap = np.minimum(np.abs(np.mod(beside, 0.6) - 0.3), np.abs(np.mod(z, 0.9) - 0.45))
    return -0.16 * np.clip(1 - gap / 0.03, 0, 1) / (1 + footprint * 60)


def _band(value: np.ndarray, middle: float, half: float, blur: np.ndarray) -> np.ndarray:
    """Share of each pixel that lies within half of the middle: a line's edges without stairs."""
    return np.clip((half - np.abs(value - middle)) / blur + 0.5, 0, 1) * np.minimum(1, 2 * half / blur)


def _markings(
    scene: Scene, lateral: np.ndarray, z: np.ndarray, footprint: np.ndarray
) -> list[tuple[np.ndarray, tuple[int, int, int]]]:
    """(share of paint, its colour): a broken middle line, kerb lines, stop lines and a zebra crossing."""
    blur = np.maximum(footprint, 1e-4)
    apart = (z < scene.junction[0] - 0.5) | (z > scene.junction[1] + 5.5)
    broken = np.clip((1.5 - np.abs(np.mod(z, 6.0) - 3.0)) * 8, 0, 1)
    middle = _band(lateral, 0.0, 0.06, blur) * broken * apart
    yellow = sum(_band(np.abs(lateral), scene.road - at, 0.045, blur) for at in (0.3, 0.52)) * apart
    stop = _band(z, scene.junction[0] - 0.8, 0.15, blur * 30) * (lateral < 0)
    stripes = (np.mod(lateral, 1.2) < 0.6) & (np.abs(z - scene.junction[1] - 3.0) < 1.3)
    zebra = stripes & (np.abs(lateral) < scene.road - 0.3)
    return [(middle, PAINT), (yellow, YELLOW), (stop, PAINT), (zebra.astype(np.float32), PAINT)]


def _sunlight(scene: Scene, lateral: np.ndarray, z: np.ndarray) -> np.ndarray:
    """float32 light: the houses on the sunny side throw their shadow over the street."""
    sun = scene.settings.sun
    if abs(sun) < 0.1:
        return np.ones_like(z)
    side = 1 if sun > 0 else -1
    heights = scene.heights[side]
    at = np.clip(z + 0.5 * np.abs(lateral - scene.border(side)), 0, len(heights) - 1).astype(np.int32)
    dark = side * (scene.border(side) - lateral) < heights[at] * 0.62
    return np.where(dark, 1 - 0.3 * abs(sun), 1 + 0.25 * abs(sun)).astype(np.float32)


def _shade(canvas: Canvas, shadows: list[np.ndarray]) -> np.ndarray:
    """float32 (H, W) light: soft darkness under whatever stands on the ground."""
    dark = np.zeros_like(canvas.labels)
    for footprint in shadows:
        outline = canvas.camera.outline(footprint)
        if outline is not None:
            cv2.fillPoly(dark, [np.round(outline * (1 << SHIFT)).astype(np.int32)], 255, cv2.LINE_AA, SHIFT)
    return 1 - cv2.blur(dark, (7, 3)) * np.float32(0.62 / 255)

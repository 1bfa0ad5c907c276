"""A camera, and a canvas on which every stroke paints the picture and its labels at once.

World axes: x right, y up, z along the street, in metres. Camera axes: right, down, forward. Strokes
are painted from far to near, so that what is painted last is what the camera sees.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from icnet_cli.pixels.cv import cv2

NEAR = 0.4  # metres; nothing nearer than this is drawn
SHIFT = 4  # polygons are drawn in 1/16 pixel, so that far things glide instead of hopping
SOLID = 56  # an alpha from here on belongs to the thing: a railing is labelled whole, gaps included
HAZE_RANGE = 420.0  # metres after which 63 % of a colour is lost to the air
HALF_TURN = np.linspace(np.pi / 2, 3 * np.pi / 2, 8)

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    position: np.ndarray  # (3,) world
    rotation: np.ndarray  # (3, 3) rows: right, down and forward in world axes
    focal: float  # pixels
    height: int
    width: int

    @property
    def centre(self) -> tuple[float, float]:
        return (self.width - 1) / 2, (self.height - 1) / 2

    def view(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) world points in camera axes."""
        return (points - self.position) @ self.rotation.T

    def pixels(self, view: np.ndarray) -> np.ndarray:
        """(N, 2) columns and rows of points in camera axes, all of them in front of the camera."""
        return view[:, :2] * (self.focal / view[:, 2:3]) + self.centre

    def sees(self, point: np.ndarray, reach: float) -> bool:
        """Whether something that reaches so many metres around a point could be in the picture."""
        right, _, ahead = (point - self.position) @ self.rotation.T
        return ahead > -reach and abs(right) < max(ahead, 0) * self.width / (2 * self.focal) + 1.3 * reach

    def outline(self, points: np.ndarray) -> np.ndarray | None:
        """(M, 2) the seen outline of a polygon in world points; None where nothing of it is in front."""
        view = _clip_near(self.view(points))
        return self.pixels(view) if len(view) >= 3 else None


def _clip_near(view: np.ndarray) -> np.ndarray:
    """Cut a polygon in camera axes at the near plane (Sutherland and Hodgman)."""
    inside = view[:, 2] > NEAR
    if inside.all():
        return view
    kept = []
    for here, there, here_in, there_in in zip(
        view, np.roll(view, -1, 0), inside, np.roll(inside, -1), strict=True
    ):
        if here_in:
            kept.append(here)
        if here_in != there_in:
            kept.append(here + (there - here) * ((NEAR - here[2]) / (there[2] - here[2])))
    return np.array(kept).reshape(-1, 3)


@dataclass
class Texture:
    """A picture to hang in the street: rgb uint8 (h, w, 3), and alpha uint8 (h, w) where it has holes."""

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    _smaller: dict[tuple[int, int], tuple[np.ndarray, np.ndarray | None]] = field(default_factory=dict)

    def shrunk(self, columns: float, rows: float) -> tuple[np.ndarray, np.ndarray | None]:
        """The texture halved, each way by itself, until it has about as many pixels as will be seen."""
        height, width = self.rgb.shape[:2]
        halvings = tuple(max(0, int(np.log2(max(1.0, have / max(want, 1.0))) + 0.3))
                         for have, want in ((width, columns), (height, rows)))  # fmt: skip
        if halvings not in self._smaller:
            size = (max(1, width >> halvings[0]), max(1, height >> halvings[1]))
            alpha = None if self.alpha is None else cv2.resize(self.alpha, size, interpolation=cv2.INTER_AREA)
            self._smaller[halvings] = cv2.resize(self.rgb, size, interpolation=cv2.INTER_AREA), alpha
        return self._smaller[halvings]


class Canvas:
    """image uint8 (H, W, 3) and labels uint8 (H, W), painted together."""

    def __init__(self, camera: Camera, image: np.ndarray, labels: np.ndarray, haze: Colour) -> None:
        self.camera = camera
        self.image = image
        self.labels = labels
        self.haze = np.array(haze)

    def polygons(self, points: np.ndarray, starts: np.ndarray, colours: np.ndarray, label: int) -> None:
        """Fill flat polygons in the order given: (P, 3) world points, cut at starts (n,); colours (n, 3)."""
        view = self.camera.view(points)
        distance = float(view[0, 2])
        if view[:, 2].min() > NEAR:
            self._fill(self.camera.pixels(view), starts, colours, label, distance)
            return
        for piece, colour in zip(np.split(view, starts[1:]), colours, strict=True):
            seen = _clip_near(piece)
            if len(seen) >= 3:
                self._fill(self.camera.pixels(seen), np.zeros(1, int), colour[None], label, distance)

    def polygon(self, points: np.ndarray, colour: np.ndarray | Colour, label: int) -> None:
        """Fill one flat polygon, (N, 3) world points."""
        self.polygons(points, np.zeros(1, int), np.array(colour, float)[None], label)

    def capsules(self, ends: np.ndarray, radii: np.ndarray, colours: np.ndarray, label: int) -> None:
        """Rounded sticks (limbs, poles, trunks): ends (n, 2, 3) world, radii (n, 2) metres, colours (n, 3).

        Each has a lighter side, and those behind are painted first.
        """
        order = np.argsort(-ends[..., 2].sum(1), kind="stable")
        view = self.camera.view(ends[order].reshape(-1, 3))
        if view[:, 2].min() < NEAR:
            return
        pixels = self.camera.pixels(view).reshape(-1, 2, 2)
        wide = np.maximum(radii[order] * self.camera.focal / view[:, 2].reshape(-1, 2), 0.45)
        shapes, paints = [_stadiums(pixels, wide)], [colours[order] * 0.8]
        if wide.max() > 1.5:
            shapes.append(_stadiums(pixels - 0.3 * wide[..., None] * (1.0, 0.4), wide * 0.62))
            paints.append(colours[order] * 1.2)
        outlines = np.stack(shapes, axis=1).reshape(-1, 2)
        starts = np.arange(0, len(outlines), 16)
        self._fill(outlines, starts, np.stack(paints, axis=1).reshape(-1, 3), label, float(view[0, 2]))

    def _fill(
        self, outlines: np.ndarray, starts: np.ndarray, colours: np.ndarray, label: int, distance: float
    ) -> None:
        """Fill polygons given in pixels (P, 2), all about as far away, one after the other."""
        low, high = np.minimum.reduceat(outlines, starts), np.maximum.reduceat(outlines, starts)
        seen = ((high >= 0) & (low < (self.camera.width, self.camera.height))).all(1)
        if not seen.any():
            return
        fixed = np.round(outlines * (1 << SHIFT)).astype(np.int32)
        bounds = [*starts.tolist(), len(fixed)]
        paints = np.clip(self._hazed(colours, distance), 0, 255).tolist()
        for at in np.flatnonzero(seen).tolist():
            outline = [fixed[bounds[at] : bounds[at + 1]]]
            cv2.fillPoly(self.image, outline, paints[at], cv2.LINE_AA, SHIFT)
            cv2.fillPoly(self.labels, outline, label, cv2.LINE_8, SHIFT)

    def _hazed(self, colours: np.ndarray, distance: float) -> np.ndarray:
        return self.haze + (colours - self.haze) * np.exp(-distance / HAZE_RANGE)

    def panel(self, corners: np.ndarray, texture: Texture, label: int, shade: float = 1.0) -> None:
        """Hang a texture in the world: corners (3, 3) are its top left, top right and bottom left."""
        origin, across, down = corners[0], corners[1] - corners[0], corners[2] - corners[0]
        outline = self.camera.outline(np.array([origin, corners[1], corners[1] + down, corners[2]]))
        if outline is None:
            return
        left, top = np.maximum(np.floor(outline.min(0)), 0).astype(int)
        right, bottom = np.minimum(
            np.ceil(outline.max(0)) + 1, (self.camera.width, self.camera.height)
        ).astype(int)
        if left >= right or top >= bottom:
            return
        spread = np.ptp(outline, axis=0)
        rgb, alpha = texture.shrunk(spread[0], spread[1])
        to_patch = self._homography(origin, across / rgb.shape[1], down / rgb.shape[0], (left, top))
        size = (right - left, bottom - top)
        inside = np.zeros(size[::-1], np.uint8)
        cv2.fillPoly(
            inside, [np.round((outline - (left, top)) * (1 << SHIFT)).astype(np.int32)], 255, 8, SHIFT
        )
        patch = cv2.warpPerspective(
            rgb, to_patch, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        distance = float(np.linalg.norm(corners.mean(0) - self.camera.position))
        patch = self._lit(patch, shade, distance)
        image, labels = self.image[top:bottom, left:right], self.labels[top:bottom, left:right]
        if alpha is not None:
            weight = cv2.warpPerspective(alpha, to_patch, size, flags=cv2.INTER_LINEAR) & inside
            share = (weight * np.float32(1 / 255))[..., None]
            patch = np.round(image + (patch.astype(np.float32) - image) * share).astype(np.uint8)
            inside = np.where(weight >= SOLID, np.uint8(255), np.uint8(0))
        cv2.copyTo(patch, inside, image)
        labels[inside > 0] = label

    def _lit(self, patch: np.ndarray, shade: float, distance: float) -> np.ndarray:
        clear = float(np.exp(-distance / HAZE_RANGE))
        return cv2.convertScaleAbs(patch, alpha=shade * clear, beta=float(self.haze.mean()) * (1 - clear))

    def _homography(
        self, origin: np.ndarray, step_x: np.ndarray, step_y: np.ndarray, corner: tuple[int, int]
    ) -> np.ndarray:
        """(3, 3) from a texture's pixels to those of the patch of the picture that begins at corner."""
        camera = self.camera
        axes = np.stack([step_x, step_y, origin + 0.5 * (step_x + step_y) - camera.position], axis=1)
        column, row = camera.centre[0] - corner[0], camera.centre[1] - corner[1]
        lens = np.array([[camera.focal, 0, column], [0, camera.focal, row], [0, 0, 1]])
        return lens @ camera.rotation @ axes


def _stadiums(ends: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """(n, 16, 2) outlines in the picture of two discs and what lies between: ends (n, 2, 2), radii (n, 2)."""
    along = ends[:, 1] - ends[:, 0]
    angle = np.arctan2(along[:, 1], along[:, 0])[:, None] + HALF_TURN
    half = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return np.concatenate(
        [ends[:, :1] + half * radii[:, :1, None], ends[:, 1:] - half * radii[:, 1:, None]], axis=1
    )

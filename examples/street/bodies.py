"""What stands and moves in the street: cars, people, bicyclists, lamps, signs, trees, houses, fences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from street.canvas import Canvas, Colour, Texture

# Train ids of the 11 CamVid classes.
SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)

TYRE, HUB, GLASS = (20, 20, 22), (104, 106, 110), (30, 34, 38)
# A car from the side: (z, y, half its width) from the rear bumper over the roof to the front bumper.
PROFILES = {
    "hatchback": ((-1.95, 0.28, 0.80), (-2.0, 0.6, 0.85), (-1.9, 0.96, 0.85), (-1.5, 1.42, 0.64), (0.1, 1.46, 0.64),
                  (0.95, 0.99, 0.83), (1.85, 0.8, 0.80), (2.0, 0.55, 0.82), (1.95, 0.26, 0.78)),
    "saloon": ((-2.2, 0.28, 0.80), (-2.25, 0.6, 0.85), (-2.1, 0.98, 0.84), (-1.05, 1.40, 0.63), (0.1, 1.42, 0.63),
               (1.05, 0.96, 0.84), (2.05, 0.78, 0.80), (2.2, 0.55, 0.83), (2.15, 0.26, 0.78)),
    "van": ((-2.3, 0.3, 0.88), (-2.35, 0.6, 0.92), (-2.35, 1.1, 0.92), (-2.25, 2.05, 0.82), (0.9, 2.08, 0.82),
            (1.75, 1.2, 0.9), (2.25, 0.98, 0.86), (2.35, 0.6, 0.9), (2.3, 0.28, 0.86)),
}  # fmt: skip


@dataclass(frozen=True)
class Spot:
    """A place in the street and the way one faces there (radians, clockwise from the z axis)."""

    x: float
    z: float
    heading: float = 0.0

    def world(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) points given around this spot (right, up, ahead) in world axes."""
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        turn = np.array(((cos, 0, sin), (0, 1, 0), (-sin, 0, cos)))
        return np.asarray(points, float) @ turn.T + (self.x, 0.0, self.z)


@dataclass(frozen=True)
class Mesh:
    """Flat faces in their own axes. Each has its details (lamps, panes, wheels) painted over it."""

    points: tuple[np.ndarray, ...]  # a face each: (P, 3) its outline, then those of its details
    starts: tuple[np.ndarray, ...]  # where in points each outline begins
    colours: tuple[np.ndarray, ...]  # (n, 3); nan is the paint of the whole
    normals: np.ndarray  # (faces, 3) outward
    middles: np.ndarray  # (faces, 3)


def _part(quad: np.ndarray, left: float, right: float, low: float, high: float) -> np.ndarray:
    """The piece of a quad (bottom left, top left, top right, bottom right) between two shares each way."""
    across = np.array((left, left, right, right))[:, None]
    up = np.array((low, high, high, low))[:, None]
    return (quad[0] * (1 - across) + quad[3] * across) * (1 - up) + (
        quad[1] * (1 - across) + quad[2] * across
    ) * up


@cache
def _disc(
    middle: tuple[float, float, float], radius: float, axes: str = "zy", hole: float = 0.0
) -> np.ndarray:
    """(24 or 50, 3) points of a disc (or ring) in the plane of two axes."""
    angle = np.linspace(0, 2 * np.pi, 25 if hole else 24, endpoint=bool(hole))
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    circle = np.concatenate([circle * radius, circle[::-1] * hole]) if hole else circle * radius
    points = np.tile(np.array(middle, float), (len(circle), 1))
    points[:, "xyz".index(axes[0])] += circle[:, 0]
    points[:, "xyz".index(axes[1])] += circle[:, 1]
    return points


def _strips(profile: np.ndarray) -> list[np.ndarray]:
    """The eight quads that run across the car from its rear bumper to its front bumper."""
    left, right = profile * (-1, 1, 1), profile * (1, 1, 1)
    return [np.array((left[i], left[i + 1], right[i + 1], right[i])) for i in range(8)]


def _mesh(faces: list[tuple[np.ndarray, list[tuple[np.ndarray, Colour]]]], inside: np.ndarray) -> Mesh:
    """From (outline, [(detail, colour)...]) a face, around a point inside them all."""
    normals, middles = [], []
    for outline, _ in faces:
        middles.append(outline.mean(0))
        spokes = (
            outline - middles[-1]
        )  # Newell's sum: a car's flank is not quite flat, nor its first corner square
        normal = np.cross(spokes, np.roll(spokes, -1, 0)).sum(0)
        normals.append(normal / np.linalg.norm(normal) * np.sign(normal @ (middles[-1] - inside)))
    pieces = [[outline, *(points for points, _ in details)] for outline, details in faces]
    return Mesh(
        points=tuple(np.concatenate(piece) for piece in pieces),
        starts=tuple(np.cumsum([0] + [len(points) for points in piece[:-1]]) for piece in pieces),
        colours=tuple(
            np.array([(np.nan,) * 3, *(colour for _, colour in details)], float) for _, details in faces
        ),
        normals=np.array(normals),
        middles=np.array(middles),
    )


def _car_ends(strips: list[np.ndarray]) -> dict[int, list[tuple[np.ndarray, Colour]]]:
    """What is seen from behind and from ahead: lamps, plates, panes, bumpers, grille."""
    black, lamps = (32, 32, 34), ((0.02, 0.17), (0.83, 0.98))
    rear = [(_part(strips[1], *side, 0.25, 0.9), (118, 22, 20)) for side in lamps]
    head = [(_part(strips[6], *side, 0.1, 0.85), (188, 190, 186)) for side in lamps]
    screen = [
        (_part(strips[4], 0.06, 0.94, 0.05, 0.92), (50, 56, 62)),
        (_part(strips[4], 0.1, 0.9, 0.5, 0.9), (80, 90, 98)),
    ]
    return {
        0: [(_part(strips[0], 0, 1, 0.1, 0.7), black)],
        1: [*rear, (_part(strips[1], 0.35, 0.65, 0.15, 0.45), (172, 150, 62))],
        2: [
            (_part(strips[2], 0.08, 0.92, 0.1, 0.9), (30, 34, 38)),
            (_part(strips[2], 0.12, 0.88, 0.5, 0.86), (52, 58, 64)),
        ],
        3: [],
        4: screen,
        5: [(_part(strips[5], 0.12, 0.88, 0.0, 0.12), (40, 42, 46))],
        6: [*head, (_part(strips[6], 0.25, 0.75, 0.15, 0.7), (26, 26, 28))],
        7: [
            (_part(strips[7], 0, 1, 0.3, 1.0), black),
            (_part(strips[7], 0.34, 0.66, 0.05, 0.5), (186, 186, 180)),
        ],
    }


@cache
def car_mesh(kind: str) -> Mesh:
    z, y, half = np.array(PROFILES[kind]).T
    profile = np.stack([half, y, z], axis=1)
    strips = _strips(profile)
    ends = _car_ends(strips)
    faces = [(strip, ends[at]) for at, strip in enumerate(strips)]
    for side in (-1, 1):
        flank = profile * (side, 1, 1)
        sill = np.array(
            (
                (side * 0.85, 0.24, z[0]),
                (side * 0.85, 0.4, z[0]),
                (side * 0.85, 0.4, z[8]),
                (side * 0.85, 0.24, z[8]),
            )
        )
        crease = np.array(
            (
                (side * 0.86, 0.7, z[1]),
                (side * 0.86, 0.76, z[1]),
                (side * 0.86, 0.72, z[7]),
                (side * 0.86, 0.66, z[7]),
            )
        )
        rings = ((0.37, (26, 26, 28)), (0.31, TYRE), (0.19, HUB), (0.08, TYRE))
        wheels = [
            (_disc((side * 0.84, 0.31, at * z[8] * 0.66), radius), shade)
            for at in (-1, 1)
            for radius, shade in rings
        ]
        faces.append((flank[[0, 1, 2, 5, 6, 7, 8]], [(sill, (30, 30, 32)), (crease, (46, 47, 50)), *wheels]))
        upper = flank[[2, 3, 4, 5]]
        panes = ((0.53, 0.93),) if kind == "van" else ((0.1, 0.48), (0.53, 0.93))
        glass = [
            (_part(upper, *pane, low, 0.86), shade)
            for pane in panes
            for low, shade in ((0.08, GLASS), (0.55, (58, 64, 70)))
        ]
        faces.append((upper, glass))
    return _mesh(faces, np.array((0.0, 0.75, 0.0)))


def draw_car(canvas: Canvas, spot: Spot, kind: str, paint: tuple[int, int, int]) -> None:
    """Tyres and underside first, then the faces turned to the camera, far ones first."""
    mesh = car_mesh(kind)
    normals = spot.world(mesh.normals) - (spot.x, 0, spot.z)
    away = spot.world(mesh.middles) - canvas.camera.position
    distance = np.linalg.norm(away, axis=1)
    under = np.array([(x, y, z) for z in (1.3, -1.3) for part in UNDER_CAR for x, y in part])
    canvas.polygons(spot.world(under), np.arange(0, len(under), 4), np.full((6, 3), 17.0), CAR)
    detailed = distance.min() < 55
    for at in np.argsort(-distance):
        if normals[at] @ away[at] < 0:
            light = 0.62 + 0.45 * normals[at, 1] + 0.06 * normals[at, 0]
            count = len(mesh.starts[at]) if detailed or at in (2, 4, 9, 11) else 1
            colours = np.where(
                np.isnan(mesh.colours[at]), np.array(paint) * light, mesh.colours[at] * (0.7 + 0.3 * light)
            )
            stop = mesh.starts[at][count] if count < len(mesh.starts[at]) else None
            canvas.polygons(spot.world(mesh.points[at][:stop]), mesh.starts[at][:count], colours[:count], CAR)


UNDER_CAR = (  # (x, y) of the underside and of two tyres, seen along the car
    ((-0.78, 0.14), (-0.78, 0.4), (0.78, 0.4), (0.78, 0.14)),
    ((-0.84, 0.0), (-0.84, 0.35), (-0.62, 0.35), (-0.62, 0.0)),
    ((0.62, 0.0), (0.62, 0.35), (0.84, 0.35), (0.84, 0.0)),
)


def _sticks(canvas: Canvas, spot: Spot, limbs: list[tuple], label: int) -> None:
    """Draw sticks ((x, y, z), (x, y, z), radius, radius, colour) that stand around a spot."""
    ends = spot.world(np.array([limb[:2] for limb in limbs]).reshape(-1, 3)).reshape(-1, 2, 3)
    radii = np.array([limb[2:4] for limb in limbs])
    canvas.capsules(ends, radii, np.array([limb[4] for limb in limbs], float), label)


def draw_person(canvas: Canvas, spot: Spot, phase: float, coat: Colour, trousers: Colour) -> None:
    swing = 0.3 * np.sin(phase)
    skin = (128, 100, 84)
    limbs = [
        ((0, 1.0, 0), (0, 1.38, 0.02), 0.17, 0.19, coat),
        ((0, 1.61, 0.03), (0, 1.66, 0.03), 0.1, 0.1, skin),
        ((0, 1.68, 0.0), (0, 1.7, 0.0), 0.095, 0.09, (44, 36, 30)),
    ]
    for side, move in ((-1, swing), (1, -swing)):
        limbs.append(((0.09 * side, 0.9, 0), (0.1 * side, 0.48, 0.6 * move), 0.1, 0.08, trousers))
        limbs.append(((0.1 * side, 0.48, 0.6 * move), (0.1 * side, 0.06, move), 0.075, 0.06, trousers))
        limbs.append(((0.24 * side, 1.38, 0), (0.27 * side, 0.9, -0.8 * move), 0.065, 0.055, coat))
    _sticks(canvas, spot, limbs, PEDESTRIAN)


def draw_bicyclist(canvas: Canvas, spot: Spot, phase: float, jacket: Colour) -> None:
    black, steel = (24, 24, 26), (60, 62, 66)
    for z in (0.52, -0.52):
        canvas.polygon(spot.world(_disc((0, 0.35, z), 0.35, hole=0.29)), black, BICYCLIST)
    limbs = [
        ((0, 0.04, -0.52), (0, 0.68, -0.52), 0.025, 0.025, black),
        ((0, 0.04, 0.52), (0, 0.68, 0.52), 0.025, 0.025, black),
        ((0, 0.35, -0.52), (0, 0.8, -0.2), 0.025, 0.025, steel),
        ((0, 0.3, 0), (0, 0.78, 0.42), 0.025, 0.025, steel),
        ((-0.26, 1.0, 0.42), (0.26, 1.0, 0.42), 0.025, 0.025, steel),
        ((0, 0.98, -0.2), (0, 1.4, 0.12), 0.17, 0.2, jacket),
        ((0, 1.62, 0.22), (0, 1.7, 0.2), 0.11, 0.11, (52, 50, 54)),
    ]
    for side in (-1, 1):
        pedal = (0.12 * side, 0.3 + 0.16 * np.sin(phase) * side, 0.16 * np.cos(phase) * side)
        knee = (0.13 * side, 0.62 + 0.12 * np.sin(phase) * side, 0.2)
        limbs.append(((0.1 * side, 0.95, -0.18), knee, 0.1, 0.085, black))
        limbs.append((knee, pedal, 0.08, 0.06, black))
        limbs.append(((0.22 * side, 1.36, 0.1), (0.25 * side, 1.02, 0.4), 0.065, 0.05, jacket))
    _sticks(canvas, spot, limbs, BICYCLIST)


def draw_lamp(canvas: Canvas, spot: Spot, side: int, height: float) -> None:
    """A street lamp whose arm reaches over the road."""
    grey, reach = (72, 76, 80), -1.6 * side
    tip = (reach, height + 0.35, 0)
    head = (tip, (1.4 * reach, height + 0.3, 0), 0.09, 0.07, (110, 112, 112))
    _sticks(
        canvas,
        spot,
        [((0, 0, 0), (0, height, 0), 0.09, 0.06, grey), ((0, height, 0), tip, 0.05, 0.04, grey), head],
        POLE,
    )


def draw_bollard(canvas: Canvas, spot: Spot) -> None:
    _sticks(canvas, spot, [((0, 0, 0), (0, 0.95, 0), 0.08, 0.08, (34, 34, 36))], POLE)


def draw_sign(canvas: Canvas, spot: Spot, kind: int) -> None:
    """A post with a round, a triangular or a square plate, or two of them."""
    _sticks(canvas, spot, [((0, 0, 0), (0, 2.75, 0), 0.045, 0.045, (92, 94, 96))], POLE)
    red, white, blue, yellow = (142, 30, 34), (206, 206, 202), (32, 56, 122), (198, 152, 30)
    corners = np.array(((-0.48, 2.1, 0), (0.48, 2.1, 0), (0.48, 2.8, 0), (-0.48, 2.8, 0)))
    triangle = np.array(((-0.42, 2.2, 0), (0.42, 2.2, 0), (0, 2.92, 0)))
    centre = triangle.mean(0)
    disc, inner = _disc((0, 2.5, 0), 0.38, "xy"), _disc((0, 2.5, 0), 0.28, "xy")
    plates = (
        [(disc, red), (inner, white)],
        [(disc, blue), (_disc((0, 2.5, 0), 0.1, "xy"), white)],
        [(triangle, red), (centre + (triangle - centre) * 0.6, white)],
        [(corners, yellow), (corners * (0.8, 0.3, 1) + (0, 1.68, 0), (40, 38, 30))],
        [(corners, blue), (corners * (0.8, 0.2, 1) + (0, 2.0, 0), white)],
    )[kind % 5]
    for points, colour in plates:
        canvas.polygon(spot.world(points - (0, 0, 0.06)), colour, SIGN)


def draw_traffic_light(canvas: Canvas, spot: Spot, green: bool) -> None:
    _sticks(canvas, spot, [((0, 0, 0), (0, 2.5, 0), 0.06, 0.06, (40, 40, 42))], POLE)
    box = np.array(((-0.24, 2.2, 0), (0.24, 2.2, 0), (0.24, 3.3, 0), (-0.24, 3.3, 0)))
    canvas.polygon(spot.world(box - (0, 0, 0.08)), (18, 18, 19), SIGN)
    for row, colour in enumerate(((60, 235, 150), (60, 48, 20), (235, 50, 40))):
        lit = colour if row == (0 if green else 2) else (38, 36, 34)
        canvas.polygon(spot.world(_disc((0, 2.42 + 0.32 * row, -0.1), 0.11, "xy")), lit, SIGN)


def draw_tree(
    canvas: Canvas, spot: Spot, crown: Texture, size: tuple[float, float], foot: float, shade: float
) -> None:
    """A trunk and a crown of size (height, width) metres that begins foot metres above the ground."""
    height, width = size
    _sticks(canvas, spot, [((0, 0, 0), (0, foot + 0.3 * height, 0), 0.2, 0.12, (56, 48, 40))], TREE)
    top = foot + height
    corners = np.array(((-width / 2, top, 0), (width / 2, top, 0), (-width / 2, foot, 0)))
    canvas.panel(spot.world(corners), crown, TREE, shade)


def draw_run(
    canvas: Canvas, start: Spot, end: Spot, height: float, texture: Texture, label: int, shade: float
) -> None:
    """A fence or a hedge along the street."""
    corners = np.array(((start.x, height, start.z), (end.x, height, end.z), (start.x, 0, start.z)))
    canvas.panel(corners, texture, label, shade)


@dataclass(frozen=True)
class House:
    """A terraced house. side: -1 left of the street, 1 right; roof: metres its ridge rises, 0 if flat."""

    side: int
    height: float
    depth: float
    roof: float
    front: Texture
    gable: Texture
    tiles: Texture
    gable_colour: Colour


def draw_house(canvas: Canvas, near: Spot, far: Spot, house: House, sun: float) -> None:
    """The wall turned to the camera, the roof, then the front. sun: -1 from the left, 1 from the right."""
    back, ridge = near.x + house.side * house.depth, near.x + house.side * house.depth / 2
    light = 0.82 - 0.3 * sun * house.side
    eaves, top = house.height, house.height + house.roof
    end = np.array(((near.x, eaves, near.z), (back, eaves, near.z), (near.x, 0, near.z)))
    canvas.panel(end, house.gable, BUILDING, 0.72)
    if house.roof:
        peak = np.array(((near.x, eaves, near.z), (ridge, top, near.z), (back, eaves, near.z)))
        canvas.polygon(peak, np.array(house.gable_colour) * 0.72, BUILDING)
        _chimney(canvas, ridge, top, near.z, house.gable_colour)
        shift = far.x - near.x
        slope = np.array(((ridge, top, near.z), (ridge + shift, top, far.z), (near.x, eaves, near.z)))
        canvas.panel(slope, house.tiles, BUILDING, light)
    front = np.array(((near.x, eaves, near.z), (far.x, eaves, far.z), (near.x, 0, near.z)))
    canvas.panel(front, house.front, BUILDING, light)


def _chimney(canvas: Canvas, x: float, y: float, z: float, colour: Colour) -> None:
    stack = np.array(((-0.5, -0.6, 0.1), (0.5, -0.6, 0.1), (0.5, 1.1, 0.1), (-0.5, 1.1, 0.1)))
    canvas.polygon(stack + np.array((x, y, z)), np.array(colour) * 0.6, BUILDING)
    pots = [((pot, 1.1, 0.1), (pot, 1.5, 0.1)) for pot in (-0.25, 0.25)]
    canvas.capsules(
        np.array(pots) + np.array((x, y, z)),
        np.full((2, 2), 0.11),
        np.full((2, 3), (118.0, 74.0, 54.0)),
        BUILDING,
    )

"""What a seed and some settings put into the street, and where everything is at a given time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial

import numpy as np

from street import bodies, textures
from street.bodies import FENCE, TREE, House, Spot
from street.canvas import Camera, Canvas, Texture

VIEW = 160.0  # metres of street ahead of the camera
PAINTS = (
    (30, 31, 34), (26, 34, 58), (118, 122, 126), (74, 78, 84), (92, 24, 26), (176, 178, 178), (38, 60, 54),
    (64, 82, 108), (20, 20, 22), (44, 44, 48),
)  # fmt: skip
COATS = ((28, 28, 32), (40, 36, 34), (34, 42, 62), (76, 28, 30), (86, 80, 70), (52, 58, 48), (120, 118, 112))


@dataclass(frozen=True)
class StreetSettings:
    """One street and the way through it. The defaults are those of examples/street.mp4.

    height, width: pixels, even (H.264 halves them for colour), at least 64.
    frames, frame_rate: how long the way is, and frames a second.
    seed: what stands where, and what it looks like.
    light: 1 by day, 0.4 at dusk. sun: 0 overcast; -1 or 1 low sun from the left or the right.
    density: traffic and people, 1 a usual street. greenery: share of the roadside without houses.
    speed: of the camera, in metres a second. bend: the street's curvature, 1 / metres.
    """

    height: int = 480
    width: int = 640
    frames: int = 100
    frame_rate: int = 25
    seed: int = 2024
    light: float = 1.0
    sun: float = 0.35
    density: float = 1.0
    greenery: float = 0.2
    speed: float = 7.0
    bend: float = 0.0005

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 64 or self.height % 2 or self.width % 2:
            raise ValueError(
                f"size {self.height}x{self.width}: height and width must be even and at least 64"
            )
        if self.frames < 1 or self.frame_rate < 1:
            raise ValueError(f"{self.frames} frames at {self.frame_rate} a second: both must be at least 1")


@dataclass
class Thing:
    """Something that can be drawn: where its far end is at time 0, and how fast it moves along the street."""

    lateral: float
    z: float
    draw: Callable[[Canvas, Spot, float], None]
    speed: float = 0.0
    facing: float = 0.0
    footprint: tuple[float, float] | None = None  # half width and half length of the shadow under it
    reach: float = np.inf  # metres around its place within which all of it lies


@dataclass
class Scene:
    settings: StreetSettings
    road: float  # half its width, metres
    pavement: tuple[float, float]  # widths, left and right
    lane: float  # where the camera drives
    junction: tuple[float, float]  # where the side street begins and ends
    sky: np.ndarray
    crowns: list[Texture]
    things: list[Thing] = field(default_factory=list)
    heights: dict[int, np.ndarray] = field(default_factory=dict)  # of the houses, a metre of street each

    def spot(self, lateral: float, z: float, facing: float = 0.0) -> Spot:
        """A place beside the middle of the road, which bends."""
        bend = self.settings.bend
        return Spot(lateral + bend * z * z, z, facing + float(np.arctan(2 * bend * z)))

    def border(self, side: int) -> float:
        """Where the pavement ends and houses begin."""
        return side * (self.road + self.pavement[side > 0])

    def camera(self, index: int) -> Camera:
        """The camera at a frame: it drives, and sways a little on its springs."""
        settings = self.settings
        time = index / settings.frame_rate
        here = self.spot(self.lane + 0.08 * np.sin(0.9 * time), settings.speed * time)
        yaw = here.heading + 0.010 * np.sin(1.1 * time)
        pitch = 0.03 + 0.004 * np.sin(5.1 * time) + 0.003 * np.sin(2.3 * time)
        roll = 0.006 * np.sin(1.7 * time)
        position = np.array((here.x, 1.38 + 0.015 * np.sin(6.3 * time), here.z))
        rotation = _rotation(yaw, pitch, roll)
        return Camera(position, rotation, 1.18 * settings.height, settings.height, settings.width)


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """(3, 3) rows right, down, forward; pitch is up, yaw and roll are clockwise."""
    forward = np.array((np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)))
    right = np.array((np.cos(yaw), 0.0, -np.sin(yaw)))
    down = -np.cross(forward, right)
    return np.stack(
        [right * np.cos(roll) + down * np.sin(roll), down * np.cos(roll) - right * np.sin(roll), forward]
    )


@lru_cache(maxsize=2)
def build_scene(settings: StreetSettings) -> Scene:
    """Everything that does not change from frame to frame."""
    rng = np.random.default_rng(settings.seed)
    junction = rng.uniform(26, 60)
    sky_size = (round(settings.height * 1.2), round(settings.width * 1.2))
    scene = Scene(
        settings,
        road=rng.uniform(4.2, 4.8),
        pavement=(rng.uniform(2.6, 4.2), rng.uniform(2.6, 4.4)),
        lane=rng.uniform(-1.7, -1.2),
        junction=(junction, junction + 8.5),
        sky=textures.clouds(rng, sky_size, 1 - 0.5 * abs(settings.sun)),
        crowns=_crowns(rng),
    )
    length = settings.speed * settings.frames / settings.frame_rate + VIEW
    for side in (-1, 1):
        _roadside(scene, rng, side, length)
        _furniture(scene, rng, side, length)
        _people(scene, rng, side, length)
    _traffic(scene, rng, length)
    _horizon(scene, rng, length)
    return scene


def _roadside(scene: Scene, rng: np.random.Generator, side: int, length: float) -> None:
    """Houses shoulder to shoulder, and greens between them."""
    fronts = [(size, textures.facade(rng, *size)) for size in _house_sizes(rng, 7)]
    gables = [(colour, textures.plain(rng, colour)) for colour in textures.WALLS]
    slates = [textures.plain(rng, colour) for colour in ((74, 72, 76), (96, 66, 54))]
    heights = np.zeros(int(length) + 60)
    z = -14.0
    while z < length:
        if z < scene.junction[1] and z + 12 > scene.junction[0]:
            z = max(z, scene.junction[1] + 0.5)
        if rng.random() < scene.settings.greenery:
            span = rng.uniform(9, 20)
            _green(scene, rng, side, (z, z + span))
        else:
            (span, tall), front = fronts[rng.integers(len(fronts))]
            gable, slate = gables[rng.integers(len(gables))], slates[rng.random() < 0.4]
            _house(scene, rng, side, z, (span, tall), (front, slate), gable)
            heights[max(0, int(z)) : max(0, int(z + span))] = tall
        z += span
    scene.heights[side] = heights


def _house_sizes(rng: np.random.Generator, count: int) -> list[tuple[float, float]]:
    """(width, height) in metres, the height in whole storeys."""
    return [(float(rng.uniform(6.5, 13)), 3.1 * int(rng.choice((2, 3, 3, 4, 4)))) for _ in range(count)]


def _house(
    scene: Scene, rng: np.random.Generator, side: int, z: float, size: tuple[float, float],
    skins: tuple[Texture, Texture], gable: tuple[tuple[int, int, int], Texture],
) -> None:  # fmt: skip
    lateral = scene.border(side) + side * float(rng.choice((0.0, 0.0, 0.4, 1.0)))
    roof = 0.0 if size[1] > 10 and rng.random() < 0.6 else float(rng.uniform(2.0, 3.2))
    house = House(side, size[1], 9.0, roof, skins[0], gable[1], skins[1], gable[0])
    far = scene.spot(lateral, z + size[0])

    def draw(canvas: Canvas, near: Spot, _: float) -> None:
        bodies.draw_house(canvas, scene.spot(lateral, z), far, house, scene.settings.sun)

    scene.things.append(Thing(lateral, z + size[0], draw))


def _crowns(rng: np.random.Generator) -> list[Texture]:
    """Two trees in leaf, two bare ones."""
    leafy = [textures.leaves(rng, (192, width)) for width in (192, 160)]
    return [*leafy, textures.branches(rng), textures.branches(rng)]


def _green(scene: Scene, rng: np.random.Generator, side: int, span: tuple[float, float]) -> None:
    """A fence along the pavement, a hedge behind it, trees behind both."""
    border, shade = scene.border(side), 0.95 - 0.25 * scene.settings.sun * side
    fence = textures.fence(rng, boards=bool(rng.random() < 0.5))
    hedge = textures.leaves(rng, (96, 512), ragged=0)
    runs = (
        (border, rng.uniform(1.0, 1.4), fence, FENCE),
        (border + side * 0.8, rng.uniform(1.9, 3.2), hedge, TREE),
    )
    for lateral, height, texture, label in runs:
        end = scene.spot(lateral, span[1])

        def draw(
            canvas: Canvas, _: Spot, __: float, end: Spot = end, lateral: float = lateral, height: float = height,
            texture: Texture = texture, label: int = label,
        ) -> None:  # fmt: skip
            bodies.draw_run(canvas, scene.spot(lateral, span[0]), end, height, texture, label, shade)

        scene.things.append(Thing(lateral, span[1] + 0.01 * abs(lateral), draw))
    for z in np.arange(span[0] + 2.0, span[1], rng.uniform(3.0, 5.0)):
        _tree(scene, rng, border + side * rng.uniform(2.0, 6.0), z, rng.uniform(6.0, 9.5))


def _tree(scene: Scene, rng: np.random.Generator, lateral: float, z: float, size: float) -> None:
    crown = scene.crowns[rng.integers(len(scene.crowns))]
    shape, foot, shade = (size, size * rng.uniform(0.75, 1.05)), rng.uniform(1.6, 2.6), rng.uniform(0.7, 1.1)

    def draw(canvas: Canvas, spot: Spot, _: float) -> None:
        bodies.draw_tree(canvas, spot, crown, shape, foot, shade)

    scene.things.append(Thing(lateral, float(z), draw, footprint=(0.9, 0.9), reach=size))


def _furniture(scene: Scene, rng: np.random.Generator, side: int, length: float) -> None:
    """Lamps, signs, bollards, street trees, railings at the kerb, and a traffic light at the junction."""
    kerb = side * (scene.road + 0.45)
    for z in np.arange(rng.uniform(7, 20), length, 27.0):
        height = rng.uniform(6.5, 8.5)
        scene.things.append(
            Thing(kerb, z, lambda c, s, _, h=height: bodies.draw_lamp(c, s, side, h), reach=3.0)
        )
    for z in np.arange(rng.uniform(6, 16), length, 17.0):
        kind = int(rng.integers(5))
        scene.things.append(
            Thing(kerb + side * 0.1, z, lambda c, s, _, k=kind: bodies.draw_sign(c, s, k), reach=1.5)
        )
    for z in np.arange(rng.uniform(4, 30), length, 9.0):
        if rng.random() < 0.4:
            scene.things.append(Thing(kerb, z, lambda c, s, _: bodies.draw_bollard(c, s), reach=1.5))
    for z in np.arange(rng.uniform(12, 30), length, 22.0):
        if rng.random() < 0.3 + scene.settings.greenery:
            _tree(scene, rng, kerb + side * 0.5, z, rng.uniform(4.5, 6.5))
    green = bool(rng.random() < 0.6)
    light = Thing(kerb, scene.junction[0] - 1.0, lambda c, s, _: bodies.draw_traffic_light(c, s, green))
    scene.things.append(light)
    railing, start = textures.fence(rng, boards=False), scene.junction[1] + 1.5

    def draw(canvas: Canvas, end: Spot, _: float) -> None:
        bodies.draw_run(canvas, scene.spot(kerb, start), end, 1.1, railing, FENCE, 1.0)

    scene.things.append(Thing(kerb, start + 9.0, draw))


def _people(scene: Scene, rng: np.random.Generator, side: int, length: float) -> None:
    """Walkers on a pavement, both ways."""
    for _ in range(int(0.13 * length * scene.settings.density)):
        lateral = side * (scene.road + rng.uniform(0.7, scene.pavement[side > 0] - 0.35))
        _walker(scene, rng, lateral, rng.uniform(3, length), float(rng.choice((-1.3, 1.3, 1.1, -1.5, 0.0))))


def _walker(scene: Scene, rng: np.random.Generator, lateral: float, z: float, speed: float) -> None:
    coat, trousers = (COATS[i] for i in rng.integers(len(COATS), size=2))
    start = rng.uniform(0, 6)

    def draw(canvas: Canvas, spot: Spot, time: float) -> None:
        bodies.draw_person(canvas, spot, start + 4.6 * abs(speed) * time, coat, trousers)

    facing = 0.0 if speed >= 0 else np.pi
    scene.things.append(Thing(lateral, z, draw, speed, facing, footprint=(0.3, 0.3), reach=1.5))


def _car(
    scene: Scene, rng: np.random.Generator, lateral: float, z: float, speed: float, facing: float
) -> None:
    kind = str(rng.choice(("hatchback", "hatchback", "saloon", "saloon", "van")))
    paint = PAINTS[rng.integers(len(PAINTS))]

    def draw(canvas: Canvas, spot: Spot, _: float) -> None:
        bodies.draw_car(canvas, spot, kind, paint)

    scene.things.append(Thing(lateral, z, draw, speed, facing, footprint=(0.95, 2.25), reach=3.0))


def _traffic(scene: Scene, rng: np.random.Generator, length: float) -> None:
    """Parked cars at both kerbs, one ahead in our lane, some coming towards us, and bicyclists."""
    density, speed = scene.settings.density, scene.settings.speed
    for side in (-1, 1):
        for z in np.arange(rng.uniform(2, 12), length, 6.2):
            clear = not scene.junction[0] - 8 < z < scene.junction[1] + 13
            if clear and rng.random() < 0.34 * density:
                _car(scene, rng, side * (scene.road - 1.05), z, 0.0, np.pi * (side > 0) + rng.normal(0, 0.02))
    _car(scene, rng, scene.lane, rng.uniform(15, 30), speed * 1.03, 0.0)
    for z in np.arange(rng.uniform(14, 40), length * 2, 34 / max(density, 0.1)):
        _car(scene, rng, 1.35, z, -8.0, np.pi)
    for z in np.arange(rng.uniform(11, 22), length, 38 / max(density, 0.1)):
        jacket = (178, 186, 40) if rng.random() < 0.3 else COATS[rng.integers(len(COATS))]
        start = rng.uniform(0, 6)
        near_kerb = -(scene.road - 2.4)
        draw = partial(_pedal, start, jacket)
        scene.things.append(Thing(near_kerb, z, draw, speed * 0.86, 0.0, footprint=(0.25, 0.9), reach=1.5))


def _pedal(start: float, jacket: tuple[int, int, int], canvas: Canvas, spot: Spot, time: float) -> None:
    bodies.draw_bicyclist(canvas, spot, start + 5.0 * time, jacket)


def _horizon(scene: Scene, rng: np.random.Generator, length: float) -> None:
    """What closes the view at the end of the street."""
    wood = textures.leaves(rng, (96, 768), ragged=0)

    def draw(canvas: Canvas, spot: Spot, _: float) -> None:
        corners = np.array(((-90.0, 9.0, 0.0), (90.0, 9.0, 0.0), (-90.0, 0.0, 0.0)))
        canvas.panel(spot.world(corners), wood, TREE, 0.9)

    scene.things.append(Thing(0.0, length + 6.0, draw))

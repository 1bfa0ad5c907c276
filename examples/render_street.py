"""Draw a street in perspective, with the exact class of every pixel.

    python examples/render_street.py -o street.mp4 --labels street_labels    # 100 frames and their truth
    python examples/render_street.py --dataset street --train 400 --val 50   # random streets to train on

Road, pavement, houses, trees, poles, signs, fences, cars, pedestrians, bicyclists and sky are the 11
classes of CamVid, under CamVid's train ids 0..10; no pixel is unlabelled. Labels have hard edges: each
pixel has the class of what was painted there last. As in CamVid, the air between railings or twigs
belongs to the fence or the tree.

The same seed and settings give the same pictures. examples/street.mp4 is the default StreetSettings();
weights that come with the project are never trained on that seed, and write_dataset refuses it.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from icnet_cli.pixels.cv import cv2
from icnet_cli.pixels.files import write_labels_png, write_picture

sys.path.insert(0, str(Path(__file__).resolve().parent))  # street/, however this file was loaded
from street.bodies import SKY
from street.canvas import Canvas
from street.ground import paint_ground
from street.scene import Scene, StreetSettings, Thing, build_scene

AUDIO_RATE = 44100
SPARE = 64  # pixels of noise beyond the picture, so that each frame can have another piece


def render_frame(settings: StreetSettings, index: int) -> tuple[np.ndarray, np.ndarray]:
    """One frame: image uint8 (H, W, 3) RGB and its labels uint8 (H, W), CamVid train ids 0..10."""
    if not 0 <= index < settings.frames:
        raise IndexError(f"frame {index}: the street has {settings.frames} frames")
    scene = build_scene(settings)
    camera = scene.camera(index)
    canvas = Canvas(
        camera,
        image=_sky(scene, camera.rotation),
        labels=np.full((settings.height, settings.width), SKY, np.uint8),
        haze=(196, 202, 206),
    )
    time = index / settings.frame_rate
    ahead = [(thing, thing.z + thing.speed * time) for thing in scene.things]
    ahead = sorted((item for item in ahead if item[1] > camera.position[2] - 3), key=lambda item: -item[1])
    paint_ground(canvas, scene, [_shadow(scene, *item) for item in ahead if item[0].footprint])
    for thing, z in ahead:
        spot = scene.spot(thing.lateral, z, thing.facing)
        if camera.sees(np.array((spot.x, 1.0, spot.z)), thing.reach):
            thing.draw(canvas, spot, time)
    return _develop(canvas.image, canvas.labels, settings, index), canvas.labels


def _sky(scene: Scene, rotation: np.ndarray) -> np.ndarray:
    """The piece of the sky that the camera looks at."""
    height, width = scene.settings.height, scene.settings.width
    spare = np.array(scene.sky.shape[:2]) - (height, width)
    turn = np.clip((0.5 + 4 * rotation[2, 1], 0.5 + 2 * rotation[2, 0]), 0, 1)
    top, left = (spare * turn).astype(int)
    return scene.sky[top : top + height, left : left + width].astype(np.uint8)


def _shadow(scene: Scene, thing: Thing, z: float) -> np.ndarray:
    """(4, 3) the corners of the ground under a thing."""
    half_width, half_length = thing.footprint
    corners = np.array(((-1, 0, -1), (1, 0, -1), (1, 0, 1), (-1, 0, 1))) * (half_width, 0, half_length)
    return scene.spot(thing.lateral, z, thing.facing).world(corners)


def _develop(image: np.ndarray, labels: np.ndarray, settings: StreetSettings, index: int) -> np.ndarray:
    """What lens and sensor make of it: a little blur, darker corners, exposure, noise."""
    height, width = image.shape[:2]
    picture = cv2.GaussianBlur(image, (0, 0), 0.0011 * height + 0.1).astype(np.float32)
    vignette, grain = _lens(height, width)
    # At dusk the street darkens before the sky does.
    sky, street = np.float32(settings.light**0.4), np.float32(settings.light)
    picture *= vignette * np.where(labels == SKY, sky, street)[..., None]
    top, left = np.random.default_rng((settings.seed, index)).integers(0, SPARE, 2)
    picture += grain[top : top + height, left : left + width]
    return cv2.convertScaleAbs(cv2.max(picture, 0.0))


@lru_cache(maxsize=4)
def _lens(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 (H, W, 1) light that reaches each pixel, and noise (H + SPARE, W + SPARE, 3) to cut pieces from."""
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    vignette = 1 - 0.08 * (rows**2 + columns**2)
    grain = np.random.default_rng(0).standard_normal((height + SPARE, width + SPARE, 3), np.float32)
    return vignette[..., None].astype(np.float32), grain * np.float32(2.6)


def random_settings(seed: int, size: tuple[int, int] = (360, 480)) -> StreetSettings:
    """Another street, at another hour, in other traffic, for each seed."""
    rng = np.random.default_rng((seed, 1))
    return StreetSettings(
        height=size[0],
        width=size[1],
        seed=seed,
        light=float(rng.uniform(0.55, 1.15)),
        sun=float(rng.uniform(-1, 1)),
        density=float(rng.uniform(0.6, 1.8)),
        greenery=float(rng.uniform(0.05, 0.6)),
        bend=float(rng.uniform(-0.001, 0.001)),
    )


def engine_noise(seconds: float) -> np.ndarray:
    """float32 (1, samples) a quiet engine: a low hum whose revolutions drift, and wind."""
    time = np.arange(round(seconds * AUDIO_RATE)) / AUDIO_RATE
    turns = 2 * np.pi * (38 * time + 1.5 * np.sin(0.8 * time))
    hum = sum(np.sin(order * turns) / order for order in (1, 2, 3, 5))
    wind = np.random.default_rng(1).standard_normal(len(time))
    wind = np.convolve(wind, np.hanning(64) / 32, mode="same")
    return (0.05 * hum + 0.02 * wind).astype(np.float32)[None]


def write_video(settings: StreetSettings, path: Path) -> None:
    """H.264 and AAC in mp4, tagged BT.709."""
    import av  # here, so that streets can be drawn where PyAV is not installed
    from av.video.reformatter import ColorRange, Colorspace

    with av.open(str(path), "w", options={"movflags": "faststart"}) as file:
        video = file.add_stream("libx264", rate=settings.frame_rate, options={"crf": "20", "preset": "slow"})
        video.width, video.height, video.pix_fmt = settings.width, settings.height, "yuv420p"
        context = video.codec_context
        context.color_primaries, context.color_trc, context.colorspace = 1, 1, 1
        context.color_range = ColorRange.MPEG
        audio = file.add_stream("aac", rate=AUDIO_RATE, layout="mono", options={"b": "48000"})
        for index in range(settings.frames):
            picture = av.VideoFrame.from_ndarray(render_frame(settings, index)[0], format="rgb24")
            picture = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
            picture.pts, picture.time_base = index, Fraction(1, settings.frame_rate)
            file.mux(video.encode(picture))
        sound = av.AudioFrame.from_ndarray(
            engine_noise(settings.frames / settings.frame_rate), format="fltp", layout="mono"
        )
        sound.sample_rate, sound.pts = AUDIO_RATE, 0
        file.mux(audio.encode(sound))
        for stream in (video, audio):
            file.mux(stream.encode(None))


def write_labels(settings: StreetSettings, folder: Path) -> None:
    """A greyscale PNG a frame, value = train id."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(settings.frames):
        write_labels_png(folder / f"frame_{index:06d}.png", render_frame(settings, index)[1])


def write_dataset(
    folder: Path, train: int, val: int, seed: int = 0, size: tuple[int, int] = (360, 480)
) -> None:
    """Random streets, one picture each, laid out as CamVid: SPLIT/NAME.png and SPLITannot/NAME.png.

    Raises:
        ValueError: the seeds would reach that of examples/street.mp4.
    """
    first = 100_000 + 10_000 * seed
    if first <= StreetSettings.seed < first + train + val:
        raise ValueError(f"seed {seed} would draw the street of examples/street.mp4")
    for number in range(train + val):
        split, settings = ("train" if number < train else "val"), random_settings(first + number, size)
        image, labels = render_frame(settings, number % settings.frames)
        for part, write, picture in (
            (split, write_picture, image),
            (f"{split}annot", write_labels_png, labels),
        ):
            (folder / part).mkdir(parents=True, exist_ok=True)
            write(folder / part / f"street_{first + number}.png", picture)


def true_labels(settings: StreetSettings) -> np.ndarray:
    """uint8 (frames, H, W): the class of every pixel of the video."""
    return np.stack([render_frame(settings, index)[1] for index in range(settings.frames)])


def write_truth(settings: StreetSettings, path: Path) -> None:
    """All labels in one file that np.load opens: ["labels"]. LZMA takes two thirds of savez_compressed's room."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file, file.open("labels.npy", "w") as member:
        np.lib.format.write_array(member, true_labels(settings))


def _size(text: str) -> tuple[int, int]:
    height, width = text.split("x")
    return int(height), int(width)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="the video, .mp4")
    parser.add_argument("--labels", type=Path, metavar="DIR", help="a label PNG for each frame of the video")
    parser.add_argument("--truth", type=Path, metavar="FILE.npz", help="all labels of the video in one file")
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="random streets, laid out as CamVid")
    parser.add_argument("--train", type=int, default=400, help="pictures of the dataset's train split")
    parser.add_argument("--val", type=int, default=50)
    parser.add_argument("--seed", type=int, help="another street, or other random streets")
    parser.add_argument("--frames", type=int, default=StreetSettings.frames)
    parser.add_argument(
        "--size", type=_size, metavar="HxW", help="480x640 for the video, 360x480 for datasets"
    )
    args = parser.parse_args(arguments)
    if not (args.output or args.labels or args.truth or args.dataset):
        parser.error("say what to draw: -o, --labels, --truth or --dataset")
    height, width = args.size or (StreetSettings.height, StreetSettings.width)
    seed = StreetSettings.seed if args.seed is None else args.seed
    settings = replace(StreetSettings(), height=height, width=width, frames=args.frames, seed=seed)
    if args.output:
        write_video(settings, args.output)
    if args.labels:
        write_labels(settings, args.labels)
    if args.truth:
        write_truth(settings, args.truth)
    if args.dataset:
        write_dataset(args.dataset, args.train, args.val, args.seed or 0, args.size or (360, 480))


if __name__ == "__main__":
    main()

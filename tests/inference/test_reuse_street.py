"""Reuse on the rendered street, where the truth is exact and the network is the one that comes with the project."""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import pytest

from icnet_cli.checkpoints.bundled import bundled_weights
from icnet_cli.evaluation.confusion import Confusion
from icnet_cli.evaluation.temporal import Flicker, step_between
from icnet_cli.inference.reuse import FrameScores, Reuse
from icnet_cli.inference.segmenter import Segmenter, load
from icnet_cli.pixels.flow import reduced_grey
from icnet_cli.video import open_video
from tests.examples.test_render_street import EXAMPLES, load_street

SIZE = (240, 320)
FRAMES = 6  # of each street
render_street = load_street()
MOVING = (8, 9, 10)  # car, pedestrian, bicyclist


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    if "icnet-camvid" not in bundled_weights():
        pytest.skip("icnet-camvid is not here")
    return load("icnet-camvid", device="cpu", size=SIZE)


@pytest.fixture(scope="module")
def joined() -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures and truth of two streets, one after the other."""
    streets = [render_street.random_settings(seed, SIZE) for seed in (11, 12)]
    return [render_street.render_frame(street, 30 + i) for street in streets for i in range(FRAMES)]


def labels_of(segmenter: Segmenter, frames: list, reuse: Reuse, smooth: float = 0.0) -> list[np.ndarray]:
    scores = FrameScores(segmenter, reuse, smooth)
    return [scores.labels(image) for image, _ in frames]


def miou(frames: list, labels: list[np.ndarray]) -> float:
    confusion = Confusion(11)
    for (_, truth), found in zip(frames, labels, strict=True):
        confusion.update(truth, found)
    return confusion.miou


def test_two_streets_joined_lose_little_and_nothing_at_the_cut(segmenter: Segmenter, joined: list) -> None:
    plain = labels_of(segmenter, joined, Reuse(1))
    scores = FrameScores(segmenter, Reuse(3))
    # One frame more of the first street, so that the cut falls between two key frames.
    scores.labels(joined[0][0])
    reused = [scores.labels(image) for image, _ in joined]
    assert scores.counts["cut"] == 1
    assert np.array_equal(reused[FRAMES], plain[FRAMES])
    assert miou(joined, plain) - miou(joined, reused) <= 0.01
    # What the frame at the cut would show without that: the street before.
    assert (plain[FRAMES - 1] != plain[FRAMES]).mean() > 0.2


def test_smoothing_halves_the_flicker_and_keeps_what_moves() -> None:
    with np.load(EXAMPLES / "street_labels.npz") as file:
        truth = file["labels"][60:72]
    if "icnet-camvid" not in bundled_weights():
        pytest.skip("icnet-camvid is not here")
    pictures = [frame.rgb() for frame in islice(open_video(EXAMPLES / "street.mp4"), 60, 72)]
    frames = list(zip(pictures, truth, strict=True))
    shared, shares, ious = load("icnet-camvid", device="cpu"), [], []
    for smooth in (0.0, 0.5):
        labels = labels_of(shared, frames, Reuse(1), smooth)
        flicker, confusion = Flicker(), Confusion(11)
        for (image, right), found in zip(frames, labels, strict=True):
            flicker.add(image, found)
            confusion.update(right, found)
        shares.append(flicker.share)
        ious.append(confusion.iou)
    assert shares[1] < 0.55 * shares[0]
    assert np.nanmean(ious[1]) >= np.nanmean(ious[0])
    # Of a class that each frame for itself does not find, there is nothing to keep or lose.
    seen = [k for k in MOVING if ious[0][k] > 0.05]
    assert len(seen) >= 2
    for k in seen:
        assert ious[1][k] >= ious[0][k] - 0.005


def test_neighbouring_frames_of_a_street_are_no_cut(joined: list) -> None:
    greys = [reduced_grey(image) for image, _ in joined]
    cuts = [step_between(a, b, SIZE) is None for a, b in pairwise(greys)]
    assert cuts == [i == FRAMES - 1 for i in range(2 * FRAMES - 1)]

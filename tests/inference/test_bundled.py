"""The bundled weights know a street they have never seen: the rendered one, whose truth is exact."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch

import icnet_cli
from icnet_cli.checkpoints.bundled import bundled_weights
from icnet_cli.evaluation.confusion import Confusion
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.models import build

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FRAMES = (0, 33, 66, 99)


@pytest.fixture(scope="module")
def street() -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures as the network sees them, and their labels."""
    with np.load(EXAMPLES / "street_labels.npz") as file:
        truth = file["labels"]
    with icnet_cli.open_video(EXAMPLES / "street.mp4") as frames:
        return [(frame.rgb(), truth[frame.index]) for frame in frames if frame.index in FRAMES]


def accuracy(segmenter: Segmenter, street: list[tuple[np.ndarray, np.ndarray]]) -> float:
    confusion = Confusion(segmenter.classes.num_classes)
    for picture, truth in street:
        confusion.update(truth, segmenter.labels(picture))
    return confusion.pixel_accuracy


@pytest.mark.parametrize("name", bundled_weights())
def test_bundled_weights_label_the_street(name: str, street: list[tuple[np.ndarray, np.ndarray]]) -> None:
    reached = accuracy(icnet_cli.load(name, device="cpu"), street)
    print(f"{name}: pixel accuracy {reached:.3f} on examples/street.mp4")
    assert len(street) == len(FRAMES)
    assert reached >= 0.6


def test_an_untrained_network_does_not(street: list[tuple[np.ndarray, np.ndarray]]) -> None:
    torch.manual_seed(0)
    trained = icnet_cli.load("fast-scnn-camvid", device="cpu")
    network = build("fast-scnn", trained.network.config_dict()).eval()
    assert accuracy(Segmenter(network, trained.meta, "cpu"), street) < 0.5


def test_the_street_has_as_many_frames_as_labels() -> None:
    with av.open(str(EXAMPLES / "street.mp4")) as file:
        assert file.streams.video[0].frames == 100

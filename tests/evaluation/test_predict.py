from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from icnet_cli.checkpoints.format import load_weights
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.evaluation.predict import (
    Predictor,
    network_input,
    scaled_size,
    upsample_scores,
)
from icnet_cli.inference.segmenter import Segmenter, protocol_size


@pytest.fixture
def picture() -> np.ndarray:
    """Blocks of colour, so that a network's labels have shapes."""
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (7, 9, 3), np.uint8).repeat(8, 0).repeat(8, 1)[:50, :70]


def segmenter_of(path, size=None) -> Segmenter:
    weights = load_weights(path)
    return Segmenter(weights.network, weights.meta, "cpu", size=size)


def naive(segmenter: Segmenter, picture: np.ndarray, scales, flip: bool) -> np.ndarray:
    """Softmax of the full logits of each picture, averaged; written without the code under test."""
    height, width = picture.shape[:2]
    base = segmenter.input_size(height, width)
    total = 0
    for scale in scales:
        size = (max(32, round(base[0] * scale)), max(32, round(base[1] * scale)))
        for mirrored in (False, True) if flip else (False,):
            seen = picture[:, ::-1] if mirrored else picture
            x = network_input(
                np.ascontiguousarray(seen), size, torch.device("cpu"), segmenter.meta.normalisation
            )
            with torch.no_grad():
                scores = segmenter.network.scores(x)
                logits = F.interpolate(scores, (height, width), mode="bilinear")
            probabilities = logits.softmax(1)[0].numpy()
            total = total + (probabilities[:, :, ::-1] if mirrored else probabilities)
    return total.argmax(0)


class Counted:
    """A segmenter on a device that is not here: it counts the passes of each size."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.passes: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes.append(tuple(x.shape))
        return x


@pytest.mark.parametrize(("device", "first"), [("cuda", 4), ("cpu", 1)])
def test_a_size_s_first_passes_on_a_gpu_are_not_timed(device: str, first: int, monkeypatch) -> None:
    """They search for algorithms and capture a graph, which a picture's time would be told with."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    segmenter = Counted(device)
    predictor = Predictor(segmenter)
    sizes = [(1, 3, 8, 8 + n) for n in range(10)]
    for size in sizes:
        for _ in range(3):
            predictor._forward(torch.zeros(size))
    counts = [segmenter.passes.count(size) for size in sizes]
    assert counts == [first + 2] * 8 + [3] * 2  # of more sizes than there are graphs for, none is run in vain


@pytest.mark.parametrize("scales", [(1.0,), (0.75, 1.0, 1.3)])
@pytest.mark.parametrize("flip", [False, True])
def test_probabilities_are_averaged_over_scales_and_mirror_images(make_weights, picture, scales, flip):
    segmenter = segmenter_of(make_weights())
    labels = Predictor(segmenter, scales, flip).labels(picture)
    assert labels.dtype == np.uint8
    assert labels.shape == picture.shape[:2]
    assert len(np.unique(labels)) > 2
    # folding rounds differently from the network as trained, so near ties may fall the other way
    assert (labels == naive(segmenter, picture, scales, flip)).mean() > 0.995


def test_each_option_changes_something(make_weights, picture):
    segmenter = segmenter_of(make_weights())
    plain = Predictor(segmenter).labels(picture)
    assert (plain == segmenter.labels(picture)).all()
    assert (Predictor(segmenter, (0.75,)).labels(picture) != plain).mean() > 0.005
    assert (Predictor(segmenter, flip=True).labels(picture) != plain).mean() > 0.005


def test_averaging_over_one_scale_is_the_plain_path(make_weights, picture):
    segmenter = segmenter_of(make_weights(), size=(96, 128))
    predictor = Predictor(segmenter, (1.0,))
    averaged = predictor._averaged(picture, picture.shape[:2])
    assert (averaged == predictor.labels(picture)).mean() > 0.999


def test_with_flip_a_mirrored_picture_gets_mirrored_labels(make_weights, picture):
    segmenter = segmenter_of(make_weights(), size=(64, 64))
    mirrored = np.ascontiguousarray(picture[:, ::-1])

    def agreement(flip: bool) -> float:
        predictor = Predictor(segmenter, flip=flip)
        return (predictor.labels(mirrored) == predictor.labels(picture)[:, ::-1]).mean()

    assert agreement(flip=True) > 0.999
    assert agreement(flip=False) < 0.99


@pytest.mark.parametrize("size", [(50, 70), (7, 9), (3, 4), (1, 1)])
@pytest.mark.parametrize("align_corners", [False, True])
def test_upsampling_is_torchs_interpolation(size, align_corners):
    scores = torch.randn(1, 3, 7, 9)
    found = upsample_scores(scores, size, align_corners, size)
    expected = F.interpolate(scores, size, mode="bilinear", align_corners=align_corners)
    assert torch.allclose(found, expected, atol=1e-5)
    if size == (50, 70):
        other = F.interpolate(scores, size, mode="bilinear", align_corners=not align_corners)
        assert not torch.allclose(found, other, atol=1e-2)


def test_the_time_is_the_networks_alone_and_a_mean(make_weights, picture):
    predictor = Predictor(segmenter_of(make_weights()), (0.5, 1.0))
    assert predictor.model_ms == 0
    for _ in range(3):
        predictor.labels(picture)
    assert predictor.images == 3
    assert predictor.model_ms == pytest.approx(predictor.network_s * 1000 / 3)


def test_running_out_of_memory_is_one_line(make_weights, picture, monkeypatch):
    segmenter = segmenter_of(make_weights())

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("much text")

    monkeypatch.setattr(segmenter, "forward", full)
    for predictor in (Predictor(segmenter), Predictor(segmenter, (2.0,))):
        with pytest.raises(IcnetError, match="out of memory on cpu; give a smaller --size") as caught:
            predictor.labels(picture)
        assert caught.value.code == ExitCode.DEVICE


def test_the_training_size_is_for_pictures_of_its_shape():
    assert protocol_size((544, 736), (360, 480)) == (544, 736)
    assert protocol_size((1024, 2048), (512, 1024)) == (1024, 2048)
    assert protocol_size((544, 736), (720, 1280)) is None
    assert protocol_size((544, 736), (480, 360)) is None


def test_a_scale_never_goes_below_what_networks_take():
    assert scaled_size((544, 736), 0.5) == (272, 368)
    assert scaled_size((48, 64), 0.25) == (32, 32)

"""What runs is another network than was trained (folded, channels last, of bytes): its labels are the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from icnet_cli.checkpoints.format import Normalisation, WeightsMeta
from icnet_cli.classes import load_table
from icnet_cli.inference.fold import (
    PictureConv,
    fold_batchnorm,
    fold_normalisation,
    ready_network,
    takes_pictures,
)
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.models import build

from .tiny import TinyNetwork, randomised, stripes

NETWORKS = {
    "icnet": {"keep": 0.25},
    "icnet published": {"keep": 0.25, "head": "published", "align_corners": True},
    "fast-scnn": {},
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    name = request.param.split()[0]
    network = randomised(build(name, {"num_classes": 11, **NETWORKS[request.param]}))
    balance(network, network.classifier if name == "fast-scnn" else network.conv6_cls)  # type: ignore[arg-type]
    return network


def balance(network: nn.Module, classifier: nn.Conv2d) -> None:
    """Give every class its share of a picture: an untrained network calls everything one class."""
    with torch.no_grad():
        scores = network.scores(torch.randn(1, 3, 128, 160))  # type: ignore[operator]
        classifier.bias -= scores.mean(dim=(0, 2, 3))  # type: ignore[operator]


def test_no_batchnorm_is_left_and_the_original_keeps_its_own(network: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded = fold_batchnorm(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("normalisation", [{}, {"order": "BGR", "std": (1.0, 1.0, 1.0)}])
@pytest.mark.parametrize("size", [(128, 160), (97, 131)])
def test_labels_equal_plain_eager(network: nn.Module, normalisation: dict, size: tuple[int, int]) -> None:
    """Folded, channels last, normalised in one pass: 99.99 % of labels as the plain network gives them."""
    meta = WeightsMeta.of(network, load_table("camvid"), size, normalisation=Normalisation(**normalisation))
    picture = stripes(*size)
    found = Segmenter(network, meta, "cpu", size=size).labels(picture)
    with torch.inference_mode():
        x = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None].contiguous()
        x = (x - torch.tensor(meta.normalisation.mean)[:, None, None]) / torch.tensor(meta.normalisation.std)[
            :, None, None
        ]
        expected = network(x.flip(1) if meta.normalisation.order == "BGR" else x).argmax(dim=1)[0].numpy()
    assert len(np.unique(expected)) > 1
    assert (found == expected).mean() >= 0.9999


def test_a_batchnorm_that_follows_no_convolution_stays() -> None:
    lone = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))
    randomised(lone)
    folded = fold_batchnorm(lone)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules()) == 2
    x = torch.randn(2, 3, 5, 5)
    assert torch.allclose(lone(x), folded(x))


def test_half_precision_weights_are_folded_in_full() -> None:
    pair = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    folded = fold_batchnorm(pair.half())
    assert folded[0].weight.dtype == torch.float32  # type: ignore[index]
    assert pair[0].weight.dtype == torch.float16


@pytest.mark.parametrize("model", ["icnet", "fast-scnn", "pspnet50", "deeplabv3"])
@pytest.mark.parametrize("size", [(64, 96), (65, 97), (64, 97)])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_pictures_go_in_as_they_are(model: str, size: tuple[int, int], order: str) -> None:
    """The normalisation in the first convolutions: the same scores, border and corners included."""
    network = randomised(build(model, {"num_classes": 11, "keep": 0.125}))
    normalisation = Normalisation(mean=(90.0, 120.0, 150.0), std=(40.0, 50.0, 60.0), order=order)
    ready = ready_network(network, torch.device("cpu"), torch.float32, normalisation)
    assert takes_pictures(ready)
    picture = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    with torch.inference_mode():
        expected = network.scores(normalisation.apply(picture))  # type: ignore[operator]
        found = ready.scores(picture.float())  # type: ignore[operator]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def first_convolution_is_off_by(size: tuple[int, int]) -> float:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    picture = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    with torch.inference_mode():
        expected = conv(Normalisation().apply(picture))
        return float((PictureConv(conv, Normalisation())(picture.float()) - expected).abs().max())


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (64, 97), (65, 96)])
def test_padding_a_picture_with_black_is_seen(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """And the twin: without what the mean adds at the border, the values there are others."""
    assert first_convolution_is_off_by(size) < 1e-5
    monkeypatch.setattr(PictureConv, "_borders", staticmethod(lambda pixels, stride: []))
    assert first_convolution_is_off_by(size) > 0.1


def test_other_first_convolutions_stay_and_get_normalised_pictures() -> None:
    folded = fold_batchnorm(TinyNetwork())
    assert not fold_normalisation(folded, Normalisation())
    assert not takes_pictures(folded)

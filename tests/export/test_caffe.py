"""The authors' caffemodels: the same labels as their layer table gives, and refusals of everything that is not one."""

from __future__ import annotations

import copy
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from icnet_cli.checkpoints.caffe import read_caffemodel
from icnet_cli.checkpoints.foreign import Foreign, read_foreign
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference.segmenter import Segmenter
from tests.models.plain import icnet_logits

from .foreign_files import caffe_blobs, caffemodel, delimited, layer, published_icnet, varint

MEANS_RGB = (123.68, 116.779, 103.939)


def frame(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with noise: (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(
        rng.uniform(0, 255, (1, 3, height // 32 + 2, width // 32 + 2)).astype(np.float32)
    )
    smooth = nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0]
    noisy = smooth.permute(1, 2, 0).numpy() + rng.normal(0, 12, (height, width, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def caffe_input(picture: np.ndarray) -> Tensor:
    """As the authors' evaluation code prepares it: BGR less the means."""
    rgb = torch.from_numpy(picture).permute(2, 0, 1).float() - torch.tensor(MEANS_RGB).view(3, 1, 1)
    return rgb[[2, 1, 0]][None]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return published_icnet(caffe_input(frame(257, 513, seed=1)))


@pytest.fixture(scope="module")
def layers(network: nn.Module) -> dict[str, tuple[str, list[Tensor]]]:
    return caffe_blobs(network.state_dict(), merged=False)


def imported(tmp_path: Path, data: bytes) -> Foreign:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(data)
    return read_foreign(path)


def refusal(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(IcnetError) as caught:
        imported(tmp_path, data)
    assert caught.value.code is ExitCode.WEIGHTS
    assert len(str(caught.value).splitlines()) == 1
    assert "net.caffemodel" in str(caught.value)
    return str(caught.value)


@torch.no_grad()
def test_merged_labels_are_those_of_the_layer_table(tmp_path: Path, network: nn.Module) -> None:
    foreign = imported(tmp_path, caffemodel(caffe_blobs(network.state_dict(), merged=True)))
    assert foreign.kind.endswith("BatchNorm merged")
    assert foreign.taken == 2 * 63 + 2
    picture = frame(1025, 2049)
    expected = icnet_logits(caffe_input(picture), network.state_dict())[0].argmax(0).numpy()
    segmenter = Segmenter(foreign.network, foreign.meta, device="cpu", precision="fp32")
    assert segmenter.input_size(1025, 2049) == (1025, 2049)
    labels = segmenter.labels(picture)
    assert len(np.unique(expected)) > 8
    assert (labels == expected).mean() >= 0.999


@torch.no_grad()
def test_both_forms_are_the_network(tmp_path: Path, network: nn.Module, layers: dict) -> None:
    merged = imported(tmp_path, caffemodel(caffe_blobs(network.state_dict(), merged=True)))
    whole = imported(tmp_path, caffemodel(layers))
    old = imported(tmp_path, caffemodel(layers, legacy=True))
    picture = frame(129, 257)
    expected = network(caffe_input(picture))[0].argmax(0).numpy()
    for foreign in (merged, whole, old):
        segmenter = Segmenter(foreign.network, foreign.meta, "cpu", "fp32", size=picture.shape[:2])
        assert (segmenter.labels(picture) == expected).mean() >= 0.999
    assert whole.taken == 5 * 63 + 2
    assert whole.kind.endswith("not merged")
    assert whole.meta.train_size == (1025, 2049)
    assert whole.meta.normalisation.order == "BGR"
    assert whole.meta.classes.name == "cityscapes"
    assert not whole.network.config.aux


@torch.no_grad()
def test_swapped_channels_show(tmp_path: Path, network: nn.Module, layers: dict) -> None:
    """The comparison can fail: the same picture as RGB gives other labels."""
    foreign = imported(tmp_path, caffemodel(layers))
    picture = frame(129, 257)
    expected = network(caffe_input(picture))[0].argmax(0).numpy()
    swapped = np.ascontiguousarray(picture[:, :, ::-1])
    segmenter = Segmenter(foreign.network, foreign.meta, "cpu", "fp32", size=picture.shape[:2])
    assert (segmenter.labels(swapped) == expected).mean() < 0.99


@torch.no_grad()
def test_aux_classifiers_and_a_factor_on_the_picture(
    tmp_path: Path, network: nn.Module, layers: dict
) -> None:
    factor = torch.tensor([0.5, 1.0, 2.0])
    more = {"data_sub1": ("Scale", [factor])} | layers
    for name, channels in (("sub4_out", 256), ("sub24_out", 128)):
        more[name] = ("Convolution", [torch.randn(19, channels, 1, 1), torch.randn(19)])
    foreign = imported(tmp_path, caffemodel(more))
    assert foreign.network.config.aux
    assert torch.equal(foreign.state["sub24_cls.bias"], more["sub24_out"][1][1])
    x = caffe_input(frame(129, 257))
    expected = network(x * factor.view(1, 3, 1, 1)).argmax(1)
    assert (foreign.network(x).argmax(1) == expected).float().mean() >= 0.999
    assert (network(x).argmax(1) == expected).float().mean() < 0.99


@pytest.mark.parametrize("name", ["conv3_1_sub2_proj", "conv4_6_1x1_increase/bn", "conv6_cls"])
def test_a_missing_layer(tmp_path: Path, layers: dict, name: str) -> None:
    fewer = {key: value for key, value in layers.items() if key != name}
    assert name.split("/")[0] in refusal(tmp_path, caffemodel(fewer))


def test_missing_extra_and_misshapen_blobs(tmp_path: Path, layers: dict) -> None:
    def changed(name: str, kind: str, blobs: list[Tensor]) -> str:
        return refusal(tmp_path, caffemodel({**layers, name: (kind, blobs)}))

    weight = layers["conv_sub2"][1][0]
    assert "3 blobs" in changed("conv_sub2/bn", "BN", layers["conv_sub2/bn"][1][:3])
    assert "does not: conv7_cls" in changed("conv7_cls", "Convolution", [torch.zeros(19, 128, 1, 1)])
    assert "64x128x3x3" in changed("conv_sub2", "Convolution", [weight[:64]])
    assert "128x128x9" in changed("conv_sub2", "Convolution", [weight.flatten(2)])
    assert "finite" in changed("conv_sub2", "Convolution", [weight * float("nan")])
    ten = [torch.zeros(10, 128, 1, 1), torch.zeros(10)]
    assert "conv6_cls" in changed("conv6_cls", "Convolution", ten)


def test_a_file_cut_short(tmp_path: Path, layers: dict) -> None:
    data = caffemodel(layers)
    assert "is empty" in refusal(tmp_path, b"")
    for size in (1, 9, 40, 1000):
        refusal(tmp_path, data[:size])
    for size in (len(data) // 2, len(data) - 1):
        assert "is a caffemodel that is cut short or damaged" in refusal(tmp_path, data[:size])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'name: "icnet"\nlayer { name: "data" type: "Input" }\n', "is text, not weights"),
        (b"<!DOCTYPE html><html><body>Too many users have viewed this file</body></html>", "is text"),
        (b"\n\n{}", "is text"),
        (b"\x08\x08\x12\x07pytorch\x1a\x012", "is in no known format"),  # how an ONNX file starts
        (b"\x89HDF\r\n\x1a\n" + bytes(16), "is in no known format"),
        (b"\x1f\x8b\x08\x00" + bytes(range(64)), "is in no known format"),
        (bytes(4) + b"\x18ftypmp42" + bytes(64), "is in no known format"),
        (b"\xff" * 8 + b"{" + bytes(64), "is in no known format"),
    ],
)
def test_what_is_in_no_known_format_is_told_which_are(tmp_path: Path, data: bytes, words: str) -> None:
    said = refusal(tmp_path, data)
    assert words in said
    assert "the ICNet authors' caffemodels, Fast-SCNN" in said
    assert "ResNet-50" in said
    assert "wire" not in said


def test_a_caffemodel_of_before_2014_is_told_what_converts_it(tmp_path: Path, layers: dict) -> None:
    old = delimited(4, b"conv1") + varint(5 << 3) + varint(4) + delimited(6, b"")
    assert "upgrade_net_proto_binary" in refusal(tmp_path, delimited(1, b"net") + delimited(2, old))
    # Amid layers of today the field is one of those that nobody reads.
    both = caffemodel(layers) + delimited(2, old)
    assert imported(tmp_path, both).taken == 5 * 63 + 2


HUGE = varint(2**62)


def claiming(dims: bytes) -> bytes:
    """A layer whose one value says that it has these dimensions."""
    return delimited(
        100, delimited(1, b"a") + delimited(7, delimited(7, delimited(1, dims)) + delimited(5, bytes(4)))
    )


@pytest.mark.parametrize(
    "data",
    [
        varint(100 << 3 | 2) + HUGE,  # a layer longer than any memory
        b"\xff" * 32,  # a number without an end
        delimited(100, delimited(7, varint(5 << 3 | 2) + HUGE)),
        # Shapes that claim what is not there, multiply past 64 bits, are negative as int64, or do not end.
        claiming(HUGE),
        claiming(HUGE * 8),
        claiming(varint(2**64 - 1)),
        claiming(varint(1) * 200),
        delimited(100, delimited(7, delimited(5, bytes(3)))),
        delimited(100, delimited(7, b"") * 99),
        layer("a", "Convolution", [torch.ones(1)]) * 2,
        delimited(2, b"the layers of before 2014"),
        varint(100 << 3 | 3) + bytes(8),  # a group, which protobuf has given up
        bytes(1000),
    ],
    ids=lambda data: data[:12].hex(),
)  # fmt: skip
def test_hostile_files(tmp_path: Path, data: bytes) -> None:
    refusal(tmp_path, data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
def test_noise_is_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes, at: int, byte: int
) -> None:
    data = bytearray(layer("a", "Convolution", [torch.ones(4, 4)]) + tail)
    data[at % len(data)] = byte
    path = tmp_path_factory.getbasetemp() / "noise.caffemodel"
    path.write_bytes(bytes(data))
    with suppress(IcnetError):  # anything else would be a bug
        read_caffemodel(path)


def test_unpacked_and_split_data_is_read(tmp_path: Path) -> None:
    """What protobuf allows any writer: values one by one, or a packed field in pieces."""
    values = torch.arange(4.0)
    shape = delimited(7, varint(1 << 3) + varint(4))
    floats = values.numpy().tobytes()
    single = b"".join(varint(5 << 3 | 5) + floats[i : i + 4] for i in range(0, 16, 4))
    pieces = delimited(5, floats[:8]) + delimited(5, floats[8:])
    for data in (single, pieces):
        path = tmp_path / "x.caffemodel"
        path.write_bytes(delimited(100, delimited(1, b"a") + delimited(7, shape + data)))
        (found,) = read_caffemodel(path)["a"].blobs
        assert found.tolist() == values.tolist()


def test_training_starts_from_a_caffemodel(tmp_path: Path, layers: dict) -> None:
    from icnet_cli.models import build
    from icnet_cli.training.pretrained import start_from

    path = tmp_path / "net.caffemodel"
    path.write_bytes(caffemodel(layers))
    network = build("icnet", {"keep": 0.5, "num_classes": 12})
    before = copy.deepcopy(network.state_dict())
    start_from(network, path)
    assert torch.equal(network.trunk.conv4_1.reduce.conv.weight, layers["conv4_1_1x1_reduce"][1][0])
    assert torch.equal(network.conv6_cls.weight, before["conv6_cls.weight"])

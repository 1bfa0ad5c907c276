"""Segmenter: any size in, that size out, with the geometry and the errors promised."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import icnet_cli
from icnet_cli.checkpoints.format import WeightsMeta, save_weights
from icnet_cli.classes import load_table
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference import segmenter as module
from icnet_cli.inference.segmenter import Segmenter, default_input_size
from icnet_cli.models import build

from .tiny import CLASSES, TinyNetwork, enlivened, stripes, tiny_meta


@pytest.fixture(scope="module")
def tiny() -> Segmenter:
    return Segmenter(TinyNetwork(), tiny_meta(), "cpu")


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (31, 33), (96, 128), (97, 129), (300, 7)])
def test_labels_have_the_pictures_size(tiny: Segmenter, size: tuple[int, int]) -> None:
    labels = tiny.labels(stripes(*size))
    assert labels.shape == size
    assert labels.dtype == np.uint8
    assert labels.max() < 3


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [None, (64, 96), (96, 192)])
def test_labels_lie_where_the_colours_do(align_corners: bool, size: tuple[int, int] | None) -> None:
    """Whatever the network's size, a border is found within a score of where it is."""
    segmenter = Segmenter(TinyNetwork(align_corners), tiny_meta((96, 192)), "cpu", size=size)
    picture = stripes(96, 192)
    labels = segmenter.labels(picture)
    middle_of_stripe = np.abs(np.arange(192) % 24 - 11.5) < 4
    np.testing.assert_array_equal(labels[:, middle_of_stripe], picture.argmax(axis=2)[:, middle_of_stripe])


def test_channel_order_and_mean_are_the_weights_own() -> None:
    red = np.full((64, 64, 3), (250, 10, 10), np.uint8)
    assert (Segmenter(TinyNetwork(), tiny_meta(), "cpu").labels(red) == 0).all()
    assert (Segmenter(TinyNetwork(), tiny_meta(order="BGR"), "cpu").labels(red) == 2).all()
    shifted = tiny_meta(mean=(255.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    assert (Segmenter(TinyNetwork(), shifted, "cpu").labels(red) != 0).all()


def test_views_and_read_only_pictures_are_taken(tiny: Segmenter) -> None:
    picture = stripes(64, 96)
    expected = tiny.labels(picture)
    bgr = np.ascontiguousarray(picture[..., ::-1])
    bgr.setflags(write=False)
    np.testing.assert_array_equal(tiny.labels(bgr[..., ::-1]), expected)


def test_a_batch_equals_one_by_one(tiny: Segmenter) -> None:
    pictures = [stripes(80, 120, shift) for shift in (0, 9, 30)]
    for alone, together in zip(map(tiny.labels, pictures), tiny.labels_batch(pictures), strict=True):
        np.testing.assert_array_equal(alone, together)


def test_the_same_picture_gives_the_same_labels(tiny: Segmenter) -> None:
    picture = stripes(70, 111)
    np.testing.assert_array_equal(tiny.labels(picture), tiny.labels(picture))


@pytest.mark.parametrize(
    ("picture", "error", "words"),
    [
        (np.zeros((4, 4, 3), np.float32), TypeError, "uint8"),
        (np.zeros((4, 4), np.uint8), ValueError, r"\(height, width, 3\)"),
        (np.zeros((4, 4, 4), np.uint8), ValueError, r"\(height, width, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"\(height, width, 3\)"),
        ([[1, 2, 3]], TypeError, "numpy array"),
    ],
)
def test_what_is_no_picture_is_refused(tiny: Segmenter, picture: object, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        tiny.labels(picture)  # type: ignore[arg-type]


def test_the_stages_refuse_it_too(tiny: Segmenter) -> None:
    """A picture of floats was labelled as if they were bytes."""
    with pytest.raises(TypeError, match="uint8"):
        tiny.prepare([np.zeros((64, 64, 3), np.float32)])
    with pytest.raises(ValueError, match=r"not of shape \(64, 3\)"):
        tiny.prepare(np.zeros((64, 64, 3), np.uint8))  # type: ignore[arg-type]


def test_a_batch_is_anything_that_holds_pictures(tiny: Segmenter) -> None:
    pictures = [stripes(64, 96, shift) for shift in (0, 9)]
    for batch in (np.stack(pictures), tuple(pictures), iter(pictures)):
        for found, expected in zip(tiny.labels_batch(batch), pictures, strict=True):
            np.testing.assert_array_equal(found, tiny.labels(expected))
    with pytest.raises(ValueError, match=r"not of shape \(96, 3\)"):
        tiny.labels_batch(pictures[0])


@pytest.mark.parametrize("frames", ["street.mp4", Path("street.mp4")])
def test_a_path_is_no_frames(tiny: Segmenter, frames: object) -> None:
    with pytest.raises(TypeError, match=r"open_video\('street.mp4'\)"):
        next(tiny.stream(frames))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not a list"):
        next(tiny.stream([[[1, 2, 3]]]))


@pytest.mark.parametrize("size", [[64, 96], np.array([64, 96]), torch.Size([64, 96])])
def test_a_size_is_any_pair_of_whole_numbers(size: object) -> None:
    segmenter = Segmenter(TinyNetwork(), tiny_meta(), "cpu", size=size)  # type: ignore[arg-type]
    assert segmenter.input_size(1, 1) == (64, 96)
    assert segmenter.labels(stripes(48, 72)).shape == (48, 72)


@pytest.mark.parametrize("size", [64, "64x96", (64,), (64, 96, 3), (64.0, 96.0), ("64", "96"), (64, 10**6)])
def test_what_is_no_size_is_refused(size: object) -> None:
    with pytest.raises(IcnetError, match=r"whole pixels|to 16384x16384") as caught:
        Segmenter(TinyNetwork(), tiny_meta(), "cpu", size=size)  # type: ignore[arg-type]
    assert caught.value.code == ExitCode.USAGE


def test_a_batch_of_mixed_sizes_is_refused(tiny: Segmenter) -> None:
    with pytest.raises(ValueError, match="one size"):
        tiny.labels_batch([stripes(32, 32), stripes(32, 40)])
    with pytest.raises(ValueError, match="no pictures"):
        tiny.labels_batch([])


def test_times_of_each_stage_are_kept_and_forgotten() -> None:
    segmenter = Segmenter(TinyNetwork(), tiny_meta(), "cpu")
    assert segmenter.stage_times == {"prepare": (), "forward": (), "postprocess": ()}
    segmenter.labels(stripes(64, 64))
    assert all(len(spent) == 1 and spent[0] > 0 for spent in segmenter.stage_times.values())
    segmenter.reset_times()
    assert segmenter.stage_times == {"prepare": (), "forward": (), "postprocess": ()}


def test_the_network_to_fine_tune_is_the_one_given() -> None:
    network = TinyNetwork().train()
    segmenter = Segmenter(network, tiny_meta(), "cpu")
    assert segmenter.network is network
    assert network.training
    assert network.conv.weight.requires_grad
    picture = np.full((64, 64, 3), (250, 10, 10), np.uint8)
    with torch.no_grad():
        network.conv.weight.copy_(network.conv.weight.flip(0))
    assert (segmenter.labels(picture) == 0).all()  # what runs is a folded copy ...
    segmenter.refresh()
    assert (segmenter.labels(picture) == 2).all()  # ... until it is told


@pytest.mark.parametrize(
    ("source", "train", "expected"),
    [
        ((540, 960), (720, 960), (608, 1120)),  # fewer pixels than in training: enlarged
        ((720, 1280), (720, 960), (608, 1120)),  # more: shrunk to as many
        ((1024, 2048), (720, 960), (576, 1184)),
        ((360, 480), (608, 832), (608, 832)),
        ((180, 240), (608, 832), (544, 704)),  # three times a side, not 3.4
        ((540, 960), (608, 832), (512, 960)),  # hardly shrunk: rounded down, not above the picture
        ((1, 1), (720, 960), (32, 32)),
        ((20, 4000), (360, 480), (32, 5888)),
    ],
)
def test_default_input_sizes(
    source: tuple[int, int], train: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert default_input_size(source, train) == expected


@settings(max_examples=200, deadline=None)
@given(
    source=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    train=st.tuples(st.integers(32, 2048), st.integers(32, 2048)),
)
def test_default_input_sizes_keep_their_promise(source: tuple[int, int], train: tuple[int, int]) -> None:
    height, width = default_input_size(source, train)
    # Weights trained at 32k+1, as the authors' own, want such sizes: one pixel more.
    more = 1 if train[0] % 32 == train[1] % 32 == 1 else 0
    assert height % 32 == width % 32 == more
    large = source[0] * source[1] >= train[0] * train[1]
    scale = min(3.0, (train[0] * train[1] / (source[0] * source[1])) ** 0.5)
    for side, pixels in ((height - more, source[0]), (width - more, source[1])):
        assert 32 <= side <= max(32, pixels if large else 3 * pixels + 16)
        assert abs(side - pixels * scale) <= 32 or side == 32  # the picture's aspect


def test_sizes_for_the_authors_own_weights() -> None:
    assert default_input_size((1024, 2048), (1025, 2049)) == (1025, 2049)
    assert default_input_size((1080, 1920), (1025, 2049)) == (1089, 1921)
    assert default_input_size((1024, 2048), (1025, 2048)) == (1024, 2048)


def test_a_size_of_its_own_is_used_and_checked() -> None:
    assert Segmenter(TinyNetwork(), tiny_meta(), "cpu", size=(64, 50)).input_size(500, 700) == (64, 50)
    with pytest.raises(IcnetError, match="from 32x32") as caught:
        Segmenter(TinyNetwork(), tiny_meta(), "cpu", size=(16, 64))
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize("size", [(0, 5), (5, -3), (3.5, 5), ("3", 5), (None, 5)])
def test_the_input_of_what_is_no_pictures_size_is_refused(tiny: Segmenter, size: tuple[Any, Any]) -> None:
    for ask in (tiny.input_size, tiny.warm):
        with pytest.raises(IcnetError, match=r"whole pixels|at least 1x1") as caught:
            ask(*size)
        assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize(
    "text", ["[enforce fail] DefaultCPUAllocator: can't allocate memory", "CUDA error: x"]
)
def test_a_device_that_fails_is_told_in_a_line(
    tiny: Segmenter, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(tiny, "forward", fail)
    with pytest.raises(IcnetError, match="cpu") as caught:
        tiny.labels(stripes(32, 32))
    assert caught.value.code == ExitCode.DEVICE
    assert "\n" not in str(caught.value)


def test_other_errors_are_not_dressed_up(tiny: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(tiny, "forward", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        tiny.labels(stripes(32, 32))


def test_load_reads_a_file(tmp_path: Path) -> None:
    network = build("fast-scnn", {"num_classes": 11})
    meta = WeightsMeta.of(network, load_table("camvid"), (64, 96))
    save_weights(tmp_path / "w.safetensors", network, meta)
    segmenter = icnet_cli.load(tmp_path / "w.safetensors", device="cpu")
    assert segmenter.classes == load_table("camvid")
    assert segmenter.precision == "fp32"
    assert segmenter.labels(stripes(64, 96)).shape == (64, 96)


def test_load_takes_a_home_folder_and_torchs_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    network = build("fast-scnn", {"num_classes": 3})
    save_weights(tmp_path / "w.safetensors", network, WeightsMeta.of(network, CLASSES, (64, 96)))
    for name in ("~/w.safetensors", Path("~/w.safetensors")):
        assert icnet_cli.load(name, device=torch.device("cpu")).device.type == "cpu"  # type: ignore[arg-type]


def test_load_names_what_is_missing() -> None:
    with pytest.raises(IcnetError, match="nowhere") as caught:
        icnet_cli.load("nowhere", device="cpu")
    assert caught.value.code == ExitCode.WEIGHTS
    with pytest.raises(IcnetError, match="--precision") as caught:
        icnet_cli.load("nowhere", device="cpu", precision="fp64")
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize("name", [None, 3, b"icnet-camvid"])
def test_load_refuses_what_is_no_name(name: object) -> None:
    with pytest.raises(IcnetError, match=r"weights are a name or a file, not (None|3|b')") as caught:
        icnet_cli.load(name)  # type: ignore[arg-type]
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize("name", ["a" * 300, "a" * 5000, "a\0b"])
def test_load_says_of_a_name_that_no_file_can_have_that_there_is_none(name: str) -> None:
    with pytest.raises(IcnetError, match="neither a file nor a known name") as caught:
        icnet_cli.load(name)
    assert caught.value.code == ExitCode.WEIGHTS
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("http://user:secret@host/road.mp4", "a camera or an address"),
        (Path("rtsp://host/cam"), "a camera or an address"),
        ("camera:0", "a camera or an address"),
        (0, "0"),
        (None, "None"),
    ],
)
def test_open_video_names_what_reads_a_camera(source: object, words: str) -> None:
    with pytest.raises(IcnetError, match=f"not {words}; `icnet segment` reads cameras") as caught:
        icnet_cli.open_video(source)  # type: ignore[arg-type]
    assert caught.value.code == ExitCode.USAGE
    assert "secret" not in str(caught.value)


def test_open_video_takes_a_file_that_is_called_like_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("udp:1.mp4").touch()
    with pytest.raises(IcnetError, match=r"udp:1\.mp4: the file is empty"):
        icnet_cli.open_video("udp:1.mp4")


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, icnet_cli, icnet_cli.pipeline.segment; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_version_is_the_packages() -> None:
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())["project"]
    assert project.get("version", icnet_cli.__version__) == icnet_cli.__version__


def test_stages_are_what_is_documented() -> None:
    assert module.STAGES == ("prepare", "forward", "postprocess")
    assert CLASSES.num_classes == TinyNetwork.num_classes


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_agrees_with_the_cpu() -> None:
    torch.manual_seed(0)
    network = enlivened(build("icnet", {"num_classes": 11, "keep": 0.5}))
    meta = WeightsMeta.of(network, load_table("camvid"), (256, 320))
    picture = stripes(256, 320)
    on_cpu = Segmenter(network, meta, "cpu").labels(picture)
    assert np.sort(np.bincount(on_cpu.ravel()))[-2] > 0.02 * on_cpu.size
    assert (Segmenter(network, meta, "cuda", "fp32").labels(picture) == on_cpu).mean() >= 0.999

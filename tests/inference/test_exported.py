"""Files of `icnet export` behind the Segmenter: whatever they take and give, labels of the picture's size come out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference import exported as module
from icnet_cli.inference.backends.base import FRAMES, LABELS, LOGITS, RAW, Ports
from icnet_cli.inference.exported import ExportedEngine, open_engine
from icnet_cli.inference.segmenter import Segmenter, load

from .tiny import OneAtATime, TinyNetwork, at_once, stripes, tiny_meta

SIZE = (96, 128)


class Pretended:
    """The tiny network as a file would run it."""

    def __init__(self, ports: Ports, **config: object) -> None:
        self.ports, self.meta = ports, tiny_meta()
        self.meta.config.update(config)
        self.network = TinyNetwork().eval()
        self.sizes: set[tuple[int, ...]] = set()

    def run(self, batch: np.ndarray) -> np.ndarray:
        assert batch.flags.c_contiguous
        x = torch.from_numpy(batch)
        if self.ports.input == FRAMES:
            assert x.dtype == torch.uint8
            x = self.meta.normalisation.apply(x.permute(0, 3, 1, 2))
        self.sizes.add(tuple(x.shape[2:]))
        with torch.inference_mode():
            logits = self.network(x)
        return logits.argmax(1).byte().numpy() if self.ports.output == LABELS else logits.numpy()


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def make(ports: Ports, **config: object) -> tuple[ExportedEngine, Pretended]:
        model = Pretended(ports, **config)
        monkeypatch.setattr(module, "open_exported", lambda path, threads: model)
        path = tmp_path / "net.onnx"
        path.touch()
        return ExportedEngine(path), model

    return make


def ports(
    input: str = FRAMES, output: str = LOGITS, size: tuple[int, int] | None = SIZE, precision: str = "fp32"
) -> Ports:
    return Ports(input, output, size, precision)


@pytest.mark.parametrize("input", [FRAMES, RAW])
@pytest.mark.parametrize("output", [LOGITS, LABELS])
@pytest.mark.parametrize("size", [SIZE, None])
def test_labels_are_the_networks(pretend, input: str, output: str, size: tuple[int, int] | None) -> None:
    engine, model = pretend(ports(input, output, size))
    segmenter = Segmenter.of_exported(engine)
    plain = Segmenter(TinyNetwork(), tiny_meta(), "cpu", size=SIZE)
    pictures = [stripes(*SIZE, shift) for shift in (0, 9)]
    for one, found in zip(pictures, segmenter.labels_batch(pictures), strict=True):
        assert found.dtype == np.uint8
        assert (found == plain.labels(one)).mean() >= 0.999
    assert segmenter.engine.gives_scores == (output == LOGITS)
    other = segmenter.labels(stripes(200, 260))
    assert other.shape == (200, 260)
    assert (other == plain.labels(stripes(200, 260))).mean() > 0.95
    assert size is None or model.sizes == {SIZE}


def test_labels_are_not_interpolated(pretend) -> None:
    engine, _ = pretend(ports(output=LABELS))
    scores = torch.tensor([[[0, 0, 2, 2]] * 4]).byte()[None]
    (labels,) = engine.postprocess(scores, (8, 8), (4, 4))
    assert set(np.unique(labels)) == {0, 2}
    assert (labels[:, :4] == 0).all()


def test_what_it_says_of_itself(pretend) -> None:
    engine, _ = pretend(ports(precision="int8"))
    segmenter = Segmenter.of_exported(engine)
    assert (segmenter.backend, segmenter.precision, str(segmenter.device)) == ("onnx", "int8", "cpu")
    assert segmenter.classes.names == ("red", "green", "blue")
    assert not hasattr(segmenter, "network")
    with pytest.raises(AttributeError, match="safetensors"):
        segmenter.network  # noqa: B018
    assert segmenter.still_to_build(*SIZE) is None


def test_a_size_that_the_file_does_not_take(pretend) -> None:
    engine, _ = pretend(ports())
    assert Segmenter.of_exported(engine, SIZE).input_size(500, 700) == SIZE
    with pytest.raises(IcnetError, match=r"96x128 alone.*64x64") as caught:
        Segmenter.of_exported(engine, (64, 64))
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("model", "stride", "least", "small"),
    [("icnet", 8, 33, 64), ("icnet", 16, 65, 96), ("pspnet50", 16, 33, 64), ("deeplabv3", 16, 33, 64)],
)
def test_free_sizes_have_a_least(pretend, model: str, stride: int, least: int, small: int) -> None:
    """Of ICNet alone at output stride 16: its low branch sees a quarter of the picture."""
    engine, _ = pretend(ports(size=None), output_stride=stride)
    engine.meta = replace(engine.meta, model=model)
    assert Segmenter.of_exported(engine, (least, 500)).input_size(9, 9) == (least, 500)
    assert Segmenter.of_exported(engine).input_size(9, 500) == (small, 832)
    with pytest.raises(IcnetError, match=f"{least}x{least} up") as caught:
        Segmenter.of_exported(engine, (least - 1, 500))
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("cuda", "auto", "auto"), "--device cuda"),
        (("auto", "fp16", "auto"), "exported in fp32"),
        (("auto", "auto", "openvino"), "run by onnx"),
    ],
)
def test_what_the_file_is_not(pretend, tmp_path: Path, asked: tuple[str, str, str], words: str) -> None:
    pretend(ports())
    with pytest.raises(IcnetError, match=words) as caught:
        open_engine(tmp_path / "net.onnx", *asked)
    assert caught.value.code == ExitCode.USAGE
    assert open_engine(tmp_path / "net.onnx", "cpu", "fp32", "onnx").fixed_size == SIZE


def test_a_pt2_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    path.touch()
    with pytest.raises(IcnetError, match="can run code") as caught:
        load(path, "cpu")
    assert caught.value.code == ExitCode.WEIGHTS


def test_threads_share_a_file(pretend) -> None:
    engine, model = pretend(ports())
    model.run = run = OneAtATime(model.run)
    at_once(lambda: Segmenter.of_exported(engine).labels(stripes(*SIZE)))
    assert run.overlaps == 0

"""What we are compared with: the same network, the same video, and nothing of ours in its way."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from icnet_cli.benchmark.bench import backends
from icnet_cli.benchmark.naive import as_published, compared, naive_run, normalised
from icnet_cli.benchmark.plain import against_plain, apart
from icnet_cli.checkpoints.format import Normalisation, load_weights
from icnet_cli.config import BenchConfig
from icnet_cli.errors import ExitCode, IcnetError, usage_error
from icnet_cli.evaluation.page import PageNotWrittenError
from icnet_cli.inference import processor
from icnet_cli.inference.backends import runtimes
from icnet_cli.training.loader import WorkerLostError
from icnet_cli.video.naive import RgbWriter, read_rgb
from tests.benchmark.conftest import save


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with RgbWriter(path, (64, 96)) as writer:
        for shade in (0, 80, 160, 240):
            writer.write(np.full((64, 96, 3), shade, np.uint8))
    return path


def test_what_is_written_is_read(clip: Path) -> None:
    frames = list(read_rgb(clip))
    assert [frame.shape for frame in frames] == [(64, 96, 3)] * 4
    assert [round(float(frame.mean()) / 80) for frame in frames] == [0, 1, 2, 3]


def test_a_naive_run_times_each_stage(clip: Path, tmp_path: Path) -> None:
    weights = save(tmp_path, "w", "fast-scnn", keep=0.25)
    report = naive_run(clip, str(weights), (32, 64), None)
    assert report["frames"] == 3  # the first one warms up
    assert set(report["stages_ms"]) == {"decode", "prepare", "forward", "postprocess", "render", "encode"}
    assert report["fps"] > 0
    assert naive_run(clip, str(weights), (32, 64), 1)["frames"] == 1


def test_a_single_frame_cannot_be_timed(tmp_path: Path) -> None:
    """Told as it is told in this process, though the loop has one of its own."""
    with RgbWriter(tmp_path / "clip.mp4", (64, 96)) as writer:
        writer.write(np.zeros((64, 96, 3), np.uint8))
    weights = save(tmp_path, "w", "fast-scnn", keep=0.25)
    with pytest.raises(IcnetError, match="has one frame") as caught:
        apart(naive_run, tmp_path / "clip.mp4", str(weights), (32, 64), None)
    assert caught.value.code is ExitCode.INPUT


@pytest.mark.parametrize(
    "error",
    [usage_error("no"), WorkerLostError(), PageNotWrittenError(usage_error("no"), {"miou": 0.5})],
    ids=lambda error: type(error).__name__,
)
def test_an_error_from_another_process_is_the_same_there(error: IcnetError) -> None:
    error.add_note("go on")
    told = pickle.loads(pickle.dumps(error))
    assert (type(told), str(told), told.code) == (type(error), str(error), error.code)
    assert vars(told) == vars(error)


def test_its_network_is_the_published_one_with_the_same_weights(tmp_path: Path) -> None:
    loaded = load_weights(save(tmp_path, "w", "icnet", keep=0.125, head="fused"))
    network = as_published(loaded)
    assert network.config.head == "published"
    for name, tensor in loaded.network.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])
    with torch.inference_mode():
        x = torch.randn(1, 3, 128, 192)
        ours, theirs = loaded.network.scores(x), network.scores(x)
    assert theirs.shape[2] == 2 * ours.shape[2]  # a fourth of the picture's side, as published


def test_its_normalisation_is_the_weights_own() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    for order in ("RGB", "BGR"):
        normalisation = Normalisation(order=order)
        expected = normalisation.apply(torch.from_numpy(picture).permute(2, 0, 1)[None])
        torch.testing.assert_close(normalised(picture, normalisation), expected)


def test_ratios_are_ours_over_theirs() -> None:
    report = {"end_to_end_fps": 6.0, "stages_ms": {"postprocess": 2.0}}
    found = compared(report, {"fps": 2.0, "stages_ms": {"postprocess": 100.0}})
    assert (found["speedup"], found["labels_speedup"]) == (3.0, 50.0)


def test_rows_are_held_against_their_own_plain_one() -> None:
    rows = [
        {"model": "icnet", "backend": "plain", "ms_p50": 100.0},
        {"model": "icnet", "backend": "torch", "ms_p50": 40.0},
        {"model": "fast-scnn", "backend": "torch", "ms_p50": 10.0},
    ]
    assert [row["speedup"] for row in against_plain(rows)] == [None, 2.5, None]


def test_a_process_of_its_own() -> None:
    assert apart(os.getpid) != os.getpid()


def test_which_backends_are_timed() -> None:
    assert backends(BenchConfig()) == ["torch"]
    assert backends(BenchConfig(backend="openvino")) == ["openvino"]
    assert backends(BenchConfig(backend="all", device="cpu"))[0] == "torch"


@pytest.mark.parametrize(("has", "features"), [(True, "flags : amx_bf16"), (False, "flags : avx2")])
def test_which_backends_are_timed_in_bf16(monkeypatch: pytest.MonkeyPatch, has: bool, features: str) -> None:
    monkeypatch.setattr(processor, "_features", lambda: features)
    for name in runtimes.IN_BF16:
        monkeypatch.setattr(type(runtimes.IN_BF16[name]), "missing", lambda self: None)
    timed = backends(BenchConfig(backend="all", device="cpu", precision="bf16"))
    assert timed == (["torch", "openvino"] if has else ["torch"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"naive": True}, "--video"),
        ({"backend": "all", "video": Path("a.mp4")}, "--backend all"),
        ({"backend": "onnx", "stages": True}, "--stages times torch"),
        ({"naive": True, "video": Path("a.mp4"), "model": "fast-scnn"}, "trained weights"),
    ],
)
def test_what_does_not_go_together(options: dict[str, object], words: str) -> None:
    assert any(words in problem for problem in BenchConfig(**options).problems())  # type: ignore[arg-type]

"""Every way to run a network gives the labels that it gives as it is written, on real frames."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import icnet_cli
from icnet_cli.checkpoints.bundled import bundled_weights
from icnet_cli.checkpoints.format import LoadedWeights, Normalisation, WeightsMeta, load_weights
from icnet_cli.classes import load_table
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference import built as module
from icnet_cli.inference.backends.runtimes import RUNTIMES, OpenVino
from icnet_cli.inference.built import BuiltEngine, weights_digest
from icnet_cli.inference.cache import FOLDER_VARIABLE, Cache
from icnet_cli.inference.processor import cpu_has_bf16
from icnet_cli.inference.segmenter import Segmenter, load
from icnet_cli.models import build
from icnet_cli.models.layers import resize
from icnet_cli.pixels.files import shrink_or_grow

from .tiny import OneAtATime, at_once, randomised, stripes

STREET = Path(__file__).parents[2] / "examples" / "street.mp4"
SIZE = (256, 320)  # a quarter of the clip's pixels; every stage of the networks still has a map to work on
LEAST = 0.9999
LEAST_IN_BF16 = 0.97
BUILT = ("openvino", "onnx", pytest.param("compile", marks=pytest.mark.slow))


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def needs(backend: str) -> None:
    missing = RUNTIMES[backend].missing() if backend in RUNTIMES else None
    if missing:
        pytest.skip(missing)


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Every 33rd of the street's pictures."""
    with icnet_cli.open_video(STREET) as video:
        return [shrink_or_grow(frame.rgb(), SIZE) for frame in video if frame.index % 33 == 0]


def weights(name: str) -> LoadedWeights:
    return load_weights(bundled_weights()[name])


def plain_labels(network: nn.Module, meta: WeightsMeta, frame: np.ndarray) -> np.ndarray:
    """As papers run it: nothing folded, contiguous, normalised apart, interpolated at full size, arg-max."""
    x = meta.normalisation.apply(torch.from_numpy(frame).permute(2, 0, 1)[None].contiguous()).contiguous()
    with torch.inference_mode():
        scores = network.scores(x)  # type: ignore[operator]
        return resize(scores, SIZE, bool(network.align_corners)).argmax(1)[0].byte().numpy()


def agreement(segmenter: Segmenter, loaded: LoadedWeights, frames: list[np.ndarray]) -> float:
    same = [segmenter.labels(f) == plain_labels(loaded.network, loaded.meta, f) for f in frames]
    return float(np.mean(same))


def segmenter_of(loaded: LoadedWeights, backend: str) -> Segmenter:
    return Segmenter(loaded.network, loaded.meta, "cpu", size=SIZE, backend=backend)


def not_quite(loaded: LoadedWeights) -> LoadedWeights:
    """The twin to disagree with: one class a little likelier."""
    network = copy.deepcopy(loaded.network)
    head = network.classifier if hasattr(network, "classifier") else network.conv6_cls
    with torch.no_grad():
        head.bias[3] += 0.05  # type: ignore[index, union-attr, operator]
    return replace(loaded, network=network)


@pytest.mark.parametrize("name", ["icnet-camvid", "fast-scnn-camvid"])
def test_torch_as_it_runs(name: str, frames: list[np.ndarray]) -> None:
    """Folded, channels last, of bytes, the fused head enlarged eight times in one step."""
    loaded = weights(name)
    segmenter = segmenter_of(loaded, "torch")
    assert agreement(segmenter, loaded, frames) >= LEAST
    assert agreement(segmenter, not_quite(loaded), frames[:1]) < LEAST
    assert len(np.unique(segmenter.labels(frames[0]))) > 5


@pytest.mark.parametrize("backend", BUILT)
def test_other_runtimes(backend: str, frames: list[np.ndarray]) -> None:
    needs(backend)
    loaded = weights("fast-scnn-camvid")
    segmenter = segmenter_of(loaded, backend)
    assert agreement(segmenter, loaded, frames) >= LEAST
    assert agreement(segmenter, not_quite(loaded), frames[:1]) < LEAST
    assert segmenter.backend == backend
    assert (segmenter.precision, str(segmenter.device)) == ("fp32", "cpu")
    with pytest.raises(AttributeError, match=backend):
        segmenter.ready  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("backend", BUILT)
def test_other_runtimes_run_icnet(backend: str, frames: list[np.ndarray]) -> None:
    needs(backend)
    loaded = weights("icnet-camvid")
    assert agreement(segmenter_of(loaded, backend), loaded, frames) >= LEAST


@pytest.mark.skipif(not cpu_has_bf16(), reason="a processor without bf16 of its own")
def test_openvino_in_bf16(frames: list[np.ndarray]) -> None:
    needs("openvino")
    loaded = weights("fast-scnn-camvid")
    segmenter = Segmenter(loaded.network, loaded.meta, "cpu", "bf16", SIZE, "openvino")
    assert (segmenter.backend, segmenter.precision) == ("openvino", "bf16")
    pictures = segmenter.prepare(frames[:1])
    exact = segmenter_of(loaded, "openvino").forward(pictures)
    off = (segmenter.forward(pictures) - exact).norm() / exact.norm()
    assert 1e-4 < off < 0.05  # in bf16, and no further off
    assert agreement(segmenter, loaded, frames) >= LEAST_IN_BF16


def test_a_runtime_that_computes_in_something_else_is_refused(
    tiny: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the processor has no bf16, OpenVINO would take fp32 and not say so."""
    needs("openvino")
    import openvino

    compiled = openvino.CompiledModel
    monkeypatch.setattr(compiled, "get_property", lambda self, name: openvino.Type.f32)
    engine = BuiltEngine(tiny, Normalisation(), OpenVino("bf16"), Cache(tmp_path))
    with pytest.raises(IcnetError, match="this processor has no bf16"):
        engine.warm((64, 96))


@pytest.mark.slow
def test_channel_order_and_batches() -> None:
    needs("onnx")
    torch.manual_seed(0)
    network = randomised(build("fast-scnn", {"num_classes": 11, "keep": 0.125}))
    normalisation = Normalisation((100.0, 110.0, 120.0), (50.0, 60.0, 70.0), "BGR")
    meta = WeightsMeta.of(network, load_table("camvid"), (64, 96), normalisation=normalisation)  # type: ignore[arg-type]
    plain, other = (Segmenter(network, meta, "cpu", backend=backend) for backend in ("torch", "onnx"))
    pictures = [stripes(64, 96, shift) for shift in (0, 11)]
    scores = [one.forward(one.prepare(pictures)) for one in (plain, other)]
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-3, atol=1e-4)


@pytest.fixture
def tiny() -> nn.Module:
    torch.manual_seed(0)
    return randomised(build("fast-scnn", {"num_classes": 11, "keep": 0.125}))


class Counted:
    """A runtime that notes what it is asked for, and runs torch."""

    name, suffix, build_time = "onnx", ".bin", "no time"
    precision = "fp32"

    def __init__(self) -> None:
        self.made = 0
        self.opened: list[Path] = []
        self.fails: Exception | None = None

    def missing(self) -> str | None:
        return None

    def version(self) -> str:
        return "1"

    def make(self, network: nn.Module, normalisation: Normalisation, size: object, path: Path) -> None:
        if self.fails:
            raise self.fails
        self.made += 1
        path.write_bytes(b"a network")

    def open(self, path: Path, threads: int) -> object:
        if path.read_bytes() != b"a network":
            raise RuntimeError("no network")
        self.opened.append(path)
        return lambda pictures: torch.zeros(1, 2, 3, 11)


def engine_of(network: nn.Module, runtime: Counted, folder: Path) -> BuiltEngine:
    return BuiltEngine(network, Normalisation(), runtime, Cache(folder))  # type: ignore[arg-type]


def test_what_was_built_is_opened_the_next_time(tiny: nn.Module, tmp_path: Path) -> None:
    runtime = Counted()
    for _ in range(2):
        engine = engine_of(tiny, runtime, tmp_path)
        built = runtime.made > 0
        assert (engine.still_to_build((64, 96)) is None) == built
        engine.warm((64, 96))
        engine.warm((64, 96))
        assert engine.still_to_build((64, 96)) is None
    assert (runtime.made, len(runtime.opened)) == (1, 2)
    engine.warm((96, 64))  # another size is another network
    assert runtime.made == 2


@pytest.mark.parametrize("content", [b"", b"a networ", b"other bytes"])
def test_a_damaged_entry_is_built_again(tiny: nn.Module, tmp_path: Path, content: bytes) -> None:
    runtime = Counted()
    engine_of(tiny, runtime, tmp_path).warm((64, 96))
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(content)
    engine_of(tiny, runtime, tmp_path).warm((64, 96))
    assert runtime.made == 2
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"a network"]


def test_an_entry_that_does_not_open_is_built_again(tiny: nn.Module, tmp_path: Path) -> None:
    """Whole by its name, and yet the runtime refuses it."""
    runtime = Counted()
    engine = engine_of(tiny, runtime, tmp_path)
    Cache(tmp_path).add(
        engine.key((64, 96)), runtime.suffix, lambda path: path.write_bytes(b"foreign") and None
    )
    engine.warm((64, 96))
    assert runtime.made == 1


def test_without_a_disk_it_runs_all_the_same(tiny: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    runtime = Counted()
    engine_of(tiny, runtime, tmp_path / "file" / "cache").warm((64, 96))
    assert runtime.made == 1


def test_other_weights_sizes_and_versions_have_other_keys(
    tiny: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Counted()
    keys = {engine_of(tiny, runtime, tmp_path).key(size) for size in ((64, 96), (96, 64))}
    keys.add(BuiltEngine(tiny, Normalisation(order="BGR"), runtime, Cache(tmp_path)).key((64, 96)))  # type: ignore[arg-type]
    monkeypatch.setattr(Counted, "version", lambda self: "2")
    keys.add(engine_of(tiny, runtime, tmp_path).key((64, 96)))
    monkeypatch.setattr(module, "processor", lambda: "another")
    keys.add(engine_of(tiny, runtime, tmp_path).key((64, 96)))
    monkeypatch.setattr(Counted, "precision", "bf16")
    keys.add(engine_of(tiny, runtime, tmp_path).key((64, 96)))
    with torch.no_grad():
        next(tiny.parameters())[0, 0, 0, 0] += 1e-6
    keys.add(engine_of(tiny, runtime, tmp_path).key((64, 96)))
    assert len(keys) == 7


def test_the_digest_is_of_values_not_of_places(tiny: nn.Module) -> None:
    before = weights_digest(tiny)
    tiny.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert weights_digest(tiny) == before


def test_a_build_that_fails_is_a_line(tiny: nn.Module, tmp_path: Path) -> None:
    runtime = Counted()
    runtime.fails = RuntimeError("a long story\nno compiler")
    with pytest.raises(IcnetError, match=r"no compiler.*--backend torch") as caught:
        engine_of(tiny, runtime, tmp_path).warm((64, 96))
    assert caught.value.code == ExitCode.USAGE
    assert "\n" not in str(caught.value)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """The only runtime there is, under each name."""
    runtime = Counted()
    for name in RUNTIMES:
        monkeypatch.setitem(RUNTIMES, name, runtime)
    return runtime


def test_auto_does_without_what_cannot_be_built(
    tiny: nn.Module, pretended: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    from icnet_cli.inference.choice import Work

    meta = WeightsMeta.of(tiny, load_table("camvid"), (64, 96))  # type: ignore[arg-type]
    long = Work(10**9, (64, 96))
    segmenter = Segmenter(tiny, meta, "cpu", backend="auto", work=long)
    assert segmenter.backend == "onnx"
    pretended.fails = RuntimeError("no")
    segmenter.warm(64, 96)
    assert segmenter.backend == "torch"
    assert segmenter.labels(stripes(64, 96)).shape == (64, 96)
    with pytest.raises(IcnetError):  # what was asked for by name is not silently another
        Segmenter(tiny, meta, "cpu", backend="openvino").warm(64, 96)


def test_load_takes_a_backend(pretended: Counted) -> None:
    assert load("fast-scnn-camvid", "cpu", backend="openvino", size=(64, 96)).backend == "onnx"
    assert icnet_cli.load("fast-scnn-camvid", "cpu").backend == "torch"


def test_threads_share_an_engine(tiny: nn.Module, tmp_path: Path) -> None:
    """A runtime's scores lie where the next picture's will: two at once gave one thread the other's labels."""
    run = OneAtATime(lambda pictures: torch.zeros(1, 2, 3, 11))
    runtime = Counted()
    runtime.open = lambda path, threads: run  # type: ignore[method-assign]
    engine = engine_of(tiny, runtime, tmp_path)
    at_once(lambda: engine.forward(torch.zeros(1, 3, 64, 96, dtype=torch.uint8)))
    assert (run.overlaps, runtime.made) == (0, 1)


def test_threads_get_the_labels_of_their_own_pictures(tiny: nn.Module) -> None:
    needs("openvino")
    loaded = weights("fast-scnn-camvid")
    segmenter = Segmenter(loaded.network, loaded.meta, "cpu", size=(64, 96), backend="openvino")
    pictures = [stripes(64, 96, shift) for shift in range(0, 72, 9)]
    alone = [segmenter.labels(picture) for picture in pictures]

    def all_of_them() -> None:
        for picture, expected in zip(pictures * 5, alone * 5, strict=True):
            np.testing.assert_array_equal(segmenter.labels(picture), expected)

    at_once(all_of_them)

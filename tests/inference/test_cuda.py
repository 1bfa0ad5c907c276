"""The GPU's engine: its ways without a GPU here, its answers on one where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from icnet_cli.checkpoints.format import WeightsMeta
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference.cuda import CudaEngine
from icnet_cli.inference.device_steps import DeviceJob
from icnet_cli.inference.engine import TorchEngine
from icnet_cli.inference.graphs import Graphed
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.models import build
from icnet_cli.pixels.yuv import Planes, YuvColour
from tests.inference.test_graphs import Capture
from tests.inference.tiny import (
    CLASSES,
    OneAtATime,
    TinyNetwork,
    at_once,
    enlivened,
    randomised,
    stripes,
    tiny_meta,
)

CPU = torch.device("cpu")
gpu = pytest.mark.gpu
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def engine(**options: Any) -> CudaEngine:
    options = {"capture": Capture(), **options}
    return CudaEngine(TinyNetwork(), tiny_meta().normalisation, CPU, "fp32", **options)


def on_host(made: CudaEngine) -> Segmenter:
    segmenter = Segmenter(TinyNetwork(), tiny_meta(), "cpu")
    segmenter.engine = made
    return segmenter


def test_its_labels_are_torch_s_before_and_after_the_capture() -> None:
    capture = Capture()
    segmenter, plain = on_host(engine(capture=capture)), Segmenter(TinyNetwork(), tiny_meta(), "cpu")
    for index in range(4):
        picture = stripes(60, 90, 4 * index, index)
        assert (segmenter.labels(picture) != plain.labels(picture)).mean() < 1e-4
    assert capture.captured == 1
    assert segmenter.backend == "torch"


def test_warming_captures() -> None:
    capture = Capture()
    made = engine(capture=capture)
    made.warm((64, 96))
    assert capture.captured == 1
    made.close()


def test_threads_share_an_engine() -> None:
    made = engine()
    made._graphed = run = OneAtATime(made._graphed)  # type: ignore[assignment]
    at_once(lambda: made.forward(torch.zeros(1, 3, 64, 96)))
    assert run.overlaps == 0


def test_what_cannot_be_done_is_noted_once() -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no C compiler")

    made = engine(capture=Capture("not permitted"), kernel=broken)
    segmenter = on_host(made)
    for _ in range(3):
        segmenter.labels(stripes(60, 90))
    assert [note.rpartition(": ")[2] for note in made.notes] == ["no C compiler", "not permitted"]


def test_a_compiler_that_fails_leaves_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> Any:
        def call(x: Any) -> Any:
            raise RuntimeError("backend='inductor' raised:\nNoCompiler")

        return call

    monkeypatch.setattr(torch, "compile", failing)
    made = engine(compiled=True)
    assert made.backend == "compile"
    assert on_host(made).labels(stripes(60, 90)).shape == (60, 90)
    assert made.backend == "torch"
    assert made.notes == ("the network runs as torch has it, not compiled: backend='inductor' raised:",)


def test_device_steps_run_its_network() -> None:
    steps = engine().device_steps(DeviceJob((48, 72), (48, 72), YuvColour()))
    for stage in steps.stages.values():
        stage()
    assert steps.read(steps.outputs.numpy()[0]).counts.sum() == 48 * 72


# On a GPU ------------------------------------------------------------------------------------------------------------


def icnet(**config: Any) -> tuple[Any, WeightsMeta]:
    """A small ICNet with weights that leave no ties, and street-like pictures to feed it."""
    torch.manual_seed(0)
    network = randomised(build("icnet", {"num_classes": 3, "keep": 0.5, **config}))
    return network, WeightsMeta("icnet", {}, CLASSES, tiny_meta().normalisation, (256, 512))


def agreement(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    return float(np.mean([np.mean(a == b) for a, b in zip(one, other, strict=True)]))


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, as a share of the largest score."""
    return float((one.float() - other.float()).abs().max() / other.float().abs().max())


def labels(segmenter: Segmenter, count: int = 4) -> list[np.ndarray]:
    return [segmenter.labels(stripes(256, 512, 7 * i, i)) for i in range(count)]


@gpu
@needs_gpu
@pytest.mark.parametrize("model", ["icnet", "fast-scnn"])
def test_fp32_labels_are_the_cpu_s(model: str) -> None:
    torch.manual_seed(0)
    network = enlivened(build(model, {"num_classes": 3}))
    meta = WeightsMeta(model, {}, CLASSES, tiny_meta().normalisation, (256, 512))
    on_gpu, on_cpu = Segmenter(network, meta, "cuda", "fp32"), Segmenter(network, meta, "cpu", "fp32")
    assert isinstance(on_gpu.engine, CudaEngine)
    expected = labels(on_cpu)
    assert np.sort(np.bincount(np.concatenate(expected).ravel(), minlength=3))[-2] > 0.02 * 4 * 256 * 512
    assert agreement(labels(on_gpu), expected) >= 0.9999


@gpu
@needs_gpu
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_labels_are_nearly_the_cpu_s(precision: str) -> None:
    network, meta = icnet()
    on_gpu, on_cpu = Segmenter(network, meta, "cuda", precision), Segmenter(network, meta, "cpu")
    assert agreement(labels(on_gpu), labels(on_cpu)) >= (0.99 if precision == "fp16" else 0.95)


@gpu
@needs_gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_graph_gives_what_eager_gives(precision: str) -> None:
    network, meta = icnet()
    segmenter = Segmenter(network, meta, "cuda", precision)
    made = segmenter.engine
    assert isinstance(made, CudaEngine)
    x = segmenter.prepare([stripes(256, 512)])
    with torch.inference_mode():
        eager = made._plain(x)
        graphed = [segmenter.forward(x) for _ in range(4)]
    assert len(made._graphed) == 1
    assert made.notes == ()
    # A capture searches for cuDNN's fastest algorithms; these may add in another order.
    assert apart(graphed[-1], eager) < (3e-2 if precision == "fp16" else 1e-4)
    assert torch.equal(graphed[2], graphed[3])


@gpu
@needs_gpu
def test_batches_agree_with_pictures_alone() -> None:
    network, meta = icnet()
    segmenter = Segmenter(network, meta, "cuda", "fp32")
    pictures = [stripes(256, 512, 7 * i, i) for i in range(8)]
    assert agreement(segmenter.labels_batch(pictures), [segmenter.labels(p) for p in pictures]) >= 0.9999


@gpu
@needs_gpu
def test_compiled_labels_are_torch_s() -> None:
    network, meta = icnet()
    compiled = Segmenter(network, meta, "cuda", "fp32", backend="compile")
    assert agreement(labels(compiled), labels(Segmenter(network, meta, "cuda", "fp32"))) >= 0.9999


@gpu
@needs_gpu
def test_memory_is_flat_over_many_pictures() -> None:
    network, meta = icnet()
    segmenter = Segmenter(network, meta, "cuda", "fp16")
    picture = stripes(256, 512)
    for _ in range(5):
        segmenter.labels(picture)
    before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    for _ in range(300):
        segmenter.labels(picture)
    assert torch.cuda.memory_allocated() <= before[0]
    assert torch.cuda.memory_reserved() <= before[1]


@gpu
@needs_gpu
def test_running_out_of_memory_is_one_line_and_exit_6() -> None:
    network, meta = icnet()
    device = torch.cuda.current_device()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-3, device)
    try:
        with pytest.raises(IcnetError, match="out of memory on cuda") as failure:
            Segmenter(network, meta, "cuda", "fp32", (2048, 4096)).labels(stripes(2048, 4096))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
        torch.cuda.empty_cache()
    assert failure.value.code == ExitCode.DEVICE


@gpu
@needs_gpu
def test_streams_and_graphs_of_a_video_give_what_the_cpu_gives() -> None:
    """The stages on three streams against the same stages at once on the CPU."""

    from icnet_cli.inference.streams import streams_of
    from icnet_cli.pipeline.flights import Flights
    from icnet_cli.pipeline.items import Picture

    network, meta = icnet()
    job = DeviceJob((256, 512), (256, 512), YuvColour(), batch=3)

    def run(device: torch.device, kind: type[TorchEngine]) -> list[np.ndarray]:
        made = kind(network, meta.normalisation, device, "fp32")
        assert isinstance(made, CudaEngine)
        flights = Flights(made.device_steps(job), streams_of(device))
        found = []
        for index in range(20):
            yuv = YuvColour().from_rgb(stripes(256, 512, 7 * index, index))
            planes = Planes(yuv[..., 0].copy(), yuv[::2, ::2, 1].copy(), yuv[::2, ::2, 2].copy())
            flight = flights.send(Picture("x", index, np.zeros((256, 512, 3), np.uint8), planes))
            if index == 19:
                flight = flight or flights.rest()
            if flight is not None:
                found += [np.array(landed.labels) for _, landed in flight.land()]
                flight.free()
        assert flights.notes == []
        assert all(times.median >= 0 for times in flights.times.values())
        flights.close()
        return found

    assert agreement(run(torch.device("cuda", 0), CudaEngine), run(CPU, CudaEngine)) >= 0.9999


@gpu
@needs_gpu
def test_graphs_of_several_sizes_live_beside_one_another() -> None:
    network, meta = icnet()
    segmenter = Segmenter(network, meta, "cuda", "fp32")
    made = segmenter.engine
    assert isinstance(made, CudaEngine)
    assert isinstance(made._graphed, Graphed)
    inputs = [torch.randn(1, 3, 64 * k, 128, device="cuda") for k in (1, 2, 3)]
    with torch.inference_mode():
        for _ in range(4):
            for x in inputs:
                assert apart(segmenter.forward(x), made._plain(x)) < 1e-4
    assert len(made._graphed) == 3

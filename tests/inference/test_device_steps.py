"""The stages on a device: the labels and the painted planes that the host's way gives, and nothing larger."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from icnet_cli.inference.device_steps import DeviceJob, DeviceSteps, Landed
from icnet_cli.inference.fold import ready_network
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pixels.on_device import TensorPlanes, rgb_from_planes
from icnet_cli.pixels.overlay import VIEWS, Painter
from icnet_cli.pixels.yuv import Planes, YuvColour
from tests.inference.tiny import CLASSES, TinyNetwork, stripes, tiny_meta

CPU = torch.device("cpu")
COLOUR = YuvColour("smpte170m")


def planes_of(rgb: np.ndarray) -> Planes:
    yuv = COLOUR.from_rgb(rgb)
    return Planes(*(np.ascontiguousarray(p) for p in (yuv[..., 0], yuv[::2, ::2, 1], yuv[::2, ::2, 2])))


def rgb_of(planes: Planes) -> np.ndarray:
    tensors = TensorPlanes(*(torch.from_numpy(plane)[None] for plane in planes))
    return rgb_from_planes(tensors, COLOUR)[0].permute(1, 2, 0).numpy().astype(np.uint8)


def steps_for(job: DeviceJob, **meta: Any) -> DeviceSteps:
    network = ready_network(TinyNetwork(), CPU, torch.float32)
    return DeviceSteps(network, tiny_meta(**meta).normalisation, torch.float32, job, CPU)


def through(steps: DeviceSteps, pictures: list[Planes]) -> list[Landed]:
    for row, planes in zip(steps.inputs.numpy(), pictures, strict=True):
        steps.fill(row, planes)
    for stage in steps.stages.values():
        stage()  # type: ignore[operator]
    return [steps.read(row) for row in steps.outputs.numpy()]


@pytest.mark.parametrize("network_size", [(48, 72), (32, 64), (64, 96)])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_labels_are_the_segmenter_s(network_size: tuple[int, int], order: str) -> None:
    pictures = [planes_of(stripes(48, 72, 5 * i, i)) for i in range(3)]
    job = DeviceJob((48, 72), network_size, COLOUR, batch=3, confidence=True)
    segmenter = Segmenter(TinyNetwork(), tiny_meta(order=order), "cpu", size=network_size)
    for landed, planes in zip(through(steps_for(job, order=order), pictures), pictures, strict=True):
        assert landed.labels is not None
        expected = segmenter.labels(rgb_of(planes))
        assert (landed.labels == expected).mean() > 0.999
        assert landed.counts.tolist() == np.bincount(landed.labels.ravel(), minlength=3).tolist()
        scores = segmenter.forward(segmenter.prepare([rgb_of(planes)]))
        confidence = float(scores.softmax(dim=1).amax(dim=1).mean())
        assert landed.confidence == pytest.approx(confidence, abs=1e-2)


@pytest.mark.parametrize("view", VIEWS)
def test_painted_planes_are_the_painter_s(view: str) -> None:
    pictures = [planes_of(stripes(48, 72, 5 * i, i)) for i in range(2)]
    painter = Painter(CLASSES.palette_array(), view, 0.4)
    labelled = through(steps_for(DeviceJob((48, 72), (48, 72), COLOUR, batch=2)), pictures)
    painted = through(steps_for(DeviceJob((48, 72), (48, 72), COLOUR, painter, 2)), pictures)
    for planes, with_labels, with_planes in zip(pictures, labelled, painted, strict=True):
        assert with_labels.labels is not None
        expected = painter.paint_planes(planes, with_labels.labels, COLOUR)
        assert with_planes.labels is None
        for plane, found in zip(expected, with_planes.planes or (), strict=True):
            assert np.array_equal(plane, found)
        assert with_planes.counts.tolist() == with_labels.counts.tolist()


@pytest.mark.parametrize("clockwise", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_pictures_are_turned_on_the_way(clockwise: int, mirror: bool) -> None:
    upright = planes_of(stripes(48, 72, 3))
    coded = [np.rot90(plane, clockwise // 90) for plane in upright]
    coded = [plane[:, ::-1] if mirror else plane for plane in coded]
    job = DeviceJob((48, 72), (48, 72), COLOUR, None, 1, clockwise, mirror)
    (landed,) = through(steps_for(job), [Planes(*coded)])
    (expected,) = through(steps_for(DeviceJob((48, 72), (48, 72), COLOUR)), [upright])
    assert np.array_equal(landed.labels, expected.labels)  # type: ignore[arg-type]


def test_a_batch_gives_what_its_pictures_give_alone() -> None:
    pictures = [planes_of(stripes(48, 72, 5 * i, i)) for i in range(4)]
    together = through(steps_for(DeviceJob((48, 72), (32, 64), COLOUR, batch=4)), pictures)
    alone = steps_for(DeviceJob((48, 72), (32, 64), COLOUR))
    for landed, planes in zip(together, pictures, strict=True):
        assert np.array_equal(landed.labels, through(alone, [planes])[0].labels)  # type: ignore[arg-type]


def test_sizes_that_yuv420_halves_alone() -> None:
    with pytest.raises(ValueError, match="odd"):
        DeviceJob((47, 72), (48, 72), COLOUR)
    with pytest.raises(ValueError, match="batch"):
        DeviceJob((48, 72), (48, 72), COLOUR, batch=0)


class Watch(TorchDispatchMode):
    """Sees every operator: what asks the host for a value, and the largest float tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in (
            "_local_scalar_dense",
            "nonzero",
            "is_nonzero",
            "_unique2",
            "bincount",
        ):
            self.asked.append(str(func))
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                self.largest = max(self.largest, tensor.numel())
        return result


class SixClasses(TinyNetwork):
    num_classes = 6

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([super().scores(x)] * 2, dim=1)


def interpolated(scores: torch.Tensor, rows: Any, columns: Any, labels: torch.Tensor) -> None:
    """What is not to be done: the scores of every pixel at once."""
    labels.copy_(F.interpolate(scores, labels.shape[1:], mode="bilinear").argmax(dim=1))


@pytest.mark.parametrize(("kernel", "times"), [(None, 3), (interpolated, 6)])
def test_nothing_is_asked_of_the_host_and_no_full_size_scores_exist(
    kernel: Any, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest thing is the picture itself, three floats a pixel; not so with interpolate + argmax."""
    monkeypatch.setattr("icnet_cli.inference.upsample._BAND_ROWS", 4)
    job = DeviceJob(
        (96, 128), (32, 64), COLOUR, Painter(CLASSES.palette_array(), "overlay", 0.4), confidence=True
    )
    network = ready_network(SixClasses(), CPU, torch.float32)
    steps = DeviceSteps(network, tiny_meta().normalisation, torch.float32, job, CPU, kernel=kernel)
    through(steps, [planes_of(stripes(96, 128))])  # the first time, geometry is worked out
    with Watch() as watch:
        through(steps, [planes_of(stripes(96, 128))])
    assert watch.asked == []
    assert watch.largest == times * 96 * 128


def test_the_watch_sees_what_asks() -> None:
    with Watch() as watch:
        torch.ones(3).sum().item()
    assert watch.asked

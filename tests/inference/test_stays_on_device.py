"""What runs a frame on a device takes and leaves everything there. Torch's `meta` device stands for a GPU.

It mixes with the host's tensors no more than a GPU does, has no values to ask for, and is everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from icnet_cli.checkpoints.format import LoadedWeights
from icnet_cli.data.augment_batch import ROW, sample
from icnet_cli.inference.device_steps import DeviceJob, DeviceSteps
from icnet_cli.inference.motion import DeviceMotion
from icnet_cli.inference.upsample import ScoreUpsampler
from icnet_cli.models.pyramid import pooling_matrix
from icnet_cli.pixels import flow_torch
from icnet_cli.pixels.overlay import VIEWS, Painter
from icnet_cli.pixels.yuv import YuvColour
from icnet_cli.training.distil import Teachers
from icnet_cli.training.losses import CascadeLoss, class_weights
from icnet_cli.training.recipe import LossRecipe
from tests.inference.tiny import CLASSES, TinyNetwork, tiny_meta

META = torch.device("meta")


class Crossings(TorchDispatchMode):
    """Operators that see tensors of two devices: copies between them, and what a GPU would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        if len({tensor.device for tensor in tensors}) > 1:
            self.found.append(str(func))
        return result


class Uploads(TorchFunctionMode):
    """Figures made on a device from Python's own: no operator shows them on `meta`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.tensor, torch.as_tensor):
            self.found.append(func.__name__)
        return func(*args, **(kwargs or {}))


def crossings(work: Callable[[], Any]) -> list[str]:
    with Crossings() as operators, Uploads() as figures:
        work()
    return operators.found + figures.found


def zeros(*size: int, dtype: torch.dtype = torch.uint8) -> Tensor:
    return torch.zeros(size, dtype=dtype, device=META)


def test_a_crossing_and_a_question_are_seen() -> None:
    """The failing twin of all below."""
    assert crossings(lambda: torch.tensor((1.0, 2.0), device=META)) != []
    assert crossings(lambda: torch.from_numpy(np.zeros(3)).to(META)) != []
    assert crossings(lambda: zeros(2) + zeros(2)) == []
    with pytest.raises(RuntimeError):
        zeros(2).sum().item()
    with pytest.raises(RuntimeError):
        zeros(2, dtype=torch.float32) + torch.ones(2)


@pytest.mark.parametrize("view", [None, *(view for view in VIEWS if view not in ("labels", "wipe"))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("network_size", "clockwise"), [((48, 72), 0), ((32, 64), 90), ((96, 128), 180)])
def test_a_video_s_stages(
    view: str | None, dtype: torch.dtype, network_size: tuple[int, int], clockwise: int
) -> None:
    painter = None if view is None else Painter(np.array(CLASSES.palette, np.uint8), view)
    job = DeviceJob(
        (48, 72), network_size, YuvColour(), painter, 2, clockwise, mirror=clockwise == 90, confidence=True
    )
    network = TinyNetwork().eval().to(META, dtype)
    steps = DeviceSteps(network, tiny_meta(order="BGR").normalisation, dtype, job, META)

    def run() -> None:
        for stage in steps.stages.values():
            stage()

    run()  # geometry is uploaded at the first picture
    assert crossings(run) == []
    assert steps.outputs.device == META


def test_flow_and_what_it_carries() -> None:
    motion, greys, maps = DeviceMotion(META), [zeros(90, 160)] * 3, zeros(1, 5, 30, 40, dtype=torch.float16)

    def run() -> Tensor:
        way = motion.compose(motion.flow(greys[0], greys[1]), motion.flow(greys[1], greys[2]))
        error = flow_torch.photometric_error(greys[0], greys[2], way)
        flow_torch.worst_patch(error > 1)
        motion.gate(error, (30, 40))
        flow_torch.reduced_grey(zeros(720, 1280, 3))
        return motion.carry(maps, way)

    assert run().dtype == torch.float32
    assert crossings(run) == []


class Gpus(Tensor):
    """A tensor that says of itself that it lies on a GPU."""

    is_cuda = True  # type: ignore[assignment]


def test_a_compiled_network_s_pyramid(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled is traced once and keeps no tensors: the pooling's matrices are made on the device."""
    like = zeros(1, dtype=torch.float16).as_subclass(Gpus)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    for kernels in ("published", "adaptive"):
        made: list[Tensor] = []
        assert crossings(lambda: made.append(pooling_matrix(9, 3, kernels, like))) == []  # noqa: B023
        assert (made[0].shape, made[0].dtype, made[0].device) == ((3, 9), torch.float16, META)


def test_scores_to_labels() -> None:
    upsampler = ScoreUpsampler((6, 9), (300, 72), META, network_size=(48, 72))
    assert crossings(lambda: upsampler(zeros(2, 5, 6, 9, dtype=torch.bfloat16))) == []


@pytest.mark.parametrize(("shrinks", "noisy", "blur"), [(True, True, 6), (False, False, 0)])
def test_a_batch_of_training_pictures(shrinks: bool, noisy: bool, blur: int) -> None:
    rows, fill = zeros(2, ROW, dtype=torch.float64), zeros(3)
    made: list[Tensor] = []
    images, labels = zeros(5, 3, 90, 120), zeros(5, 90, 120)
    grain = zeros(50, 50, 3) if noisy else None
    assert (
        crossings(lambda: made.extend(sample(images, labels, rows, (64, 96), fill, shrinks, grain, blur)))
        == []
    )
    assert [(one.dtype, one.device) for one in made] == [(torch.uint8, META)] * 2


@pytest.mark.parametrize("change", [{}, {"ohem": 0.5}, {"lovasz": 1.0}, {"class_weights": "log"}])
def test_a_loss(change: dict[str, Any]) -> None:
    recipe = replace(LossRecipe(), **change)
    weight = class_weights([0.5, 0.3, 0.2], recipe)
    outputs = [zeros(2, 3, 16 // step, 24 // step, dtype=torch.bfloat16) for step in (1, 2, 4)]
    loss = CascadeLoss(recipe, weight, deferred=True).to(META)
    assert crossings(lambda: loss(outputs, zeros(2, 64, 96))) == []
    taught = zeros(2, 3, 16, 24, dtype=torch.float32)
    assert crossings(lambda: loss(outputs, zeros(2, 64, 96), taught)) == []


def test_what_teachers_say() -> None:
    taught = LoadedWeights(TinyNetwork(), tiny_meta(), Path("wide.safetensors"))
    teachers = Teachers([taught, taught], META)
    made: list[Tensor] = []
    assert crossings(lambda: made.append(teachers.probabilities(zeros(2, 3, 64, 96), (16, 24)))) == []
    assert (made[0].shape, made[0].dtype, made[0].device) == ((2, 3, 16, 24), torch.float32, META)


@pytest.mark.parametrize("change", [{"ohem": 0.5}, {"lovasz": 1.0}])
def test_a_loss_that_picks_its_pixels_asks_the_device(change: dict[str, Any]) -> None:
    loss = CascadeLoss(replace(LossRecipe(), **change), None, deferred=False)
    with pytest.raises((NotImplementedError, RuntimeError)):
        loss([zeros(2, 3, 16, 24, dtype=torch.float32)], zeros(2, 64, 96))

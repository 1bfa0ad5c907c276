"""A step's passes as a CUDA graph: held, without a GPU, against a capture that only does the work again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from icnet_cli.config import TrainConfig
from icnet_cli.inference.graphs import Capture as Capturing
from icnet_cli.training import captured, trainer
from icnet_cli.training.captured import CapturedPass
from icnet_cli.training.feed import batches_of, open_feed
from icnet_cli.training.keeping import keep_weights
from icnet_cli.training.prepare import prepare
from icnet_cli.training.step import Stepper
from icnet_cli.training.trainer import Notice, StepDone, Trainer, train
from tests.inference.test_graphs import Capture
from tests.tiny_camvid import write_recipe


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "AFTER", 2)


@pytest.fixture
def long(config: TrainConfig, tmp_path: Path) -> TrainConfig:
    """Six steps at one size, then six at another, with dropout and BatchNorm at work."""
    stages = [
        {"until": 0.5, "crop_size": [64, 64], "scale_range": [0.8, 1.2]},
        {"until": 1.0, "crop_size": [64, 96], "scale_range": [0.8, 1.2]},
    ]
    recipe = write_recipe(
        tmp_path,
        steps=12,
        stages=stages,
        loss={"main_stride": 4, "lovasz": 0.5},
        model={"fast-scnn": {"dropout": 0.3}},
    )
    return replace(config, recipe=str(recipe))


def weights(run_dir: Path) -> bytes:
    return (run_dir / "last.safetensors").read_bytes()


def trained(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, capture: Capturing | None
) -> tuple[Path, list[Any]]:
    """A run whose steps are a GPU's (no value is asked of the device), with graphs of `capture` or without."""
    monkeypatch.setattr(trainer, "Stepper", lambda run: Stepper(run, deferred=True, capture=capture))
    name = "plain" if capture is None else f"graph{id(capture)}"
    assert config.output
    config = replace(config, output=config.output.with_name(name))
    return config.output, list(train(config))  # type: ignore[return-value]


@pytest.mark.parametrize("model", ["fast-scnn", "icnet"])
def test_a_run_with_graphs_is_the_run_without(
    long: TrainConfig, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    config = replace(long, model=model)
    plain, events = trained(config, monkeypatch, None)
    capture = Capture()
    graphed, others = trained(config, monkeypatch, capture)
    assert capture.captured == 2  # a size each
    assert capture.replayed == 2 + 8  # a trial each, and all steps but the first two of a size
    assert weights(graphed) == weights(plain)
    assert losses(others) == losses(events)


def test_what_teachers_say_is_new_in_each_replay(
    long: TrainConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = Trainer(prepare(replace(long, output=tmp_path / "teacher")))
    keep_weights(job.run, job.stepper.averaged(), "last", 0, 0)
    job.run.release()
    config = replace(long, teachers=(str(tmp_path / "teacher" / "last.safetensors"),))
    plain, events = trained(config, monkeypatch, None)
    capture = Capture()
    graphed, others = trained(config, monkeypatch, capture)
    assert (capture.captured, capture.replayed) == (2, 2 + 8)
    assert weights(graphed) == weights(plain)
    assert losses(others) == losses(events)
    _, untaught = trained(replace(long, output=tmp_path / "untaught" / "run"), monkeypatch, None)
    assert losses(untaught) != losses(events)


def losses(events: list[Any]) -> list[float]:
    return [event.loss for event in events if isinstance(event, StepDone)]


def test_each_loss_keeps_its_value(long: TrainConfig) -> None:
    """They are read many steps later, when the graph has long written the next ones."""
    run = prepare(long)
    stepper = Stepper(run, deferred=True, capture=Capture())
    stage = run.recipe.stage_at(0.0)
    batches = list(open_feed(run).batches(stage, 0, batches_of(run, stage, 0)))
    kept = [stepper.batch(*batches[index % len(batches)], 0.01)[0] for index in range(6)]
    seen = [float(loss) for loss in kept]
    assert len(set(seen)) == len(seen)


def test_a_capture_that_fails_leaves_the_steps_as_they_are(
    long: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = trained(long, monkeypatch, None)
    same, events = trained(long, monkeypatch, Capture("operation not permitted"))
    assert weights(same) == weights(plain)
    said = [event.text for event in events if isinstance(event, Notice)]
    assert said == ["steps run operator by operator, not as a CUDA graph: operation not permitted"]


class Stale(Capture):
    """A graph that computes what it computed first, whatever it is given."""

    def __call__(self, work: Callable[[], None], device: torch.device) -> Callable[[], None]:
        work()
        return lambda: None


class Halved(Capture):
    """A graph whose gradients are wrong and whose loss is right."""

    def __call__(self, work: Callable[[], None], device: torch.device) -> Callable[[], None]:
        graph = work.__self__  # type: ignore[attr-defined]

        def replay() -> None:
            work()
            torch._foreach_mul_(graph._gradients, 0.5)

        work()
        return replay


@pytest.mark.parametrize("capture", [Stale(), Halved()])
def test_a_graph_that_is_wrong_is_not_used(
    long: TrainConfig, monkeypatch: pytest.MonkeyPatch, capture: Capture
) -> None:
    plain, _ = trained(long, monkeypatch, None)
    same, events = trained(long, monkeypatch, capture)
    assert weights(same) == weights(plain)
    assert any(isinstance(event, Notice) and "other gradients" in event.text for event in events)


class Greedy(Capture):
    """Memory runs out at the trial, which holds the graph's pass and the other."""

    def __call__(self, work: Callable[[], None], device: torch.device) -> Callable[[], None]:
        def replay() -> None:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")

        work()
        return replay


def test_a_graph_without_memory_is_not_used(long: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, _ = trained(long, monkeypatch, None)
    same, events = trained(long, monkeypatch, Greedy())
    assert weights(same) == weights(plain)
    assert any(isinstance(event, Notice) and "no memory for one on cpu" in event.text for event in events)


def test_a_batch_that_is_not_finite_decides_nothing() -> None:
    network = nn.Conv2d(3, 2, 1)

    class Loss(nn.Module):
        def forward(self, pictures: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return network(pictures.float()).mean() / labels.float().mean()

    capture = Capture()
    passes = CapturedPass(Loss(), list(network.parameters()), capture)
    pictures, labels = torch.ones(1, 3, 4, 4, dtype=torch.uint8), torch.ones(1, 4, 4, dtype=torch.uint8)
    for value in (1, 1, 0, 1, 1, 1):
        passes(pictures, labels * value)
    assert passes.note is None
    assert (capture.captured, capture.replayed) == (2, 3)  # a trial of each, and the last batch


def test_parameters_that_the_loss_does_not_reach_have_no_gradient() -> None:
    network = nn.ModuleDict({"used": nn.Conv2d(3, 2, 1), "unused": nn.Conv2d(3, 2, 1)})

    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pictures: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return (self.network["used"](pictures.float()) - labels[:, None]).square().mean()

    capture = Capture()
    passes = CapturedPass(Loss(), list(network.parameters()), capture)
    for index in range(5):
        pictures = torch.full((1, 3, 4, 4), index, dtype=torch.uint8)
        passes(pictures, torch.ones(1, 4, 4, dtype=torch.uint8))
    assert capture.replayed == 4
    assert all(p.grad is None for p in network["unused"].parameters())
    assert all(p.grad is not None for p in network["used"].parameters())


@pytest.mark.parametrize("change", [{"accumulate": 2}, {"deterministic": True}])
def test_what_a_graph_cannot_hold_has_none(long: TrainConfig, tmp_path: Path, change: dict[str, Any]) -> None:
    run = prepare(replace(long, **change))
    assert Stepper(run, deferred=True, capture=Capture()).captured is None
    assert Stepper(prepare(replace(long, output=tmp_path / "b")), deferred=True, capture=Capture()).captured


def test_none_is_made_on_a_cpu(long: TrainConfig) -> None:
    assert Stepper(prepare(long), deferred=True).captured is None

"""One step: what is not finite changes no weight, whether the host sees it at once or the device by itself."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from icnet_cli.config import TrainConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.training import captured, trainer
from icnet_cli.training.beforehand import check_repeatable
from icnet_cli.training.feed import batches_of, open_feed
from icnet_cli.training.optim import Ema, build_optimizer
from icnet_cli.training.prepare import prepare
from icnet_cli.training.recipe import OptimizerRecipe
from icnet_cli.training.run import Run
from icnet_cli.training.step import Stepper
from icnet_cli.training.trainer import StepDone, Trainer, train
from tests.tiny_camvid import write_recipe
from tests.training.test_trainer import run_to_end


@pytest.fixture
def run(config: TrainConfig) -> Run:
    return prepare(config)


def some_batches(run: Run, count: int) -> list[Any]:
    stage = run.recipe.stage_at(0.0)
    found = []
    for epoch in range(count):
        found += list(open_feed(run).batches(stage, epoch, batches_of(run, stage, epoch)))
    return found[:count]


def weights_of(stepper: Stepper) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in stepper.network.parameters()])


def take(stepper: Stepper, batches: list[Any]) -> list[float]:
    losses = []
    for number, (pictures, labels) in enumerate(batches):
        torch.manual_seed(number)
        losses.append(float(stepper.batch(pictures, labels, 0.02)[0]))
    return losses


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_left_to_the_device_a_step_is_the_same(config: TrainConfig, tmp_path: Path, optimizer: str) -> None:
    """The fused optimizer, whose flag says on the device that a step is to be left out, against the plain one."""
    losses, weights = [], []
    for number, deferred in enumerate((False, True)):
        run = prepare(replace(config, output=tmp_path / str(number)))
        rule = OptimizerRecipe(optimizer, 0.02, clip_norm=1.0)
        stepper = Stepper(replace(run, recipe=replace(run.recipe, optimizer=rule)), deferred=deferred)
        start = weights_of(stepper)
        losses.append(take(stepper, some_batches(run, 4)))
        weights.append(weights_of(stepper) - start)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    if optimizer == "sgd":  # AdamW divides by what may be almost nothing: single weights may go either way
        assert (weights[0] - weights[1]).norm() < 0.01 * weights[0].norm()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("first", [True, False])
def test_a_loss_that_is_not_finite_moves_nothing(
    run: Run, optimizer: str, deferred: bool, first: bool
) -> None:
    run = replace(run, accumulate=2, recipe=replace(run.recipe, optimizer=OptimizerRecipe(optimizer, 0.02)))
    stepper = Stepper(run, deferred=deferred)
    batches = some_batches(run, 6)
    if not first:
        take(stepper, batches[:2])
    before = weights_of(stepper)
    whole = stepper.loss.forward
    poison = iter((1.0, math.nan))  # the second batch of a step spoils the first one's gradients too

    stepper.loss.forward = lambda *given: whole(*given) * next(poison)  # type: ignore[method-assign]
    losses = take(stepper, batches[2:4])
    assert math.isfinite(losses[0])
    assert not math.isfinite(losses[1])
    assert torch.equal(weights_of(stepper), before)
    stepper.loss.forward = whole  # type: ignore[method-assign]
    take(stepper, batches[4:6])
    after = weights_of(stepper)
    assert not torch.equal(after, before)  # the failing twin: steps do move them
    assert torch.isfinite(after).all()


def statistics_of(stepper: Stepper) -> dict[str, torch.Tensor]:
    found = {n: b.clone() for n, b in stepper.network.named_buffers() if "running" in n or "tracked" in n}
    assert found
    return found


@pytest.mark.parametrize("size", [math.inf, 1e25])  # the latter's variance overflows, its loss does not
@pytest.mark.parametrize("way", ["at once", "deferred", "captured"])
def test_a_pass_that_overflows_leaves_no_trace_in_the_statistics(
    run: Run, monkeypatch: pytest.MonkeyPatch, way: str, size: float
) -> None:
    """BatchNorm has taken it in before the loss is known, and would stay NaN for good."""
    monkeypatch.setattr(captured, "AFTER", 0)

    def now(work: Any, device: torch.device) -> Any:
        return work

    stepper = Stepper(run, deferred=way != "at once", capture=now if way == "captured" else None)
    plain, poison = stepper.normalise.forward, 1.0
    stepper.normalise.forward = lambda x: plain(x) * poison  # type: ignore[method-assign]
    batches = some_batches(run, 3)
    take(stepper, batches[:1])
    before = statistics_of(stepper)
    poison = size
    assert math.isfinite(take(stepper, batches[1:2])[0]) == math.isfinite(size)
    after = statistics_of(stepper)
    assert all(torch.equal(before[name], after[name]) for name in before)
    poison = 1.0
    assert math.isfinite(take(stepper, batches[2:])[0])
    moved = statistics_of(stepper)
    assert not any(torch.equal(before[name], moved[name]) for name in before if "mean" in name)
    assert stepper.ema is not None
    assert all(torch.isfinite(value).all() for value in stepper.ema.shadow.values())


def test_losses_are_read_later_and_told_in_full(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: every few steps, and before an evaluation; the events and the record are the same."""
    plain, _ = run_to_end(replace(config, output=tmp_path / "plain"))
    monkeypatch.setattr(trainer, "LOOK_EVERY", 4)
    monkeypatch.setattr(trainer, "Stepper", lambda run: Stepper(run, deferred=True))
    later, _ = run_to_end(replace(config, output=tmp_path / "later"))
    for one, other in zip(plain, later, strict=True):
        assert type(one) is type(other)
        if isinstance(one, StepDone) and isinstance(other, StepDone):
            assert (one.step, one.epoch, one.progress, one.lr) == (
                other.step,
                other.epoch,
                other.progress,
                other.lr,
            )
            assert one.loss == pytest.approx(other.loss, rel=1e-4)


@pytest.mark.parametrize("deferred", [False, True])
def test_three_losses_running_end_the_run(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, deferred: bool
) -> None:
    """With the step, the rate and the last good checkpoint named, which holds nothing that is not finite."""
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY_S", -1.0)
    monkeypatch.setattr(trainer, "LOOK_EVERY", 1)
    monkeypatch.setattr(trainer, "Stepper", lambda run: Stepper(run, deferred=deferred))
    run = prepare(replace(config, steps=50))
    job, losses = Trainer(run), iter([1.0, 1.0, math.inf, 1.0, math.nan, math.nan, math.nan])
    forward = job.stepper.loss.forward
    job.stepper.loss.forward = lambda *given: forward(*given) * next(losses)  # type: ignore[method-assign]
    seen = []
    with pytest.raises(
        IcnetError, match=r"not finite 3 times running at step 7, learning rate 0\.0"
    ) as caught:
        seen.extend(event for event in job.events() if isinstance(event, StepDone))
    assert caught.value.code is ExitCode.CHECK
    assert len(list(run.folder.glob("checkpoint-*.pt"))) == 2
    good = (
        run.folder / "checkpoint-00000004.pt"
    )  # a single one (step 3) ended nothing; from step 5 on none was kept
    assert f"the last good checkpoint is {good}" in str(caught.value)
    state = torch.load(good, weights_only=True)
    assert all(torch.isfinite(tensor).all() for tensor in state["network"].values())


def test_diverged_before_anything_was_saved_says_so(config: TrainConfig) -> None:
    with pytest.raises(IcnetError, match="no checkpoint was saved"):
        list(train(replace(config, lr=1e30)))


@pytest.mark.parametrize(
    ("model", "batch", "cure"),
    [
        ("fast-scnn", 8, r"--batch 4 --accumulate 2 \(now 8 at 64x64\)"),
        ("fast-scnn", 2, r"--crop 32x32 \(now 2 at 64x64\)"),  # one value a channel is no batch to normalise
        ("icnet", 2, r"--batch 1 --accumulate 2"),
    ],
)
@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory"), MemoryError()],
)
def test_out_of_memory_names_what_to_halve(
    config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    batch: int,
    cure: str,
    error: Exception,
) -> None:
    crop = (64, 64)
    config = replace(config, model=model, keep=0.125, batch=batch, accumulate=1, crop=crop)
    job = Trainer(prepare(config))
    if model == "icnet":
        job.run.network.smallest_map = lambda *_: 4  # type: ignore[method-assign]

    def full(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(job.stepper, "batch", full)
    with pytest.raises(IcnetError, match=f"out of memory on cpu, halve the .*{cure}") as caught:
        list(job.events())
    assert caught.value.code is ExitCode.DEVICE
    assert f"go on with --resume {config.output}" in str(caught.value)
    (job.run.folder / "run.json").unlink()  # then there is nothing to go on with
    with pytest.raises(IcnetError) as caught:
        list(job.events())
    assert "--resume" not in str(caught.value)


@pytest.mark.parametrize(
    ("until", "cure"),
    [
        (0.0, r"--batch 4 --accumulate 2 \(now 8 at 64x64\)"),
        (
            0.5,
            r"--batch 2 --accumulate 4 \(now 4 at 96x96\)",
        ),  # that stage's own batch, halved; the rate's is 8
    ],
)
def test_out_of_memory_in_a_stage_names_that_stages_batch(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: float, cure: str
) -> None:
    stages: list[dict[str, Any]] = [
        {"until": 0.5, "crop_size": [64, 64], "scale_range": [0.8, 1.2]},
        {"until": 1.0, "crop_size": [96, 96], "scale_range": [0.8, 1.2], "batch": 4},
    ]
    recipe = write_recipe(tmp_path, batch=8, steps=4, stages=stages, evaluations=1)
    job = Trainer(prepare(replace(config, recipe=str(recipe))))
    plain = job.stepper.batch

    def full(*given: Any) -> Any:
        if job.progress() >= until:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(*given)

    monkeypatch.setattr(job.stepper, "batch", full)
    with pytest.raises(IcnetError, match=f"halve the batch: {cure}"):
        list(job.events())


def test_out_of_memory_while_measuring_does_not_speak_of_the_batch(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trainer, "validate", full)
    with pytest.raises(
        IcnetError, match=r"measuring one picture of val at about 64x96: use --device cpu"
    ) as caught:
        list(Trainer(run).events())
    assert caught.value.code is ExitCode.DEVICE
    assert "--batch" not in str(caught.value)


def test_other_errors_keep_their_own_words(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Trainer(run)

    def broken(*_: Any) -> Any:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(job.stepper, "batch", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        list(job.events())


def test_the_average_of_all_tensors_at_once_is_that_of_each(run: Run) -> None:
    ema, network = Ema(run.network, 0.9), run.network
    expected = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for number in range(1, 4):
        for tensor in network.state_dict().values():
            tensor.add_(number)
        ema.update(network)
        decay = min(0.9, (1 + number) / (10 + number))
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                expected[name].lerp_(tensor, 1 - decay)
            else:
                expected[name].copy_(tensor)
    assert all(torch.equal(ema.shadow[name], tensor) for name, tensor in expected.items())


def test_a_plain_checkpoint_goes_on_fused(run: Run) -> None:
    """A run begun on a CPU goes on on a GPU."""
    plain = Stepper(replace(run, network=run.network), deferred=False)
    batches = some_batches(run, 3)
    take(plain, batches[:2])
    state = plain.state_dict()
    fused = Stepper(run, deferred=True)
    fused.load_state_dict(state, same_batches=True)
    assert all(group["fused"] for group in fused.optimizer.param_groups)
    before = weights_of(fused)
    take(fused, batches[2:])
    assert not torch.equal(before, weights_of(fused))


def test_a_checkpoint_without_a_loss_scale_goes_on_in_fp16(run: Run) -> None:
    """A run begun in fp32 or bf16 has none to give, and fp16's state goes on as it was."""
    plain = Stepper(replace(run, network=run.network), deferred=False)
    in_half = replace(run, config=replace(run.config, precision="fp16"))
    half = Stepper(in_half, deferred=True)
    half.load_state_dict(plain.state_dict(), same_batches=True)
    assert half.scaler.is_enabled()
    half.scaler.scale(torch.zeros(()))
    half.scaler.update(128.0)
    again = Stepper(in_half, deferred=True)
    again.load_state_dict(half.state_dict(), same_batches=True)
    assert again.scaler.get_scale() == 128.0


@pytest.mark.parametrize(("before", "after"), [("fp16", "fp32"), ("fp32", "fp16"), ("fp16", "fp16")])
def test_half_a_step_goes_on_in_its_own_precision_alone(run: Run, before: str, after: str) -> None:
    """Gradients of fp16 are thousands of times too large for a step without its loss scale."""
    one, other = (
        Stepper(
            replace(run, network=copy.deepcopy(run.network), config=replace(run.config, precision=name)),
            deferred=False,
        )
        for name in (before, after)
    )
    parameter = next(iter(one.network.parameters()))
    parameter.grad, one.accumulated = torch.ones_like(parameter), 1
    other.load_state_dict(one.state_dict(), same_batches=True)
    goes_on = before == after
    assert other.accumulated == int(goes_on)
    assert (next(iter(other.network.parameters())).grad is not None) == goes_on


def test_fused_momentum_is_there_before_the_first_step(run: Run) -> None:
    optimizer = build_optimizer(run.network, OptimizerRecipe("sgd"), 0.1, fused=True)
    buffers = [state["momentum_buffer"] for state in optimizer.state.values()]
    assert len(buffers) == len(list(run.network.parameters()))
    assert not any(buffer.any() for buffer in buffers)


def test_fused_momentum_is_there_after_a_state_from_before_the_first_step(run: Run) -> None:
    """A first step that is left out, as fp16's often is, would leave buffers of whatever memory held."""
    run = replace(run, accumulate=2, recipe=replace(run.recipe, optimizer=OptimizerRecipe("sgd", 0.02)))
    one, other = (
        Stepper(replace(run, network=copy.deepcopy(run.network)), deferred=way) for way in (False, True)
    )
    take(one, some_batches(run, 1))
    state = one.state_dict()
    assert not state["optimizer"]["state"]
    other.load_state_dict(state, same_batches=True)
    assert len(other.optimizer.state) == len(list(run.network.parameters()))
    other.optimizer.found_inf = torch.tensor(1.0)  # type: ignore[attr-defined]
    other.optimizer.step()
    assert not any(kept["momentum_buffer"].any() for kept in other.optimizer.state.values())


def test_deterministic_trains_and_leaves_torch_as_it_was(config: TrainConfig, tmp_path: Path) -> None:
    seen = []
    for event in train(replace(config, deterministic=True)):
        seen.append(torch.are_deterministic_algorithms_enabled())
        assert event
    assert all(seen)
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.deterministic
    list(train(replace(config, output=tmp_path / "again", deterministic=True)))
    again = (tmp_path / "again" / "last.safetensors").read_bytes()
    assert (config.output / "last.safetensors").read_bytes() == again  # type: ignore[operator]


def test_a_loss_that_cannot_repeat_its_bits_is_refused(run: Run) -> None:
    check_repeatable(run.recipe)
    for change in ({"ohem": 0.5}, {"lovasz": 0.3}):
        with pytest.raises(IcnetError, match=next(iter(change))) as caught:
            check_repeatable(replace(run.recipe, loss=replace(run.recipe.loss, **change)))
        assert caught.value.code is ExitCode.USAGE

"""Losses that ask nothing of the device give what the plain ones give, and a whole step of them waits for nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from icnet_cli.config import TrainConfig
from icnet_cli.training.feed import batches_of, open_feed
from icnet_cli.training.losses import IGNORE_INDEX, CascadeLoss, _hardest, _jaccard_steps, lovasz_softmax
from icnet_cli.training.prepare import prepare
from icnet_cli.training.recipe import LossRecipe
from icnet_cli.training.step import Stepper


def plain_lovasz(scores: Tensor, target: Tensor) -> Tensor:
    """As the paper writes it: the pixels and classes that count, picked."""
    valid = target != IGNORE_INDEX
    truth = target[valid].long()
    if truth.numel() == 0:
        return scores.sum() * 0.0
    present = truth.unique()
    shares = scores.softmax(dim=1).permute(0, 2, 3, 1)[valid][:, present].t()
    mine = (truth[None, :] == present[:, None]).float()
    errors, order = (mine - shares).abs().sort(dim=1, descending=True)
    return (errors * _jaccard_steps(mine.gather(1, order))).sum(dim=1).mean()


def plain_hardest(loss: Tensor, target: Tensor, share: float) -> Tensor:
    valid = loss[target != IGNORE_INDEX]
    if valid.numel() == 0:
        return torch.zeros_like(loss)
    count = max(1, round(valid.numel() * share))
    return (loss >= valid.sort(descending=True).values[count - 1]).float()


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Scores (N, K, H, W) and labels, of which some or all do not count; classes may be absent."""
    size = tuple(draw(st.integers(1, 9)) for _ in range(2))
    pictures, num_classes = draw(st.integers(1, 3)), draw(st.integers(1, 7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9999)))
    # In double precision no two errors are the same, so their order, and each pixel's gradient, is one.
    scores = 3 * torch.randn(pictures, num_classes, *size, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, draw(st.integers(1, num_classes)), (pictures, *size), generator=generator)
    ignored = torch.rand(labels.shape, generator=generator) < draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))
    return scores, labels.masked_fill(ignored, IGNORE_INDEX).to(torch.uint8)


def gradient(loss: Any, scores: Tensor, *rest: Any) -> tuple[float, Tensor]:
    leaf = scores.clone().requires_grad_()
    value = loss(leaf, *rest)
    value.backward()
    assert leaf.grad is not None
    return value.item(), leaf.grad


@pytest.mark.parametrize("deferred", [False, True])
@settings(max_examples=80, deadline=None)
@given(batch=batches())
def test_lovasz_is_the_plain_one(deferred: bool, batch: tuple[Tensor, Tensor]) -> None:
    scores, labels = batch
    expected, slope = gradient(plain_lovasz, scores, labels)
    value, found = gradient(lovasz_softmax, scores, labels, deferred)
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert torch.allclose(found, slope, rtol=1e-5, atol=1e-9)
    single = lovasz_softmax(scores.float(), labels, deferred).item()
    assert single == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("deferred", [False, True])
@settings(max_examples=80, deadline=None)
@given(batch=batches(), share=st.floats(0.01, 1.0))
def test_the_hardest_pixels_are_the_plain_ones(
    deferred: bool, batch: tuple[Tensor, Tensor], share: float
) -> None:
    scores, labels = batch
    loss = torch.nn.functional.cross_entropy(scores, labels.long(), ignore_index=255, reduction="none")
    counted = labels != IGNORE_INDEX
    found = _hardest(loss, labels, share, deferred)
    assert torch.equal(found[counted], plain_hardest(loss, labels, share)[counted])


@settings(max_examples=30, deadline=None)
@given(batch=batches(), ohem=st.sampled_from([0.3, 1.0]), lovasz=st.sampled_from([0.0, 0.5]))
def test_the_whole_cascade_is_the_same(batch: tuple[Tensor, Tensor], ohem: float, lovasz: float) -> None:
    scores, labels = batch
    recipe = LossRecipe(weights=(1.0,), main_stride=1, ohem=ohem, lovasz=lovasz)
    weight = torch.linspace(0.5, 2, scores.shape[1])
    values = [CascadeLoss(recipe, weight, deferred=way)([scores], labels).item() for way in (False, True)]
    assert values[1] == pytest.approx(values[0], rel=1e-5, abs=1e-6)


# What a GPU's queue would be emptied for --------------------------------------------------------------------------

_WAITS = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "unique",
    "equal",
    "is_nonzero",
    "repeat_interleave",
)


class Impatient(TorchDispatchMode):
    """Refuses what must know a tensor's values before the next operation can begin."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::").lstrip("_")
        picked = name.startswith("index") and _has_mask(args)
        if picked or any(name.startswith(word.lstrip("_")) for word in _WAITS):
            raise AssertionError(f"{func} would wait for the device")
        return func(*args, **(kwargs or {}))


def _has_mask(arguments: Any) -> bool:
    if isinstance(arguments, list | tuple):
        return any(_has_mask(one) for one in arguments)
    return isinstance(arguments, Tensor) and arguments.dtype == torch.bool


HARD = LossRecipe(weights=(1.0, 0.4, 0.4), main_stride=2, class_weights="log", ohem=0.4, lovasz=0.5)


def _stepper(config: TrainConfig, deferred: bool) -> tuple[Stepper, list[tuple[Tensor, Tensor]]]:
    run = prepare(config)
    run = replace(run, recipe=replace(run.recipe, loss=HARD))
    stage = run.recipe.stage_at(0.0)
    return Stepper(run, deferred=deferred), list(open_feed(run).batches(stage, 0, batches_of(run, stage, 0)))


@pytest.mark.parametrize("model", ["icnet", "fast-scnn"])
def test_no_step_waits_for_the_device(config: TrainConfig, model: str) -> None:
    """A step, forward and back, with every loss there is."""
    stepper, batches = _stepper(replace(config, model=model), deferred=True)
    with Impatient():
        for pictures, labels in batches[:2]:
            stepper.batch(pictures, labels, 0.01)


def test_one_that_waits_is_found(config: TrainConfig) -> None:
    stepper, batches = _stepper(config, deferred=True)
    scores, labels = torch.randn(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8)
    for loss, values in ((lovasz_softmax, (scores, labels)), (_hardest, (scores[:, 0], labels, 0.5))):
        with pytest.raises(AssertionError, match="would wait"), Impatient():
            loss(*values)
    stepper.loss.deferred = False
    with pytest.raises(AssertionError, match="would wait"), Impatient():
        stepper.batch(*batches[0], 0.01)

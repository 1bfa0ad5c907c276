from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from icnet_cli.errors import IcnetError
from icnet_cli.training.losses import CascadeLoss, class_weights, lovasz_softmax, shrink_labels
from icnet_cli.training.recipe import LossRecipe, recipe_from_dict

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=60, deadline=None)
@given(size=SIZES, target=SIZES, align_corners=st.booleans(), seed=st.integers(0, 999))
def test_shrinking_labels_only_picks_values_that_were_there(
    size: tuple[int, int], target: tuple[int, int], align_corners: bool, seed: int
) -> None:
    values = np.array([0, 7, 200, 255], np.uint8)
    labels = torch.from_numpy(np.random.default_rng(seed).choice(values, (2, *size)))
    small = shrink_labels(labels, target, align_corners)
    assert small.shape == (2, *target)
    assert small.dtype == torch.uint8
    assert set(small.unique().tolist()) <= set(labels.unique().tolist())


def test_shrunk_labels_lie_where_bilinear_scores_lie() -> None:
    columns = torch.arange(64, dtype=torch.uint8).expand(1, 64, 64)
    where = F.interpolate(columns[None].float(), size=(8, 8), mode="bilinear", align_corners=False)[0, 0, 0]
    assert (shrink_labels(columns, (8, 8))[0, 0] - where).abs().max() <= 0.5
    corners = shrink_labels(columns[:, :33, :33], (9, 9), align_corners=True)[0, 0]
    assert corners.tolist() == [0, 4, 8, 12, 16, 20, 24, 28, 32]


def test_bilinear_shrinking_would_invent_classes() -> None:
    """What the promise guards against: the same sizes, interpolated, give values that were not there."""
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    labels[:, :, 4:] = 10
    bad = F.interpolate(labels[None].float(), size=(3, 3), mode="bilinear")[0]
    assert not set(bad.unique().tolist()) <= {0.0, 10.0}


def test_the_cascade_is_the_weighted_sum_of_its_losses() -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (2, 32, 48), dtype=torch.uint8)
    labels[0, :5] = 255
    outputs = [torch.randn(2, 4, 32 // s, 48 // s) for s in (4, 8, 16)]
    loss = CascadeLoss(LossRecipe(weights=(1.0, 0.4, 0.4), main_stride=4), None)(outputs, labels)
    parts = [
        F.cross_entropy(o, shrink_labels(labels, tuple(o.shape[2:])).long(), ignore_index=255)
        for o in outputs
    ]
    assert loss.item() == pytest.approx((parts[0] + 0.4 * parts[1] + 0.4 * parts[2]).item(), rel=1e-5)


def test_main_scores_are_upsampled_to_their_stride() -> None:
    labels = torch.randint(0, 4, (1, 32, 32), dtype=torch.uint8)
    scores = torch.randn(1, 4, 4, 4)
    fine = CascadeLoss(LossRecipe(weights=(1.0,), main_stride=1), None)([scores], labels)
    full = F.interpolate(scores, size=(32, 32), mode="bilinear")
    assert fine.item() == pytest.approx(F.cross_entropy(full, labels.long()).item(), rel=1e-5)


def test_weighted_loss_is_torchs_weighted_mean() -> None:
    scores, labels = torch.randn(1, 3, 8, 8), torch.randint(0, 3, (1, 8, 8), dtype=torch.uint8)
    weight = torch.tensor([0.5, 2.0, 1.0])
    loss = CascadeLoss(LossRecipe(weights=(1.0,), main_stride=1), weight)([scores], labels)
    assert loss.item() == pytest.approx(F.cross_entropy(scores, labels.long(), weight).item(), rel=1e-5)


def test_a_single_pixel_of_a_light_class_loses_no_less() -> None:
    """Of one labelled pixel the weighted mean is its own loss, however little it weighs."""
    scores, labels = torch.randn(1, 3, 8, 8), torch.full((1, 8, 8), 255, dtype=torch.uint8)
    labels[0, 2, 3] = 1
    loss = CascadeLoss(LossRecipe(weights=(1.0,), main_stride=1), torch.tensor([1.0, 0.01, 1.0]))(
        [scores], labels
    )
    assert loss.item() == pytest.approx(-scores[0, :, 2, 3].log_softmax(0)[1].item(), rel=1e-5)


def test_nothing_labelled_is_no_loss_and_no_gradient() -> None:
    scores = torch.randn(1, 3, 8, 8, requires_grad=True)
    labels = torch.full((1, 8, 8), 255, dtype=torch.uint8)
    for ohem in (1.0, 0.5):
        loss = CascadeLoss(LossRecipe(weights=(1.0,), main_stride=1, ohem=ohem), None)([scores], labels)
        assert loss.item() == 0
        loss.backward()
    assert scores.grad is not None
    assert not scores.grad.any()


def test_hard_examples_are_the_ones_with_the_largest_loss() -> None:
    scores = torch.zeros(1, 2, 1, 4)
    scores[0, 0, 0] = torch.tensor([4.0, 3.0, -3.0, -4.0])
    labels = torch.zeros(1, 1, 4, dtype=torch.uint8)
    recipe = LossRecipe(weights=(1.0,), main_stride=1, ohem=0.5)
    loss = CascadeLoss(recipe, None)([scores], labels)
    each = F.cross_entropy(scores, labels.long(), reduction="none").flatten()
    assert loss.item() == pytest.approx(each[2:].mean().item())
    assert loss.item() > each.mean().item()


@pytest.mark.parametrize("kind", ["log", "median"])
def test_rare_classes_weigh_more_and_an_average_pixel_one(kind: str) -> None:
    shares = [0.6, 0.3, 0.09, 0.01, 0.0]
    weight = class_weights(shares, LossRecipe(class_weights=kind, class_weight_offset=1.2))
    assert weight is not None
    expected = {
        "log": lambda share: math.log(1.2 + 0.6) / math.log(1.2 + share),
        "median": lambda share: 0.6 / share,
    }
    assert (weight[:4] / weight[0]).tolist() == pytest.approx([expected[kind](share) for share in shares[:4]])
    assert float((weight * torch.tensor(shares)).sum()) == pytest.approx(1)
    assert weight[4] == 1  # a class that never occurs


def test_no_class_weights() -> None:
    assert class_weights([0.5, 0.5], LossRecipe()) is None


def _hard(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Scores whose softmax is 1 at `labels` and 0 elsewhere."""
    return F.one_hot(labels.long(), num_classes).permute(0, 3, 1, 2).float() * 200 - 100


def test_lovasz_of_certain_predictions_is_one_minus_their_mean_iou() -> None:
    rng = torch.Generator().manual_seed(3)
    truth = torch.randint(0, 3, (2, 9, 7), generator=rng, dtype=torch.uint8)
    guess = torch.where(torch.rand(truth.shape, generator=rng) < 0.3, (truth + 1) % 3, truth)
    truth[0, 0] = 255
    valid = truth != 255
    ious = [
        ((guess == k) & (truth == k)).sum() / (((guess == k) & valid) | (truth == k)).sum() for k in range(3)
    ]
    expected = 1 - torch.stack(ious).mean()
    assert lovasz_softmax(_hard(guess, 5), truth).item() == pytest.approx(expected.item(), abs=1e-5)
    assert lovasz_softmax(_hard(truth.clamp(max=4), 5), truth).item() == pytest.approx(0, abs=1e-5)


def test_lovasz_sees_only_labelled_pixels_and_none_is_no_loss() -> None:
    scores = torch.randn(1, 4, 6, 6, requires_grad=True)
    truth = torch.randint(0, 4, (1, 6, 6), dtype=torch.uint8)
    truth[:, 3:] = 255
    upper = lovasz_softmax(scores[:, :, :3], truth[:, :3])
    assert lovasz_softmax(scores, truth).item() == pytest.approx(upper.item(), abs=1e-6)
    nothing = lovasz_softmax(scores, torch.full_like(truth, 255))
    nothing.backward()
    assert nothing.item() == 0.0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_lovasz_adds_to_the_cascade_by_its_weight() -> None:
    labels = torch.randint(0, 4, (2, 32, 32), dtype=torch.uint8)
    outputs = [torch.randn(2, 4, 8, 8), torch.randn(2, 4, 4, 4)]
    plain, half, whole = (
        CascadeLoss(LossRecipe(main_stride=2, lovasz=share), None)(outputs, labels).item()
        for share in (0.0, 0.5, 1.0)
    )
    assert whole > plain
    assert half - plain == pytest.approx((whole - plain) / 2, rel=1e-4)


def test_a_negative_lovasz_weight_is_refused() -> None:
    with pytest.raises(IcnetError, match="lovasz must be a number at least 0"):
        recipe_from_dict({"name": "x", "steps": 1, "loss": {"lovasz": -1}}, "x")


def test_apart_from_the_teachers_is_the_divergence_over_labelled_pixels() -> None:
    torch.manual_seed(0)
    scores, taught = torch.randn(2, 4, 6, 8), torch.randn(2, 4, 6, 8).softmax(dim=1)
    labels = torch.randint(0, 4, (2, 6, 8), dtype=torch.uint8)
    labels[:, :2] = 255
    loss = CascadeLoss(LossRecipe(main_stride=1), None)
    by_hand = (taught * (taught / scores.softmax(dim=1)).log()).sum(dim=1)[:, 2:].mean()
    assert loss.apart(scores, labels, taught).item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert loss.apart(taught.log(), labels, taught).item() == pytest.approx(0, abs=1e-6)
    for rows, counts in ((slice(0, 2), False), (slice(2, 6), True)):
        other = taught.clone()
        other[:, :, rows] = 0.25
        differs = loss.apart(scores, labels, other) != loss.apart(scores, labels, taught)
        assert bool(differs) is counts
    nothing = loss.apart(scores, torch.full_like(labels, 255), taught)
    assert nothing.item() == 0


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_teachers_add_to_the_cascade_by_their_weight(weight: float) -> None:
    torch.manual_seed(0)
    outputs = [torch.randn(1, 3, 8, 8), torch.randn(1, 3, 4, 4)]
    labels = torch.randint(0, 3, (1, 16, 16), dtype=torch.uint8)
    taught = torch.randn(1, 3, 8, 8).softmax(dim=1)
    loss = CascadeLoss(LossRecipe(main_stride=2, distil=weight), None)
    added = loss(outputs, labels, taught) - loss(outputs, labels)
    assert added.item() == pytest.approx(weight * loss.apart(outputs[0], labels, taught).item(), rel=1e-4)

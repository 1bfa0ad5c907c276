"""The cascade's losses: cross-entropy of each score map against labels shrunk by nearest neighbour."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icnet_cli.classes import IGNORE_INDEX
from icnet_cli.training.recipe import LossRecipe


def shrink_labels(labels: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Labels (N, H, W) at another size by nearest neighbour, so no class appears that was not there.

    The sample points are those at which bilinear interpolation of the same `align_corners` puts the small map's pixels.
    """
    if tuple(labels.shape[-2:]) == tuple(size):
        return labels
    rows, columns = (
        _nearest(small, big, align_corners, labels.device)
        for small, big in zip(size, labels.shape[-2:], strict=True)
    )
    return labels[:, rows][:, :, columns]


def _nearest(small: int, big: int, align_corners: bool, device: torch.device) -> Tensor:
    index = torch.arange(small, device=device, dtype=torch.float64)
    if align_corners:
        return (index * ((big - 1) / max(1, small - 1))).round().long()
    return ((index + 0.5) * (big / small)).floor().long().clamp(max=big - 1)


def class_weights(shares: Sequence[float], recipe: LossRecipe) -> Tensor | None:
    """A weight a class from its share of the labelled pixels, scaled so that an average pixel weighs 1.

    A class that never occurs weighs 1: it can only be predicted wrongly, and says nothing of its rarity.
    """
    if recipe.class_weights == "none":
        return None
    share = np.asarray(shares, dtype=np.float64)
    seen = share > 0
    weight = np.ones_like(share)
    if recipe.class_weights == "log":
        weight[seen] = 1 / np.log(recipe.class_weight_offset + share[seen])
    else:
        weight[seen] = np.median(share[seen]) / share[seen]
    weight[seen] /= (weight[seen] * share[seen]).sum()
    return torch.tensor(weight, dtype=torch.float32)


class CascadeLoss(nn.Module):
    """lambda_1 L_1 + lambda_2 L_2 + ... (2017 paper, equation 1).

    Takes the tuple of score maps a network gives while training, main first, and labels uint8 (N, H, W). With
    `deferred` no value is asked of the device on the way, so that nothing waits for it.
    """

    weight: Tensor | None

    def __init__(
        self, recipe: LossRecipe, weight: Tensor | None, align_corners: bool = False, deferred: bool = False
    ) -> None:
        super().__init__()
        self.recipe, self.align_corners, self.deferred = recipe, align_corners, deferred
        self.register_buffer("weight", weight)
        # Where several processes train one network, each computes its own part of one loss: `over_ranks` then sums
        # what a loss is divided by over all of them, and `ranks` is how many they are.
        self.over_ranks: Callable[[Tensor], Tensor] = _alone
        self.ranks = 1

    def main_size(self, labels: Tensor) -> tuple[int, int]:
        """(height, width) of the main score map in its loss."""
        stride = self.recipe.main_stride
        return -(-labels.shape[1] // stride), -(-labels.shape[2] // stride)

    def forward(self, outputs: Sequence[Tensor], labels: Tensor, taught: Tensor | None = None) -> Tensor:
        main = self.main_size(labels)
        total = outputs[0].new_zeros(())
        for index, (share, scores) in enumerate(zip(self.recipe.weights, outputs, strict=False)):
            if index == 0 and tuple(scores.shape[-2:]) != main:
                scores = F.interpolate(scores, size=main, mode="bilinear", align_corners=self.align_corners)
            total = total + share * self.one(scores, labels)
            if index == 0 and self.recipe.lovasz:
                total = total + self.recipe.lovasz / self.ranks * self.region(scores, labels)
            if index == 0 and taught is not None:
                total = total + self.recipe.distil * self.apart(scores, labels, taught)
        return total

    def region(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The Lovasz loss of the main map, at every second pixel of it: its cost is a sort of them a class."""
        target = shrink_labels(labels, (scores.shape[2], scores.shape[3]), self.align_corners)
        return lovasz_softmax(scores[:, :, ::2, ::2].float(), target[:, ::2, ::2], self.deferred)

    def apart(self, scores: Tensor, labels: Tensor, taught: Tensor) -> Tensor:
        """Mean Kullback-Leibler divergence of the main map from its teachers' probabilities, over labelled pixels."""
        target = shrink_labels(labels, (scores.shape[2], scores.shape[3]), self.align_corners)
        loss = F.kl_div(scores.float().log_softmax(dim=1), taught, reduction="none").sum(dim=1)
        weight = (target != IGNORE_INDEX).float()  # what lies outside the picture teaches nothing
        return (loss * weight).sum() / self.over_ranks(weight.sum()).clamp(min=1e-6)

    def one(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Mean weighted cross-entropy of one map over its labelled pixels; 0 where none is labelled."""
        target = shrink_labels(labels, (scores.shape[2], scores.shape[3]), self.align_corners).long()
        loss = F.cross_entropy(
            scores.float(), target, self.weight, ignore_index=IGNORE_INDEX, reduction="none"
        )
        weight = (target != IGNORE_INDEX).float()
        if self.weight is not None:
            weight = weight * self.weight[target.clamp(max=len(self.weight) - 1)]
        if self.recipe.ohem < 1:
            kept = _hardest(loss.detach(), target, self.recipe.ohem, self.deferred)
            loss, weight = loss * kept, weight * kept
        return loss.sum() / self.over_ranks(weight.sum()).clamp(min=1e-6)


def _alone(total: Tensor) -> Tensor:
    return total


def lovasz_softmax(scores: Tensor, target: Tensor, deferred: bool = False) -> Tensor:
    """Mean over the classes present of 1 - IoU, made continuous (Berman et al. 2018, Lovasz-softmax, equation 11).

    Where every softmax is 0 or 1 it is 1 - IoU itself.

    Args:
        scores: (N, K, H, W) raw class scores.
        target: (N, H, W) train ids; 255 does not count. The batch is one set of pixels.
        deferred: nothing is asked of the device. Else pixels and classes that do not count are left out first, which
            is less to sort and needs to be waited for.
    """
    num_classes = scores.shape[1]
    truth, shares = target.flatten(), scores.softmax(dim=1).transpose(0, 1).flatten(1)  # (P), (K, P)
    classes = torch.arange(num_classes, device=scores.device)
    if not deferred:
        valid = truth != IGNORE_INDEX
        truth = truth[valid]
        classes = truth.unique().long()
        shares = shares[:, valid][classes]
    mine = (truth[None, :] == classes[:, None]).float()  # (C, P)
    # An error of 0 adds nothing, wherever among the others it is sorted to.
    errors, order = ((mine - shares).abs() * (truth != IGNORE_INDEX)).sort(dim=1, descending=True)
    losses = (errors * _jaccard_steps(mine.gather(1, order))).sum(dim=1)
    present = mine.amax(dim=1) if deferred else torch.ones_like(losses)
    return (losses * present).sum() / present.sum().clamp(min=1)


def _jaccard_steps(mine: Tensor) -> Tensor:
    """What each next wrong pixel adds to 1 - IoU, for pixels (C, P) in falling order of error (their Algorithm 1)."""
    count = mine.sum(dim=1, keepdim=True)
    intersection = count - mine.cumsum(dim=1)
    union = count + (1 - mine).cumsum(dim=1)
    loss = 1 - intersection / union
    return torch.cat([loss[:, :1], loss[:, 1:] - loss[:, :-1]], dim=1)


def _hardest(loss: Tensor, target: Tensor, share: float, deferred: bool = False) -> Tensor:
    """1.0 at the `share` of the labelled pixels with the largest loss (online hard example mining).

    Args:
        deferred: nothing is asked of the device: all pixels are sorted, where else one is picked.
    """
    valid = target != IGNORE_INDEX
    if not deferred:
        return (loss >= _picked(loss[valid], share)).float()
    falling = loss.masked_fill(~valid, -1.0).flatten().sort(descending=True).values
    count = (valid.sum(dtype=torch.float64) * share).round().clamp(min=1).long()
    return (loss >= falling.gather(0, count[None] - 1)).float()


def _picked(valid: Tensor, share: float) -> Tensor | float:
    """The smallest of the `share` largest values; 0 of none."""
    if valid.numel() == 0:
        return 0.0
    count = max(1, round(valid.numel() * share))
    return valid.kthvalue(valid.numel() - count + 1).values

"""An evaluation of every branch of ICNet's cascade in one pass over the data, and what is made of their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from typing import Protocol as Interface

from icnet_cli.checkpoints.format import LoadedWeights
from icnet_cli.config import BRANCHES
from icnet_cli.errors import usage_error, weights_error
from icnet_cli.evaluation.confusion import Confusion, Labels
from icnet_cli.evaluation.predict import Image, Predictor
from icnet_cli.evaluation.report import json_number
from icnet_cli.models import build

ALL = "all"
LAST = BRANCHES[-1]


def with_branches(weights: LoadedWeights, branches: str | None) -> LoadedWeights:
    """The same weights answering from `sub4`, `sub24` or `sub124` of ICNet's cascade; None changes nothing.

    `all` is sub124, of weights that can answer from each.

    Raises:
        IcnetError: USAGE for a network without branches; WEIGHTS for a file without the aux classifiers.
    """
    if branches is None:
        return weights
    if "branches" not in weights.meta.config:
        raise usage_error(f"--branches {branches} is for ICNet; {weights.path} holds {weights.meta.model}")
    if branches == ALL:
        _changed(weights, {"branches": BRANCHES[0]}, "--branches sub124")
        branches = LAST
    return _changed(weights, {"branches": branches}, "--branches sub124")


def with_ablation(weights: LoadedWeights, ablation: str | None) -> LoadedWeights:
    """The same weights with a part of the network switched off: `skip`, Fast-SCNN's 1/8 branch (its section 4.2).

    Raises:
        IcnetError: USAGE for a network that has no such part.
    """
    if ablation is None:
        return weights
    if ablation not in weights.meta.config:
        raise usage_error(
            f"--ablation {ablation} is for Fast-SCNN; {weights.path} holds {weights.meta.model}"
        )
    return _changed(weights, {ablation: False}, "leave --ablation out")


def _changed(weights: LoadedWeights, change: dict[str, object], otherwise: str) -> LoadedWeights:
    meta = replace(weights.meta, config=weights.meta.config | change)
    try:
        network = build(meta.model, meta.config)
    except ValueError as error:
        raise weights_error(f"{weights.path}: {error}; take a file that kept them, or {otherwise}") from error
    network.load_state_dict(weights.network.state_dict())
    return replace(weights, network=network.eval(), meta=meta)


def studied(config: Mapping[str, Any], branches: str | None, regions: bool) -> tuple[str, ...]:
    """The branches that are evaluated besides the last: with `all`, and for regions where nothing else is said."""
    able = config.get("branches") == LAST and bool(config.get("aux"))
    wanted = branches == ALL or (regions and branches is None)
    return BRANCHES[:-1] if able and wanted else ()


class Consumer(Interface):
    """Something made of the answers of all branches to each picture."""

    def add(self, name: str, image: Image, truth: Labels, answers: Mapping[str, Labels]) -> None: ...

    def figures(self) -> dict[str, Any]: ...


class BranchStudy:
    """Asks the other branches too, counts a confusion of each, and hands their answers on.

    Args:
        others: a predictor a branch, in the cascade's order; none for a network without branches.
        last: the predictor whose answers the evaluation has already, and what to call it.
    """

    def __init__(
        self,
        others: Mapping[str, Predictor],
        last: tuple[str, Predictor],
        consumers: Sequence[Consumer] = (),
    ) -> None:
        self.predictors = {**others, last[0]: last[1]}
        self.consumers = consumers
        self._others = dict(others)
        self._last = last[0]
        classes = last[1].segmenter.classes
        self._classes = classes
        self._confusions = {name: Confusion(classes.num_classes) for name in self.predictors}

    def add(self, name: str, image: Image, truth: Labels, labels: Labels) -> None:
        """One picture and the last branch's labels of it."""
        answers = {branch: predictor.labels(image) for branch, predictor in self._others.items()}
        answers[self._last] = labels
        for branch, answer in answers.items():
            self._confusions[branch].update(truth, answer)
        for consumer in self.consumers:
            consumer.add(name, image, truth, answers)

    def figures(self) -> dict[str, Any]:
        """`branches`, where there are several, and what the consumers have to tell."""
        found: dict[str, Any] = {}
        if self._others:
            found["branches"] = {name: self._figures_of(name) for name in self.predictors}
        for consumer in self.consumers:
            found |= consumer.figures()
        return found

    def _figures_of(self, branch: str) -> dict[str, Any]:
        confusion = self._confusions[branch]
        return {
            "miou": json_number(confusion.miou),
            "pixel_accuracy": json_number(confusion.pixel_accuracy),
            "model_ms": round(self.predictors[branch].model_ms, 3),
            "per_class": dict(
                zip(self._classes.names, map(json_number, confusion.iou.tolist()), strict=True)
            ),
        }

"""The result of an evaluation as others read it: the JSON document, and which figure of the card it meets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from icnet_cli.checkpoints.card import FIGURES
from icnet_cli.classes import ClassTable
from icnet_cli.evaluation.confusion import IGNORE_INDEX, Confusion


@dataclass(frozen=True)
class Protocol:
    """What has to be the same for two mIoU figures to be compared.

    Attributes:
        dataset: the layout's name. size: (height, width) of the network's input at scale 1; None where the
            pictures' sizes differ and each was taken at its own.
        scales, flip: the predictions averaged. branches: of ICNet's cascade; None for other networks.
        ablation: the part of the network that was switched off, if any.
    """

    dataset: str
    split: str
    size: tuple[int, int] | None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    branches: str | None = None
    ablation: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "split": self.split,
            "size": None if self.size is None else list(self.size),
            "scales": list(self.scales),
            "flip": self.flip,
            "ignore_index": IGNORE_INDEX,
            "branches": self.branches,
            **({"ablation": self.ablation} if self.ablation else {}),
        }


@dataclass(frozen=True)
class EvalReport:
    """What `icnet eval` found.

    Attributes:
        images: pictures counted in `confusion`; images_damaged: those left out.
        model_ms: the network alone, mean over the pictures. seconds: wall time of it all.
        card: the weights' model card, which `reproduces` is read from.
        data: the name of the dataset's folder.
        figures: what else was made of the pictures, as further keys of the document.
    """

    weights: str
    model: str
    classes: ClassTable
    confusion: Confusion
    protocol: Protocol
    images: int
    images_damaged: int
    model_ms: float
    seconds: float
    device: str
    precision: str
    card: Mapping[str, Any]
    backend: str = "torch"
    data: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)

    def per_class(self) -> dict[str, float | None]:
        """IoU by class name; None for a class that occurs neither in the truth nor in the predictions."""
        return {
            name: json_number(iou)
            for name, iou in zip(self.classes.names, self.confusion.iou.tolist(), strict=True)
        }

    def card_figure(self) -> dict[str, Any]:
        """This result as the card's `metrics` keep it, under one of `checkpoints.card.FIGURES`."""
        return {
            "miou": json_number(self.confusion.miou),
            "images": self.images,
            "protocol": self.protocol.to_dict(),
        }

    def reproduces(self) -> dict[str, Any] | None:
        """The card's figure that this run measured again: `field`, `card_value`, `difference` (ours less it).

        None where the card has no figure for these weights, or one of another dataset, split or protocol.
        """
        return reproduces(self.card, self.card_figure())

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `icnet eval --json`; NaN becomes None."""
        document: dict[str, Any] = {
            "miou": json_number(self.confusion.miou),
            "pixel_accuracy": json_number(self.confusion.pixel_accuracy),
            "mean_accuracy": json_number(self.confusion.mean_accuracy),
            "per_class": self.per_class(),
        }
        if self.classes.categories is not None:
            by_category = self.confusion.category_iou(self.classes.categories)
            document["category_miou"] = json_number(self.confusion.category_miou(self.classes.categories))
            document["per_category"] = {name: json_number(iou) for name, iou in by_category.items()}
        return document | {
            "images": self.images,
            "images_damaged": self.images_damaged,
            "model_ms": round(self.model_ms, 3),
            "seconds": round(self.seconds, 3),
            "confusion": self.confusion.to_list(),
            "protocol": self.protocol.to_dict(),
            "reproduces": self.reproduces(),
            "weights": self.weights,
            "model": self.model,
            "data": self.data,
            "device": self.device,
            "precision": self.precision,
            "backend": self.backend,
            **self.figures,
        }


def reproduces(card: Mapping[str, Any], figure: Mapping[str, Any]) -> dict[str, Any] | None:
    """Which of the card's figures `figure` (see `EvalReport.card_figure`) measures again, and how closely.

    The card is read from a file, so whatever in it has another form is passed over.
    """
    metrics = card.get("metrics")
    if not isinstance(metrics, Mapping):
        return None
    # A file retrained on train + val was measured on pictures it has seen; its card also keeps the figure of the
    # run that had not seen them, which is another file's and not for this one to reproduce.
    name = next((field for field in reversed(FIGURES) if field in metrics), None)
    stored = metrics[name] if name else None
    if not isinstance(stored, Mapping) or not isinstance(stored.get("protocol"), Mapping):
        return None
    value, miou = stored.get("miou"), figure["miou"]
    if not isinstance(value, int | float) or miou is None:
        return None
    # Keys that either side does not know do not tell two protocols apart.
    told = set(stored["protocol"]) & set(figure["protocol"])
    if "ablation" in told ^ set(figure["protocol"]):
        return None  # no card is of half a network
    same = all(stored["protocol"][key] == figure["protocol"][key] for key in told)
    if (
        not same
        or not {"dataset", "split"} <= told
        or stored.get("images", figure["images"]) != figure["images"]
    ):
        return None
    return {"field": name, "card_value": value, "difference": miou - value}


def json_number(value: float) -> float | None:
    """The value as JSON has it, which has no NaN."""
    return None if math.isnan(value) else value

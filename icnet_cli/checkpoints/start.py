"""Weights that are a start for training and nothing else: a trunk whose other parts nobody has trained."""

from __future__ import annotations

from icnet_cli.checkpoints.format import WeightsMeta
from icnet_cli.errors import weights_error

CARD_KEY = "trunk_only"  # on the card, so that the file says it wherever it goes
WORDS = "trunk only: for --pretrained"


def is_trunk_only(meta: WeightsMeta) -> bool:
    """Whether the file's own card says that its classifier was never trained."""
    return bool(meta.card.get(CARD_KEY))


def refuse_trunk_only(meta: WeightsMeta, weights: object) -> None:
    """Ask this before pictures are labelled: what such weights draw is noise, and does not look like a mistake.

    Raises:
        IcnetError: exit 4 for weights that are a trunk alone.
    """
    if is_trunk_only(meta):
        raise weights_error(
            f"{weights} holds a trained trunk alone, and its classifier is random: it labels nothing; "
            f"train with it first (icnet train DATASET --model {meta.model} --pretrained {weights})"
        )

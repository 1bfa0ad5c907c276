"""Weights to start from: which network takes them, what of them fits, and how they know pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icnet_cli.checkpoints.bundled import find_weights
from icnet_cli.checkpoints.foreign import is_foreign, read_foreign
from icnet_cli.checkpoints.format import Normalisation, WeightsMeta, load_weights, read_meta
from icnet_cli.checkpoints.start import is_trunk_only
from icnet_cli.errors import usage_error, weights_error
from icnet_cli.models import Network, name_of

_DEFAULT = "icnet"


def read_start(weights: str | Path) -> WeightsMeta | None:
    """What weights are, ours or other people's; None for another program's trunk, which is no network of ours.

    Raises:
        IcnetError: exit 4 for a file that is missing or none.
    """
    path = find_weights(weights)
    if not is_foreign(path):
        return read_meta(path)
    foreign = read_foreign(path)
    return foreign.meta if foreign.complete else None


def network_to_train(start: str | Path | None) -> str:
    """The network of a run that names none: the one that its weights to start from are of, else ICNet.

    A trunk alone starts ICNet as it starts the network that its file would build.
    """
    learnt = read_start(start) if start else None
    return learnt.model if learnt and not is_trunk_only(learnt) else _DEFAULT


def shape_of(start: WeightsMeta, model: str) -> dict[str, Any]:
    """The channels and all else that they were built with, a pruned network's too; nothing for another model."""
    # What training needs and an exported form may lack: the auxiliary classifiers, and the whole cascade.
    needed = {"aux": True, "branches": "sub124"}
    added = {name: value for name, value in needed.items() if name in start.config}
    return {**start.config, **added} if start.model == model else {}


def other_pictures(start: WeightsMeta, given: Normalisation) -> str:
    """What to say where they were trained on pictures normalised otherwise; nothing where they were not."""
    own = start.normalisation
    if own == given:
        return ""
    values = f"mean: {list(own.mean)}, std: {list(own.std)}, order: {own.order}"
    return f"; they know pictures as a recipe with `normalisation: {{{values}}}` gives them, and this one differs"


def start_from(network: Network, weights: str | Path) -> int:
    """Copy every tensor of a weights file that has the same name and shape; returns how many were taken.

    Other people's files are converted first (see `checkpoints.foreign`): a ResNet-50 gives the trunk its start.

    Raises:
        IcnetError: exit 2 for another network, and 4 for another form of it, where hardly any fits: two unlike ones
            share a bias or two by accident.
    """
    path = find_weights(weights)
    learnt = None if is_foreign(path) else load_weights(path)
    source = learnt.network.state_dict() if learnt else read_foreign(path).state
    target = network.state_dict()
    fitting = {k: v for k, v in source.items() if k in target and v.shape == target[k].shape}
    if len(fitting) < len(target) / 10:
        own = name_of(network)
        if learnt and learnt.meta.model != own:
            raise usage_error(
                f"--model {own} does not go with {weights}, which is {learnt.meta.model}: "
                f"leave --model out, or name --model {learnt.meta.model}"
            )
        raise weights_error(
            f"{weights}: {len(fitting)} of its {len(source)} tensors fit this network of {len(target)}; "
            "is it another model, or another --keep?"
        )
    network.load_state_dict(fitting, strict=False)
    return len(fitting)

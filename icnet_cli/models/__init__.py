"""The networks, by name. Pure torch: this package imports nothing else of ours.

Every network takes (N, 3, H, W) normalised pictures of any size from 32x32 up and offers

- `forward`: logits (N, K, H, W) at the input's size; while training, a tuple of score maps (main first, then aux);
- `scores`: the map before the last upsampling;
- `align_corners`, `num_classes`, `smallest_map(h, w)`, `config_dict()` and `from_dict()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from torch import nn

from .deeplabv3 import DeepLabv3
from .fast_scnn import FastSCNN
from .icnet import ICNet
from .layers import Network
from .pspnet import PSPNet

NETWORKS: dict[str, type[Network]] = {
    "icnet": ICNet,
    "fast-scnn": FastSCNN,
    "pspnet50": PSPNet,
    "deeplabv3": DeepLabv3,
}


def build(name: str, config: Mapping[str, object]) -> Network:
    """A freshly initialised network.

    Raises:
        ValueError: unknown name, or a configuration that makes no network.
    """
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; known: {', '.join(NETWORKS)}")
    options = [field.name for field in fields(NETWORKS[name].config_type)]
    unknown = [key for key in config if key not in options]
    if unknown:
        raise ValueError(f"{name} has no option {', '.join(unknown)}; it knows {', '.join(options)}")
    try:
        return NETWORKS[name].from_dict(config)
    except (TypeError, KeyError) as error:
        raise ValueError(f"{name} cannot be built from this configuration: {error}") from error


def name_of(network: nn.Module) -> str:
    """The registered name of a network built here."""
    return next(name for name, kind in NETWORKS.items() if type(network) is kind)

"""ICNet in two halves, so that its deep part can be kept while its shallow part sees every frame.

The low and the medium branch take nine tenths of the time and give a map of 1/16 of the picture's side; the high
branch, three convolutions, adds to it what is fine. `finish(deep(x), x)` is what the network's `scores(x)` is.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from icnet_cli.models.icnet import ICNet
from icnet_cli.models.layers import halved, resize

from .engine import Engine, TorchEngine


class Cascade:
    """The two halves of a ready ICNet."""

    def __init__(self, network: ICNet) -> None:
        self._network = network
        # Where the head convolves before it enlarges, the convolution belongs to the half that is kept.
        self._early = network.config.head != "published"

    def deep(self, x: Tensor) -> Tensor:
        """The network's input (1, 3, H, W) to the map that is kept: (1, C, H/16, W/16)."""
        net = self._network
        medium = net.trunk.shallow(resize(x, halved((x.shape[2], x.shape[3])), net.align_corners))
        fused: Tensor = net.fuse(net.low(medium), net.conv_sub4, net.conv3_1_sub2_proj(medium))
        return net.conv_sub2(fused) if self._early else fused

    def finish(self, deep: Tensor, x: Tensor) -> Tensor:
        """The kept map, as it lies in this frame, and the frame (1, 3, H, W) to its scores."""
        net = self._network
        fine = net.high(x)
        coarse = resize(deep.to(fine.dtype), (fine.shape[2], fine.shape[3]), net.align_corners)
        coarse = coarse if self._early else net.conv_sub2(coarse)
        scores: Tensor = net.classify(
            F.relu(coarse + fine), halved((x.shape[2], x.shape[3]), 2), net.conv6_cls
        )
        return scores


def cascade_of(engine: Engine) -> Cascade | None:
    """The halves of what the engine runs; None where it is no whole ICNet that torch itself runs."""
    network = engine.ready if isinstance(engine, TorchEngine) else None
    if not isinstance(network, ICNet) or network.config.branches != "sub124":
        return None
    return Cascade(network)

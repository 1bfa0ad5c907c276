"""Motion between frames for whoever carries scores along: one interface, on the host and on a device.

Axes: (h, w) is the grey picture that flow is computed on, (h', w') a map of the network.

What is passed around (greys, flows, errors) is numpy on the host and tensors on a device; nobody else looks inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from icnet_cli.pixels import flow, flow_torch
from icnet_cli.pixels.cv import cv2

# Where the flow misses by this many grey levels, what was there before counts e^-1 as much as where it fits.
GATE = 8.0


@dataclass(frozen=True)
class Fit:
    """How well a flow explains a frame.

    Attributes:
        error: the photometric error of each pixel (h, w).
        unexplained: the share of pixels that it does not explain.
        worst_patch: that share in the patch of the picture where it is largest.
        cut: whether the frame is of another scene.
        drift: how far things have moved, the mean over the picture, as a share of its longer side.
    """

    error: Any
    unexplained: float
    worst_patch: float
    cut: bool
    drift: float


class Motion(Protocol):
    """What can be told of two frames; see `pixels.flow` for each."""

    def grey(self, rgb: Any) -> Any:
        """The small grey picture of a frame (H, W, 3) uint8."""
        ...

    def flow(self, previous: Any, current: Any) -> Any:
        """From each pixel of the current grey picture to where it was in the previous."""
        ...

    def compose(self, first: Any, second: Any) -> Any:
        """Two steps as one."""
        ...

    def fit(self, previous: Any, current: Any, flow: Any) -> Fit:
        """How well the flow explains the current grey picture."""
        ...

    def carry(self, maps: Tensor, flow: Any) -> Tensor:
        """Maps (1, C, h', w') of the earlier frame as they are in the later."""
        ...

    def gate(self, error: Any, size: tuple[int, int]) -> Tensor:
        """(1, 1, h', w') from 1 where the flow fits to 0 where it does not."""
        ...


class HostMotion:
    """By OpenCV, in the processor's own memory. See `Motion`."""

    def grey(self, rgb: Any) -> Any:
        return flow.reduced_grey(rgb)

    def flow(self, previous: Any, current: Any) -> Any:
        return flow.flow_between(previous, current)

    def compose(self, first: Any, second: Any) -> Any:
        return flow.compose(first, second)

    def fit(self, previous: Any, current: Any, flow_: Any) -> Fit:
        error = flow.photometric_error(previous, current, flow_)
        length = float(np.hypot(flow_[..., 0], flow_[..., 1]).mean())
        amiss = error > flow.UNEXPLAINED
        worst, cut = flow.worst_patch(amiss), flow.is_cut(error)
        return Fit(error, float(amiss.mean()), worst, cut, length / max(current.shape))

    def carry(self, maps: Tensor, flow_: Any) -> Tensor:
        carried = flow.warp(np.ascontiguousarray(maps[0].float().permute(1, 2, 0).numpy()), flow_)
        return torch.from_numpy(carried.reshape(*maps.shape[2:], -1)).permute(2, 0, 1)[None]

    def gate(self, error: Any, size: tuple[int, int]) -> Tensor:
        open_ = np.exp(-np.square(error / np.float32(GATE)))
        return torch.from_numpy(cv2.resize(open_, size[::-1], interpolation=cv2.INTER_AREA))[None, None]


class DeviceMotion:
    """The twin on a device: a grey picture goes up, and nothing but four numbers a frame comes back. See `Motion`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def grey(self, rgb: Any) -> Any:
        if isinstance(rgb, Tensor):
            return flow_torch.reduced_grey(rgb.to(self.device))
        # Made small on the host, where the frame is; what crosses is a tenth of the picture.
        return torch.from_numpy(flow.reduced_grey(rgb)).to(self.device)

    def flow(self, previous: Any, current: Any) -> Any:
        return flow_torch.flow_between(previous, current)

    def compose(self, first: Any, second: Any) -> Any:
        return flow_torch.compose(first, second)

    def fit(self, previous: Any, current: Any, flow_: Any) -> Fit:
        error = flow_torch.photometric_error(previous, current, flow_)
        amiss = error > flow.UNEXPLAINED
        shares = torch.stack(
            (
                amiss.float().mean(),
                flow_torch.worst_patch(amiss),
                (error > flow.CUT_ERROR).float().mean(),
                flow_.norm(dim=-1).mean() / max(current.shape),
            )
        )
        unexplained, worst, beyond, drift = shares.tolist()
        return Fit(error, unexplained, worst, beyond > flow.CUT_SHARE, drift)

    def carry(self, maps: Tensor, flow_: Any) -> Tensor:
        return flow_torch.warp(maps, flow_)

    def gate(self, error: Any, size: tuple[int, int]) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(torch.exp(-((error / GATE) ** 2))[None, None], size)


def motion_on(device: torch.device) -> Motion:
    """The one for scores that lie on `device`."""
    return HostMotion() if device.type == "cpu" else DeviceMotion(device)

"""A network of three classes small enough to check by eye: is a region red, green or blue?"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icnet_cli.checkpoints.format import Normalisation, WeightsMeta
from icnet_cli.classes import ClassTable

CLASSES = ClassTable(
    name="colours",
    names=("red", "green", "blue"),
    palette=((200, 30, 30), (30, 200, 30), (30, 30, 200)),
    ids=(7, 8, 11),
)


class TinyNetwork(nn.Module):
    """Average over 8x8 blocks, then a 1x1 convolution and BatchNorm: scores (N, 3, H/8, W/8)."""

    num_classes = 3

    def __init__(self, align_corners: bool = False) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.bn = nn.BatchNorm2d(3)
        nn.init.eye_(self.conv.weight.data.view(3, 3))

    def scores(self, x: Tensor) -> Tensor:
        blocks: Tensor = self.bn(self.conv(F.avg_pool2d(x, 8, ceil_mode=True)))
        return blocks

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[2], x.shape[3])
        return F.interpolate(self.scores(x), size, mode="bilinear", align_corners=self.align_corners)


def tiny_meta(train_size: tuple[int, int] = (96, 128), **normalisation: object) -> WeightsMeta:
    return WeightsMeta("tiny", {}, CLASSES, Normalisation(**normalisation), train_size)  # type: ignore[arg-type]


def stripes(height: int, width: int, shift: int = 0, seed: int = 0) -> np.ndarray:
    """(H, W, 3): red, green and blue stripes 24 pixels wide, a little noisy, moved right by `shift`."""
    colours = np.array([(220, 40, 40), (40, 220, 40), (40, 40, 220)], np.int16)
    picture = np.broadcast_to(colours[(np.arange(width) - shift) // 24 % 3], (height, width, 3))
    noise = np.random.default_rng(seed).integers(-20, 21, (height, width, 3))
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """BatchNorms as training leaves them, so that folding has something to fold."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=generator)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2, generator=generator)  # type: ignore[union-attr]
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
    return network.eval()


def enlivened(network: nn.Module) -> nn.Module:
    """Gives an untrained network statistics and strong classifiers, so that it does not say one class everywhere."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean of what it sees
        if isinstance(module, nn.Conv2d) and module.out_channels == network.num_classes:
            nn.init.normal_(module.weight, std=1.0)
    with torch.no_grad():
        network.train().scores(torch.randn(4, 3, 12, 12).repeat_interleave(8, 2).repeat_interleave(8, 3))
    return network.eval()


class OneAtATime:
    """A run that fails where a second one begins before it has ended."""

    def __init__(self, run: Callable[[Any], Any]) -> None:
        self.run, self.busy, self.overlaps = run, False, 0

    def __call__(self, pictures: Any) -> Any:
        self.overlaps += self.busy
        self.busy = True
        time.sleep(0.01)  # time enough for the other threads to come in
        self.busy = False
        return self.run(pictures)


def at_once(call: Callable[[], object], threads: int = 4) -> None:
    """The same call from several threads."""
    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(call) for _ in range(threads)]:
            future.result()

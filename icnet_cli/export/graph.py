"""The network as other programs get it: normalisation before it, the last upsampling (and the arg-max) after it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from icnet_cli.checkpoints.format import Normalisation
from icnet_cli.inference.backends.base import LABELS, RAW, Ports, smallest_side
from icnet_cli.inference.backends.graph import quietly
from icnet_cli.inference.fold import fold_batchnorm
from icnet_cli.models import Network, name_of
from icnet_cli.models.layers import resize

LARGEST = 16384
_TRACED_AT = (193, 289)  # with free sizes any would do; an odd one and unlike sides tie nothing together


class _Graph(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self, network: Network, normalisation: Normalisation, ports: Ports) -> None:
        super().__init__()
        half = ports.precision == "fp16"
        self.network = fold_batchnorm(network)
        self.dtype = torch.float16 if half else torch.float32
        self.network.to(self.dtype)
        self.ports, self.order = ports, normalisation.order
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(normalisation.std).view(1, 3, 1, 1))

    def finish(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised -> labels (N, H, W) or logits (N, K, H, W)."""
        size = (x.shape[2], x.shape[3])
        scores = self.network.scores(x.to(self.dtype)).float()  # type: ignore[operator]
        logits = resize(scores, size, bool(self.network.align_corners))
        # Through float because TensorRT makes bytes of floats only.
        return logits.argmax(dim=1).float().to(torch.uint8) if self.ports.output == LABELS else logits


class FramesGraph(_Graph):
    """uint8 (N, H, W, 3) RGB in."""

    def forward(self, frames: Tensor) -> Tensor:
        # Float at once: TensorRT does nothing else with bytes. Contiguous: strides of channels-last would tie the free
        # sizes to each other.
        x = frames.float().permute(0, 3, 1, 2).contiguous()
        x = (x - self.mean) / self.std
        return self.finish(x.flip(1) if self.order == "BGR" else x)


class RawGraph(_Graph):
    """float32 (N, 3, H, W) in, normalised already and in the network's channel order."""

    def forward(self, input: Tensor) -> Tensor:
        return self.finish(input)


def trace(network: Network, normalisation: Normalisation, ports: Ports) -> ExportedProgram:
    """The graph of one picture at `ports.size`, or at any size from `smallest_side` up."""
    kind = RawGraph if ports.input == RAW else FramesGraph
    graph = kind(network, normalisation, ports).eval().requires_grad_(False)
    height, width = ports.size or _TRACED_AT
    raw = ports.input == RAW
    shape, rows = ((1, 3, height, width), 2) if raw else ((1, height, width, 3), 1)
    free = None
    if ports.size is None:
        least = smallest_side(name_of(network), network.config_dict())
        sides = (Dim("height", min=least, max=LARGEST), Dim("width", min=least, max=LARGEST))
        free = ({rows: sides[0], rows + 1: sides[1]},)
    example = torch.zeros(shape, dtype=torch.float32 if raw else torch.uint8)
    with quietly(), torch.no_grad():
        return torch.export.export(graph, (example,), dynamic_shapes=free, strict=False)

"""Pictures to a network's input on the training device."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from icnet_cli.checkpoints.format import Normalisation


class Normalise(nn.Module):
    """`Normalisation.apply` with its constants on the device: making them anew each step would wait for it."""

    mean: Tensor
    std: Tensor

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__()
        self.order = normalisation.order
        for name in ("mean", "std"):
            values = torch.tensor(getattr(normalisation, name)).view(1, 3, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        x = (pictures.float() - self.mean) / self.std
        x = x.flip(1) if self.order == "BGR" else x
        return x.contiguous(memory_format=torch.channels_last)

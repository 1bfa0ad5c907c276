"""A network made ready to run: BatchNorm and normalisation folded into convolutions, channels last, one precision."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from icnet_cli.checkpoints.format import Normalisation


def fold_batchnorm(network: nn.Module) -> nn.Module:
    """A deep copy in fp32 and eval mode whose BatchNorms are folded into the convolutions before them.

    A BatchNorm2d registered right after a Conv2d of its width, in the same module, is taken to follow it,
    which is how every network here is written. One without running statistics cannot be folded and stays.
    `network` itself is left as it is.
    """
    folded = copy.deepcopy(network).float().eval().requires_grad_(False)
    for parent in list(folded.modules()):
        previous: tuple[str, nn.Module] | None = None
        for name, child in list(parent.named_children()):
            if previous and isinstance(previous[1], nn.Conv2d) and _follows(child, previous[1]):
                setattr(parent, previous[0], fuse_conv_bn_eval(previous[1], child))  # type: ignore[arg-type]
                setattr(parent, name, nn.Identity())
            previous = (name, child)
    return folded


def _follows(child: nn.Module, conv: nn.Conv2d) -> bool:
    return (
        isinstance(child, nn.BatchNorm2d)
        and child.num_features == conv.out_channels
        and child.running_var is not None
    )


def fold_normalisation(folded: nn.Module, normalisation: Normalisation) -> bool:
    """Have a network of `fold_batchnorm` take pictures as they are, RGB 0..255; False where it stays as it was.

    Its first convolutions are those that it names in `picture_convs`. A resize before one of them changes nothing: it
    averages, and averages of normalised values are the normalised averages.
    """
    names = getattr(folded, "picture_convs", ())
    convs = [folded.get_submodule(name) for name in names]
    if not convs or not all(isinstance(conv, nn.Conv2d) and _has_thin_border(conv) for conv in convs):
        return False
    for name, conv in zip(names, convs, strict=True):
        parent, _, own = name.rpartition(".")
        setattr(folded.get_submodule(parent), own, PictureConv(conv, normalisation))  # type: ignore[arg-type]
    return True


def _has_thin_border(conv: nn.Conv2d) -> bool:
    return conv.kernel_size == (3, 3) and conv.padding == (1, 1) and conv.dilation == (1, 1)


class PictureConv(nn.Module):
    """A 3x3 convolution of normalised pictures as one of pictures as they are: (N, 3, H, W) RGB 0..255.

    Padding with zeros would now be padding with black, where it was padding with the mean. To pad a picture with the
    mean is to copy it; what the mean would add is a constant instead, in the first row and column (and in the last
    ones of odd sizes), and is added there.
    """

    rows: Tensor
    columns: Tensor
    corners: Tensor

    def __init__(self, conv: nn.Conv2d, normalisation: Normalisation) -> None:
        super().__init__()
        weight = conv.weight.detach().double()
        if normalisation.order == "BGR":
            weight = weight.flip(1)
        weight = weight / torch.tensor(normalisation.std, dtype=torch.float64).view(1, 3, 1, 1)
        mean = torch.tensor(normalisation.mean, dtype=torch.float64).view(1, 3, 1, 1)
        missing = (weight * mean).sum(dim=1)  # (K, 3, 3): what each tap outside of the picture lacks
        bias = -missing.sum(dim=(1, 2))
        if conv.bias is not None:
            bias = bias + conv.bias.detach().double()
        self.stride = conv.stride
        self.weight = nn.Parameter(weight.float(), requires_grad=False)
        self.bias = nn.Parameter(bias.float(), requires_grad=False)
        # First and last row, first and last column, and what both of them have counted in a corner.
        self.register_buffer("rows", missing.sum(dim=2)[:, ::2].float())  # (K, 2)
        self.register_buffer("columns", missing.sum(dim=1)[:, ::2].float())
        self.register_buffer("corners", missing[:, ::2, ::2].float())  # (K, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv2d(x, self.weight, self.bias, self.stride, padding=1)
        down, across = (self._borders(n, step) for n, step in zip(x.shape[2:], self.stride, strict=True))
        for end, at in down:
            y[:, :, at] += self.rows[:, end, None]
        for end, at in across:
            y[:, :, :, at] += self.columns[:, end, None]
        for end, row in down:
            for side, column in across:
                y[:, :, row, column] -= self.corners[:, end, side]
        return y

    @staticmethod
    def _borders(pixels: int, stride: int) -> list[tuple[int, int]]:
        """Which ends of the kernel lie outside somewhere, and the row (or column) of the result where they do."""
        return [(0, 0), (1, -1)] if (pixels - 1) % stride == 0 else [(0, 0)]


def takes_pictures(ready: nn.Module) -> bool:
    """Whether the network takes pictures as they are, 0..255, and not normalised ones."""
    return any(isinstance(module, PictureConv) for module in ready.modules())


def ready_network(
    network: nn.Module, device: torch.device, dtype: torch.dtype, normalisation: Normalisation | None = None
) -> nn.Module:
    """`fold_batchnorm` in fp32, then moved to the device in `dtype`, channels last.

    With `normalisation` that is folded in too where it can be: see `takes_pictures`.
    """
    folded = fold_batchnorm(network)
    if normalisation is not None:
        fold_normalisation(folded, normalisation)
    return folded.to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

"""The parts the networks share: convolution with BatchNorm, residual bottlenecks, the ResNet-50 trunk, heads.

Axes are N (batch), C (channels), H and W (rows and columns). A comment such as
`# (N, 256, H/16, W/16)` marks a shape where it changes. Odd sizes halve upwards:
H/2 stands for ceil(H/2), which is what a 3x3 convolution of stride 2 and padding 1 gives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .depthwise import DepthwiseConv2d

# ResNet-50: blocks a stage, and the full-width output channels of each stage.
STAGE_BLOCKS = {2: 3, 3: 4, 4: 6, 5: 3}
STAGE_CHANNELS = {2: 256, 3: 512, 4: 1024, 5: 2048}
STEM_CHANNELS = {"conv1_1": 64, "conv1_2": 64, "conv1_3": 128}


class Network(nn.Module, ABC):
    """What every network here offers. Takes pictures of any height and width from 32 up.

    `config` is the frozen dataclass that built it, and builds it again; `picture_convs` names the convolutions that see
    the picture, or the picture resized, and nothing else.
    """

    config_type: ClassVar[type]
    picture_convs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.num_classes: int = config.num_classes
        self.align_corners: bool = config.align_corners

    @abstractmethod
    def scores(self, x: Tensor) -> Tensor:
        """The score map before the last upsampling: (N, 3, H, W) -> (N, K, h, w)."""

    @abstractmethod
    def cascade(self, x: Tensor) -> tuple[Tensor, ...]:
        """The score map of each loss while training, main first."""

    @abstractmethod
    def smallest_map(self, height: int, width: int) -> int:
        """Positions of the smallest map a BatchNorm sees: a batch with one value a channel cannot be normalised."""

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Logits (N, K, H, W) at the input's size; while training, the tuple of `cascade`."""
        if self.training:
            return self.cascade(x)
        return resize(self.scores(x), (x.shape[2], x.shape[3]), self.align_corners)

    @classmethod
    def from_dict(cls, config: Mapping[str, object]) -> Self:
        return cls(cls.config_type(**config))

    def config_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` builds the same network from it."""
        return asdict(self.config) | {"channels": dict(self.config.channels)}


class ConvBN(nn.Module):
    """A bias-free convolution, BatchNorm and (unless `relu=False`) ReLU. Padding keeps the size at stride 1."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.conv: nn.Conv2d
        if groups == in_channels == out_channels > 1:
            self.conv = DepthwiseConv2d(in_channels, kernel, stride, dilation)
        else:
            padding = dilation * (kernel // 2)
            self.conv = nn.Conv2d(
                in_channels, out_channels, kernel, stride, padding, dilation, groups=groups, bias=False
            )
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return F.relu(x, inplace=True) if self.relu else x


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a residual sum and the ReLU after it (ResNet-50's block as PSPNet strides it).

    The stride sits in the 1x1 reduce and the projection, not in the 3x3 as in torchvision.
    """

    def __init__(
        self,
        in_channels: int,
        reduce: int,
        middle: int,
        out_channels: int,
        stride: int = 1,
        dilation: int = 1,
        proj: bool = False,
    ) -> None:
        super().__init__()
        self.reduce = ConvBN(in_channels, reduce, 1, stride)
        self.conv3x3 = ConvBN(reduce, middle, 3, dilation=dilation)
        self.increase = ConvBN(middle, out_channels, 1, relu=False)
        self.proj = ConvBN(in_channels, out_channels, 1, stride, relu=False) if proj else None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.proj is None else self.proj(x)
        return F.relu(self.increase(self.conv3x3(self.reduce(x))) + shortcut, inplace=True)


def scaled(channels: int, keep: float) -> int:
    """`keep` of a full-width channel count, as a multiple of 8 (which vectorised kernels want), at least 8."""
    return max(8, round(channels * keep / 8) * 8)


def trunk_channels(keep: float) -> dict[str, int]:
    """Output channels of every convolution of the trunk at kernel keeping rate `keep`.

    Keys are the published layer names: `conv1_1`, `conv2_1_reduce`, `conv2_1_3x3`, and one `conv2` a stage for
    the `_increase` and `_proj` layers, which the residual sums tie together.
    """
    channels = {name: scaled(full, keep) for name, full in STEM_CHANNELS.items()}
    for stage, full in STAGE_CHANNELS.items():
        for block in range(1, STAGE_BLOCKS[stage] + 1):
            channels[f"conv{stage}_{block}_reduce"] = scaled(full // 4, keep)
            channels[f"conv{stage}_{block}_3x3"] = scaled(full // 4, keep)
        channels[f"conv{stage}"] = scaled(full, keep)
    return channels


class Trunk(nn.Module):
    """ResNet-50 with PSPNet's three-convolution stem and dilated late stages.

    Args:
        channels: as `trunk_channels` gives them; pruned networks bring their own.
        output_stride: 8, 16 or 32, input size over the size of stage 5's map. A stage that gives up its
            stride is dilated instead, so its filters see the same span of the picture.
    """

    def __init__(self, channels: Mapping[str, int], output_stride: int = 8) -> None:
        super().__init__()
        self.conv1_1 = ConvBN(3, channels["conv1_1"], 3, stride=2)
        self.conv1_2 = ConvBN(channels["conv1_1"], channels["conv1_2"], 3)
        self.conv1_3 = ConvBN(channels["conv1_2"], channels["conv1_3"], 3)
        self.pool1 = nn.MaxPool2d(3, stride=2, padding=1)
        # (stride, dilation) of stages 4 and 5; stage 2 keeps its size and stage 3 always halves it.
        late = {8: ((1, 2), (1, 4)), 16: ((2, 1), (1, 2)), 32: ((2, 1), (2, 1))}[output_stride]
        steps = {2: (1, 1), 3: (2, 1), 4: late[0], 5: late[1]}
        in_channels = channels["conv1_3"]
        for stage, (stride, dilation) in steps.items():
            for block in range(1, STAGE_BLOCKS[stage] + 1):
                name = f"conv{stage}_{block}"
                self.add_module(
                    name,
                    Bottleneck(
                        in_channels,
                        channels[f"{name}_reduce"],
                        channels[f"{name}_3x3"],
                        channels[f"conv{stage}"],
                        stride=stride if block == 1 else 1,
                        dilation=dilation,
                        proj=block == 1,
                    ),
                )
                in_channels = channels[f"conv{stage}"]

    def _run(self, x: Tensor, stage: int, first: int, last: int) -> Tensor:
        for block in range(first, last + 1):
            x = self.get_submodule(f"conv{stage}_{block}")(x)
        return x

    def shallow(self, x: Tensor) -> Tensor:
        """The stem up to conv3_1, which ICNet's two smaller branches share: (N, 3, H, W) -> (N, C3, H/8, W/8)."""
        x = self.pool1(self.conv1_3(self.conv1_2(self.conv1_1(x))))  # (N, C, H/4, W/4)
        return self._run(self._run(x, 2, 1, STAGE_BLOCKS[2]), 3, 1, 1)

    def deep(self, x: Tensor) -> Tensor:
        """conv3_2 to conv5_3: (N, C3, h, w) -> (N, C5, h/s, w/s), s = output_stride / 8."""
        return self.stage5(self.until_stage4(x))

    def until_stage4(self, x: Tensor) -> Tensor:
        return self._run(self._run(x, 3, 2, STAGE_BLOCKS[3]), 4, 1, STAGE_BLOCKS[4])

    def stage5(self, x: Tensor) -> Tensor:
        return self._run(x, 5, 1, STAGE_BLOCKS[5])

    def forward(self, x: Tensor) -> Tensor:
        return self.deep(self.shallow(x))


def resize(x: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """Bilinear to `size` (H, W); nothing where it is that size already."""
    # Exported with free sizes, they are symbols: comparing them would tie the file to some sizes.
    if not is_free(*size, *x.shape[-2:]) and tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


def is_free(*lengths: object) -> bool:
    """Whether a length is a symbol, as it is while a network is exported for all sizes."""
    return any(isinstance(length, torch.SymInt) for length in lengths)


def halved(size: tuple[int, int], times: int = 1) -> tuple[int, int]:
    """(H, W) after `times` halvings that round up."""
    step = 2**times
    return (size[0] + step - 1) // step, (size[1] + step - 1) // step


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (DeepLabv3, section 3.3): 1x1, three dilated 3x3 and the image mean, concatenated.

    Args:
        rates: 6, 12, 18 at output stride 16, doubled at 8.
    Shapes: (N, in_channels, H, W) -> (N, 5 * channels, H, W).
    """

    def __init__(self, in_channels: int, channels: int, output_stride: int) -> None:
        super().__init__()
        rates = [rate * (2 if output_stride == 8 else 1) for rate in (6, 12, 18)]
        self.conv1x1 = ConvBN(in_channels, channels, 1)
        self.atrous = nn.ModuleList(ConvBN(in_channels, channels, 3, dilation=rate) for rate in rates)
        self.image = ConvBN(in_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        image = self.image(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, x.shape[2], x.shape[3])
        return torch.cat([self.conv1x1(x), *(branch(x) for branch in self.atrous), image], dim=1)


class Baseline(Network):
    """The trunk at full resolution with a head on its last stage, and an auxiliary loss on the one before.

    What PSPNet50 and DeepLabv3 have in common; they differ in `classify`.
    """

    trunk: Trunk
    aux: nn.Sequential | None

    @abstractmethod
    def classify(self, deep: Tensor) -> Tensor:
        """Stage 5's map (N, C5, h, w) to scores (N, K, h, w)."""

    @staticmethod
    def aux_head(config: Any) -> nn.Sequential | None:
        """The auxiliary classifier on stage 4, where the configuration has one."""
        if not config.aux:
            return None
        head = ConvBN(config.channels["conv4"], config.channels["aux"], 3)
        return nn.Sequential(head, nn.Conv2d(config.channels["aux"], config.num_classes, 1))

    def scores(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, K, H/s, W/s), s the output stride."""
        return self.classify(self.trunk(x))

    def cascade(self, x: Tensor) -> tuple[Tensor, ...]:
        """Main scores at H/s, and aux scores at the size of stage 4's map."""
        stage4 = self.trunk.until_stage4(self.trunk.shallow(x))
        main = self.classify(self.trunk.stage5(stage4))
        return (main,) if self.aux is None else (main, self.aux(stage4))


def init_weights(network: nn.Module) -> None:
    """He initialisation (fan out), BatchNorm at identity: every network here starts from scratch."""
    for module in network.modules():
        # On the meta device there are no values, and drawing them would import torch's compiler (two seconds).
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)

"""ICNet: an image cascade of three resolutions (Zhao et al., 2017 text and 2018 supplement).

The low branch (1/4 of the picture's side) runs the whole ResNet-50 trunk, the medium branch (1/2) only its first
layers, the high branch (full size) three convolutions. Two cascade feature fusion units join them. The medium and low
branches share not only weights but computation: the low branch starts from the medium branch's conv3_1 map, shrunk.

    picture --1/2--> trunk.shallow --> 1/16 map --+--> shrink --> trunk.deep --> pyramid --> 1/32 map
       |                                          |                                             |
       |                                          +----------------> CFF 1 <--------------------+
       +--> three convolutions --> 1/8 map --> CFF 2 <------------------+
                                                 +--> classifier --> scores
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

from .layers import ASPP, ConvBN, Network, Trunk, halved, init_weights, resize, scaled, trunk_channels
from .pyramid import SummedPyramid

BRANCHES = ("sub4", "sub24", "sub124")


def icnet_channels(keep: float, trunk: str = "pspnet50") -> dict[str, int]:
    """Output channels of every convolution at kernel keeping rate `keep`; 0.5 gives the published network."""
    channels = trunk_channels(keep)
    channels |= {"conv5_4_k1": scaled(512, keep)}
    # The two inputs of a fusion unit are summed, so one count serves both.
    channels |= {"cff1": scaled(256, keep), "cff2": scaled(256, keep)}
    channels |= {
        name: scaled(full, keep)
        for name, full in (("conv1_sub1", 64), ("conv2_sub1", 64), ("conv3_sub1", 128))
    }
    if trunk == "deeplabv3":
        channels["aspp"] = scaled(256, keep)
    return channels


@dataclass(frozen=True)
class ICNetConfig:
    """Everything that builds an ICNet; it is stored in the weights file and builds the network again.

    Attributes:
        keep: kernel keeping rate; gives the channel counts where `channels` is empty.
        channels: output channels a layer, as `icnet_channels` names them.
        branches: `sub4`, `sub24` or `sub124`: where the cascade stops (2017 paper, table 3).
        output_stride: of the trunk, 8 or 16; 16 puts the low branch at 1/64 of the picture.
        trunk: `pspnet50` (summed pyramid) or `deeplabv3` (ASPP).
        head: `published` convolves after each x2 upsampling; `fused` before it, which is the same function inside the
            picture at a fifth less work (a dilation-2 3x3 on a doubled map is a plain 3x3 on the map).
        pyramid: `published` (overlapping kernels) or `adaptive` pooling windows.
        align_corners: of every interpolation; True, and sizes 32k+1, for the authors' own weights.
        aux: whether the sub4 and sub24 classifiers are there.
    """

    num_classes: int = 19
    keep: float = 1.0
    channels: Mapping[str, int] = field(default_factory=dict)
    branches: str = "sub124"
    output_stride: int = 8
    trunk: str = "pspnet50"
    head: str = "fused"
    pyramid: str = "published"
    align_corners: bool = False
    aux: bool = True

    def __post_init__(self) -> None:
        choices = {
            "branches": BRANCHES,
            "output_stride": (8, 16),
            "trunk": ("pspnet50", "deeplabv3"),
            "head": ("published", "fused"),
            "pyramid": ("published", "adaptive"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"icnet {name} must be one of {allowed}, not {getattr(self, name)!r}")
        if not self.aux and self.branches != "sub124":
            raise ValueError(f"{self.branches} needs the aux classifiers, which these weights do not have")
        if not self.channels:
            object.__setattr__(self, "channels", icnet_channels(self.keep, self.trunk))


class ICNet(Network):
    """See the module's text."""

    config_type = ICNetConfig
    picture_convs = ("trunk.conv1_1.conv", "conv1_sub1.conv")

    def __init__(self, config: ICNetConfig) -> None:
        super().__init__(config)
        c = config.channels
        self.trunk = Trunk(c, config.output_stride)
        self.aspp: ASPP | None = None
        if config.trunk == "deeplabv3":
            self.aspp = ASPP(c["conv5"], c["aspp"], config.output_stride)
        self.pyramid = SummedPyramid(config.pyramid, config.align_corners)
        self.conv5_4_k1 = ConvBN(5 * c["aspp"] if self.aspp else c["conv5"], c["conv5_4_k1"], 1)
        # The 2017 text gives the fusion unit's 3x3 dilation 1, the 2018 text and the published network 2.
        dilation = 2 if config.head == "published" else 1
        self.conv_sub4 = ConvBN(c["conv5_4_k1"], c["cff1"], 3, dilation=dilation, relu=False)
        self.conv3_1_sub2_proj = ConvBN(c["conv3"], c["cff1"], 1, relu=False)
        self.conv_sub2 = ConvBN(c["cff1"], c["cff2"], 3, dilation=dilation, relu=False)
        self.conv1_sub1 = ConvBN(3, c["conv1_sub1"], 3, stride=2)
        self.conv2_sub1 = ConvBN(c["conv1_sub1"], c["conv2_sub1"], 3, stride=2)
        self.conv3_sub1 = ConvBN(c["conv2_sub1"], c["conv3_sub1"], 3, stride=2)
        self.conv3_sub1_proj = ConvBN(c["conv3_sub1"], c["cff2"], 1, relu=False)
        self.conv6_cls = nn.Conv2d(c["cff2"], config.num_classes, 1)
        self.sub4_cls = nn.Conv2d(c["conv5_4_k1"], config.num_classes, 1) if config.aux else None
        self.sub24_cls = nn.Conv2d(c["cff1"], config.num_classes, 1) if config.aux else None
        init_weights(self)

    def low(self, medium: Tensor) -> Tensor:
        """The rest of the trunk on the shrunk medium map: (N, C3, H/16, W/16) -> (N, C, H/32, W/32)."""
        x = resize(medium, halved((medium.shape[2], medium.shape[3])), self.align_corners)
        x = self.trunk.deep(x)  # H/64 at output stride 16
        return self.conv5_4_k1(self.aspp(x) if self.aspp else self.pyramid(x))

    def fuse(self, coarse: Tensor, conv: nn.Module, fine: Tensor) -> Tensor:
        """A cascade feature fusion unit (2017 paper, Fig. 6): the coarse map enlarged and convolved, plus the fine."""
        size = (fine.shape[2], fine.shape[3])
        if self.config.head == "published":
            coarse = conv(resize(coarse, size, self.align_corners))
        else:
            # At output stride 16 the low map is a quarter of the medium's: the convolution runs halfway.
            coarse = resize(conv(resize(coarse, halved(size), self.align_corners)), size, self.align_corners)
        return F.relu(coarse + fine, inplace=True)

    def high(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, C, H/8, W/8)."""
        return self.conv3_sub1_proj(self.conv3_sub1(self.conv2_sub1(self.conv1_sub1(x))))

    def classify(self, x: Tensor, size: tuple[int, int], classifier: nn.Module) -> Tensor:
        """Scores at `size`, upsampling before the 1x1 where the published network does; the values are the same."""
        if self.config.head == "published":
            return classifier(resize(x, size, self.align_corners))
        return classifier(x)

    def scores(self, x: Tensor) -> Tensor:
        """The score map before the last upsampling.

        (N, 3, H, W) -> (N, K, h, w), with h = H/8 for sub124 (H/4 with the published head), H/16 (H/8) for sub24,
        and H/32 (H/16) for sub4.
        """
        size = (x.shape[2], x.shape[3])
        medium = self.trunk.shallow(resize(x, halved(size), self.align_corners))  # (N, C3, H/16, W/16)
        low = self.low(medium)  # (N, C, H/32, W/32)
        if self.config.branches == "sub4":
            return self.classify(low, halved(size, 4), self._aux(self.sub4_cls))
        sub24 = self.fuse(low, self.conv_sub4, self.conv3_1_sub2_proj(medium))  # (N, C, H/16, W/16)
        if self.config.branches == "sub24":
            return self.classify(sub24, halved(size, 3), self._aux(self.sub24_cls))
        sub124 = self.fuse(sub24, self.conv_sub2, self.high(x))  # (N, C, H/8, W/8)
        return self.classify(sub124, halved(size, 2), self.conv6_cls)

    def _aux(self, classifier: nn.Module | None) -> nn.Module:
        if classifier is None:
            raise ValueError(
                f"{self.config.branches} needs the aux classifiers, which these weights do not have"
            )
        return classifier

    def cascade(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores for the cascade label guidance: main at 1/4, then aux at 1/8 and 1/16 of the input's size."""
        size = (x.shape[2], x.shape[3])
        medium = self.trunk.shallow(resize(x, halved(size), self.align_corners))
        low = self.low(medium)
        sub24 = self.fuse(low, self.conv_sub4, self.conv3_1_sub2_proj(medium))
        sub124 = self.fuse(sub24, self.conv_sub2, self.high(x))
        # A 1x1 commutes with bilinear upsampling, so classifying first gives the published scores for less work.
        main = resize(self.conv6_cls(sub124), halved(size, 2), self.align_corners)
        aux24 = resize(self._aux(self.sub24_cls)(sub24), halved(size, 3), self.align_corners)
        aux4 = resize(self._aux(self.sub4_cls)(low), halved(size, 4), self.align_corners)
        return main, aux24, aux4

    def smallest_map(self, height: int, width: int) -> int:
        if self.aspp is not None:
            return 1
        h, w = halved((height, width), 5 if self.config.output_stride == 8 else 6)
        return h * w

"""Fast-SCNN (Poudel et al., 2019), by its tables 1 to 3.

One stem, learning to downsample, feeds two branches: its own 1/8 map, and a global feature extractor of inverted
residual bottlenecks that ends in pyramid pooling at 1/32. Feature fusion adds the two at 1/8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import ConvBN, Network, init_weights, resize, scaled
from .pyramid import PYRAMID_GRIDS, pyramid_pool

EXPANSION = 6  # t of table 1
# (channels, stride of the first) of the global feature extractor's three groups of three blocks
GROUPS = ((64, 2), (96, 2), (128, 1))
BLOCKS = 3


def fast_scnn_channels(keep: float = 1.0) -> dict[str, int]:
    """Output channels a layer (table 1). `gfeI_B_expand` are the widened inner maps of the bottlenecks."""
    channels = {"ltd1": 32, "ltd2": 48, "ltd3": 64}
    in_channels = 64
    for group, (out, _) in enumerate(GROUPS, start=1):
        for block in range(1, BLOCKS + 1):
            channels[f"gfe{group}_{block}_expand"] = EXPANSION * in_channels
            in_channels = out
        channels[f"gfe{group}"] = out
    channels |= {"ppm_branch": 32, "ppm": 128, "ffm": 128, "cls1": 128, "cls2": 128, "aux": 32}
    return {name: scaled(full, keep) for name, full in channels.items()}


@dataclass(frozen=True)
class FastSCNNConfig:
    """Everything that builds a Fast-SCNN; stored in the weights file.

    Attributes:
        depthwise_relu: a ReLU between the depthwise and the pointwise convolution of DSConv. The paper has none
            (section 3.2.1); the common PyTorch port does, so imported weights need it.
        stem_padding, fusion_dilation: of the first convolution and of feature fusion's depthwise one (table 3: 4). The
            port has 0 and 1.
        dropout: before the last layer (section 4.1).
        skip: False zeroes the contribution of the 1/8 branch (section 4.2's ablation).
        aux: whether the two auxiliary classifiers (loss weight 0.4) are there.
    """

    num_classes: int = 19
    keep: float = 1.0
    channels: Mapping[str, int] = field(default_factory=dict)
    depthwise_relu: bool = False
    stem_padding: int = 1
    fusion_dilation: int = 4
    dropout: float = 0.1
    skip: bool = True
    pyramid: str = "adaptive"
    align_corners: bool = False
    aux: bool = True

    def __post_init__(self) -> None:
        if self.pyramid not in ("published", "adaptive"):
            raise ValueError(f"fast-scnn pyramid must be 'published' or 'adaptive', not {self.pyramid!r}")
        if self.stem_padding not in (0, 1) or self.fusion_dilation not in (1, 4):
            raise ValueError("fast-scnn stem_padding must be 0 or 1, and fusion_dilation 1 or 4")
        if not self.channels:
            object.__setattr__(self, "channels", fast_scnn_channels(self.keep))


class DSConv(nn.Module):
    """A depthwise 3x3 and a pointwise 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, relu: bool = False) -> None:
        super().__init__()
        self.depthwise = ConvBN(in_channels, in_channels, 3, stride, groups=in_channels, relu=relu)
        self.pointwise = ConvBN(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


class InvertedResidual(nn.Module):
    """Table 2: expand 1x1, depthwise 3x3, linear 1x1; a residual where input and output are of one kind.

    The group says so, not the channel counts: those of two groups may meet when they are pruned.
    """

    def __init__(
        self, in_channels: int, expanded: int, out_channels: int, stride: int, residual: bool
    ) -> None:
        super().__init__()
        self.expand = ConvBN(in_channels, expanded, 1)
        self.depthwise = ConvBN(expanded, expanded, 3, stride, groups=expanded)
        self.linear = ConvBN(expanded, out_channels, 1, relu=False)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        out = self.linear(self.depthwise(self.expand(x)))
        return x + out if self.residual else out


class ConcatPyramid(nn.Module):
    """PSPNet's pyramid pooling: four pooled copies, each reduced by a 1x1, joined to the map and mixed by a 1x1."""

    def __init__(
        self, in_channels: int, branch: int, out_channels: int, kernels: str, align_corners: bool
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(ConvBN(in_channels, branch, 1) for _ in PYRAMID_GRIDS)
        self.out = ConvBN(in_channels + len(PYRAMID_GRIDS) * branch, out_channels, 1)
        self.kernels, self.align_corners = kernels, align_corners

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[2], x.shape[3])
        pooled = [
            resize(branch(pyramid_pool(x, grid, self.kernels)), size, self.align_corners)
            for grid, branch in zip(PYRAMID_GRIDS, self.branches, strict=True)
        ]
        return self.out(torch.cat([x, *pooled], dim=1))


class AuxHead(nn.Sequential):
    """A 3x3 and a classifier, used while training only."""

    def __init__(self, in_channels: int, channels: int, num_classes: int, dropout: float) -> None:
        super().__init__(
            ConvBN(in_channels, channels, 3), nn.Dropout(dropout), nn.Conv2d(channels, num_classes, 1)
        )


class FastSCNN(Network):
    """See the module's text. 1.11 M parameters with 19 classes, the auxiliary heads apart."""

    config_type = FastSCNNConfig
    picture_convs = ("ltd1.conv",)

    def __init__(self, config: FastSCNNConfig) -> None:
        super().__init__(config)
        c, relu = config.channels, config.depthwise_relu
        self.ltd1 = ConvBN(3, c["ltd1"], 3, stride=2)
        self.ltd1.conv.padding = (config.stem_padding, config.stem_padding)
        self.ltd2 = DSConv(c["ltd1"], c["ltd2"], stride=2, relu=relu)
        self.ltd3 = DSConv(c["ltd2"], c["ltd3"], stride=2, relu=relu)
        in_channels = c["ltd3"]
        for group, (_, stride) in enumerate(GROUPS, start=1):
            blocks = []
            for block in range(1, BLOCKS + 1):
                expanded, step = c[f"gfe{group}_{block}_expand"], stride if block == 1 else 1
                blocks.append(InvertedResidual(in_channels, expanded, c[f"gfe{group}"], step, block > 1))
                in_channels = c[f"gfe{group}"]
            self.add_module(f"gfe{group}", nn.Sequential(*blocks))
        self.ppm = ConcatPyramid(in_channels, c["ppm_branch"], c["ppm"], config.pyramid, config.align_corners)
        self.ffm_depthwise = ConvBN(c["ppm"], c["ppm"], 3, dilation=config.fusion_dilation, groups=c["ppm"])
        self.ffm_low = ConvBN(c["ppm"], c["ffm"], 1, relu=False)
        self.ffm_high = ConvBN(c["ltd3"], c["ffm"], 1, relu=False)
        self.cls1 = DSConv(c["ffm"], c["cls1"], relu=relu)
        self.cls2 = DSConv(c["cls1"], c["cls2"], relu=relu)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Conv2d(c["cls2"], config.num_classes, 1)
        self.aux_ltd: AuxHead | None = None
        self.aux_gfe: AuxHead | None = None
        if config.aux:
            self.aux_ltd = AuxHead(c["ltd3"], c["aux"], config.num_classes, config.dropout)
            self.aux_gfe = AuxHead(c["ppm"], c["aux"], config.num_classes, config.dropout)
        init_weights(self)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) -> the two branches: (N, 64, H/8, W/8) and (N, 128, H/32, W/32)."""
        high = self.ltd3(self.ltd2(self.ltd1(x)))
        low = high
        for group in range(1, len(GROUPS) + 1):
            low = self.get_submodule(f"gfe{group}")(low)
        return high, self.ppm(low)

    def fuse(self, high: Tensor, low: Tensor) -> Tensor:
        """Feature fusion (table 3): (N, 128, H/8, W/8)."""
        size = (high.shape[2], high.shape[3])
        low = self.ffm_low(self.ffm_depthwise(resize(low, size, self.align_corners)))
        return F.relu(low + self.ffm_high(high) if self.config.skip else low)

    def classify(self, fused: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.cls2(self.cls1(fused))))

    def scores(self, x: Tensor) -> Tensor:
        """The score map before the last upsampling: (N, 3, H, W) -> (N, K, H/8, W/8)."""
        return self.classify(self.fuse(*self.features(x)))

    def cascade(self, x: Tensor) -> tuple[Tensor, ...]:
        """Scores of main (1/8), and of the aux heads on learning to downsample (1/8) and the global features (1/32)."""
        high, low = self.features(x)
        main = self.classify(self.fuse(high, low))
        if self.aux_ltd is None or self.aux_gfe is None:
            return (main,)
        return main, self.aux_ltd(high), self.aux_gfe(low)

    def labels(self, x: Tensor) -> Tensor:
        """Fast-SCNN cls: the arg-max class, int64 (N, H, W)."""
        return resize(self.scores(x), (x.shape[2], x.shape[3]), self.align_corners).argmax(dim=1)

    def probabilities(self, x: Tensor) -> Tensor:
        """Fast-SCNN prob: softmax, (N, K, H, W)."""
        return resize(self.scores(x), (x.shape[2], x.shape[3]), self.align_corners).softmax(dim=1)

    def smallest_map(self, height: int, width: int) -> int:
        """Pyramid pooling normalises a 1x1 map: one value a picture."""
        return 1

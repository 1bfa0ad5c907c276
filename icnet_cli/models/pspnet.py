"""PSPNet50 as the ICNet papers optimise it: a summed pyramid and a 1x1 after it (2017 paper, section 6).

The baseline that ICNet is measured against. PSPNet itself concatenates the pyramid's levels (4096 channels) and
follows with a 3x3; the sum halves the feature length and the 1x1 costs a ninth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from .layers import Baseline, ConvBN, Trunk, halved, init_weights, scaled, trunk_channels
from .pyramid import SummedPyramid


def pspnet_channels(keep: float = 1.0) -> dict[str, int]:
    """Output channels a layer at kernel keeping rate `keep`."""
    return trunk_channels(keep) | {"conv5_4_k1": scaled(512, keep), "aux": scaled(256, keep)}


@dataclass(frozen=True)
class PSPNetConfig:
    """Everything that builds a PSPNet50; stored in the weights file. `output_stride`: 2017 paper, table 1."""

    num_classes: int = 19
    keep: float = 1.0
    channels: Mapping[str, int] = field(default_factory=dict)
    output_stride: int = 8
    pyramid: str = "published"
    align_corners: bool = False
    aux: bool = True

    def __post_init__(self) -> None:
        if self.output_stride not in (8, 16, 32):
            raise ValueError(f"pspnet50 output_stride must be 8, 16 or 32, not {self.output_stride!r}")
        if self.pyramid not in ("published", "adaptive"):
            raise ValueError(f"pspnet50 pyramid must be 'published' or 'adaptive', not {self.pyramid!r}")
        if not self.channels:
            object.__setattr__(self, "channels", pspnet_channels(self.keep))


class PSPNet(Baseline):
    """See the module's text."""

    config_type = PSPNetConfig
    picture_convs = ("trunk.conv1_1.conv",)

    def __init__(self, config: PSPNetConfig) -> None:
        super().__init__(config)
        c = config.channels
        self.trunk = Trunk(c, config.output_stride)
        self.pyramid = SummedPyramid(config.pyramid, config.align_corners)
        self.conv5_4_k1 = ConvBN(c["conv5"], c["conv5_4_k1"], 1)
        self.conv6 = nn.Conv2d(c["conv5_4_k1"], config.num_classes, 1)
        self.aux = self.aux_head(config)
        init_weights(self)

    def classify(self, deep: Tensor) -> Tensor:
        return self.conv6(self.conv5_4_k1(self.pyramid(deep)))

    def smallest_map(self, height: int, width: int) -> int:
        h, w = halved((height, width), {8: 3, 16: 4, 32: 5}[self.config.output_stride])
        return h * w

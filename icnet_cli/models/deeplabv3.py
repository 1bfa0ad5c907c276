"""DeepLabv3 on ResNet-50 (Chen et al., 2017), the second baseline of the ICNet supplement (its table 2).

The trunk is the papers' own (three-convolution stem); the multi-grid of DeepLabv3's section 4.2.1 is left out, as the
supplement does not mention it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from .layers import ASPP, Baseline, ConvBN, Trunk, init_weights, scaled, trunk_channels


def deeplabv3_channels(keep: float = 1.0) -> dict[str, int]:
    """Output channels a layer at kernel keeping rate `keep`."""
    return trunk_channels(keep) | {
        "aspp": scaled(256, keep),
        "project": scaled(256, keep),
        "aux": scaled(256, keep),
    }


@dataclass(frozen=True)
class DeepLabv3Config:
    """Everything that builds a DeepLabv3; stored in the weights file. `output_stride`: 8 or 16."""

    num_classes: int = 19
    keep: float = 1.0
    channels: Mapping[str, int] = field(default_factory=dict)
    output_stride: int = 8
    align_corners: bool = False
    aux: bool = True

    def __post_init__(self) -> None:
        if self.output_stride not in (8, 16):
            raise ValueError(f"deeplabv3 output_stride must be 8 or 16, not {self.output_stride!r}")
        if not self.channels:
            object.__setattr__(self, "channels", deeplabv3_channels(self.keep))


class DeepLabv3(Baseline):
    """See the module's text."""

    config_type = DeepLabv3Config
    picture_convs = ("trunk.conv1_1.conv",)

    def __init__(self, config: DeepLabv3Config) -> None:
        super().__init__(config)
        c = config.channels
        self.trunk = Trunk(c, config.output_stride)
        self.aspp = ASPP(c["conv5"], c["aspp"], config.output_stride)
        self.project = ConvBN(5 * c["aspp"], c["project"], 1)
        self.classifier = nn.Conv2d(c["project"], config.num_classes, 1)
        self.aux = self.aux_head(config)
        init_weights(self)

    def classify(self, deep: Tensor) -> Tensor:
        return self.classifier(self.project(self.aspp(deep)))

    def smallest_map(self, height: int, width: int) -> int:
        """ASPP's image branch normalises a 1x1 map: one value a picture."""
        return 1

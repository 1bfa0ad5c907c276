"""DeepLabv3 on ResNet-50 (Chen et al., 2017), the second baseline of the ICNet supplement (its table 2).

The trunk is the papers' own (three-convolution stem); the multi-grid of DeepLabv3's section 4.2.1 is left out, as the
supplement does not mention it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from .layers import ASPP, ConvBN, Network, Trunk, init_weights, scaled, trunk_channels


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


class DeepLabv3(Network):
    """See the module's text."""

    config_type = DeepLabv3Config

    def __init__(self, config: DeepLabv3Config) -> None:
        super().__init__(config)
        c = config.channels
        self.trunk = Trunk(c, config.output_stride)
        self.aspp = ASPP(c["conv5"], c["aspp"], config.output_stride)
        self.project = ConvBN(5 * c["aspp"], c["project"], 1)
        self.classifier = nn.Conv2d(c["project"], config.num_classes, 1)
        self.aux: nn.Sequential | None = None
        if config.aux:
            head = ConvBN(c["conv4"], c["aux"], 3)
            self.aux = nn.Sequential(head, nn.Conv2d(c["aux"], config.num_classes, 1))
        init_weights(self)

    def classify(self, deep: Tensor) -> Tensor:
        return self.classifier(self.project(self.aspp(deep)))

    def scores(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, K, H/s, W/s), s the output stride."""
        return self.classify(self.trunk(x))

    def cascade(self, x: Tensor) -> tuple[Tensor, ...]:
        """Main and aux (stage 4) scores, both at H/s."""
        stage4 = self.trunk.until_stage4(self.trunk.shallow(x))
        main = self.classify(self.trunk.stage5(stage4))
        return (main,) if self.aux is None else (main, self.aux(stage4))

    def smallest_map(self, height: int, width: int) -> int:
        """ASPP's image branch normalises a 1x1 map: one value a picture."""
        return 1

"""Every network in its variants, an eighth as wide, with BatchNorms as training leaves them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from icnet_cli.models import Network, build
from icnet_cli.models.layers import ConvBN

VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "icnet": ("icnet", {"head": "fused"}),
    "icnet, published head": ("icnet", {"head": "published", "align_corners": True}),
    "icnet, deeplabv3 trunk": ("icnet", {"trunk": "deeplabv3"}),
    "icnet without aux": ("icnet", {"aux": False}),
    "fast-scnn": ("fast-scnn", {}),
    "fast-scnn as ported": (
        "fast-scnn",
        {"depthwise_relu": True, "stem_padding": 0, "fusion_dilation": 1, "aux": False},
    ),
    "pspnet50": ("pspnet50", {}),
    "deeplabv3": ("deeplabv3", {}),
}
# Those that differ in their groups.
GROUPED = ("icnet, published head", "icnet, deeplabv3 trunk", "fast-scnn", "pspnet50", "deeplabv3")


def tiny(variant: str, keep: float = 0.125, seed: int = 0) -> Network:
    name, options = VARIANTS[variant]
    torch.manual_seed(seed)
    network = build(name, {**options, "keep": keep, "num_classes": 5})
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    return network.eval()


@torch.inference_mode()
def all_scores(network: Network, picture: Tensor) -> list[Tensor]:
    """The logits, and every score map that training looks at."""
    if not getattr(network.config, "aux", True):
        return [network(picture)]
    return [network(picture), *network.cascade(picture)]  # type: ignore[list-item]


def difference(a: Network, b: Network, picture: Tensor) -> float:
    """The largest of any score, in double precision so that only the networks differ."""
    ours, theirs = (all_scores(network.double(), picture.double()) for network in (a, b))
    return max(float((x - y).abs().max()) for x, y in zip(ours, theirs, strict=True))


def convs(network: Network) -> dict[str, tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
    """Every convolution and the BatchNorm after it, by the name of the module that holds both."""
    held = {n: (m.conv, m.bn) for n, m in network.named_modules() if isinstance(m, ConvBN)}
    bare = {
        n: (m, None)
        for n, m in network.named_modules()
        if isinstance(m, nn.Conv2d) and not n.endswith(".conv")
    }
    return {**held, **bare}

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from icnet_cli.models import NETWORKS, build, name_of
from icnet_cli.models.icnet import icnet_channels
from icnet_cli.models.pyramid import PYRAMID_GRIDS, _kept_pooling_matrix, pyramid_bins, pyramid_pool

from .plain import fast_scnn_logits, icnet_logits, rows

SMALL = {
    "icnet": {"keep": 0.125},
    "fast-scnn": {"keep": 0.25},
    "pspnet50": {"keep": 0.125},
    "deeplabv3": {"keep": 0.125},
}


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """BatchNorm statistics far from identity: with the initial ones, a wrong mean or variance would not show."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.7, 1.3, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.6, 1.6, generator=generator)
    return network.eval()


def parameters_m(network: nn.Module) -> float:
    aux = ("aux", "sub4_cls", "sub24_cls")
    return sum(p.numel() for n, p in network.named_parameters() if not n.startswith(aux)) / 1e6


def gflops(network: nn.Module, height: int = 1024, width: int = 2048) -> float:
    with torch.device("meta"):
        network = copy.deepcopy(network).to("meta").eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network.scores(torch.zeros(1, 3, height, width))
    return counter.get_total_flops() / 1e9


def agreement(a: torch.Tensor, b: torch.Tensor) -> float:
    return (a.argmax(1) == b.argmax(1)).float().mean().item()


@torch.no_grad()
def balanced(network: nn.Module, classifier: nn.Conv2d, x: torch.Tensor) -> nn.Module:
    """Take each class's mean score away: with random weights one class wins everywhere, and agreement says nothing."""
    classifier.bias -= network.scores(x).mean(dim=(0, 2, 3))
    assert len(network(x).argmax(1).unique()) > 10
    return network


# Fidelity ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published() -> nn.Module:
    torch.manual_seed(0)
    network = randomised(build("icnet", {"keep": 0.5, "head": "published", "align_corners": True}))
    return balanced(network, network.conv6_cls, torch.randn(1, 3, 257, 513))


@torch.no_grad()
def test_icnet_is_the_published_layer_table(published: nn.Module) -> None:
    x = torch.randn(1, 3, 1025, 2049, generator=torch.Generator().manual_seed(1))
    expected = icnet_logits(x, published.state_dict())
    assert expected.shape == (1, 19, 1025, 2049)
    assert agreement(published(x), expected) >= 0.999


@torch.no_grad()
@pytest.mark.parametrize("change", [{"pyramid": "adaptive"}, {"align_corners": False}, {"head": "fused"}])
def test_another_form_of_icnet_is_not_the_published_one(
    published: nn.Module, change: dict[str, object]
) -> None:
    """The comparison can fail: each option away from the published form changes labels."""
    config = published.config_dict() | change
    other = build("icnet", config).eval()
    other.load_state_dict(published.state_dict())
    x = torch.randn(1, 3, 1025, 2049, generator=torch.Generator().manual_seed(1))
    assert agreement(other(x), icnet_logits(x, published.state_dict())) < 0.9999


def test_icnet_channels_are_the_published_ones() -> None:
    channels = icnet_channels(0.5)
    for row in rows("icnet_layers.csv"):
        name, out = row["name"], row["out"]
        if row["kind"].startswith("bottleneck"):
            assert channels[f"{name}_reduce"] == channels[f"{name}_3x3"] == int(row["inner"])
            assert channels[name.split("_")[0]] == int(out)


@torch.no_grad()
@pytest.mark.parametrize("size", [(256, 512), (193, 321)])
def test_fast_scnn_is_its_papers_table(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    network = randomised(build("fast-scnn", {}))
    balanced(network, network.classifier, x)
    expected = fast_scnn_logits(x, network.state_dict())
    assert agreement(network(x), expected) >= 0.999
    wrong = build("fast-scnn", {"depthwise_relu": True}).eval()
    wrong.load_state_dict(network.state_dict())
    assert agreement(wrong(x), expected) < 0.99


@pytest.mark.parametrize(
    ("name", "config", "parameters", "flops"),
    [
        ("icnet", {"keep": 0.5, "head": "published"}, 6.700, 58.1),
        ("icnet", {"keep": 0.5, "head": "fused"}, 6.700, 46.7),
        ("icnet", {"keep": 1.0, "head": "fused"}, 26.7, None),
        ("fast-scnn", {}, 1.138, 13.4),
    ],
)
def test_parameters_and_operations(name: str, config: dict, parameters: float, flops: float | None) -> None:
    network = build(name, config)
    assert parameters_m(network) == pytest.approx(parameters, rel=2e-3)
    if flops is not None:
        assert gflops(network) == pytest.approx(flops, rel=3e-3)


def test_fast_scnn_is_within_three_percent_of_its_papers_size() -> None:
    assert parameters_m(build("fast-scnn", {})) == pytest.approx(1.11, rel=0.03)


# Shapes --------------------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 97), (101, 35)])
def test_any_size_from_32_up_gives_logits_of_that_size(name: str, size: tuple[int, int]) -> None:
    network = build(name, SMALL[name] | {"num_classes": 5}).eval()
    logits = network(torch.randn(2, 3, *size))
    assert logits.shape == (2, 5, *size)
    assert torch.isfinite(logits).all()


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_forward_is_scores_upsampled(name: str) -> None:
    network = randomised(build(name, SMALL[name]))
    x = torch.randn(1, 3, 96, 128)
    scores = network.scores(x)
    assert scores.shape[2] < 96
    expected = F.interpolate(scores, size=(96, 128), mode="bilinear", align_corners=network.align_corners)
    assert torch.equal(network(x), expected)


@pytest.mark.parametrize(
    ("name", "config", "strides"),
    [
        ("icnet", {}, (4, 8, 16)),
        ("icnet", {"head": "published"}, (4, 8, 16)),
        ("icnet", {"output_stride": 16}, (4, 8, 16)),
        ("icnet", {"trunk": "deeplabv3"}, (4, 8, 16)),
        ("fast-scnn", {}, (8, 8, 32)),
        ("pspnet50", {}, (8, 8)),
        ("pspnet50", {"output_stride": 32}, (32, 16)),
        ("deeplabv3", {"output_stride": 16}, (16, 16)),
    ],
)
def test_training_gives_score_maps_for_each_loss(name: str, config: dict, strides: tuple[int, ...]) -> None:
    outputs = build(name, SMALL[name] | config | {"num_classes": 7}).train()(torch.randn(2, 3, 128, 192))
    if name == "pspnet50" and config:
        strides = (32, 16)  # stage 4 still halves at output stride 32
    assert [tuple(o.shape) for o in outputs] == [(2, 7, 128 // s, 192 // s) for s in strides]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_learns(name: str) -> None:
    network = build(name, SMALL[name]).train()
    sum(o.square().mean() for o in network(torch.randn(2, 3, 64, 96))).backward()
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []


# Options -------------------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("align_corners", [False, True])
def test_the_fused_head_is_the_published_one_inside_the_picture(align_corners: bool) -> None:
    size = (513, 769) if align_corners else (512, 768)
    fused = randomised(build("icnet", {"keep": 0.25, "align_corners": align_corners}))
    published = build("icnet", fused.config_dict() | {"head": "published"}).eval()
    published.load_state_dict(fused.state_dict())
    x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(2))
    low = F.interpolate(
        fused.scores(x), size=published.scores(x).shape[2:], mode="bilinear", align_corners=align_corners
    )
    difference = (low - published.scores(x)).abs()
    inside = difference[:, :, 24:-24, 24:-24].max()
    assert inside < 1e-5 * published.scores(x).std()
    assert difference.max() > 100 * inside  # zero padding differs at the border, as documented


@torch.no_grad()
def test_branches_stop_the_cascade_early_and_cost_less() -> None:
    full = randomised(build("icnet", {"keep": 0.25}))
    x = torch.randn(1, 3, 128, 192)
    costs, logits = [], []
    for branches in ("sub4", "sub24", "sub124"):
        network = build("icnet", full.config_dict() | {"branches": branches}).eval()
        network.load_state_dict(full.state_dict())  # one file serves the three
        costs.append(gflops(network))
        logits.append(network(x))
    assert costs == sorted(costs)
    assert costs[0] < costs[2]
    assert not torch.equal(logits[0], logits[2])


def test_branches_without_aux_classifiers_are_refused() -> None:
    with pytest.raises(ValueError, match="aux classifiers"):
        build("icnet", {"keep": 0.25, "aux": False, "branches": "sub4"})


@torch.no_grad()
def test_output_stride_16_halves_the_low_branch() -> None:
    network = build("icnet", {"keep": 0.25, "output_stride": 16}).eval()
    assert network.trunk.deep(torch.randn(1, 128, 16, 24)).shape[2:] == (8, 12)
    blocks = network.trunk
    assert blocks.conv4_1.reduce.conv.stride == (2, 2)
    assert blocks.conv4_1.conv3x3.conv.dilation == (1, 1)
    assert blocks.conv5_1.conv3x3.conv.dilation == (2, 2)


@pytest.mark.parametrize(("output_stride", "rates"), [(16, [6, 12, 18]), (8, [12, 24, 36])])
def test_aspp_rates(output_stride: int, rates: list[int]) -> None:
    for name, config in (("icnet", {"trunk": "deeplabv3"}), ("deeplabv3", {})):
        network = build(name, SMALL[name] | config | {"output_stride": output_stride})
        assert [branch.conv.dilation[0] for branch in network.aspp.atrous] == rates


@torch.no_grad()
def test_fast_scnn_without_its_skip_does_not_see_the_high_branch() -> None:
    network = randomised(build("fast-scnn", {"skip": False}))
    whole = randomised(build("fast-scnn", {}))
    high, low = torch.randn(1, 64, 16, 16), torch.randn(1, 128, 4, 4)
    assert torch.equal(network.fuse(high, low), network.fuse(high + 1, low))
    assert not torch.equal(whole.fuse(high, low), whole.fuse(high + 1, low))


@torch.no_grad()
def test_fast_scnn_labels_and_probabilities() -> None:
    network = randomised(build("fast-scnn", {"keep": 0.5}))
    x = torch.randn(1, 3, 64, 64)
    probabilities = network.probabilities(x)
    assert torch.allclose(probabilities.sum(1), torch.ones(1, 64, 64), atol=1e-5)
    assert torch.equal(network.labels(x), probabilities.argmax(1))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_rebuilt_from_its_configuration(name: str) -> None:
    network = build(name, SMALL[name] | {"num_classes": 4})
    again = build(name_of(network), network.config_dict())
    again.load_state_dict(network.state_dict())
    assert again.config_dict() == network.config_dict()


@pytest.mark.parametrize("name", NETWORKS)
def test_an_option_that_a_network_does_not_know_is_named_beside_those_it_knows(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} has no option heads; it knows num_classes, .*keep"):
        build(name, {"num_classes": 3, "heads": "fused"})


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("icnet", {"branches": "sub2"}),
        ("icnet", {"output_stride": 32}),
        ("icnet", {"no_such_option": 1}),
        ("icnet", {"channels": {"conv1_1": 8}}),
        ("pspnet50", {"output_stride": 4}),
        ("deeplabv3", {"output_stride": 32}),
        ("fast-scnn", {"pyramid": "other"}),
        ("unknown", {}),
    ],
)
def test_a_configuration_that_makes_no_network_is_refused(name: str, config: dict) -> None:
    with pytest.raises(ValueError, match=r"."):
        build(name, config)


# Pyramid pooling -----------------------------------------------------------------------------------------------------


def test_published_kernels_at_the_published_size() -> None:
    expected = {
        (33, 2): (17, 16),
        (33, 3): (13, 10),
        (33, 6): (8, 5),
        (65, 2): (33, 32),
        (65, 3): (25, 20),
        (65, 6): (15, 10),
    }
    for (length, grid), (kernel, stride) in expected.items():
        assert pyramid_bins(length, grid) == [(i * stride, i * stride + kernel) for i in range(grid)]


@pytest.mark.parametrize("kernels", ["published", "adaptive"])
def test_pyramid_bins_cover_every_row(kernels: str) -> None:
    for length in range(1, 100):
        for grid in PYRAMID_GRIDS:
            bins = pyramid_bins(length, grid, kernels)
            covered = {row for start, end in bins for row in range(start, end)}
            assert len(bins) == grid
            assert covered == set(range(length)), (length, grid)
            assert all(0 <= start < end <= length for start, end in bins)


@pytest.mark.parametrize("size", [(7, 13), (2, 3), (33, 65)])
def test_adaptive_pooling_by_matrix_products(size: tuple[int, int]) -> None:
    x = torch.randn(2, 4, *size)
    for grid in PYRAMID_GRIDS:
        assert torch.allclose(pyramid_pool(x, grid, "adaptive"), F.adaptive_avg_pool2d(x, grid), atol=1e-6)


def test_a_pooling_matrix_kept_from_inference_serves_training() -> None:
    """On a GPU it is made once; an evaluation between two training steps may be what makes it."""
    _kept_pooling_matrix.cache_clear()
    with torch.inference_mode():
        kept = _kept_pooling_matrix(12, 3, "published", torch.device("cpu"), torch.float32)
    assert _kept_pooling_matrix(12, 3, "published", torch.device("cpu"), torch.float32) is kept
    x = torch.randn(2, 4, 12, 5, requires_grad=True)
    (kept @ x).sum().backward()  # an inference tensor cannot be kept for a backward pass
    assert x.grad is not None


def test_pooling_matrices_stay_where_they_are() -> None:
    """A CUDA graph of the first size reads its matrices still, however many sizes came in between."""
    _kept_pooling_matrix.cache_clear()

    def kept(length: int) -> torch.Tensor:
        return _kept_pooling_matrix(length, 3, "published", torch.device("cpu"), torch.float32)

    first = kept(6)
    for length in range(7, 600):
        kept(length)
    assert kept(6) is first
    _kept_pooling_matrix.cache_clear()

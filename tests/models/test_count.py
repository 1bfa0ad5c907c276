"""Parameters and operations, against the published counts and torch's own counter."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from icnet_cli.models import build
from icnet_cli.models.count import gflops, gflops_by_area, parameters_m


def on_meta(name: str, **config: object) -> torch.nn.Module:
    with torch.device("meta"):
        return build(name, config).eval()


def test_the_published_network_counts_what_its_authors_say() -> None:
    network = on_meta("icnet", keep=0.5, head="published")
    assert round(parameters_m(network), 2) == 6.70
    assert round(gflops(network, 1024, 2048), 1) == 58.1


def test_the_fused_head_saves_a_fifth_and_no_parameter() -> None:
    network = on_meta("icnet", keep=0.5, head="fused")
    assert round(parameters_m(network), 2) == 6.70
    assert round(gflops(network, 1024, 2048), 1) == 46.7


def test_auxiliary_classifiers_do_not_count() -> None:
    with_aux, without = on_meta("fast-scnn"), on_meta("fast-scnn", aux=False)
    assert parameters_m(with_aux) == parameters_m(without)
    assert parameters_m(without) == sum(p.numel() for p in without.parameters()) / 1e6


def test_a_cascade_that_stops_early_does_not_pay_for_the_rest() -> None:
    counts = [gflops(on_meta("icnet", keep=0.25, branches=b), 128, 256) for b in ("sub4", "sub24", "sub124")]
    assert counts == sorted(counts)
    assert len(set(counts)) == 3


@pytest.mark.parametrize("name", ["icnet", "fast-scnn", "pspnet50", "deeplabv3"])
def test_operations_are_those_torch_counts_in_convolutions(name: str) -> None:
    network = on_meta(name, keep=0.25)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.scores(torch.empty(1, 3, 96, 160, device="meta"))
    convolutions = sum(n for op, n in counter.get_flop_counts()["Global"].items() if "conv" in str(op))
    assert gflops(network, 96, 160) == pytest.approx(convolutions / 1e9)


def test_counting_leaves_the_network_alone() -> None:
    network = build("fast-scnn", {"keep": 0.25})
    before = {name: value.clone() for name, value in network.state_dict().items()}
    gflops(network, 64, 64)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("model", "config"),
    [("icnet", {"keep": 0.5}), ("fast-scnn", {}), ("icnet", {"keep": 0.25, "branches": "sub24"})],
)
def test_counting_in_a_hurry_comes_to_the_same(model: str, config: dict) -> None:
    network = build(model, {"num_classes": 3, **config}).eval()
    assert gflops_by_area(network, 480, 832) == pytest.approx(gflops(network, 480, 832), rel=0.01)


def test_counting_in_a_hurry_needs_no_compiler_and_changes_nothing() -> None:
    """In a process of its own: another test may have imported it."""
    code = (
        "import sys, torch\n"
        "from icnet_cli.models import build\n"
        "from icnet_cli.models.count import gflops_by_area as hurried\n"
        "network = build('icnet', {'keep': 0.5, 'num_classes': 3}).train()\n"
        "before = {k: v.clone() for k, v in network.state_dict().items()}\n"
        "hurried(network, 480, 832)\n"
        "assert network.training and all(torch.equal(v, before[k]) for k, v in network.state_dict().items())\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]

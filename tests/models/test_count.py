"""Parameters and operations, against the published counts and torch's own counter."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from icnet_cli.models import build
from icnet_cli.models.count import gflops, parameters_m


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

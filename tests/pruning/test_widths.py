from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from icnet_cli.models import Network, build
from icnet_cli.models.count import parameters_m
from icnet_cli.pruning.latency import counts_for, search
from icnet_cli.pruning.sensitivity import exponents
from icnet_cli.pruning.widths import Step, counts_at, full_counts, kept_share, rounded, steps_between


def plan(model: str, **config: object) -> Network:
    """A network without memory: only its channels matter here."""
    with torch.device("meta"):
        return build(model, config)


@pytest.mark.parametrize("model", ["icnet", "fast-scnn", "pspnet50", "deeplabv3"])
@pytest.mark.parametrize("keep", [0.75, 0.5, 0.25])
def test_counts_are_those_of_a_network_built_at_that_keep(model: str, keep: float) -> None:
    config = plan(model).config
    assert counts_at(config, keep) == dict(plan(model, keep=keep).config.channels)
    half = plan(model, keep=0.5).config
    assert full_counts(half) == dict(config.channels)  # absolute, whatever is there
    assert counts_at(half, 0.75) == dict(half.channels)  # a channel that is gone does not come back


@pytest.mark.parametrize(("channels", "multiple", "there", "count"), [
    (21, 8, 64, 24), (19, 8, 64, 16), (1, 8, 64, 8), (20, 1, 64, 20), (50, 32, 64, 64), (9, 8, 5, 5),
])  # fmt: skip
def test_counts_are_multiples_and_never_more_than_there_are(
    channels: float, multiple: int, there: int, count: int
) -> None:
    assert rounded(channels, multiple, there) == count


def test_a_rate_is_what_the_channels_say() -> None:
    half = plan("icnet", keep=0.5).config
    assert kept_share(half) == 0.5
    assert kept_share(replace(half, keep=1.0)) == 0.5  # a file may say what its channels do not
    assert kept_share(plan("fast-scnn", keep=0.125).config) == 0.125


def test_steps_are_equal_and_empty_ones_left_out() -> None:
    config = plan("icnet").config
    goal = Step(0.5, counts_at(config, 0.5))
    steps = steps_between(config, goal, 2)
    assert steps == [Step(0.75, counts_at(config, 0.75)), goal]
    assert [step.keep for step in steps_between(config, goal, 5)] == [0.9, 0.8, 0.7, 0.6, 0.5]
    narrow = plan("icnet", keep=0.125).config
    few = steps_between(narrow, Step(0.1, counts_at(narrow, 0.1, 64) | {"conv5": 192}), 50, 64)
    assert len({tuple(step.counts.values()) for step in few}) == len(few) < 50
    assert few[-1].counts["conv5"] == 192


def test_a_sensitive_group_keeps_more() -> None:
    weights = exponents({"dull": 0.001, "usual": 0.01, "vital": 0.2})
    assert weights == {"dull": 2.0, "usual": 1.0, "vital": 0.5}  # the limits on either side
    assert set(exponents({"a": 0.0, "b": 0.0}).values()) == {2.0}
    config = plan("pspnet50").config
    counts = counts_for(config, 0.5, {"conv4": 0.5}, 8)
    assert (counts["conv4"], counts["conv5"]) == (rounded(1024 * 0.5**0.5, 8, 1024), 1024)


def test_the_search_takes_the_widest_network_that_is_fast_enough() -> None:
    config = plan("pspnet50").config

    def make(config: object) -> Network:
        return plan("pspnet50", channels=config.channels)  # type: ignore[attr-defined]

    def speed(network: Network) -> float:
        return sum(network.config.channels.values()) / 100

    counts = search(config, make, speed, 50.0, {}, 8)
    assert 49 < sum(counts.values()) / 100 <= 50
    assert parameters_m(make(replace(config, channels=counts))) < 24

"""What is to be cut: the channel counts of the goal, and of the steps on the way to it."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from icnet_cli.config import PRUNE_STEPS, PruneConfig
from icnet_cli.evaluation.network import Pairs
from icnet_cli.models import Network
from icnet_cli.pruning.events import Working
from icnet_cli.pruning.latency import check_reachable, search
from icnet_cli.pruning.measuring import Gauge
from icnet_cli.pruning.sensitivity import drops, exponents
from icnet_cli.pruning.widths import Step, counts_at, full_counts, steps_between

PROBED = 16  # validation pictures that tell one group's sensitivity from another's


@dataclass(frozen=True)
class Cuts:
    """The steps from a network to its goal.

    Attributes:
        sensitivity: the accuracy lost where a group alone is cut; empty where it was not asked for or measured.
    """

    steps: list[Step]
    sensitivity: dict[str, float]


def check_target(config: PruneConfig, network: Network, gauge: Gauge) -> None:
    """Raise a usage error where no cut can reach `--target-ms`, or none is needed for it."""
    if config.target_ms is not None:
        check_reachable(network.config, type(network), gauge.ms, config.target_ms, config.round_to)


def plan_cuts(config: PruneConfig, network: Network, gauge: Gauge) -> Generator[Working, None, Cuts]:
    """The cuts that lead from `network` to the share or the latency that was asked for."""
    sensitivity: dict[str, float] = {}
    if config.keep is not None:
        goal = Step(config.keep, counts_at(network.config, config.keep, config.round_to))
    else:
        sensitivity = yield from _measure_sensitivity(config, network, gauge)
        yield Working("searching for the widths", 0, 1)
        goal = _goal_for_ms(config, network, gauge, sensitivity)
    once = config.one_shot or config.no_tune
    number = 1 if once else config.steps or PRUNE_STEPS
    return Cuts(steps_between(network.config, goal, number, config.round_to), sensitivity)


def _goal_for_ms(config: PruneConfig, network: Network, gauge: Gauge, sensitivity: dict[str, float]) -> Step:
    assert config.target_ms is not None
    there, kind = network.config, type(network)
    counts = search(there, kind, gauge.ms, config.target_ms, exponents(sensitivity), config.round_to)
    share = sum(counts.values()) / sum(full_counts(there).values())
    return Step(round(share, 4), counts)


def _measure_sensitivity(
    config: PruneConfig, network: Network, gauge: Gauge
) -> Generator[Working, None, dict[str, float]]:
    """Where nothing can be measured there are no sensitivities: every group is then cut alike."""
    losses: dict[str, float] = {}
    if gauge.pairs is None:
        return losses
    pictures, total = _Some(gauge.pairs), len(network.config.channels)
    lost = drops(network, lambda it: gauge.miou_on(it, pictures), config.round_to)
    for done, (name, loss) in enumerate(lost, start=1):
        losses[name] = loss
        yield Working("how much each matters", done, total, "layers")
    return losses


class _Some:
    """At most `PROBED` pictures of a dataset, spread evenly over it."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs, self.stride = pairs, max(1, math.ceil(len(pairs) / PROBED))

    def __len__(self) -> int:
        return math.ceil(len(self.pairs) / self.stride)

    def read(self, index: int) -> Any:
        return self.pairs.read(index * self.stride)

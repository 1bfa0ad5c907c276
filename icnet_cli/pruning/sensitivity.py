"""How much each group of channels matters: the accuracy lost when that group alone is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import median

from icnet_cli.models import Network
from icnet_cli.pruning.surgery import prune_network
from icnet_cli.pruning.widths import rounded

PROBE = 0.5  # what the group under test keeps
_LIMITS = (0.5, 2.0)  # of the exponents: no group is spared, none is given up


def drops(
    network: Network, accuracy: Callable[[Network], float], round_to: int
) -> Iterator[tuple[str, float]]:
    """For each group, the accuracy lost when it alone keeps half its channels (0 where it has none to lose).

    One at a time, because a big network takes a while.
    """
    there = dict(network.config.channels)
    whole = accuracy(network)
    for name, channels in there.items():
        counts = there | {name: rounded(channels * PROBE, round_to, channels)}
        lost = whole - accuracy(prune_network(network, counts)) if counts != there else 0.0
        yield name, max(0.0, lost)


def exponents(losses: Mapping[str, float]) -> dict[str, float]:
    """For `latency.counts_for`: 1 for the median loss, less for the sensitive groups, between 0.5 and 2.

    The square root tempers a figure that a few pictures gave.
    """
    typical = median(losses.values()) if losses else 0.0
    if typical <= 0:
        typical = max(losses.values(), default=0.0) / 2 or 1.0
    low, high = _LIMITS
    return {name: min(high, max(low, (typical / max(loss, 1e-9)) ** 0.5)) for name, loss in losses.items()}

"""Channel counts: of the full-width network, of a share of it, and of the steps between two networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

Counts = dict[str, int]

ROUND_TO = 8  # what vectorised kernels want
_ROUNDING = 0.03  # how far rounding to 8 takes the narrowest networks' share from their rate


class Step(NamedTuple):
    """One cut: the channels of each group after it, and the share of the full-width network that they are."""

    keep: float
    counts: Counts


def full_counts(config: Any) -> Counts:
    """The channels of each group at full width (the published ones for Fast-SCNN), for a network's `config`."""
    full = replace(config, keep=1.0, channels={}).channels
    return {name: full[name] for name in config.channels}


def rounded(channels: float, round_to: int, there: int) -> int:
    """A multiple of `round_to`, at least one of it, never above what is there."""
    return min(there, max(round_to, round(channels / round_to) * round_to))


def counts_at(config: Any, keep: float, round_to: int = ROUND_TO) -> Counts:
    """The channels at `keep`, the absolute share of the full-width network; never above what is there."""
    full = full_counts(config)
    return {name: rounded(full[name] * keep, round_to, there) for name, there in config.channels.items()}


def kept_share(config: Any) -> float:
    """The kernel keeping rate of a network: what its config says where its channels agree, else their share in all.

    Counts are rounded to multiples, which moves the share a little from the rate they stand for. A file may
    also bring channels of its own beside a rate that is not theirs.
    """
    share = sum(config.channels.values()) / sum(full_counts(config).values())
    if abs(share - config.keep) <= _ROUNDING:
        return float(config.keep)
    return min(1.0, max(1e-4, round(share, 4)))


def steps_between(config: Any, goal: Step, number: int, round_to: int = ROUND_TO) -> list[Step]:
    """`number` equal steps from what is there to `goal`; a step that would cut nothing is left out."""
    start, found = kept_share(config), []
    before: Mapping[str, int] = config.channels
    for step in range(1, number + 1):
        part = step / number
        counts = {
            name: rounded(there + (goal.counts[name] - there) * part, round_to, before[name])
            for name, there in config.channels.items()
        }
        counts = goal.counts if step == number else counts
        if counts != dict(before):
            found.append(Step(round(start + (goal.keep - start) * part, 4), counts))
        before = counts
    return found

"""The papers' protocol: warm up, then time runs one by one, within a budget of seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Clock = Callable[[], float]

QUICK_WARMUP, QUICK_RUNS = 3, 10


@dataclass(frozen=True)
class Protocol:
    """How often a row is run: 100 times to warm up and 100 times timed (both papers), or until the time is up.

    Attributes:
        seconds: for the whole row, warm-up included; the warm-up ends at a quarter of it, with one run at least.
        least: timed runs that are always made, however long they take.
    """

    warmup: int = 100
    runs: int = 100
    seconds: float = 20.0
    least: int = 3

    @classmethod
    def of(cls, seconds: float, quick: bool) -> Protocol:
        return cls(QUICK_WARMUP, QUICK_RUNS, seconds) if quick else cls(seconds=seconds)


@dataclass(frozen=True)
class Timing:
    """Milliseconds of each timed run, and the number of warm-up runs before them."""

    milliseconds: tuple[float, ...]
    warmup: int

    def to_dict(self, batch: int = 1) -> dict[str, Any]:
        """`runs`, `ms_p50` and so on of a run, and `model_fps`: pictures a second at the median."""
        p50, p95, p99 = percentiles(self.milliseconds)
        return {
            "runs": len(self.milliseconds),
            "warmup": self.warmup,
            "ms_p50": p50,
            "ms_p95": p95,
            "ms_p99": p99,
            "ms_mean": float(np.mean(self.milliseconds)),
            "model_fps": batch * 1000 / p50 if p50 > 0 else None,
        }


def percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The 50th, 95th and 99th percentile, interpolated between neighbours. ValueError where there are no values."""
    if not values:
        raise ValueError("no runs were timed")
    p50, p95, p99 = np.percentile(np.asarray(values, np.float64), (50, 95, 99)).tolist()
    return p50, p95, p99


def measure(run: Callable[[], None], protocol: Protocol, clock: Clock = time.perf_counter) -> Timing:
    """Time `run`, which returns when its work is done (on a GPU: synchronised).

    Both loops look at the clock after each run, so a row may pass its budget by one run, or by the `least` timed
    runs where these take longer than it.
    """
    start = clock()
    warmup = 0
    while warmup < protocol.warmup and (warmup == 0 or clock() - start < protocol.seconds / 4):
        run()
        warmup += 1
    times: list[float] = []
    while len(times) < protocol.runs and (len(times) < protocol.least or clock() - start < protocol.seconds):
        before = clock()
        run()
        times.append((clock() - before) * 1000)
    return Timing(tuple(times), warmup)

"""How long a network takes on a device, and the channel counts that take no longer than a target."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import torch

from icnet_cli.errors import usage_error
from icnet_cli.inference.device import PRECISIONS, choose_precision, set_exactness
from icnet_cli.inference.fold import ready_network
from icnet_cli.inference.streams import CaptureError, graph_of
from icnet_cli.models import Network
from icnet_cli.pruning.widths import Counts, rounded

WARM_UP, RUNS = 3, 10
LEAST_S = 0.5  # small networks run more often: the median of a few milliseconds is mostly noise
SEARCH_STEPS = 8  # halvings of the range of widths: the last is a 256th of it

Measure = Callable[[Network], float]


def measure_ms(
    network: Network, size: tuple[int, int], device: torch.device, precision: str = "auto"
) -> float:
    """Median milliseconds of the network alone on one picture, as `icnet segment` runs it.

    Folded and channels last; on a GPU as a graph, for kernel by kernel every width takes what it takes to launch them.
    """
    precision = choose_precision(precision, device)
    if device.type == "cuda":
        set_exactness(precision)
    dtype = PRECISIONS[precision]
    ready = ready_network(network, device, dtype)
    picture = torch.zeros(1, 3, *size, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    times: list[float] = []
    with torch.inference_mode():
        run = pass_on(device, partial(ready.scores, picture))  # type: ignore[arg-type, misc, operator]
        while len(times) < WARM_UP + RUNS or sum(times) < LEAST_S * 1000:
            start = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append((time.perf_counter() - start) * 1000)
    return median(times[WARM_UP:])


def pass_on(
    device: torch.device, run: Callable[[], Any], capture: Callable[..., Callable[[], Any]] = graph_of
) -> Callable[[], Any]:
    """`run` as it is; on a GPU a graph of it, where it can be captured."""
    if device.type != "cuda":
        return run
    with suppress(CaptureError):
        return capture(run, device)
    return run


def counts_for(config: Any, width: float, sensitivity: Mapping[str, float], round_to: int) -> Counts:
    """Channel counts at `width` (0..1 of what is there): a sensitive group keeps more than it, a robust one less.

    A group's share is width ** exponent, where an exponent below 1 (a group more sensitive than the
    median) keeps more. Without sensitivities every group keeps `width`.
    """
    return {
        name: rounded(there * width ** sensitivity.get(name, 1.0), round_to, there)
        for name, there in config.channels.items()
    }


def check_reachable(
    config: Any, build: Callable[[Any], Network], measure: Measure, target_ms: float, round_to: int
) -> None:
    """Raise a usage error where the network is as fast already, or its narrowest form still is not."""
    now = measure(build(config))
    if now <= target_ms:
        raise usage_error(f"these weights take {now:.2f} ms already; give a --target-ms below it")
    least = measure(build(replace(config, channels=counts_for(config, 0.0, {}, round_to))))
    if least > target_ms:
        raise usage_error(f"no width reaches {target_ms:g} ms: the narrowest network takes {least:.2f} ms")


def search(
    config: Any,
    build: Callable[[Any], Network],
    measure: Measure,
    target_ms: float,
    sensitivity: Mapping[str, float],
    round_to: int,
) -> Counts:
    """The widest counts along `counts_for` whose network `measure` finds no slower than `target_ms`.

    Where none is, the narrowest: see `check_reachable`. `build` makes a network from a config like `config`.
    """
    low, high = 0.0, 1.0
    best = counts_for(config, low, sensitivity, round_to)
    for _ in range(SEARCH_STEPS):
        middle = (low + high) / 2
        counts = counts_for(config, middle, sensitivity, round_to)
        if measure(build(replace(config, channels=counts))) <= target_ms:
            low, best = middle, counts
        else:
            high = middle
    return best

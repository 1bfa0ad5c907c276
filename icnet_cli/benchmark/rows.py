"""One row: a network timed on its own, with what it costs on paper and in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from icnet_cli.inference.device import choose_device, set_exactness
from icnet_cli.inference.exported import ExportedEngine
from icnet_cli.inference.graphs import CALLS
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.models.count import cost

from .memory import PeakMemory
from .published import figures_for
from .subjects import Subject
from .timing import Clock, Protocol, measure


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def network_input(segmenter: Segmenter, size: tuple[int, int], batch: int = 1) -> Tensor:
    """(batch, 3, H, W): pictures of noise, as the Segmenter prepares them."""
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    pictures = segmenter.prepare([noise] * batch, size)
    segmenter.reset_times()
    return pictures


def pass_of(segmenter: Segmenter, output: str = "scores") -> Callable[[Tensor], Tensor]:
    """The pass that is timed: `scores` is the Segmenter's own forward; the others end as the papers' networks do.

    `logits` are full-size, `labels` their arg-max and `probabilities` their softmax, by the network that the
    Segmenter runs.
    """
    if output == "scores":
        return segmenter.forward
    network: Any = segmenter.ready
    ends: dict[str, Callable[[Tensor], Tensor]] = {
        "logits": lambda x: network(x),
        "labels": lambda x: network(x).argmax(dim=1),
        "probabilities": lambda x: network(x).softmax(dim=1),
    }
    return ends[output]


def time_pass(
    run: Callable[[Tensor], Tensor],
    pictures: Tensor,
    protocol: Protocol,
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """`runs`, `ms_p50` and so on of passes over `pictures`, each waited for."""

    def once() -> None:
        with torch.inference_mode():
            run(pictures)
        synchronise(pictures.device)

    return measure(once, protocol, clock).to_dict(len(pictures))


def _settle(run: Callable[[Tensor], Tensor], pictures: Tensor) -> None:
    """Compile and capture for a batch, which `warm` did for one picture.

    A warm-up may end after a single run, where that run compiled, and the capture comes with the next.
    """
    with torch.inference_mode():
        for _ in range(CALLS):
            run(pictures)
    synchronise(pictures.device)


def given_by(segmenter: Segmenter) -> str | None:
    """What an exported file ends with, which is its own affair: labels, or logits at the network's size."""
    if not isinstance(segmenter.engine, ExportedEngine):
        return None
    return "logits" if segmenter.engine.gives_scores else "labels"


def time_row(
    subject: Subject,
    size: tuple[int, int],
    protocol: Protocol,
    *,
    device: str = "auto",
    precision: str = "auto",
    backend: str = "torch",
    batch: int = 1,
    output: str = "scores",
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """A row of `icnet bench --json` for the network that `icnet segment` runs.

    Raises:
        IcnetError: DEVICE or USAGE for a device or precision that is not to be had.
    """
    memory = PeakMemory(choose_device(device))
    segmenter = subject.segmenter(device, precision, size, backend)
    segmenter.warm(*size)
    pictures, run = network_input(segmenter, size, batch), pass_of(segmenter, output)
    if batch > 1 and (segmenter.device.type == "cuda" or segmenter.backend == "compile"):
        _settle(run, pictures)
    timing = time_pass(run, pictures, protocol, clock)
    peak = memory.peak_mb()
    published = figures_for(subject.model, subject.config, size)
    parameters, operations = cost(subject.network() if subject.exported else segmenter.network, *size)
    return {
        "model": subject.model,
        "variant": subject.variant,
        "resolution": list(size),
        "device": str(segmenter.device),
        "precision": segmenter.precision,
        "backend": segmenter.backend,
        "batch": batch,
        "output": given_by(segmenter) or output,
        **timing,
        "params_m": parameters,
        "gflops": operations,
        "peak_memory_mb": peak,
        "accuracy": subject.accuracy(),
        "published": published.to_dict() if published else None,
    }


def time_plain_row(
    subject: Subject,
    size: tuple[int, int],
    protocol: Protocol,
    *,
    device: str = "auto",
    batch: int = 1,
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """The same network run as it is written: what the engine's gain is measured against.

    Published head, BatchNorm apart, contiguous fp32. Fast-SCNN ends with its full-size upsampling, as its common
    ports do; ICNet with its score map.
    """
    config = dict(subject.config) | ({"head": "published"} if subject.model == "icnet" else {})
    plain = Subject(subject.model, config, notes=("plain eager",))
    place = choose_device(device)
    if place.type == "cuda":
        set_exactness("fp32")
    memory = PeakMemory(place)
    network: Any = plain.network().to(place)
    pictures = torch.rand(batch, 3, *size, device=place)
    output = "logits" if subject.model == "fast-scnn" else "scores"
    timing = time_pass(network if output == "logits" else network.scores, pictures, protocol, clock)
    parameters, operations = cost(network, *size)
    return {
        "model": subject.model,
        "variant": plain.variant,
        "resolution": list(size),
        "device": str(place),
        "precision": "fp32",
        "backend": "plain",
        "batch": batch,
        "output": output,
        **timing,
        "params_m": parameters,
        "gflops": operations,
        "peak_memory_mb": memory.peak_mb(),
        "accuracy": None,
        "published": None,
    }

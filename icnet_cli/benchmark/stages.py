"""A network's time by stage, as the 2017 text's Figure 2 shows it."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from icnet_cli.inference.segmenter import Segmenter

from .rows import network_input, synchronise
from .subjects import Subject
from .timing import Clock, Protocol, measure

# The stage of each module, by its name in the network; the first that fits. Auxiliary classifiers never run.
_TRUNK = (
    (r"trunk\.(conv1_\d|pool1)", "stage 1"),
    (r"trunk\.conv2_\d", "stage 2"),
    (r"trunk\.conv3_\d", "stage 3"),
    (r"trunk\.conv4_\d", "stage 4"),
    (r"trunk\.conv5_\d", "stage 5"),
    (r"pyramid|aspp|conv5_4_k1", "context"),
)
STAGES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "icnet": (
        *_TRUNK,
        (r"conv_sub4|conv3_1_sub2_proj", "fusion 1"),
        (r"conv[123]_sub1", "high branch"),
        (r"conv_sub2|conv3_sub1_proj", "fusion 2"),
        (r"conv6_cls|sub4_cls|sub24_cls", "classifier"),
    ),
    "pspnet50": (*_TRUNK, (r"conv6", "classifier")),
    "deeplabv3": (*_TRUNK, (r"project|classifier", "classifier")),
    "fast-scnn": (
        (r"ltd\d", "learning to downsample"),
        (r"gfe\d", "global features"),
        (r"ppm", "pyramid"),
        (r"ffm_\w+", "fusion"),
        (r"cls\d|classifier", "classifier"),
    ),
}
REST = "resizing and sums"


def stage_of(model: str, module: str) -> str | None:
    """The stage that a module is timed in, by its full name; None for one that is part of a larger one."""
    return next((stage for pattern, stage in STAGES[model] if re.fullmatch(pattern, module)), None)


def stage_names(model: str) -> list[str]:
    """In the order in which they are shown."""
    return [*dict.fromkeys(stage for _, stage in STAGES[model]), REST]


@contextmanager
def timed_stages(
    network: nn.Module, model: str, device: torch.device, clock: Clock
) -> Iterator[dict[str, float]]:
    """While it lasts, each pass of the network adds its milliseconds to the stages of the mapping."""
    spent: dict[str, float] = defaultdict(float)
    begun: dict[str, float] = {}
    hooks = []

    def watch(module: nn.Module, name: str, stage: str) -> None:
        def before(*_: Any) -> None:
            synchronise(device)
            begun[name] = clock()

        def after(*_: Any) -> None:
            synchronise(device)
            spent[stage] += (clock() - begun[name]) * 1000

        hooks.extend([module.register_forward_pre_hook(before), module.register_forward_hook(after)])

    try:
        for name, module in network.named_modules():
            stage = stage_of(model, name)
            if stage is not None:
                watch(module, name, stage)
        yield spent
    finally:
        for hook in hooks:
            hook.remove()


def stage_rows(
    subject: Subject,
    size: tuple[int, int],
    protocol: Protocol,
    *,
    device: str = "auto",
    precision: str = "auto",
    clock: Clock = time.perf_counter,
) -> list[dict[str, Any]]:
    """A row a stage that this network has: `stage`, `ms_p50`, and its `share` of the whole pass.

    The network is the Segmenter's, run eagerly and waited for at each stage, so on a GPU the sum is more than the
    network takes when nobody looks.
    """
    segmenter = subject.segmenter(device, precision, size)
    pictures = network_input(segmenter, size)
    passes: list[dict[str, float]] = []
    with timed_stages(segmenter.ready, subject.model, segmenter.device, clock) as spent:
        timing = measure(lambda: _one_pass(segmenter, pictures, spent, passes, clock), protocol, clock)
    kept = passes[-len(timing.milliseconds) :]
    medians = {name: median(one.get(name, 0.0) for one in kept) for name in stage_names(subject.model)}
    total = sum(medians.values())
    return [
        {
            "model": subject.model,
            "variant": subject.variant,
            "resolution": list(size),
            "device": str(segmenter.device),
            "precision": segmenter.precision,
            "runs": len(kept),
            "stage": name,
            "ms_p50": milliseconds,
            "share": milliseconds / total if total else 0.0,
        }
        for name, milliseconds in medians.items()
        if any(name in one for one in kept)
    ]


def _one_pass(
    segmenter: Segmenter,
    pictures: Tensor,
    spent: dict[str, float],
    passes: list[dict[str, float]],
    clock: Clock,
) -> None:
    spent.clear()
    start = clock()
    with torch.inference_mode():
        segmenter.ready.scores(pictures)  # type: ignore[operator]
    synchronise(pictures.device)
    whole = (clock() - start) * 1000
    passes.append({**spent, REST: max(0.0, whole - sum(spent.values()))})

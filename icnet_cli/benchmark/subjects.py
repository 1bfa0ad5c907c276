"""Which networks are timed: what builds each, and where its weights come from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from icnet_cli.checkpoints.bundled import bundled_weights, find_weights
from icnet_cli.checkpoints.format import LoadedWeights, Normalisation, WeightsMeta, load_weights, read_meta
from icnet_cli.classes import ClassTable, load_table
from icnet_cli.config import DEFAULT_WEIGHTS, BenchConfig
from icnet_cli.errors import usage_error
from icnet_cli.evaluation.branches import with_branches
from icnet_cli.inference.choice import Work
from icnet_cli.inference.exported import is_exported, open_engine
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.models import build

from .published import FULL_SIZE

BUNDLED_MODELS = ("icnet", "fast-scnn")
# The published network; of the others nothing is pruned.
_DEFAULT_KEEP: Mapping[str, float] = {"icnet": 0.5}
# Of a config, what makes two files the same network to time.
_DEFAULTS: Mapping[str, Any] = {"keep": 1.0, "output_stride": 8, "trunk": "pspnet50", "head": "fused"}


@dataclass(frozen=True)
class Subject:
    """A network to time.

    Attributes:
        config: what builds it; empty where `loaded` brings it.
        weights: what its weights are called; None for random ones, which are as fast.
        exported: a file of `icnet export` that is timed in place of the network; `fixed_size` is the one it takes.
    """

    model: str
    config: Mapping[str, Any]
    loaded: LoadedWeights | None = None
    weights: str | None = None
    notes: tuple[str, ...] = field(default=())
    exported: Path | None = None
    fixed_size: tuple[int, int] | None = None

    @property
    def variant(self) -> str:
        """What tells it from other networks of its model: `keep 0.5, sub124, fused head, random weights`."""
        config = self.config
        parts = [f"keep {config.get('keep', 1.0):g}"]
        if self.model == "icnet":
            parts += [config.get("branches", "sub124"), f"{config.get('head', 'fused')} head"]
        if config.get("output_stride", 8) != 8:
            parts.append(f"output stride {config['output_stride']}")
        if config.get("trunk", "pspnet50") != "pspnet50":
            parts.append(f"{config['trunk']} trunk")
        return ", ".join([*parts, *self.notes, f"{self.weights or 'random'} weights"])

    def network(self) -> nn.Module:
        return self.loaded.network if self.loaded else build(self.model, self.config).eval()

    def segmenter(
        self,
        device: str,
        precision: str,
        size: tuple[int, int] | None,
        backend: str = "torch",
        work: Work | None = None,
    ) -> Segmenter:
        """What `icnet segment` runs for these weights, at `size`."""
        if self.exported:
            return Segmenter.of_exported(open_engine(self.exported, device, precision, backend), size)
        network = self.network()
        if self.loaded:
            return Segmenter(network, self.loaded.meta, device, precision, size, backend, work)
        classes = _table_of(int(self.config.get("num_classes", 19)))
        # Random weights know things at no size: a picture's own is as good as any, up to Cityscapes'.
        own = (work.picture_size if work else None) or FULL_SIZE
        known = size or min(own, FULL_SIZE, key=math.prod)
        meta = WeightsMeta(self.model, dict(self.config), classes, Normalisation(), known)
        return Segmenter(network, meta, device, precision, size, backend, work)

    def accuracy(self) -> dict[str, Any] | None:
        """The mIoU (0..1) on the weights' card, with its data set, split and size; None without one."""
        metrics = self.loaded.meta.card.get("metrics") if self.loaded else None
        for name, figure in metrics.items() if isinstance(metrics, Mapping) else ():
            if isinstance(figure, Mapping) and isinstance(figure.get("miou"), int | float):
                protocol = figure.get("protocol")
                known = protocol if isinstance(protocol, Mapping) else {}
                return {"miou": figure["miou"], "field": name} | {
                    key: known.get(key) for key in ("dataset", "split", "size")
                }
        return None


def _table_of(num_classes: int) -> ClassTable:
    return load_table("camvid" if num_classes == 11 else "cityscapes")


def subjects(config: BenchConfig) -> list[Subject]:
    """One a bundled network, or what `--weights` or `--model` name.

    Raises:
        IcnetError: WEIGHTS for a file that is none; USAGE for branches of a network without any.
    """
    if config.weights is not None:
        return [of_weights(config.weights)]
    models = BUNDLED_MODELS if config.model == "all" else (config.model,)
    if config.model not in ("all", "icnet") and (config.branches or config.head):
        raise usage_error(f"--branches and --head are ICNet's; {config.model} has none")
    return [_default(model, config) for model in models]


def of_weights(name: str) -> Subject:
    """The network of a weights file, of bundled weights, or of an exported file."""
    path = find_weights(name)
    if is_exported(path):
        engine = open_engine(path)
        return Subject(
            engine.meta.model,
            engine.meta.config,
            weights=path.name,
            exported=path,
            fixed_size=engine.fixed_size,
        )
    loaded = load_weights(path)
    return Subject(loaded.meta.model, loaded.meta.config, loaded, loaded.path.stem)


def _default(model: str, config: BenchConfig) -> Subject:
    wanted: dict[str, Any] = {"keep": config.keep or _DEFAULT_KEEP.get(model, 1.0)}
    if model == "icnet":
        wanted |= {"branches": config.branches or "sub124", "head": config.head or "fused"}
    return with_bundled(model, wanted)


def with_bundled(model: str, config: Mapping[str, Any]) -> Subject:
    """The network with bundled weights where some were made for it, else with random ones."""
    names = sorted(bundled_weights(), key=lambda name: (name != DEFAULT_WEIGHTS, name))
    for name in names:
        meta = read_meta(find_weights(name))
        branches = config.get("branches")
        has_branch = branches in (None, "sub124") or meta.config.get("aux", True)
        if meta.model == model and same_network(meta.config, config) and has_branch:
            loaded = with_branches(load_weights(find_weights(name)), branches)
            return Subject(model, loaded.meta.config, loaded, name)
    return Subject(model, config)


def same_network(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configs of one model are the same to a clock, the branches apart, which are chosen at run time."""
    return all(one.get(key, default) == other.get(key, default) for key, default in _DEFAULTS.items())

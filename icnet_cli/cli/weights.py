"""`icnet weights`: list, show, path."""

from __future__ import annotations

from typing import Any

from icnet_cli.cli.console import Console, emit, emit_json
from icnet_cli.config import WeightsConfig, WeightsListConfig


def list_bundled(config: WeightsListConfig, console: Console) -> None:
    """The weights that come with the tool."""
    from icnet_cli.checkpoints.bundled import bundled_weights
    from icnet_cli.checkpoints.format import read_meta

    metas = {name: read_meta(path) for name, path in bundled_weights().items()}
    if console.json:
        emit_json({"weights": [{"name": name, **_summary(meta)} for name, meta in metas.items()]})
        return
    for name, meta in metas.items():
        classes, (height, width) = meta.classes, meta.train_size
        emit(f"{name}: {meta.model}, {classes.num_classes} classes ({classes.name}), {height}x{width}")


def show(config: WeightsConfig, console: Console) -> None:
    """What a weights file says about itself: its network, classes, training and accuracy."""
    from icnet_cli.checkpoints.bundled import find_weights
    from icnet_cli.checkpoints.format import read_meta

    meta = read_meta(find_weights(config.weights))
    if console.json:
        emit_json({**_summary(meta), "config": meta.config, "card": meta.card, "history": meta.history})
        return
    for line in _lines({**_summary(meta), "card": meta.card}):
        emit(line)


def path(config: WeightsConfig, console: Console) -> None:
    """Where the file of some weights is."""
    from icnet_cli.checkpoints.bundled import find_weights

    found = find_weights(config.weights)
    if console.json:
        emit_json({"path": found})
    else:
        emit(str(found))


def _summary(meta: Any) -> dict[str, Any]:
    return {
        "model": meta.model,
        "train_size": list(meta.train_size),
        "dataset": meta.classes.name,
        "class_names": list(meta.classes.names),
    }


def _lines(document: dict[str, Any], indent: str = "") -> list[str]:
    """`name: value` lines; the parts of a mapping stand under it."""
    lines: list[str] = []
    for name, value in document.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            lines.append(f"{indent}{name}: {text}")
    return lines

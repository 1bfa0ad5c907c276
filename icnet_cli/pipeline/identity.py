"""What makes two runs the same job: the source's content, what was asked for, the network, the programs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from icnet_cli.config import PaintConfig, SegmentConfig
from icnet_cli.config.fields import flag_of

# Fields of a configuration that change nothing of what is written, or that are compared in a better way: files by
# their content, `auto` by what it came to.
NOT_IDENTITY = frozenset(
    (
        "backend",
        "device",
        "labels",
        "more",
        "output",
        "overwrite",
        "palette",
        "precision",
        "resume",
        "show",
        "source",
        "weights",
    )
)
_BLOCKS, _BLOCK = 32, 1 << 16  # looked at in a large file, beside its first and last


def asked_for(config: SegmentConfig | PaintConfig) -> dict[str, Any]:
    """The options by the user's names for them, as JSON has them."""
    values = config.to_dict()
    return {flag_of(item): values[item.name] for item in fields(config) if item.name not in NOT_IDENTITY}


def content_of(path: Path) -> str:
    """A fingerprint of a file: its size, its first and last 64 kB and 32 places in between.

    A copy elsewhere has the same one; a file that was written to in a way that keeps its size and all of these places
    has it too, and is found out by its pictures.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for number in range(_BLOCKS + 2):
            file.seek(max(0, size - _BLOCK) * number // (_BLOCKS + 1))
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def contents_of(paths: Iterable[Path]) -> str:
    """A fingerprint of several files: their names, sizes, and first and last kB."""
    digest = hashlib.sha256()
    for path in paths:
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode("utf-8", "surrogateescape"))
        with path.open("rb") as file:
            digest.update(file.read(1024))
            file.seek(max(0, size - 1024))
            digest.update(file.read(1024))
    return digest.hexdigest()


def programs() -> dict[str, str]:
    """What would give another result in another version."""
    from icnet_cli import __version__
    from icnet_cli.pixels.cv import cv2

    return {"icnet": __version__, "PyAV": version("av"), "OpenCV": cv2.__version__}


def network_of(segmenter: Any, description: dict[str, Any]) -> dict[str, Any]:
    """What labels: the weights by their content, where and how they run, and what the classes are called."""
    import torch

    from icnet_cli.inference.backends import files_of
    from icnet_cli.inference.built import weights_digest

    network = getattr(segmenter, "network", None)
    if network is None:  # an exported file has no module
        weights = " ".join(content_of(path) for path in files_of(segmenter.engine.path))
    else:
        weights = weights_digest(network)
    return {
        "weights": weights,
        "device": segmenter.device.type if hasattr(segmenter.device, "type") else str(segmenter.device),
        "precision": segmenter.precision,
        "backend": segmenter.backend,
        "classes": description,
        "torch": torch.__version__,
    }


def difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """In words what makes these two jobs different ones; None where they are the same."""
    if before == now:
        return None
    if before.get("source") != now.get("source"):
        return "its source was another file, or has been changed since"
    for key in ("options", "programs", "network"):
        old, new = before.get(key) or {}, now.get(key) or {}
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                return f"{name} {_changed(old.get(name), new.get(name))}"
    return "it was written by another version"


def _changed(before: Any, now: Any) -> str:
    words = ["not given" if value is None else str(value) for value in (before, now)]
    return f"was {words[0]} and is {words[1]}" if max(map(len, words)) <= 40 else "changed since"

"""Exported files, opened again: ONNX with ONNX Runtime, OpenVINO. They run on the CPU.

    model = open_exported(Path("icnet.onnx"))
    labels = model.run(frames)  # uint8 (1, H, W, 3) RGB -> uint8 (1, H, W), if it was exported with its arg-max

A file says of itself what it takes and gives; `meta` is what its weights file said.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

from icnet_cli.config import EXPORT_SUFFIXES
from icnet_cli.errors import usage_error, weights_error

from .base import MODULES, ExportedModel, Ports, missing_modules, need

# OpenVINO tells its maker over the network of each conversion, from a process of its own, unless this cannot be
# imported: then it takes an empty stand-in that it brings. What is run here is nobody else's business.
cast(dict[str, Any], sys.modules).setdefault("openvino_telemetry", None)

SUFFIXES = {suffix: kind for kind, suffix in EXPORT_SUFFIXES.items()}

__all__ = ["MODULES", "SUFFIXES", "ExportedModel", "Ports", "files_of", "open_exported", "require"]


def require(kind: str) -> None:
    """Raise a usage error where what `kind` needs is not installed."""
    if missing_modules(kind):
        raise usage_error(need(kind))


def files_of(path: Path) -> list[Path]:
    """An exported file and what belongs to it: OpenVINO keeps the weights in a second one, beside it."""
    return [path, path.with_suffix(".bin")] if path.suffix.lower() == ".xml" else [path]


def open_exported(path: Path, threads: int | None = None, own: bool = False) -> ExportedModel:
    """An exported file, by its suffix.

    Args:
        own: this very process has written the file. torch.export's reader falls back to unpickling, which runs code, so
            a .pt2 is opened in no other case.

    Raises:
        IcnetError: exit 4 for a missing, foreign or damaged file; exit 2 where the extra that runs it is missing.
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise weights_error(f"{path} is no exported file ({', '.join(SUFFIXES)})")
    if not path.is_file():
        raise weights_error(f"no exported file {path}")
    if kind == "pt2" and not own:
        raise weights_error(
            f"{path}: a .pt2 can run code when it is opened; give the .safetensors or an .onnx"
        )
    require(kind)
    if kind == "onnx":
        from .onnx import OnnxModel

        return OnnxModel(path, threads)
    if kind == "openvino":
        from .openvino import OpenVinoModel

        return OpenVinoModel(path, threads)
    from .pt2 import Pt2Model

    return Pt2Model(path, threads)

"""An engine for files that `icnet export` wrote: the network is in them, and there is no nn.Module."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from icnet_cli.errors import usage_error
from icnet_cli.pixels.files import labels_at

from .backends import SUFFIXES, open_exported
from .backends.base import LABELS, RAW, smallest_side
from .engine import HostPixels, Labels, Picture, Size


def is_exported(path: Path) -> bool:
    """Whether a file is a network in another program's form, by its suffix."""
    return path.suffix.lower() in SUFFIXES


class ExportedEngine:
    """Runs an exported file on the CPU, whatever it takes and gives: pictures or floats, logits or labels.

    Attributes:
        meta: what its weights file said.
        fixed_size: the (height, width) it takes; None where it takes any from `smallest` up.

    Raises:
        IcnetError: as `open_exported`.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self._model = open_exported(path, threads or torch.get_num_threads())
        self.path, self.meta = path, self._model.meta
        ports = self._model.ports
        self.backend, self.device = SUFFIXES[path.suffix.lower()], torch.device("cpu")
        self.precision, self.fixed_size = ports.precision, ports.size
        self.gives_scores, self._raw = ports.output != LABELS, ports.input == RAW
        self.align_corners = bool(self.meta.config.get("align_corners", False))
        self._pixels = HostPixels(self.meta.normalisation, self.align_corners)
        self._lock = Lock()  # OpenVINO writes what it finds where that of the last picture lay

    @property
    def smallest(self) -> int:
        """Pixels a side that it takes."""
        if self.fixed_size is not None:
            return min(self.fixed_size)
        return smallest_side(self.meta.model, self.meta.config)

    def check_size(self, size: Size | None) -> None:
        """Raise a usage error for a network size that the file does not take."""
        if size is None:
            return
        if self.fixed_size is not None and size != self.fixed_size:
            own = f"{self.fixed_size[0]}x{self.fixed_size[1]}"
            raise usage_error(
                f"{self.path} takes pictures of {own} alone, not --size {size[0]}x{size[1]}; leave --size out, "
                "or export it with --dynamic"
            )
        if min(size) < self.smallest:
            least = f"{self.smallest}x{self.smallest}"
            raise usage_error(f"{self.path} takes pictures from {least} up, not --size {size[0]}x{size[1]}")

    def prepare(self, frames: Sequence[Picture], size: Size) -> Tensor:
        """See `Engine.prepare`."""
        if self._raw:
            return self._pixels.prepare(frames, size)
        return self._pixels.stack(frames, size)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (N, K, h, w) at the network's size, or labels (N, 1, h, w). See `Engine.forward`."""
        batch = pictures if self._raw else pictures.permute(0, 2, 3, 1)
        with self._lock:
            each = [self._model.run(one[None].contiguous().numpy()) for one in batch]
        found = torch.from_numpy(np.array(each[0]) if len(each) == 1 else np.concatenate(each))
        return found if self.gives_scores else found[:, None]

    def postprocess(self, scores: Tensor, size: Size, network_size: Size) -> list[Labels]:
        """See `Engine.postprocess`. Labels are never interpolated: each pixel takes the nearest one's."""
        if self.gives_scores and size != network_size:
            return self._pixels.postprocess(scores, size, network_size)
        maps = scores.argmax(dim=1) if self.gives_scores else scores[:, 0]
        labels = maps.to(torch.uint8).numpy()
        return [labels_at(one, size) for one in labels]

    def still_to_build(self, size: Size) -> str | None:
        """Nothing has to be built."""
        return None

    def warm(self, size: Size) -> None:
        """Nothing waits for a first picture."""

    def close(self) -> None:
        """Nothing is held outside of Python's memory."""


def open_engine(
    path: Path, device: str = "auto", precision: str = "auto", backend: str = "auto"
) -> ExportedEngine:
    """The engine of a file, where what the user asked for is what the file is.

    Raises:
        IcnetError: USAGE for a device, precision or backend that is not the file's; else as `open_exported`.
    """
    own = SUFFIXES[path.suffix.lower()]
    if device.startswith("cuda"):
        raise usage_error(f"{path} runs on the CPU; leave --device {device} out, or give the .safetensors")
    # torch is also what `load`, `eval`, `compare` and `bench` say unasked; cli/options.py refuses one that was typed.
    if backend not in ("auto", "torch", own):
        raise usage_error(f"{path} is run by {own}, not --backend {backend}; leave it out")
    engine = ExportedEngine(path)
    if precision not in ("auto", engine.precision):
        raise usage_error(f"{path} was exported in {engine.precision}, not --precision {precision}")
    return engine

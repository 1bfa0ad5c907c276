"""torch.export's files: for checking the one that was just written, see `open_exported`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from .base import META_KEY, PORTS_KEY, ExportedModel


class Pt2Model(ExportedModel):
    """See the module's text. `threads` is left to torch's own setting."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        extra = {META_KEY: "", PORTS_KEY: ""}
        program = torch.export.load(path, extra_files=extra)
        super().__init__(path, extra)
        self._module = program.module()

    @torch.inference_mode()
    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        return self._module(torch.from_numpy(batch)).numpy()

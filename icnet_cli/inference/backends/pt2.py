"""torch.export's files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from icnet_cli.errors import weights_error

from .base import META_KEY, PORTS_KEY, ExportedModel


class Pt2Model(ExportedModel):
    """See the module's text. `threads` is left to torch's own setting."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        extra = {META_KEY: "", PORTS_KEY: ""}
        try:
            program = torch.export.load(path, extra_files=extra)
        except (RuntimeError, ValueError, KeyError, OSError, AssertionError, pickle.UnpicklingError) as error:
            words = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise weights_error(f"{path} is no pt2 file that this torch reads: {words:.200}") from error
        super().__init__(path, extra)
        self._module = program.module()

    @torch.inference_mode()
    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        return self._module(torch.from_numpy(batch)).numpy()

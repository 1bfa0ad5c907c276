"""OpenVINO's files (an .xml and the .bin beside it), run on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.errors import weights_error

from .base import META_KEY, PORTS_KEY, ExportedModel


class OpenVinoModel(ExportedModel):
    """See the module's text."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        import openvino

        core = openvino.Core()
        # Without the hint a CPU with bf16 units would use them, and the labels would not be fp32's.
        hints: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            hints["INFERENCE_NUM_THREADS"] = threads
        try:
            model = core.read_model(path)
            known = [key for key in (META_KEY, PORTS_KEY) if model.has_rt_info([key])]
            super().__init__(path, {key: model.get_rt_info([key]).astype(str) for key in known})
            self._compiled = core.compile_model(model, "CPU", hints)
        except RuntimeError as error:
            words = str(error).strip().splitlines()[-1]
            raise weights_error(f"{path} is no OpenVINO file that runs here: {words:.200}") from error

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self._compiled(batch)[0])

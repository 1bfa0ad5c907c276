"""ONNX files, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from icnet_cli.errors import weights_error

from .base import ExportedModel


class OnnxModel(ExportedModel):
    """See the module's text."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # its warnings are about speed, and go to stderr
        if threads:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common base but this
            raise weights_error(
                f"{path} is no ONNX file that runs here: {str(error).splitlines()[0]:.200}"
            ) from error
        super().__init__(path, self._session.get_modelmeta().custom_metadata_map)

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        return self._session.run(None, {self.ports.input: batch})[0]

"""Programs that run our networks instead of torch's operators: each makes a file of a network at one size, and opens
it.

    run = OpenVino().open(path, threads=2)
    scores = run(pictures)  # uint8 (1, H, W, 3) RGB -> float32 (1, h, w, K)

The files hold what is compiled already, where the runtime has such a form: they open in a tenth of a second.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from icnet_cli.checkpoints.format import Normalisation
from icnet_cli.errors import usage_error
from icnet_cli.inference.processor import cpu_has_bf16

from .base import missing_modules, need
from .graph import quietly, save_onnx, scores_program, to_onnx, to_openvino

Size = tuple[int, int]  # (height, width)
Run = Callable[[Tensor], Tensor]
COMPILERS = ("g++", "clang++", "c++")
_OPENVINO = {"fp32": "f32", "bf16": "bf16"}


class Runtime(Protocol):
    """One of them, in one precision (fp32, bf16).

    `suffix` is that of its files; `build_time` how long `make` takes, in words.
    """

    name: str
    suffix: str
    build_time: str
    precision: str

    def missing(self) -> str | None:
        """What is not installed and how to get it, in words; None where all is here."""
        ...

    def version(self) -> str:
        """Files of another version are made again."""
        ...

    def make(self, network: nn.Module, normalisation: Normalisation, size: Size, path: Path) -> None:
        """Write the file for pictures of `size`."""
        ...

    def open(self, path: Path, threads: int) -> Run:
        """Load the file. Any exception means that it is of no use."""
        ...


class OpenVino:
    """OpenVINO's CPU plugin; the file is its compiled model."""

    name, suffix, build_time = "openvino", ".blob", "which takes some ten seconds"

    def __init__(self, precision: str = "fp32") -> None:
        self.precision = precision

    def missing(self) -> str | None:
        return need("openvino") if missing_modules("openvino") else None

    def version(self) -> str:
        import openvino

        return str(openvino.__version__)

    def make(self, network: nn.Module, normalisation: Normalisation, size: Size, path: Path) -> None:
        import openvino

        model = to_openvino(scores_program(network, normalisation, size))
        compiled = openvino.Core().compile_model(model, "CPU", self._hints(torch.get_num_threads()))
        path.write_bytes(compiled.export_model().read())

    def open(self, path: Path, threads: int) -> Run:
        import openvino

        compiled = openvino.Core().import_model(path.read_bytes(), "CPU", self._hints(threads))
        if compiled.get_property("INFERENCE_PRECISION_HINT").to_string() != _OPENVINO[self.precision]:
            raise RuntimeError(f"this processor has no {self.precision}")
        request = compiled.create_infer_request()

        def run(pictures: Tensor) -> Tensor:
            # Shared: the picture is read where it lies. The scores are copied: the next pass writes where these lay.
            request.infer([pictures.numpy()], share_inputs=True)
            return torch.from_numpy(np.array(request.get_output_tensor(0).data))

        return run

    def _hints(self, threads: int) -> dict[str, object]:
        # Without the first a CPU with bf16 units would use them, and the labels would not be fp32's.
        return {
            "INFERENCE_PRECISION_HINT": _OPENVINO[self.precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }


class OnnxRuntime:
    """ONNX Runtime on the CPU; the file is an .onnx."""

    name, suffix, build_time = "onnx", ".onnx", "which takes some fifteen seconds"
    precision = "fp32"

    def missing(self) -> str | None:
        return need("onnx") if missing_modules("onnx") else None

    def version(self) -> str:
        import onnxruntime

        return str(onnxruntime.__version__)

    def make(self, network: nn.Module, normalisation: Normalisation, size: Size, path: Path) -> None:
        save_onnx(path, to_onnx(scores_program(network, normalisation, size)))

    def open(self, path: Path, threads: int) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # its warnings are about speed, and go to stderr
        options.intra_op_num_threads = threads
        # As OpenMP's (see `cores.py`): a thread that spins takes the core that decoder and encoder wait for.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda pictures: torch.from_numpy(session.run(None, {name: pictures.numpy()})[0])


class Inductor:
    """torch.compile's own compiler run ahead of time, weights frozen in; the file is a shared library in a zip.

    Just in time it would compile at each start: frozen weights are not in its cache.
    """

    name, suffix, build_time = "compile", ".pt2", "which takes a minute"
    precision = "fp32"

    def missing(self) -> str | None:
        if any(map(shutil.which, COMPILERS)):
            return None
        return (
            "--backend compile needs a C++ compiler, and there is none; install g++, or use --backend torch"
        )

    def version(self) -> str:
        return str(torch.__version__)

    def make(self, network: nn.Module, normalisation: Normalisation, size: Size, path: Path) -> None:
        from torch._inductor import aoti_compile_and_package

        program = scores_program(network, normalisation, size, channels_last=True)
        with quietly():
            aoti_compile_and_package(program, package_path=str(path), inductor_configs={"freezing": True})

    def open(self, path: Path, threads: int) -> Run:
        from torch._inductor import aoti_load_package

        with quietly():
            run: Run = aoti_load_package(str(path))
        return run


RUNTIMES: dict[str, Runtime] = {runtime.name: runtime for runtime in (OpenVino(), OnnxRuntime(), Inductor())}
IN_BF16: dict[str, Runtime] = {"openvino": OpenVino("bf16")}  # on a processor that has it


def runtimes_in(precision: str) -> dict[str, Runtime]:
    """Those that compute in a precision, by name, whether they are installed or not."""
    return {"fp32": RUNTIMES, "bf16": IN_BF16 if cpu_has_bf16() else {}}.get(precision, {})


def installed_in(precision: str) -> list[str]:
    """The names of those that compute in a precision and are installed."""
    return [name for name, runtime in runtimes_in(precision).items() if runtime.missing() is None]


def runtime_of(backend: str, precision: str = "fp32") -> Runtime:
    """The runtime of that name. Raises a usage error that says what is not installed, or not to be had."""
    runtime = runtimes_in(precision).get(backend)
    if runtime is None:
        others = " or bf16" if backend in IN_BF16 and cpu_has_bf16() else ""
        words = f"--backend {backend} computes in fp32{others} on this CPU, not --precision {precision}"
        raise usage_error(f"{words}; leave --precision out, or use --backend torch")
    lacking = runtime.missing()
    if lacking:
        raise usage_error(lacking)
    return runtime

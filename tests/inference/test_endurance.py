"""Memory stays flat over thousands of frames, and starting does no work that is not needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from icnet_cli.checkpoints import format as weights_format
from icnet_cli.checkpoints.format import WeightsMeta, save_weights
from icnet_cli.classes import load_table
from icnet_cli.inference.segmenter import Segmenter, load
from icnet_cli.models import build

from .tiny import TinyNetwork, stripes, tiny_meta

SIZE = (64, 96)
FRAMES, WARM = 2000, 300  # the first ones fill torch's and OpenCV's own stores
BOUND_MB = 8.0
STATUS = Path("/proc/self/status")


def resident_mb() -> float:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def growth_mb(segmenter: Segmenter, kept: list[np.ndarray] | None = None) -> float:
    """Of the process, from the 300th to the 2,000th frame."""
    pictures = [stripes(*SIZE, shift) for shift in range(5)]
    before = 0.0
    for number in range(FRAMES):
        labels = segmenter.labels(pictures[number % 5])
        if kept is not None:
            kept.append(labels)
        if number == WARM:
            before = resident_mb()
    return resident_mb() - before


def fast_scnn() -> Segmenter:
    network = build("fast-scnn", {"num_classes": 11, "keep": 0.125}).eval()
    return Segmenter(network, WeightsMeta.of(network, load_table("camvid"), SIZE), "cpu")


def tiny() -> Segmenter:
    return Segmenter(TinyNetwork(), tiny_meta(), "cpu")


def alone(call: str) -> float:
    """What `call` gives in a process of its own: here earlier tests have left memory that a leak would fill first."""
    script = f"from tests.inference.test_endurance import fast_scnn, growth_mb, tiny; print({call})"
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    return float(run.stdout)


# Two thousand frames are the promise; small ones take some 3 ms each.
@pytest.mark.skipif(not STATUS.exists(), reason="resident memory is read from Linux's /proc")
def test_memory_stays_flat() -> None:
    assert alone("growth_mb(fast_scnn())") < BOUND_MB


@pytest.mark.skipif(not STATUS.exists(), reason="resident memory is read from Linux's /proc")
def test_a_leak_of_the_labels_alone_is_seen() -> None:
    assert alone("growth_mb(tiny(), kept=[])") > BOUND_MB


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    network = build("fast-scnn", {"num_classes": 11, "keep": 0.125})
    path = tmp_path / "w.safetensors"
    save_weights(path, network, WeightsMeta.of(network, load_table("camvid"), SIZE))
    return path


UNWANTED = (
    "torch._dynamo", "torch._inductor", "triton", "sympy", "onnx", "onnxscript", "onnxruntime", "openvino",
    "matplotlib", "pandas", "torchvision", "typer", "icnet_cli.training", "icnet_cli.export", "icnet_cli.reports",
)  # fmt: skip


@pytest.mark.parametrize(("besides", "loaded"), [("", ""), ("import sympy", "sympy")])
def test_starting_loads_no_other_runtime_and_no_compiler(weights: Path, besides: str, loaded: str) -> None:
    """Nor what draws pages and plots, nor what trains; and the twin, in which one of them is loaded."""
    script = f"""
import sys, numpy as np
from icnet_cli.inference.segmenter import load
load({str(weights)!r}, "cpu", backend="auto").labels(np.zeros((64, 96, 3), np.uint8))
{besides}
print(*sorted(set({UNWANTED!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == loaded


@pytest.mark.parametrize("backend", ["auto", "openvino"])
def test_no_other_process_is_started_and_nothing_is_told(weights: Path, backend: str) -> None:
    """A process that outlives this one would hold its locks; OpenVINO's reports every conversion to its maker."""
    if backend == "openvino":
        pytest.importorskip("openvino")
    script = f"""
import os, sys, numpy as np, torch  # whose CUDA build asks the system for its libraries, and waits for the answer
FORBIDDEN = ("subprocess", "os.fork", "os.posix_spawn", "os.system", "socket.connect", "socket.getaddrinfo")
def refuse(event, arguments):
    if event.startswith(FORBIDDEN):
        os.write(2, f"{{event}} {{arguments}}".encode())  # in whatever thread
        os._exit(1)
sys.addaudithook(refuse)
os.environ["ICNET_CACHE_DIR"] = {str(weights.parent / f"cache-{backend}")!r}
from icnet_cli.inference.segmenter import load
import icnet_cli.pipeline.segment
segmenter = load({str(weights)!r}, "cpu", backend={backend!r})
segmenter.labels(np.zeros((64, 96, 3), np.uint8))
print(segmenter.backend)
from icnet_cli.inference.built import processor
processor()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert backend == "auto" or done.stdout.split()[0] == "openvino"


def test_starting_reads_the_weights_once(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    tensors: list[str] = []
    original = weights_format.safe_open

    class Watched:
        def __init__(self, path: Path, framework: str) -> None:
            opened.append(path)
            self._file = original(path, framework=framework)

        def __enter__(self) -> Watched:
            self._file.__enter__()
            return self

        def __exit__(self, *rest: object) -> None:
            self._file.__exit__(*rest)

        def get_tensor(self, name: str) -> torch.Tensor:
            tensors.append(name)
            return self._file.get_tensor(name)

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

    monkeypatch.setattr(weights_format, "safe_open", Watched)
    load(weights, "cpu").labels(stripes(*SIZE))
    assert opened == [weights]
    assert len(tensors) == len(set(tensors)) > 50
    load(weights, "cpu")
    assert len(opened) == 2  # the twin: what is read again is counted again

"""Whether every way of running a network here gives the same labels: each against torch on the CPU in fp32."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from icnet_cli.doctor.findings import ABSENT, BAD, OK, WARNING, Finding, version_of
from icnet_cli.errors import IcnetError

GROUP = "parity"
LEAST = {"fp32": 0.999, "fp16": 0.995, "bf16": 0.97}  # share of equal pixels
FRAME = (360, 640)  # of the built-in frame


class Way(NamedTuple):
    """One way of running a network."""

    backend: str
    device: str
    precision: str

    @property
    def name(self) -> str:
        """As the report has it."""
        return f"{self.backend} {self.device} {self.precision}"


def backends() -> Iterator[Finding]:
    """Which of the ways to run a network are installed."""
    from icnet_cli.inference.backends.runtimes import RUNTIMES

    yield Finding("backends", "torch", OK, str(version_of("torch")))
    for runtime in RUNTIMES.values():
        missing = runtime.missing()
        detail = missing or f"{runtime.version()}; a network is built once a size, {runtime.build_time}"
        yield Finding("backends", runtime.name, ABSENT if missing else OK, detail)


def ways() -> list[Way]:
    """Every way that is installed, the reference left out."""
    import torch

    from icnet_cli.inference.backends.runtimes import installed_in
    from icnet_cli.inference.processor import cpu_has_bf16

    installed = installed_in("fp32")
    found = [Way(name, "cpu", "fp32") for name in installed]
    if cpu_has_bf16():
        found += [Way(name, "cpu", "bf16") for name in ("torch", *installed_in("bf16"))]
    if torch.cuda.is_available():
        found += [Way("torch", "cuda", precision) for precision in ("fp32", "fp16")]
        found += [Way("compile", "cuda", "fp16")] if "compile" in installed else []
    return found


class Parity:
    """Runs one network in every way on a frame that is drawn here.

    Args:
        weights: a bundled name or a file.
    """

    def __init__(self, weights: str) -> None:
        from icnet_cli.checkpoints.bundled import find_weights
        from icnet_cli.checkpoints.format import load_weights
        from icnet_cli.export.agreement import street_frame

        self._loaded = load_weights(find_weights(weights))
        self._frame = street_frame(*FRAME)
        self.ran_by = "torch"  # the backend that ran the last way: one may stand in for another
        self.reference, self.reference_ms = self.labels(Way("torch", "cpu", "fp32"))

    def labels(self, way: Way) -> tuple[Any, float]:
        """The labels of the frame in this way, and how long it took in milliseconds once all was ready."""
        from icnet_cli.inference.segmenter import Segmenter

        loaded = self._loaded
        segmenter = Segmenter(loaded.network, loaded.meta, way.device, way.precision, backend=way.backend)
        # On a GPU the second run of a size is slow as well: its graph is made.
        segmenter.warm(*self._frame.shape[:2])
        segmenter.labels(self._frame)
        start = time.perf_counter()
        labels = segmenter.labels(self._frame)
        spent = (time.perf_counter() - start) * 1000
        self.ran_by = segmenter.backend
        segmenter.engine.close()
        return labels, spent

    def finding(self, way: Way) -> Finding:
        """How many of the pixels agree."""
        try:
            labels, milliseconds = self.labels(way)
        except IcnetError as error:
            return Finding(GROUP, way.name, WARNING, f"did not run: {error}")
        agreement = float((labels == self.reference).mean())
        if self.ran_by != way.backend:
            return Finding(GROUP, way.name, WARNING, f"did not run: {self.ran_by} took its place")
        least = LEAST[way.precision]
        detail = f"{agreement:.3%} of pixels agree, {milliseconds:.0f} ms a frame"
        if agreement >= least:
            return Finding(GROUP, way.name, OK, detail)
        cure = f"leave out --backend {way.backend} on {way.device}, and tell us"
        return Finding(GROUP, way.name, BAD, f"{detail}; at least {least:.1%} must", cure)

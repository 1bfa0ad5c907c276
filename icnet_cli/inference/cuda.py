"""The engine for a GPU: the folded network as a CUDA graph, scores to labels in one kernel.

The Segmenter calls its three steps one by one; the pipeline asks for `device_steps`, which take a video's pictures from
planes to labels or paint without leaving the device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from threading import Lock

import torch
from torch import Tensor, nn

from icnet_cli.checkpoints.format import Normalisation
from icnet_cli.errors import is_out_of_memory

from .device import set_exactness
from .device_steps import DeviceJob, DeviceSteps
from .engine import Labels, Size, TorchEngine
from .graphs import CALLS, Capture, Graphed
from .streams import graph_of
from .upsample import Kernel, ScoreUpsampler


class CudaEngine(TorchEngine):
    """See `engine.Engine`.

    Args:
        compiled: run the network as inductor compiles it, at its first picture of each size.
        capture, kernel: what makes graphs, and scores into labels; for tests without a GPU.
    """

    def __init__(
        self,
        network: nn.Module,
        normalisation: Normalisation,
        device: torch.device,
        precision: str,
        compiled: bool = False,
        capture: Capture = graph_of,
        kernel: Kernel | None = None,
    ) -> None:
        super().__init__(network, normalisation, device, precision)
        self.backend = "compile" if compiled else "torch"
        self._kernel = kernel
        self._notes: list[str] = []
        self._plain: Callable[[Tensor], Tensor] = self.ready.scores  # type: ignore[assignment]
        self._compiled = torch.compile(self._plain, dynamic=False) if compiled else None
        self._graphed = Graphed(self._scores, capture=capture)
        self._upsampler = lru_cache(maxsize=8)(self._make_upsampler)
        self._lock = Lock()  # a graph's input and output are in one place for all pictures

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be done as it should be, one line each."""
        return (*self._notes, *([self._graphed.note] if self._graphed.note else []))

    def forward(self, pictures: Tensor) -> Tensor:
        """See `Engine.forward`."""
        with self._lock:
            return self._graphed(pictures)

    def _scores(self, pictures: Tensor) -> Tensor:
        if self.device.type == "cuda":
            set_exactness(
                self.precision
            )  # torch keeps one setting for all: another engine may have changed it
        if self._compiled is None:
            return self._plain(pictures)
        try:
            return self._compiled(pictures)  # type: ignore[no-any-return]
        except Exception as error:
            if is_out_of_memory(error):
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._notes.append(f"the network runs as torch has it, not compiled: {reason}")
            self._compiled, self.backend = None, "torch"
            return self._plain(pictures)

    def postprocess(self, scores: Tensor, size: Size, network_size: Size) -> list[Labels]:
        """See `Engine.postprocess`."""
        upsampler = self._upsampler((scores.shape[2], scores.shape[3]), size, network_size)
        labels = upsampler(scores)
        if upsampler.note and upsampler.note not in self._notes:
            self._notes.append(upsampler.note)
        return list(labels.cpu().numpy())

    def _make_upsampler(self, score_size: Size, size: Size, network_size: Size) -> ScoreUpsampler:
        return ScoreUpsampler(score_size, size, self.device, self.align_corners, network_size, self._kernel)

    @torch.inference_mode()
    def warm(self, size: Size) -> None:
        """See `Engine.warm`."""
        shape = (1, 3, *size)
        blank = torch.zeros(shape, dtype=self._dtype, device=self.device)
        for _ in range(CALLS):
            self.forward(blank.to(memory_format=torch.channels_last))

    def device_steps(self, job: DeviceJob) -> DeviceSteps:
        """The stages for a video, from planes to labels or painted planes, with this network."""
        normalisation = None if self._takes_bytes else self._normalisation
        return DeviceSteps(
            self.ready, normalisation, self._dtype, job, self.device, self._scores, self._kernel
        )

    def close(self) -> None:
        """Give the graphs' memory back."""
        self._graphed.clear()
        self._upsampler.cache_clear()

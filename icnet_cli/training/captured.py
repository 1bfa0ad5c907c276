"""A batch's forward and backward pass as one CUDA graph.

A narrow network's pass is some 3,000 kernels: to launch them one by one took the host of an H200 twice as long as the
device to run them (docs/performance.md). A graph is launched once.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from icnet_cli.errors import is_out_of_memory
from icnet_cli.inference.graphs import Capture
from icnet_cli.inference.streams import CaptureError, graph_of

AFTER = 32  # batches of one size that run operator by operator: so many are soon over, or the size is here to stay
# By how much loss and gradient of a graph may differ from those without: half precision, and dropout drawn otherwise.
_LOSS_APART, _GRADIENT_APART = 0.02, 0.25


class CapturedPass:
    """A batch to its loss, and the gradients of `parameters` in `.grad`.

    The first batches of a size run as they are. Then the pass is captured, held against the way without a graph on a
    batch that it has not seen, and used where both agree. One size has a graph at a time: a recipe's stages come one
    after the other.

    Args:
        trained: gives the mean loss of a batch's tensors on one device; nothing in it may ask the device for a value.
        capture: what makes graphs; for tests without a GPU.

    Attributes:
        note: why there is no graph, one line; None where there may be.
    """

    def __init__(
        self, trained: nn.Module, parameters: Sequence[nn.Parameter], capture: Capture | None = None
    ) -> None:
        # cuDNN's search among its algorithms costs a training more than it gives: see `conduct.arithmetic`.
        self._capture = capture or partial(graph_of, search=False)
        self._trained, self._parameters = trained, list(parameters)
        self._key: Any = None
        self._seen = 0
        self._graph: _Graph | None = None
        self.note: str | None = None

    def __call__(self, *batch: Tensor) -> Tensor:
        """The loss of a batch, in memory of its own.

        Args:
            batch: pictures uint8 (N, 3, H, W), their labels (N, H, W) and, where teachers were asked, what they say,
                (N, K, h, w): that is worked out before, not in the graph.
        """
        key = tuple(tensor.shape for tensor in batch)
        if key != self._key:
            self._key, self._seen, self._graph = key, 0, None
        self._seen += 1
        if self._graph is None and self._seen > AFTER and self.note is None:
            self._graph = self._captured(batch)
        if self._graph is None:
            return self._plain(*batch)
        return self._graph(*batch)

    def _plain(self, *batch: Tensor) -> Tensor:
        loss = self._trained(*batch)
        loss.backward()
        return loss.detach()

    def _captured(self, batch: Sequence[Tensor]) -> _Graph | None:
        """A graph for batches like this one; what making it did to statistics and random numbers is undone."""
        kept = [buffer.clone() for buffer in self._trained.buffers()]
        seed = torch.initial_seed()
        graph = None
        try:
            made = _Graph(self._trained, self._parameters, batch, self._capture)
            graph = made if self._agree(made, [tensor.flip(-1) for tensor in batch], seed) else None
        except (CaptureError, RuntimeError, MemoryError) as error:
            spent = is_out_of_memory(error)
            if not (spent or isinstance(error, CaptureError)):
                raise
            reason = f"no memory for one on {batch[0].device}" if spent else error
            self.note = f"steps run operator by operator, not as a CUDA graph: {reason}"
        finally:
            for buffer, before in zip(self._trained.buffers(), kept, strict=True):
                buffer.copy_(before)
            for parameter in self._parameters:
                parameter.grad = None
            torch.manual_seed(seed)
        return graph

    def _agree(self, graph: _Graph, batch: Sequence[Tensor], seed: int) -> bool:
        """Whether both ways give one loss and one gradient, of a batch that the capture has not seen."""
        found = []
        for way in (self._plain, graph):
            torch.manual_seed(seed)
            for parameter in self._parameters:
                parameter.grad = None
            loss = float(way(*batch))
            found.append((loss, [None if p.grad is None else p.grad.clone() for p in self._parameters]))
        (loss, gradients), (other, others) = found
        pairs = [(g, o) for g, o in zip(gradients, others, strict=True) if g is not None and o is not None]
        size = float(nn.utils.get_total_norm([g for g, _ in pairs]))
        if not (math.isfinite(loss) and math.isfinite(size)):
            self._seen = 0  # nothing can be compared with it: again later
            return False
        apart = float(nn.utils.get_total_norm([g - o for g, o in pairs]))
        same = [g is None for g in gradients] == [g is None for g in others]
        if same and abs(loss - other) <= _LOSS_APART * abs(loss) and apart <= _GRADIENT_APART * size:
            return True
        self.note = "steps run operator by operator: as a CUDA graph they gave other gradients"
        return False


@contextmanager
def _asking_nothing(device: torch.device) -> Iterator[None]:
    """Find out what asks the device for a value before a capture does, after whose failure torch's state is broken."""
    if device.type != "cuda":
        yield
        return
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says once that it does not find all
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise CaptureError(str(error).splitlines()[0]) from error
    finally:
        torch.cuda.set_sync_debug_mode(mode)


class _Graph:
    """The pass for one size: copy in, replay, and point the parameters to the gradients that it wrote."""

    def __init__(
        self,
        trained: Callable[..., Tensor],
        parameters: Sequence[nn.Parameter],
        batch: Sequence[Tensor],
        capture: Capture,
    ) -> None:
        device = batch[0].device
        self._trained, self._parameters = trained, parameters
        self._batch = [tensor.clone() for tensor in batch]
        self._loss = torch.zeros((), device=device)
        self._gradients = [torch.zeros_like(parameter) for parameter in parameters]
        self._reached = [True] * len(parameters)  # which of them the loss depends on
        with _asking_nothing(device):
            self._work()
        self._replay = capture(self._work, device)

    def _work(self) -> None:
        loss = self._trained(*self._batch)
        found = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        self._reached = [gradient is not None for gradient in found]
        own = [kept for kept, new in zip(self._gradients, found, strict=True) if new is not None]
        torch._foreach_copy_(own, [gradient for gradient in found if gradient is not None])
        self._loss.copy_(loss.detach())

    def __call__(self, *batch: Tensor) -> Tensor:
        for own, given in zip(self._batch, batch, strict=True):
            own.copy_(given)
        self._replay()
        for parameter, gradient, reached in zip(
            self._parameters, self._gradients, self._reached, strict=True
        ):
            parameter.grad = gradient if reached else None
        return self._loss.clone()  # the next replay writes where this lies

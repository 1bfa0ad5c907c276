"""A function of one tensor, replayed as a CUDA graph for the sizes that come again and again.

Launching a network's hundred kernels one by one takes the host longer than the GPU needs to run them. A graph is
launched once. It holds memory for itself, so only few sizes get one, and only sizes that have come before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from icnet_cli.errors import is_out_of_memory

from .streams import CaptureError, Work, graph_of

Function = Callable[[Tensor], Tensor]
Capture = Callable[[Work, torch.device], Work]
CALLS = 3  # after which a size is compiled, its algorithms are found and it has its graph
SIZES = 8  # that have one at a time; a run that keeps a deadline chooses among five
_FORGETTING = 256  # sizes counted at once


class _Graph:
    """The function for one size: copy in, replay, copy out."""

    def __init__(self, function: Function, like: Tensor, capture: Capture) -> None:
        self._function = function
        self._input = like.clone(memory_format=torch.preserve_format)
        self._replay = capture(self._work, like.device)
        self.used_at = 0

    def _work(self) -> None:
        self._output = self._function(self._input)

    def __call__(self, x: Tensor) -> Tensor:
        self._input.copy_(x)
        self._replay()
        return self._output.clone(
            memory_format=torch.preserve_format
        )  # the next replay writes where this lies


class Graphed:
    """`function`, as a graph for each size that has come `after` times; at most `limit` sizes have one.

    A size of which there is no graph runs as the function is. The longest unused one makes room, where it has not been
    used for `stale` calls: pictures of many sizes in turn would otherwise capture without end.

    Attributes:
        note: why there are no graphs, one line; None where there may be.
    """

    def __init__(
        self,
        function: Function,
        limit: int = SIZES,
        after: int = 2,
        stale: int = 64,
        capture: Capture = graph_of,
    ) -> None:
        self._function, self._capture = function, capture
        self._limit, self._after, self._stale = limit, after, stale
        self._graphs: dict[Any, _Graph] = {}
        self._seen: dict[Any, int] = {}
        self._calls = 0
        self.note: str | None = None

    def __call__(self, x: Tensor) -> Tensor:
        self._calls += 1
        key = (tuple(x.shape), x.dtype, x.stride())
        graph = self._graphs.get(key) or self._maybe_capture(key, x)
        if graph is None:
            return self._function(x)
        graph.used_at = self._calls
        return graph(x)

    def _maybe_capture(self, key: Any, x: Tensor) -> _Graph | None:
        if self.note is not None:
            return None
        if len(self._seen) >= _FORGETTING:
            self._seen.clear()
        self._seen[key] = self._seen.get(key, 0) + 1
        if self._seen[key] < self._after or not self._make_room():
            return None
        try:
            self._graphs[key] = _Graph(self._function, x, self._capture)
        except (CaptureError, RuntimeError, MemoryError) as error:
            if not (isinstance(error, CaptureError) or is_out_of_memory(error)):
                raise
            # A graph has memory of its own: where that is lacking, there may be enough to run without one.
            reason = error if isinstance(error, CaptureError) else f"no memory for one on {x.device}"
            self.note = f"the network runs operator by operator, not as a CUDA graph: {reason}"
            return None
        return self._graphs[key]

    def _make_room(self) -> bool:
        if len(self._graphs) < self._limit:
            return True
        oldest = min(self._graphs, key=lambda key: self._graphs[key].used_at)
        if self._calls - self._graphs[oldest].used_at < self._stale:
            return False
        del self._graphs[oldest]
        return True

    def __len__(self) -> int:
        return len(self._graphs)

    def clear(self) -> None:
        """Give the graphs' memory back."""
        self._graphs.clear()
        self._seen.clear()

"""A word to somebody who would wait long for a video without knowing of the faster way."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from icnet_cli.cli.console import say
from icnet_cli.cli.progress import Status, clock
from icnet_cli.config import EXPORT_SUFFIXES, SegmentConfig
from icnet_cli.inference.processor import cpu_has_bf16

_LONG_S = 600.0  # what is over sooner is over before the command has been typed anew
_SETTLED_S = 20.0  # by then the pace is the run's, not its start's


class Tip:
    """Says once, where most of a long run is the network's, how it takes less: in bf16, or asked less often.

    Files alone have a `total`, and videos alone have `seconds`: between pictures nothing can be carried.
    """

    def __init__(
        self, config: SegmentConfig, progress: str | None, now: Callable[[], float] = time.monotonic
    ) -> None:
        exported = config.weights.lower().endswith(tuple(EXPORT_SUFFIXES.values()))
        refused = exported or config.batch not in ("auto", "1")  # with --reuse
        self._may_reuse = not (config.uses_motion or refused)
        self._may_halve = not exported and config.precision == "auto"
        self._device, self._backend = config.device, config.backend
        self._open = (self._may_reuse or self._may_halve) and progress not in ("json", "none")
        self._now = now
        self._first: tuple[float, int] | None = None  # a resumed run does not begin at 0
        self._done = 0

    def before(self, describe: Callable[[Any], Status | str | None]) -> Callable[[Any], Status | str | None]:
        """`describe`, with a look at the `FrameDone` that an event is, or that one of several videos carries."""

        def described(event: Any) -> Status | str | None:
            frame = getattr(event, "frame", event)
            if hasattr(frame, "done"):  # a notice is none
                self.consider(frame)
            return describe(event)

        return described

    def consider(self, event: Any) -> None:
        """Look at a `FrameDone`."""
        if not self._open or event.total is None:
            return
        moment = self._now()
        if self._first is None or event.done <= self._done:  # the next video of several
            self._first = (moment, event.done)
        self._done = event.done
        began, before = self._first
        if moment - began < _SETTLED_S or event.done == before:
            return
        self._open = False
        left = (event.total - event.done) * (moment - began) / (event.done - before)
        way = self._way(event)
        if way and left >= _LONG_S and event.slowest == "network":
            say(f"{clock(left)} to go, most of it the network's: {way}")

    def _way(self, event: Any) -> str | None:
        if self._may_halve and cpu_has_bf16() and self._runs_in_bf16():
            return "--precision bf16, which this processor has, would take less; it finds as much, or nearly"
        if self._may_reuse and event.seconds is not None:
            return (
                "with --reuse 3 it would see each third frame, its labels follow the motion between, "
                "and little is lost"
            )
        return None

    def _runs_in_bf16(self) -> bool:
        """Whether the network runs on the CPU, by what computes in bf16 there."""
        # These import torch, which `icnet segment --help` does without.
        from icnet_cli.inference.backends.runtimes import runtimes_in
        from icnet_cli.inference.device import choose_device

        on_cpu = choose_device(self._device).type == "cpu"
        return on_cpu and self._backend in ("auto", "torch", *runtimes_in("bf16"))

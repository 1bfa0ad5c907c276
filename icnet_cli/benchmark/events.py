"""What a benchmark tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RowStarted:
    """A row is being measured: `done` of `total` are finished, `name` is this one's."""

    done: int
    total: int
    name: str

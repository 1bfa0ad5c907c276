"""What our programs are compared with runs in a process of its own, under the allocator that every program has."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def apart(work: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """`work(...)` in a fresh process: the command line's allocator (`inference.allocator`) is not in it.

    The number of threads is: it is in the environment. With a clock of the caller's own it stays in this process.
    """
    if "clock" in named:
        return work(*arguments, **named)
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=fresh) as pool:
        return pool.submit(work, *arguments, **named).result()


def against_plain(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each row with `speedup`, times faster than its network's plain row; None where there is none."""
    plain = {row["model"]: row["ms_p50"] for row in rows if row["backend"] == "plain"}
    return [
        {
            **row,
            "speedup": plain[row["model"]] / row["ms_p50"]
            if row["model"] in plain and row["backend"] != "plain" and row["ms_p50"]
            else None,
        }
        for row in rows
    ]

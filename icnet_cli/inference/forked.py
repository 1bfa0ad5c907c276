"""A process that is forked from one that has a Segmenter: torch's threads stay with its parent.

libgomp does not notice, and the child's first operator of several threads waits for the others for ever: folding a
network has begun them already. With one thread it waits for nobody, as in the processes of torch's own data loader.
"""

from __future__ import annotations

import os

import torch

_begun = False


def threads_begin() -> None:
    """Say that torch's threads exist from now on. A process that is forked before has all of its own."""
    global _begun
    _begun = True


def _do_without_threads() -> None:
    if _begun:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_do_without_threads)

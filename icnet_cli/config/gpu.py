"""The options of a video's way through a GPU."""

from __future__ import annotations

from typing import Any

from icnet_cli.config.fields import option
from icnet_cli.config.shared import NETWORK, WHAT

HWACCELS = ("auto", "none", "cuda")
_MOST = 64


def batch_option() -> Any:
    help = f"Frames that the network of a GPU sees at once: auto, or 1 to {_MOST}."
    return option("auto", help, metavar="N|auto", panel=NETWORK, shows="8 for files on a GPU, 1 live")


def hwaccel_option(panel: str = WHAT) -> Any:
    help = (
        "Where a file is decoded: none (software), cuda (the GPU's decoder, or software with a line that says why), "
        "or auto (as cuda, without a word)."
    )
    return option("none", help, choices=HWACCELS, panel=panel)


def gpu_problems(batch: str, one_by_one: bool) -> list[str]:
    """What is wrong with `--batch`; `one_by_one`: each frame is labelled with what those before it gave."""
    if batch == "auto":
        return []
    if not (batch.isdecimal() and 1 <= int(batch) <= _MOST):
        return [f"--batch must be auto or a number from 1 to {_MOST}, not {batch!r}"]
    if int(batch) > 1 and one_by_one:
        return [
            "--batch is for frames that are labelled each for itself, not with --reuse, --smooth or a deadline"
        ]
    return []

"""The options that use what a video's frames have in common."""

from __future__ import annotations

from typing import Any

from icnet_cli.config.fields import option

BETWEEN = "Between frames"
REUSE_KINDS = ("scores", "deep")
AUTO = "auto"
CHOSEN = "chosen"  # what a report says of what is reused where a time to keep decides it
_LONGEST = 1000  # frames


def reuse_option(env: bool = True) -> Any:
    help = "Run the network on each Kth frame, and where flow does not explain the picture; carry its scores between."
    return option(None, help, metavar="K|auto", env=env, panel=BETWEEN, shows="each frame for itself")


def reuse_kind_option(env: bool = True) -> Any:
    help = "What --reuse carries: the scores, or of ICNet its two deep branches (then the third sees each frame)."
    return option("scores", help, choices=REUSE_KINDS, env=env, panel=BETWEEN)


def smooth_option(env: bool = True) -> Any:
    help = "Average with what each spot was before: this share of it counts, where the picture is the same."
    return option(0.0, help, metavar="S", minimum=0.0, maximum=0.95, env=env, panel=BETWEEN)


def deadline_option(env: bool = True) -> Any:
    help = "Label each frame within this time: the network's size and what is reused are chosen as the load changes."
    return option(
        None, help, flags=("--deadline",), kind="time", above=0, metavar="TIME", env=env, panel=BETWEEN
    )


def realtime_option(env: bool = True) -> Any:
    return option(False, "The same, so that the source's own rate is kept.", env=env, panel=BETWEEN)


def reuse_problems(reuse: str | None, kind: str) -> list[str]:
    """What is wrong with --reuse and --reuse-kind, in words."""
    found = []
    if reuse is not None and reuse != AUTO and not (reuse.isdecimal() and 1 <= int(reuse) <= _LONGEST):
        found.append(f"--reuse must be auto or a number of frames from 1 to {_LONGEST}, not {reuse!r}")
    if kind != "scores" and reuse is None:
        found.append("--reuse-kind says what --reuse carries; give --reuse K or auto with it")
    return found


def pace_problems(reuse: str | None, deadline_s: float | None, realtime: bool) -> list[str]:
    """What is wrong with --deadline and --realtime, in words."""
    found = []
    if deadline_s is not None and realtime:
        found.append("--deadline and --realtime are two times to keep; give one")
    name = "--deadline" if deadline_s is not None else "--realtime" if realtime else None
    if name and reuse is not None:
        found.append(f"{name} chooses what is reused; leave out --reuse")
    return found

"""SIGKILL while training checkpoints are written: one that can be loaded is always there.

    python -m tests.robust.checkpoints --kills 200

The process does nothing but save, so most kills come inside a save.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from icnet_cli.checkpoints.state import list_states, load_state, save_state
from tests.robust.common import generator, options, report, turns, workplace
from tests.robust.launcher import Launcher

VALUES = 1 << 18  # a megabyte a tensor


def state_of(step: int) -> dict[str, Any]:
    """A state by whose values it can be told whether it is whole."""
    return {"step": step, "network": {f"tensor{n}": torch.full((VALUES,), float(step)) for n in range(4)}}


def save_for_ever(folder: str) -> None:
    """What is killed."""
    step = max([0, *(int(path.stem.split("-")[1]) for path in list_states(Path(folder)))])
    while True:
        step += 1
        save_state(Path(folder), step, state_of(step))


@dataclass
class Tally:
    """What was found after each kill."""

    kills: int = 0
    inside: int = 0  # kills that left an unfinished file, so came inside a save
    broken: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        return (
            f"{self.kills} kills while saving ({self.inside} inside a save): {len(self.broken)} without a loadable "
            f"checkpoint, or with an older one than was there before{''.join(f'{chr(10)}  {t}' for t in self.broken)}"
        )


def measure(folder: Path, kills: int, seed: int, launcher: Launcher) -> Tally:
    tally, newest = Tally(), 1
    save_state(folder, newest, state_of(newest))
    for number, wait in enumerate(turns(generator(seed).uniform(0.02, 0.2, kills), "kills")):
        run = launcher.start(folder, call="tests.robust.checkpoints:save_for_ever")
        _until_saving(folder)
        time.sleep(wait)
        run.kill()
        run.wait()
        tally.kills += 1
        parts = list(folder.glob(".*.part"))
        tally.inside += bool(parts)
        for part in parts:
            part.unlink()
        newest = _check(folder, newest, number, tally)
    return tally


def _until_saving(folder: Path) -> None:
    """A new process has begun its first save; on a busy machine that takes its time."""
    deadline = time.monotonic() + 30
    while not list(folder.glob(".*.part")) and time.monotonic() < deadline:
        time.sleep(0.002)


def _check(folder: Path, newest: int, number: int, tally: Tally) -> int:
    """Load what a resumed run would; returns its step."""
    try:
        state = load_state(folder)
    except Exception as error:
        tally.broken.append(f"kill {number}: {error}")
        return newest
    step = int(state["step"])
    whole = all(bool((tensor == step).all()) for tensor in state["network"].values())
    if step < newest or not whole:
        tally.broken.append(f"kill {number}: step {step} after {newest}, whole: {whole}")
    return max(step, newest)


def main() -> None:
    told = options(__doc__, kills=200, seed=0)
    with workplace() as (folder, launcher, _):
        place = folder / "run"
        place.mkdir()
        tally = measure(place, told.kills, told.seed, launcher)
    report(tally.line, not tally.broken)


if __name__ == "__main__":
    main()

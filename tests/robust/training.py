"""SIGKILL while a network trains: a checkpoint that loads is always there, and the run goes on from it.

    python -m tests.robust.training --kills 150 --inside 50

A tiny network that saves after each step is killed at random moments, and, traced, at system calls spread evenly over
one save: before and after the file is opened, each write, the sync, the renaming, the removal of the oldest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from icnet_cli.checkpoints.format import load_weights
from icnet_cli.checkpoints.state import list_states, load_state
from icnet_cli.errors import IcnetError
from tests.robust import tracing
from tests.robust.common import generator, options, report, turns, workplace
from tests.robust.launcher import Launcher, Run

RECIPE = """
splits: [train]
val_split: val
batch: 2
steps: 1000000
crop_size: [32, 32]
optimizer: {name: adamw, lr: 0.001}
loss: {main_stride: 4}
ema: 0.9
evaluations: 200000
"""
_PATIENCE_S = 400.0  # for a process that shares its cores with many
_CALL = "tests.robust.training:train_for_ever"


def train_for_ever(folder: str, wait: str) -> None:
    """What is killed: trains, or goes on where it was, saves after each step, and says where a save begins and ends."""
    from icnet_cli.config import TrainConfig
    from icnet_cli.training import trainer

    place, save = Path(folder), trainer.save_state

    def marked(*arguments: Any) -> Path:
        tracing.say(tracing.BEGIN)
        path = save(*arguments)
        tracing.say(tracing.END)
        return path

    trainer.CHECKPOINT_EVERY_S, trainer.save_state = -1.0, marked
    run = place / "run"
    goes_on = bool(list_states(run))
    config = TrainConfig(
        dataset=place / "camvid", model="fast-scnn", keep=0.125, recipe=str(place / "tiny.yaml"), device="cpu",
        workers=0, cache="memory", output=None if goes_on else run, resume=run if goes_on else None,
    )  # fmt: skip
    if wait == "wait":
        (place / "ready").touch()
        while not (place / "go").exists():
            time.sleep(0.002)
    for _ in trainer.train(config):
        pass


@dataclass
class Tally:
    """What was found after each kill."""

    kills: int = 0
    inside: int = 0  # of them, at a known system call of a save
    calls: int = 0  # stops at system calls that a save has
    parts: int = 0  # kills at random that left an unfinished file, so came inside a save
    broken: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        return (
            f"{self.kills} kills while training ({self.inside} spread over the {self.calls} stops at system calls of a "
            f"save, {self.parts} of the others inside by chance): {len(self.broken)} without a loadable checkpoint, "
            f"or with an older one{''.join(f'{chr(10)}  {text}' for text in self.broken)}"
        )


class Bench:
    """A run folder that is killed over and over, and each time goes on."""

    def __init__(self, folder: Path, launcher: Launcher) -> None:
        # Imported here, because the module's own fixtures are pytest's.
        from tests.tiny_camvid import write_split

        self.folder, self.run, self._launcher = folder, folder / "run", launcher
        write_split(folder / "camvid", "train", 4, 0)
        write_split(folder / "camvid", "val", 1, 1)
        (folder / "tiny.yaml").write_text(RECIPE)
        self.tally, self.newest = Tally(), 0

    def _start(self, wait: str) -> Run:
        return self._launcher.start(self.folder, wait, call=_CALL, limit_s=600)

    def at_random(self, pause_s: float) -> None:
        """Kill some time after the process has saved for the first time."""
        before = _last(self.run)
        process = self._start("no")
        _until(lambda: _last(self.run) != before, process)
        time.sleep(pause_s)
        process.kill()
        process.wait()
        self.tally.parts += bool(list(self.run.glob(".*.part")))
        self._check(f"after {pause_s:.3f} s")

    def at_call(self, stop: int | None) -> int:
        """Kill at one of the system-call stops of a save, None at its end; returns how many were passed."""
        for name in ("ready", "go"):
            (self.folder / name).unlink(missing_ok=True)
        process = self._start("wait")
        _until((self.folder / "ready").exists, process)
        tracer = tracing.Tracer(process.pid)
        (self.folder / "go").touch()
        # The third save of a process is like all later ones: two older files, of which one goes.
        for _ in range(2):
            tracer.until(tracing.END)
        tracer.until(tracing.BEGIN)
        if stop is None:
            passed = tracer.until(tracing.END)
        else:
            for _ in range(stop + 1):
                tracer.next()
            passed = stop
            self.tally.inside += 1
        tracer.kill()
        process.wait()
        self._check(f"at stop {stop}")
        return passed

    def _check(self, when: str) -> None:
        """Load what a resumed run would."""
        self.tally.kills += 1
        try:
            step = int(load_state(self.run)["step"])
            for name in ("best", "last"):
                if (self.run / f"{name}.safetensors").exists():
                    load_weights(self.run / f"{name}.safetensors")
        except IcnetError as error:
            self.tally.broken.append(f"killed {when}: {error}")
            return
        if step < self.newest:
            self.tally.broken.append(f"killed {when}: step {step} after {self.newest}")
        self.newest = max(step, self.newest)


def _last(run: Path) -> str | None:
    states = list_states(run)
    return states[-1].name if states else None


def _until(met: Callable[[], bool], process: Run) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not met():
        if _ended(process.pid):
            raise RuntimeError(f"the training process ended by itself: {process.wait().err[-2000:]}")
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise TimeoutError("the training process did not get so far")
        time.sleep(0.005)


def _ended(pid: int) -> bool:
    """Whether a process is one in name only, that nobody has asked for its end yet."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def measure(bench: Bench, kills: int, inside: int, seed: int) -> Tally:
    """`kills` at random moments and `inside` at system calls of a save."""
    for pause_s in turns(generator(seed).uniform(0.0, 0.3, kills), "kills at random"):
        bench.at_random(float(pause_s))
    if inside:
        bench.tally.calls = bench.at_call(None)
        bench.tally.kills -= 1  # that one was killed after its save
        for stop in turns(
            np.linspace(0, bench.tally.calls - 1, inside).round().astype(int), "kills in a save"
        ):
            bench.at_call(int(stop))
    return bench.tally


def main() -> None:
    told = options(__doc__, kills=150, inside=50, seed=0)
    if told.inside and not tracing.possible():
        raise SystemExit("processes cannot be traced here; give --inside 0")
    with workplace() as (folder, launcher, _):
        bench = Bench(folder, launcher)
        with suppress(KeyboardInterrupt):  # what was reached is told; the launcher ends what still runs
            measure(bench, told.kills, told.inside, told.seed)
    report(bench.tally.line, not bench.tally.broken)


if __name__ == "__main__":
    main()

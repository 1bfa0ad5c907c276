"""torchrun over two machines: two launchers here, each with a working folder of its own."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from icnet_cli.checkpoints.state import list_states
from icnet_cli.training.resumed import newness
from tests.robust.launcher import ROOT
from tests.tiny_camvid import write_recipe

pytestmark = pytest.mark.slow

# BatchNorm at work, whose statistics are each rank's own on a CPU; no dropout, which each draws for itself.
RECIPE = {"model": {"fast-scnn": {"dropout": 0.0}}, "batch": 4, "steps": 60}
PATIENCE_S = 500.0
ADDRESSES = ("127.0.0.1", "127.0.0.2")  # torchrun numbers machines in the order of their names
TIMES = ("images_per_s", "seconds")


class Machine:
    """One launcher with its folder; what a network file system would share is not shared."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._out, self._err = (folder / "out").open("w"), (folder / "err").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *arguments],
            cwd=folder, env=environment, stdout=self._out, stderr=self._err,
        )  # fmt: skip

    def end(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self._out.close()
        self._err.close()
        return code

    def said(self) -> list[str]:
        """Our own lines, without torchrun's."""
        return [line for line in (self.folder / "err").read_text().splitlines() if line.startswith("icnet: ")]


class Machines:
    """Starts launches and leaves none behind."""

    def __init__(self, root: Path) -> None:
        self.root, self.running = root, list[Machine]()

    def start(self, train: list[str], addresses: tuple[str, ...] = ADDRESSES) -> list[Machine]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        place = ["--nnodes", str(len(addresses)), "--nproc-per-node", str(2 // len(addresses))]
        place += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}"]
        command = ["-m", "icnet_cli", "train", *train, "--device", "cpu", "--progress", "none"]
        started = [
            Machine(self.root / f"machine-{number}", [*place, "--local-addr", address, *command])
            for number, address in enumerate(addresses)
        ]
        self.running += started
        return started


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    started = Machines(tmp_path)
    yield started
    for machine in started.running:
        if machine.process.poll() is None:
            machine.process.kill()
            machine.end()


def _rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def _until_it_trains(run: Path, machines: list[Machine]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not (run / "metrics.csv").exists():
        assert time.monotonic() < deadline
        assert all(machine.process.poll() is None for machine in machines), machines[0].said()
        time.sleep(0.02)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="127.0.0.2 is this machine on Linux alone")
def test_two_machines_are_two_processes_of_one_and_go_on_where_the_folder_is(
    machines: Machines, tmp_path: Path, camvid: Path
) -> None:
    """Losses, record and weights equal to the byte: stopped through the machine that has no folder, and resumed with
    that one numbered first."""
    train = [str(camvid), "--recipe", str(write_recipe(tmp_path, **RECIPE)), "--model", "fast-scnn"]
    train += ["--keep", "0.125", "-o", "run"]
    (whole,) = machines.start(train, ADDRESSES[:1])
    assert whole.end() == 0, whole.said()
    reference = tmp_path / "reference"
    (whole.folder / "run").rename(reference)
    steps = {int(row["step"]) for row in _rows(reference) if row["loss"]}
    assert steps == {1, 10, 20, 30, 40, 50, 60}

    # torchrun's SIGTERM goes to those that read pictures too; they must outlive it.
    first, second = machines.start([*train, "--workers", "1"])
    run = first.folder / "run"
    _until_it_trains(run, [first, second])
    second.process.send_signal(signal.SIGTERM)
    assert first.end() != 0  # torchrun's own code, of whatever ended its processes
    assert second.end() != 0
    assert [len(first.said()), len(second.said())] == [1, 0]
    assert first.said()[0].startswith("icnet: terminated at step")
    assert first.said()[0].endswith("go on with --resume run")
    assert len(list_states(run)) == 1
    assert not (second.folder / "run").exists()  # one writer

    again = machines.start([str(camvid), "--resume", "run"], ADDRESSES[::-1])
    assert [machine.end() for machine in again] == [0, 0], [machine.said() for machine in again]
    assert not (second.folder / "run").exists()
    assert _rows(run) == _rows(reference)
    for name in ("last.safetensors", "best.safetensors"):
        assert (run / name).read_bytes() == (reference / name).read_bytes()


def test_how_new_a_run_is(tmp_path: Path) -> None:
    assert newness(tmp_path / "none") == -1
    for name, when in (("a", 5), ("b", 9)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
        os.utime(tmp_path / name / "run.json", ns=(when, when))
    assert newness(tmp_path / "a") == 5
    assert newness(tmp_path) == 9

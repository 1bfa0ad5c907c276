"""Processes that read pictures: signals are not for them, and their death is no step half done."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from icnet_cli.checkpoints.state import list_states, load_state
from icnet_cli.errors import ExitCode
from icnet_cli.training.loader import AugmentedDataset, WorkerLostError, load_batches
from icnet_cli.training.prepare import prepare
from icnet_cli.training.run import Run
from tests.robust.launcher import ROOT
from tests.tiny_camvid import write_recipe

PATIENCE_S = 900.0  # a machine may have much else to do


@pytest.fixture
def training(camvid: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that reads in two processes and does not end by itself, in a process group of its own."""
    recipe = write_recipe(tmp_path, steps=1_000_000, crop_size=[32, 32], evaluations=1)
    words = [
        "train",
        camvid,
        "--model",
        "fast-scnn",
        "--keep",
        "0.125",
        "--recipe",
        recipe,
        "-o",
        tmp_path / "run",
    ]
    words += ["--device", "cpu", "--workers", "2", "--progress", "none"]
    with subprocess.Popen(
        [sys.executable, "-m", "icnet_cli", *map(str, words)],
        start_new_session=True, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        try:
            wait_for_the_first_step(tmp_path / "run", process)
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_for_the_first_step(run: Path, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not (run / "metrics.csv").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, f"no step in {PATIENCE_S:.0f} s"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGHUP, 129, "hung up"),
    ],
)
def test_a_signal_to_the_whole_group_saves(
    training: subprocess.Popen[str], tmp_path: Path, number: int, code: int, word: str
) -> None:
    """As launchers, service managers and terminals send it."""
    os.killpg(training.pid, number)
    _, told = training.communicate(timeout=PATIENCE_S)
    assert training.returncode == code, told
    assert word in told
    assert "--resume" in told
    (kept,) = list_states(tmp_path / "run")
    assert load_state(tmp_path / "run")["step"] == int(kept.stem.split("-")[1])


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def own() -> set[int]:
    """Processes of the one that tests: those that read pictures, and what other tests have left running."""
    return {pid for pid in children(os.getpid()) if b"resource_tracker" not in command_of(pid)}


def test_when_they_are_killed_what_was_trained_is_kept(
    training: subprocess.Popen[str], tmp_path: Path
) -> None:
    until = time.monotonic() + PATIENCE_S
    while training.poll() is None and time.monotonic() < until:
        for pid in children(
            training.pid
        ):  # each epoch has new ones, and one whose work is done is not missed
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    _, told = training.communicate(timeout=PATIENCE_S)
    assert training.returncode == 6, told
    assert "was killed, by want of memory as a rule; give fewer --workers; saved" in told
    (kept,) = list_states(tmp_path / "run")
    assert kept.name in told


def test_their_death_is_told_where_the_next_batch_is_asked_for(run: Run) -> None:
    """Not amid a step, as torch's own handler does."""
    before = signal.getsignal(signal.SIGCHLD)
    recipe = run.recipe
    dataset = AugmentedDataset(run.train, recipe.augment, recipe.stage_at(0.0), recipe.normalisation.fill)
    others = own()
    batches = load_batches(dataset, [[0]] * 100, 0, 0, 1, False)
    next(batches)
    (worker,) = own() - others
    os.kill(worker, signal.SIGKILL)
    time.sleep(0.5)  # torch's handler would raise here
    with pytest.raises(WorkerLostError):
        list(batches)
    after = signal.getsignal(signal.SIGCHLD)
    assert after == before or getattr(after, "__module__", "").startswith("torch.")


def test_another_ones_death_is_not_told_amid_the_save(run: Run) -> None:
    recipe = run.recipe
    dataset = AugmentedDataset(run.train, recipe.augment, recipe.stage_at(0.0), recipe.normalisation.fill)
    others = own()
    batches = load_batches(dataset, [[0]] * 100, 0, 0, 2, False)
    next(batches)
    first, second = own() - others
    os.kill(first, signal.SIGKILL)
    with pytest.raises(WorkerLostError) as caught:
        list(batches)
    with suppress(ProcessLookupError):  # it has been told to end
        os.kill(second, signal.SIGKILL)
    time.sleep(0.5)
    assert caught.value.code is ExitCode.DEVICE
    assert not own() - others


API = """
import sys
from pathlib import Path
from icnet_cli.config import TrainConfig
from icnet_cli.training.trainer import StepDone, train
from icnet_cli.training import trainer
dataset, recipe, output = sys.argv[1:]
options = dict(dataset=Path(dataset), recipe=recipe, output=Path(output), model="fast-scnn", keep=0.125, device="cpu")
for event in train(TrainConfig(**options, workers=2)):
    if isinstance(event, StepDone) and event.step == 2:
        trainer.Trainer._train_batch = None  # not callable: an error of the program's own, that nobody catches
"""


def test_a_script_that_fails_ends(camvid: Path, tmp_path: Path) -> None:
    """The traceback keeps the loader, and Python waits at its end for workers that heed no signal."""
    recipe = write_recipe(tmp_path, steps=1_000_000, crop_size=[32, 32], evaluations=1)
    command = [sys.executable, "-c", API, str(camvid), str(recipe), str(tmp_path / "run")]
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 1
    assert "TypeError" in ended.stderr


@pytest.fixture
def run(config: object) -> Run:
    return prepare(config)  # type: ignore[arg-type]


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere processes are started as the system's Python does it"
)
def test_processes_are_forked_whatever_python_does_by_itself(run: Run) -> None:
    """From Python 3.14 on it starts others by a server, none of them our own child."""
    recipe, before = run.recipe, multiprocessing.get_start_method()
    dataset = AugmentedDataset(run.train, recipe.augment, recipe.stage_at(0.0), recipe.normalisation.fill)
    multiprocessing.set_start_method("forkserver", force=True)
    batches = load_batches(dataset, [[0]] * 4, 0, 0, 1, False)
    try:
        next(batches)
        kinds = {type(process).__name__ for process in multiprocessing.active_children()}
    finally:
        batches.close()  # type: ignore[attr-defined]
        multiprocessing.set_start_method(before, force=True)
    assert kinds == {"ForkProcess"}

"""One process at a time trains in a run folder, and lets it go however it ends."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from icnet_cli.config import TrainConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.training.held import RunLock, is_held
from icnet_cli.training.prepare import prepare
from icnet_cli.training.resumed import find_run

fcntl = pytest.importorskip("fcntl")

HOLD = """
import os, sys, time
from pathlib import Path
from icnet_cli.training.held import RunLock
lock = RunLock()
lock.take(Path(sys.argv[1]))
if sys.argv[2] == "child" and os.fork() == 0:
    time.sleep(60)
    os._exit(0)
print("held", flush=True)
time.sleep(60)
"""


@contextmanager
def another(folder: Path, how: str = "alone") -> Iterator[subprocess.Popen[str]]:
    """A process that trains in the folder, as far as others can tell; with a child, as one that reads pictures is."""
    command = [sys.executable, "-c", HOLD, str(folder), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def refused(make: Callable[[], object]) -> str:
    with pytest.raises(IcnetError, match="another process is training in it") as caught:
        make()
    assert caught.value.code is ExitCode.USAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def begun(config: TrainConfig) -> TrainConfig:
    """What resumes a run that was stopped at once."""
    prepare(config).release()
    return replace(config, output=None, resume=config.output)


def test_a_run_that_another_process_trains_is_not_resumed(begun: TrainConfig) -> None:
    folder = begun.resume
    assert folder is not None
    part, record = folder / ".best.safetensors.abcd.part", (folder / "run.json").read_bytes()
    part.write_bytes(b"half")
    with another(folder):
        assert str(folder) in refused(lambda: prepare(replace(begun, lr=0.5)))
    assert part.exists()
    assert (folder / "run.json").read_bytes() == record
    prepare(begun).release()
    assert not part.exists()


def test_nor_is_a_new_one_begun_in_its_folder(config: TrainConfig) -> None:
    """Between the making of the folder and its record, too."""
    folder = config.output
    assert folder is not None
    folder.mkdir()
    with another(folder):
        refused(lambda: prepare(config))
    assert [path.name for path in folder.iterdir()] == [".lock"]
    prepare(config).release()


@pytest.mark.parametrize("how", ["alone", "child"])
def test_a_killed_process_lets_it_go(begun: TrainConfig, how: str) -> None:
    """At once, even where a process that it made lives on for a while."""
    assert begun.resume is not None
    with another(begun.resume, how) as process:
        assert is_held(begun.resume)
        process.kill()
        process.wait()
        prepare(begun).release()


def test_a_run_holds_its_folder_until_it_is_released(config: TrainConfig, begun: TrainConfig) -> None:
    folder = begun.resume
    assert folder is not None
    look = [sys.executable, "-c", "import sys; from pathlib import Path\n"
            "from icnet_cli.training.held import is_held; print(is_held(Path(sys.argv[1])))", str(folder)]  # fmt: skip

    def seen() -> str:
        return subprocess.run(look, capture_output=True, text=True, check=True).stdout.strip()

    run = prepare(begun)
    assert seen() == "True"
    again = prepare(begun)  # the lock is the process's
    run.release()
    assert seen() == "True"
    again.release()
    again.release()
    assert seen() == "False"
    with pytest.raises(IcnetError, match="leave --keep out"):
        prepare(replace(begun, keep=0.5))
    assert seen() == "False"


def test_the_lock_moves_with_its_run(tmp_path: Path) -> None:
    lock = RunLock()
    for name in "ab":
        (tmp_path / name).mkdir()
        lock.take(tmp_path / name)
    with another(tmp_path / "a"):
        assert is_held(tmp_path / "a")
    assert not is_held(tmp_path / "b")  # by another process


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_gone_on_with(
    begun: TrainConfig, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def none(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", none)
    assert begun.resume is not None
    assert not is_held(begun.resume)
    prepare(begun).release()


def test_a_folder_that_cannot_be_locked_is_an_output_error(begun: TrainConfig) -> None:
    assert begun.resume is not None
    (begun.resume / ".lock").unlink()
    (begun.resume / ".lock").mkdir()
    with pytest.raises(IcnetError, match="cannot be written") as caught:
        prepare(begun)
    assert caught.value.code is ExitCode.OUTPUT


def test_newest_is_the_newest_that_lies_stopped(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody trains in the newest it is that one; where all are trained or came to their end, it is refused."""
    monkeypatch.chdir(tmp_path)
    runs = Path("runs/train")
    for number, name in enumerate(("finished", "stopped", "newest")):
        prepare(replace(config, output=runs / name)).release()
        os.utime(runs / name / "run.json", (number, number))
    (runs / "finished" / "last.safetensors").touch()
    os.utime(runs / "finished" / "last.safetensors", (9, 9))
    os.utime(runs / "newest" / "run.json", (10, 10))
    newest = replace(config, output=None, resume=Path("newest"))
    assert find_run(Path("newest")) == runs / "newest"
    with another(runs / "newest"):
        run = prepare(newest)
        assert run.folder == runs / "stopped"
        assert "going on with runs/train/stopped" in run.notices()
        run.release()
        with another(runs / "stopped"):
            assert "runs/train/stopped is in use" in refused(lambda: prepare(newest))  # it went on last


def test_those_who_look_at_once_do_not_take_each_other_for_a_run(begun: TrainConfig) -> None:
    assert begun.resume is not None
    look = "import sys; from pathlib import Path\nfrom icnet_cli.training.held import is_held\n"
    look += "print(sum(is_held(Path(sys.argv[1])) for _ in range(3000)))"
    command = [sys.executable, "-c", look, str(begun.resume)]
    lookers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [looker.communicate()[0] for looker in lookers] == ["0\n", "0\n"]

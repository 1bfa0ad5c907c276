"""Runs the whole command again and again, each in a process of its own that is forked from one with torch loaded.

A fresh interpreter needs seconds to import torch, and a fork a few milliseconds: so hundreds of runs can be killed,
starved and fed with damaged files. Started as `python -m tests.robust.launcher`, it reads a job a line from stdin and
answers with the process's id, then with how it ended.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HUNG_AFTER_S = 60.0
ENDED_AFTER_S = 5.0  # the launcher, after its last run


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        code: negative where a signal did it.
        hung: whether it was killed for taking too long.
        seconds: of processor time, which a busy machine does not stretch.
        rss_mb: the most memory it held.
    """

    code: int
    hung: bool
    seconds: float
    rss_mb: float
    out: str
    err: str

    @property
    def traceback(self) -> bool:
        return "Traceback" in self.err or "internal error" in self.err


class Run:
    """A run that has begun: its process id, and its end."""

    def __init__(self, launcher: Launcher, pid: int, folder: Path) -> None:
        self._launcher, self.pid, self._folder = launcher, pid, folder

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal. The launcher reaps the process only after it was told to, so the id is still ours."""
        os.kill(self.pid, number)

    def wait(self) -> Ended:
        self._launcher.write("reap")
        ended = self._launcher.read()
        texts: dict[str, Any] = {
            name: (self._folder / name).read_text(errors="replace") for name in ("out", "err")
        }
        return Ended(**ended, **texts)


class Launcher:
    """The client's side; a context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="icnet-robust-")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ICNET_")}
        environment |= {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "XDG_CONFIG_HOME": self._folder.name}
        # In a session of its own: a terminal's Ctrl-C is for the one who measures, not for what is measured.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.robust.launcher"], start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment,
        )  # fmt: skip

    def start(
        self,
        *arguments: object,
        call: str | None = None,
        limits: dict[str, int] | None = None,
        limit_s: float = HUNG_AFTER_S,
    ) -> Run:
        """Begin `icnet ARGUMENTS`, or the function `call` ("module:name") with them.

        Args:
            limits: of resources by their name (RLIMIT_FSIZE), in the unit of each.
            limit_s: a run that takes longer is killed and counted as hung.
        """
        job = {
            "arguments": [str(argument) for argument in arguments], "call": call, "limits": limits or {},
            "limit_s": limit_s, "folder": self._folder.name,
        }  # fmt: skip
        self.write(json.dumps(job))
        return Run(self, self.read()["pid"], Path(self._folder.name))

    def run(self, *arguments: object, **options: Any) -> Ended:
        return self.start(*arguments, **options).wait()

    def write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the launcher itself has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Launcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(0.0 if kind else ENDED_AFTER_S)
        except subprocess.TimeoutExpired:  # it waits for a run that nobody waits for any more
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._folder.cleanup()


# The other side --------------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer jobs until stdin ends."""
    from icnet_cli.inference import allocator, cores

    allocator.keep_freed_memory()
    cores.limit_threads()

    import torch._dynamo  # noqa: F401  (a network's first tensor on the meta device loads it, in a second)

    import icnet_cli.cli.app
    import icnet_cli.inference.segmenter
    import icnet_cli.pipeline.segment
    import icnet_cli.training.trainer

    with contextlib.redirect_stderr(io.StringIO()):
        icnet_cli.cli.app.run(["segment", "none", "-o", "none", "--alpha", "9"])  # what parsing loads
    while line := sys.stdin.readline():
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _child(job)
        _answer({"pid": pid})
        _answer(_end_of(pid, job["limit_s"]))


def _answer(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _child(job: dict[str, Any]) -> None:
    code = 1
    try:
        for number, name in enumerate(("out", "err"), start=1):
            target = os.open(Path(job["folder"], name), os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.dup2(target, number)
            os.close(target)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        for name, value in job["limits"].items():
            resource.setrlimit(getattr(resource, name), (value, value))
        code = _work(job)
    except KeyboardInterrupt:  # outside of the command proper: Python itself would end so
        code = 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _work(job: dict[str, Any]) -> int:
    if job["call"] is None:
        from icnet_cli.cli.app import run

        return int(run(job["arguments"]))
    module, name = job["call"].split(":")
    getattr(importlib.import_module(module), name)(*job["arguments"])
    return 0


def _end_of(pid: int, limit_s: float) -> dict[str, Any]:
    start, hung = time.monotonic(), False
    while not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if not hung and time.monotonic() - start > limit_s:
            hung = True
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)
    sys.stdin.readline()  # until then the id is not given to another process
    _, status, usage = os.wait4(pid, 0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "hung": hung,
        "seconds": usage.ru_utime + usage.ru_stime,
        "rss_mb": usage.ru_maxrss / 1024,
    }


if __name__ == "__main__":
    serve()

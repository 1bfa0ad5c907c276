from __future__ import annotations

import errno
import inspect
import os
import signal
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import icnet_cli
from icnet_cli.cli import app
from icnet_cli.cli.console import LoopConsole, emit, emit_json
from icnet_cli.cli.failures import HungUpError, TerminatedError
from icnet_cli.cli.progress import Status, watch
from icnet_cli.cli.weights import _lines
from icnet_cli.config import SegmentConfig
from icnet_cli.config.live import NOWHERE
from icnet_cli.errors import (
    ExitCode,
    check_error,
    device_error,
    input_error,
    output_error,
    usage_error,
    weights_error,
)
from tests.cli.conftest import Icnet


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, icnet: Icnet) -> Callable[..., object]:
    """`icnet segment` that raises what it is given."""

    def call(error: BaseException, *more: str) -> object:
        def segment(config: SegmentConfig, console: LoopConsole) -> None:
            """Stands in."""
            raise error

        monkeypatch.setitem(app.VERBS, "segment", segment)
        return icnet("segment", "a", "-o", "b", *more)

    return call


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (usage_error("what"), 2),
        (input_error("what"), 3),
        (weights_error("what"), 4),
        (output_error("what"), 5),
        (device_error("what"), 6),
        (check_error("what"), 7),
        (KeyboardInterrupt(), 130),
        (TerminatedError(), 143),
        (HungUpError(), 129),
        (ValueError("what\nnow\x1b[31m"), 1),
        (AssertionError(), 1),
        (OSError(errno.ENOSPC, "No space left on device", "out.mp4"), 5),
        (MemoryError(), 6),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."), 6),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1),  # stdout is open: some other pipe broke
    ],
)
def test_an_error_is_one_line_and_its_code(failing, error: BaseException, code: int) -> None:
    outcome = failing(error)
    assert outcome.code == code
    assert outcome.out == ""
    assert outcome.err.startswith("icnet: ")
    assert len(outcome.err.splitlines()) == 1
    assert "Traceback" not in outcome.err
    assert "\x1b" not in outcome.err
    assert ("(a bug)" in outcome.err) == (code == 1)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("no rtsp://me:secret@cam:554/x has an end", "no rtsp://***@cam:554/x has an end"),
        ("no file rtsp:/me:secret@cam/x; give one", "no file rtsp://***@cam/x; give one"),
        ("cannot read 'http://cam/a?token=secret': no", "cannot read 'http://cam/a?***': no"),
        ("https://cam/a.mp4 and me@home/x?y and C:/a@b", "https://cam/a.mp4 and me@home/x?y and C:/a@b"),
    ],
)
def test_no_password_of_an_address_is_said_whatever_says_it(failing, said: str, shown: str) -> None:
    assert failing(input_error(said)).err == f"icnet: {shown}\n"


@pytest.mark.parametrize(
    "verb", [("compare", "a", "b"), ("bench", "--video"), ("eval", "--temporal"), ("paint",)]
)
def test_no_verb_prints_a_password(icnet: Icnet, verb: tuple[str, ...], tmp_path: Path) -> None:
    more = ("-o", tmp_path / "o.mp4") if verb[0] == "paint" else ()
    outcome = icnet(*verb, "rtsp://me:secret@127.0.0.1:9/x", *more)
    assert outcome.code != 0
    assert "secret" not in outcome.out + outcome.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (None, 1)])
def test_a_signal_that_a_library_makes_an_error_of(
    monkeypatch: pytest.MonkeyPatch, icnet: Icnet, number: int | None, code: int
) -> None:
    """pybind11 and torch raise errors of their own where a signal came amid their code."""

    def segment(config: SegmentConfig, console: LoopConsole) -> None:
        """Stands in."""
        try:
            if number is not None:
                signal.raise_signal(number)
        except BaseException:
            pass
        raise ValueError("could not determine the shape")

    monkeypatch.setitem(app.VERBS, "segment", segment)
    outcome = icnet("segment", "a", "-o", "b")
    assert outcome.code == code
    assert ("(a bug)" in outcome.err) == (number is None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert icnet("segment", "a", "-o", "b").code == code  # each command remembers its own


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (None, 0)])
def test_a_signal_that_is_lost_in_a_callback(
    monkeypatch: pytest.MonkeyPatch, icnet: Icnet, number: int | None, code: int
) -> None:
    """What is raised in a finalizer is only reported by Python; the loop hears of it at its next step."""
    steps = []

    class Finalized:
        def __del__(self) -> None:
            if number is not None:
                signal.raise_signal(number)

    def events() -> Iterator[Status]:
        for step in range(3):
            Finalized()
            steps.append(step)
            yield Status(step)

    def segment(config: SegmentConfig, console: LoopConsole) -> None:
        """Stands in."""
        watch(events(), "none", lambda status: status)

    monkeypatch.setitem(app.VERBS, "segment", segment)
    outcome = icnet("segment", "a", "-o", "b")
    assert outcome.code == code
    assert len(outcome.err.splitlines()) == (number is not None)  # and no traceback of Python's own
    assert steps == ([0, 1, 2] if number is None else [0])


def test_torchs_out_of_memory_is_a_device_error(failing, monkeypatch: pytest.MonkeyPatch) -> None:
    class OutOfMemoryError(RuntimeError):
        pass

    fake = types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError)
    monkeypatch.setitem(sys.modules, "torch", fake)
    assert failing(OutOfMemoryError("CUDA has none left")).code == ExitCode.DEVICE


def test_a_traceback_only_with_debug(failing) -> None:
    assert "Traceback" in failing(input_error("what"), "--debug").err


def test_help_begins_with_examples(icnet: Icnet) -> None:
    for words in (["--help"], [], ["-h"]):
        outcome = icnet(*words)
        assert outcome.code == 0
        assert outcome.err == ""
        usage, _, rest = outcome.out.partition("Examples:")
        assert "Usage: icnet" in usage
        assert len(usage.split()) < 8
        assert "icnet segment street.mp4 -o out.mp4" in rest


def unbroken(page: str, text: str) -> None:
    """Hold a help page against its source: examples as written, prose broken only where the line is full."""
    shown = [line.strip() for line in page.split("╭")[0].splitlines()]
    for part in inspect.cleandoc(text).split("\n\n"):
        lines = part.splitlines()
        if lines[0] == "\b":
            assert {line.strip() for line in lines[1:]} <= set(shown)
        else:
            assert set(textwrap.wrap(" ".join(lines), 78)) <= set(shown)


@pytest.mark.parametrize("verb", ["", *app.VERBS])
def test_a_terminal_of_80_columns_breaks_no_example(
    icnet: Icnet, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = icnet(*verb.split(), "--help").out
    text = (app.VERBS[verb].__doc__ or "") if verb else app.HELP
    if verb:
        assert f"\n  icnet {verb}" in inspect.cleandoc(text)
        unbroken(page, text)
    else:
        assert {line.strip() for line in text.splitlines()} - {"\b"} <= {
            line.strip() for line in page.splitlines()
        }
    assert max(map(len, page.splitlines())) <= 80


def test_a_broken_example_is_seen() -> None:
    with pytest.raises(AssertionError):
        unbroken("a\nicnet a\nb\n", "a\n\n\b\nicnet a b")
    with pytest.raises(AssertionError):
        unbroken("one\ntwo\n", "one\ntwo")


@pytest.mark.parametrize("verb", app.VERBS)
def test_every_verb_has_help(icnet: Icnet, verb: str) -> None:
    outcome = icnet(*verb.split(), "--help")
    assert outcome.code == 0
    assert "--json" in outcome.out
    assert str(NOWHERE) not in outcome.out  # what stands for "not given" is no default to show


def test_the_version(icnet: Icnet) -> None:
    assert icnet("--version") == (0, f"icnet {icnet_cli.__version__}\n", "")


@pytest.mark.parametrize(
    "words", ["frobnicate", "segment --frobnicate", "segment", "data", "paint a b c -o d", "segment a -o"]
)
def test_a_line_that_cannot_be_parsed_is_refused(refused, words: str) -> None:
    refused(2, *words.split())


def test_a_size_that_is_wrong_twice_is_told_once(refused) -> None:
    assert refused(2, "segment", "a.mp4", "-o", "b.mp4", "--size", "0x0").count("at least") == 1
    assert refused(2, "segment", "a.mp4", "-o", "b.mp4", "--size", "0x8").count("at least") == 2


def test_a_file_that_fails_its_check_is_named_once_a_line(icnet: Icnet, tmp_path: Path) -> None:
    (tmp_path / "no.safetensors").write_text("hello")
    outcome = icnet("weights", "verify", tmp_path / "no.safetensors")
    assert outcome.code == 7
    assert [line.count("no.safetensors") for line in (outcome.out + outcome.err).splitlines()] == [1, 1]


def test_missing_inputs_are_named(refused, weights: Path, tmp_path: Path) -> None:
    assert "nowhere" in refused(3, "segment", tmp_path / "nowhere.mp4", "-o", tmp_path / "out.mp4")
    assert "nowhere" in refused(3, "train", tmp_path / "nowhere")
    assert "nowhere" in refused(3, "eval", tmp_path / "nowhere", "--weights", weights)
    assert "nowhere" in refused(3, "data", "check", tmp_path / "nowhere")
    assert "nowhere" in refused(4, "weights", "show", "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_weights_are_listed(icnet: Icnet) -> None:
    outcome = icnet("weights", "list", "--json")
    assert outcome.code == 0
    for row in outcome.document["weights"]:
        shown = icnet("weights", "show", row["name"], "--json").document
        assert shown["model"] == row["model"]
        assert Path(icnet("weights", "path", row["name"]).out.strip()).is_file()


def test_a_history_is_shown_cut_by_cut() -> None:
    shown = _lines({"history": [{"keep": 0.5}, {"keep": 0.25}], "splits": ["train"], "empty": []})
    assert shown == ["history:", "  1:", "    keep: 0.5", "  2:", "    keep: 0.25", "splits: train"]


def test_json_is_one_document_without_nan(icnet: Icnet, monkeypatch: pytest.MonkeyPatch) -> None:
    def segment(config: SegmentConfig, console: LoopConsole) -> None:
        """Stands in."""
        emit_json({"iou": float("nan"), "path": Path("a"), "size": (1, 2)})

    monkeypatch.setitem(app.VERBS, "segment", segment)
    assert icnet("segment", "a", "-o", "b").document == {"iou": None, "path": "a", "size": [1, 2]}


SCRIPT = """
import sys, os, time, signal
from icnet_cli.cli import app
from icnet_cli.cli.console import LoopConsole, emit, say
def segment(config, console: LoopConsole):
    "Stands in."
    {body}
app.VERBS["segment"] = segment
sys.exit(app.run(["segment", "a", "-o", "b"]))
"""


def start(body: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(body=body)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_command_with_its_code(number: int, code: int) -> None:
    # `emit` tells that it runs; the finally tells that it was unwound, not killed.
    body = 'try:\n        emit("ready")\n        time.sleep(60)\n    finally:\n        say("tidied")'
    with start(body) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert [line.split(":")[0] for line in err.splitlines()] == ["tidied", "icnet"]


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    """As under nohup."""
    body = 'emit("ready")\n    sys.stdin.readline()\n    emit("done")'
    script = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)" + SCRIPT.format(body=body)
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        out, _ = process.communicate("go\n", timeout=60)
    assert (process.returncode, out) == (0, "done\n")


def test_a_closed_stdout_ends_the_command_quietly() -> None:
    body = 'emit("ready")\n    sys.stdin.readline()\n    while True:\n        emit("x" * 4096)'
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(body=body)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdout.close()
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.close()
        assert process.stderr is not None
        err = process.stderr.read()
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize("verb", ["segment", "paint"])
def test_the_help_names_the_pictures_that_can_be_written(icnet: Icnet, verb: str) -> None:
    said = " ".join(icnet(verb, "--help").out.replace("│", " ").split())
    assert "one picture (.png .jpg)" in said


def test_help_into_a_closed_pipe_ends_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "icnet_cli", "--help"], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_closed_stderr_does_not_end_the_work() -> None:
    body = 'emit("ready")\n    sys.stdin.readline()\n    [say("x") for _ in range(9)]\n    emit("done")'
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(body=body)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert process.stderr is not None
        process.stderr.close()
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.close()
        assert process.stdout.read() == "done\n"
    assert process.returncode == 0


def test_the_entry_point_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "icnet_cli", "segment", "a", "-o", "b", "--alpha", "9"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONWARNINGS": "error"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "icnet: --alpha must be at most 1, not 9.0\n"


def test_emit_writes_lines(capsys: pytest.CaptureFixture[str]) -> None:
    emit("a")
    assert capsys.readouterr().out == "a\n"

"""A standard stream that is closed when the command starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import icnet_cli
from icnet_cli.pixels.files import read_picture, write_picture

CHECK = (
    "import os, sys; from icnet_cli.cli.streams import fill_closed, was_closed; fill_closed(); "
    "null = os.stat(os.devnull).st_rdev; "
    "taken = os.fstat({number}).st_rdev == null and sys.{name}.fileno() == {number}; "
    "sys.exit(0 if was_closed({name!r}) and taken else 9)"
)


def closed(redirection: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, started by a shell that closes a stream."""
    line = f'exec "$0" "$@" {redirection}'
    return subprocess.run(
        ["sh", "-c", line, sys.executable, *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("number", "name"), [(0, "stdin"), (1, "stdout"), (2, "stderr")])
def test_the_null_device_takes_the_closed_streams_number(number: int, name: str) -> None:
    assert closed(f"{number}>&-", "-c", CHECK.format(name=name, number=number)).returncode == 0
    assert closed("", "-c", CHECK.format(name=name, number=number)).returncode == 9


HOMELESS = """
import os, pwd, sys

def unknown(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = unknown
for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
    os.environ.pop(name, None)
os.environ["ICNET_CACHE_DIR"] = ""
from icnet_cli.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("weights list", 0),
        ("--install-completion bash", 2),
        ("weights import in.png", 2),
        ("segment ~nobody-of-that-name/a.png -o b.png", 3),
        ("segment in.png -o out.png --size 64x96", 0),
    ],
)
def test_a_user_without_a_home_is_no_bug(tmp_path: Path, words: str, code: int) -> None:
    """As a container's that has a number only, under a service that sets no HOME."""
    write_picture(tmp_path / "in.png", np.zeros((64, 96, 3), np.uint8))
    command = [sys.executable, "-c", HOMELESS, *words.split()]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(icnet_cli.__file__).parent.parent)},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "internal error" not in done.stderr
    assert set(os.listdir(tmp_path)) <= {"in.png", "out.png"}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "ascii:surrogateescape"])
def test_what_the_encoding_of_stdout_lacks_is_no_bug(encoding: str) -> None:
    """A bar of blocks, which a pipe on Windows cannot carry."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "icnet_cli", "weights", "show", "icnet-camvid"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u2588" in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_document_is_json_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    """Python's own escape of an accent, \\xe9, is none of JSON's."""
    source, target = tmp_path / "in.png", tmp_path / "caf\u00e9\u2588.png"
    write_picture(source, np.zeros((64, 96, 3), np.uint8))
    words = ["segment", str(source), "-o", str(target), "--json", "--progress", "json", "--size", "64x96"]
    done = subprocess.run(
        [sys.executable, "-m", "icnet_cli", *words], capture_output=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode(encoding))["output"] == str(target)
    told = [line for line in done.stderr.decode(encoding).splitlines() if line.startswith("{")]
    assert told
    for line in told:
        json.loads(line)


@pytest.mark.parametrize(
    "words",
    [
        "--version", "--help", "weights list", "eval none",
        "bench --quick --size 32x64 --model fast-scnn --device cpu --progress none",
    ],
)  # fmt: skip
def test_a_report_that_has_nowhere_to_go_is_no_bug(words: str) -> None:
    done = closed(">&-", "-m", "icnet_cli", *words.split())
    assert done.returncode == (3 if words.startswith("eval none") else 0), done.stderr
    assert "internal error" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words", ["weights list --json", "eval none --json", "segment none.mp4 -o o.mp4 --json"]
)
def test_a_document_for_a_closed_stdout_is_refused_in_one_line(words: str) -> None:
    done = closed(">&-", "-m", "icnet_cli", *words.split())
    assert done.returncode == 5
    assert done.stderr.startswith("icnet: --json writes to stdout, which is closed")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", ["segment street.mp4 -o -", "paint labels.mkv street.mp4 -o -"])
def test_frames_for_a_closed_stdout_are_refused_in_one_line(words: str) -> None:
    done = closed(">&-", "-m", "icnet_cli", *words.split())
    assert done.returncode == 5
    assert done.stderr.startswith("icnet: -o - writes to stdout, which is closed")
    assert len(done.stderr.splitlines()) == 1


def test_a_closed_stdin_has_nothing_to_read(tmp_path: Path) -> None:
    done = closed("<&-", "-m", "icnet_cli", "segment", "-", "-o", tmp_path / "out.mp4")
    assert done.returncode == 3
    assert done.stderr.startswith("icnet: cannot read stdin: nothing came through it")
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == []


def test_without_any_stream_the_work_is_done(tmp_path: Path, weights: Path) -> None:
    source, out = tmp_path / "in.png", tmp_path / "out.png"
    write_picture(source, np.zeros((48, 64, 3), np.uint8))
    line = ("segment", source, "-o", out, "--weights", weights, "--device", "cpu", "--backend", "torch")
    done = closed("<&- >&- 2>&-", "-m", "icnet_cli", *line)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert read_picture(out).shape == (48, 64, 3)

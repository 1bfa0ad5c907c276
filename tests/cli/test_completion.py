from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from icnet_cli.cli import app, completion
from icnet_cli.cli.completion import candidates, consoles_of
from icnet_cli.config import BACKENDS, COMMANDS
from tests.cli.conftest import Icnet


def offered(*words: str) -> list[str]:
    return [one.word for one in candidates(words, consoles_of(app.VERBS))]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["se"], ["segment"]),
        (["weights", ""], ["list", "show", "path", "verify", "import"]),
        (["weights", "ver"], ["verify"]),
        (["segment", "--wei"], ["--weights"]),
        (["segment", "a.mp4", "--weights", "icnet-c"], ["icnet-camvid"]),
        (["segment", "--weights", "=", "fast"], ["fast-scnn-camvid"]),  # bash takes --weights=fast apart
        (["segment", "--weights=fast"], ["fast-scnn-camvid"]),
        (["bench", "--backend", ""], [*BACKENDS, "all"]),
        (["segment", "--codec", "h"], ["h264", "hevc"]),
        (["segment", "--preset", "very"], ["veryfast", "veryslow"]),
        (["train", "data", "--recipe", "cityscapes-fast-scnn"],
         ["cityscapes-fast-scnn", "cityscapes-fast-scnn-coarse"]),
        (["train", "data", "--model", "p"], ["pspnet50"]),
        (["eval", "data", "--branches", "sub"], ["sub4", "sub24", "sub124"]),
        (["eval", "--progress", "j"], ["json"]),
        (["export", "fast"], ["fast-scnn-camvid"]),
        (["prune", "--keep", "0.5", "fast"], ["fast-scnn-camvid"]),
        (["weights", "show", "icnet-c"], ["icnet-camvid"]),
        (["segment", "out"], []),  # a file: the shell's own
        (["segment", "--alpha", ""], []),
        (["frobnicate", ""], []),
    ],
)  # fmt: skip
def test_what_may_stand_here(words: list[str], expected: list[str]) -> None:
    assert offered(*words) == expected


def test_every_verb_and_every_option_is_offered() -> None:
    assert {words.split()[0] for words in COMMANDS} <= set(offered(""))
    for words in COMMANDS:
        assert {"--json", "--config", "--help"} <= set(offered(*words.split(), "-"))
    assert "--regions" in offered("eval", "data", "-")


def test_an_option_is_offered_once() -> None:
    assert "--output" not in offered("segment", "a.mp4", "-o", "b.mp4", "--")
    assert "--alpha" in offered("segment", "a.mp4", "-o", "b.mp4", "--")


def test_a_shell_is_answered_without_loading_torch() -> None:
    script = (
        "import sys; from icnet_cli.cli.app import run; code = run(sys.argv[1:]);"
        "heavy = {'torch', 'cv2', 'av', 'numpy'} & set(sys.modules); sys.exit(code or len(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "segment", "--weights", ""],
        capture_output=True, text=True, check=False, env={**os.environ, completion.ASKED: "fish"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["fast-scnn-camvid", "icnet-camvid"]


def test_zsh_and_fish_are_told_what_it_means(icnet: Icnet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(completion.ASKED, "zsh")
    assert icnet("eval", "--flip").out == "--flip:Average with the mirrored picture's prediction\n"
    monkeypatch.setenv(completion.ASKED, "fish")
    assert icnet("eval", "--flip").out == "--flip\tAverage with the mirrored picture's prediction\n"
    monkeypatch.setenv(completion.ASKED, "bash")
    assert icnet("eval", "--flip").out == "--flip\n"


def in_shell(shell: str, script: str, tmp_path: Path) -> list[str]:
    """The lines that a script prints in a shell in which `icnet` is this one."""
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    done = subprocess.run(
        [shell, "-c", script], capture_output=True, text=True, check=True, timeout=60, env=program(tmp_path)
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def program(folder: Path) -> dict[str, str]:
    """Make an `icnet` that is this one, and the environment in which it is found."""
    (folder / "bin").mkdir()
    path = folder / "bin" / "icnet"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m icnet_cli "$@"\n')
    path.chmod(0o755)
    found = f"{path.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": found, "PYTHONPATH": os.pathsep.join(sys.path)}


EMPTY_LINE = "\x15"  # Ctrl-U


class ZshInTerminal:
    """An interactive zsh in a terminal of its own, at its first prompt."""

    def __init__(self, home: Path) -> None:
        if shutil.which("zsh") is None:
            pytest.skip("needs zsh")
        environment = program(home) | {"HOME": str(home), "TERM": "dumb", "PS1": "READY", "COLUMNS": "120"}
        self._terminal, theirs = os.openpty()
        self._zsh = subprocess.Popen(
            ["zsh", "-i"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=home, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self._read_until("READY")

    def after(self, keys: str, expected: str) -> str:
        """What the screen shows once these keys are typed, up to what is expected."""
        os.write(self._terminal, keys.encode())
        return self._read_until(expected)

    def _read_until(self, expected: str) -> str:
        seen = ""
        while expected not in seen and select.select([self._terminal], [], [], 30)[0]:
            seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|[\r\x07]", "", os.read(self._terminal, 65536).decode())
        return seen

    def __enter__(self) -> ZshInTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._zsh.kill()
        self._zsh.wait()
        os.close(self._terminal)


def test_bash_completes(tmp_path: Path) -> None:
    script = completion.BASH + (
        'COMP_WORDS=(icnet segment "a b.mp4" --weights ""); COMP_CWORD=4; _icnet icnet;'
        'printf "%s\\n" "${COMPREPLY[@]}"; complete -p icnet'
    )
    *found, set_up = in_shell("bash", script, tmp_path)
    assert found == ["fast-scnn-camvid", "icnet-camvid"]
    assert "-o default" in set_up  # else no file names


def test_fish_completes(tmp_path: Path) -> None:
    (tmp_path / "street one.csv").touch()
    lines = ["--weights f", "--weights=f", "--no-aud", "street", "--stats=street", "--stats street"]
    asked = "; ".join(f"complete -C 'icnet segment {line}'" for line in lines)
    found = in_shell("fish", f"{completion.FISH}cd {tmp_path}; {asked}", tmp_path)
    assert [line.split("\t")[0] for line in found] == [
        "fast-scnn-camvid", "--weights=fast-scnn-camvid", "--no-audio", "street one.csv", "--stats=street one.csv",
        "street one.csv",
    ]  # fmt: skip


def test_zsh_completes_what_is_typed(tmp_path: Path, icnet: Icnet, home: Path) -> None:
    """In a terminal, as installed: zsh completes only where it edits a line."""
    (tmp_path / "street one.csv").touch()
    assert icnet("--install-completion", "zsh").code == 0
    with ZshInTerminal(tmp_path) as zsh:
        for typed, completed in [
            ("segm", "icnet segment "),
            ("segment --weights f", "--weights fast-scnn-camvid "),
            ("segment --weights=f", "--weights=fast-scnn-camvid "),
            ("segment str", "street\\ one.csv "),
            ("segment --stats=str", "--stats=street\\ one.csv "),
            ("weights ", "whether weights files are whole"),
        ]:
            assert completed in zsh.after(f"{EMPTY_LINE}icnet {typed}\t", completed)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("shell", "script", "start"),
    [
        ("bash", ".local/share/icnet/completion.bash", ".bashrc"),
        ("zsh", ".zfunc/_icnet", ".zshrc"),
        ("fish", ".config/fish/completions/icnet.fish", None),
    ],
)
def test_it_is_installed_once(icnet: Icnet, home: Path, shell: str, script: str, start: str | None) -> None:
    if start:
        (home / start).write_text("alias ll='ls -l'")  # without a line break at its end
    for _ in range(2):
        outcome = icnet("--install-completion", shell)
        assert outcome.code == 0
        assert str(home / script) in outcome.err
    assert (home / script).read_text() == completion.SCRIPTS[shell]
    assert icnet("--show-completion", shell).out == completion.SCRIPTS[shell]
    if start:
        lines = (home / start).read_text().splitlines()
        assert lines[0] == "alias ll='ls -l'"
        assert len(lines) == 2


def test_what_cannot_be_set_up_is_said(refused, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "'tcsh' is not one of them" in refused(2, "--show-completion", "tcsh")
    monkeypatch.setattr(completion, "_this_shell", lambda: "")
    assert "could not be found out" in refused(2, "--install-completion")
    (home / ".zfunc").write_text("a file")
    assert "cannot be installed" in refused(5, "--install-completion", "zsh")

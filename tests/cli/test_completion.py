from __future__ import annotations

import os
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
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "icnet"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m icnet_cli "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [shell, "-c", script], capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_bash_completes(tmp_path: Path) -> None:
    script = completion.BASH + (
        'COMP_WORDS=(icnet segment "a b.mp4" --weights ""); COMP_CWORD=4; _icnet icnet;'
        'printf "%s\\n" "${COMPREPLY[@]}"; complete -p icnet'
    )
    *found, set_up = in_shell("bash", script, tmp_path)
    assert found == ["fast-scnn-camvid", "icnet-camvid"]
    assert "-o default" in set_up  # else no file names


def test_fish_completes(tmp_path: Path) -> None:
    script = completion.FISH + "complete -C 'icnet segment --weights f'; complete -C 'icnet eval --sk'"
    found = in_shell("fish", script, tmp_path)
    assert [line.split("\t")[0] for line in found] == ["fast-scnn-camvid", "--skip-damaged"]


def test_zsh_takes_the_script(tmp_path: Path) -> None:
    compdef = "compdef() { print $2; }\n"
    assert in_shell("zsh", compdef + completion.ZSH, tmp_path) == ["icnet"]


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

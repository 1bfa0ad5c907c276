"""Each exit code of the table is reached by a command, and says in one line why."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from icnet_cli.errors import ExitCode
from icnet_cli.pixels.files import write_labels_png, write_picture
from tests.robust.kills import CODES as OF_SIGNALS
from tests.robust.launcher import Ended, Launcher
from tests.video.video_clips import make_clip, picture


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "in.mp4", audio="aac")


def segmented(launcher: Launcher, clip: Path, output: Path | str, *more: object, **how: Any) -> Ended:
    return launcher.run("segment", clip, "-o", output, "--device", "cpu", *more, **how)


# (code, what is added to `icnet segment in.mp4 -o OUT --weights W`, a part of what is said)
REFUSED: list[tuple[ExitCode, str, tuple[str, ...], str]] = [
    (ExitCode.USAGE, "out.mp4", ("--alpha", "7"), "--alpha"),
    (ExitCode.USAGE, "out.mp4", ("--codec", "h265"), "unknown codec h265; use one of h264"),
    (ExitCode.USAGE, "out.webm", ("--codec", "h264"), "name the output .mp4 or .mkv"),
    (ExitCode.USAGE, "out.webm", (), "cannot hold the aac audio"),
    (ExitCode.USAGE, "out.avi", (), "avi stores no frame times"),
    (ExitCode.USAGE, "-", ("--resume",), "--resume is for files and folders"),
    (ExitCode.WEIGHTS, "out.mp4", ("--weights", "none.safetensors"), "no weights"),
    (ExitCode.OUTPUT, "none/out.mp4", (), "its folder does not exist"),
    (ExitCode.OUTPUT, "none/out.png", ("--frames", "1"), "its folder does not exist"),
    (ExitCode.DEVICE, "out.mp4", ("--device", "cuda:99"), "cuda"),
]


@pytest.mark.parametrize(("code", "output", "more", "words"), REFUSED)
def test_refused_before_any_work(
    tmp_path: Path,
    launcher: Launcher,
    weights: Path,
    clip: Path,
    code: int,
    output: str,
    more: Any,
    words: str,
) -> None:
    name = output if output == "-" else tmp_path / output
    ended = segmented(launcher, clip, name, "--weights", weights, *more)
    assert ended.code == code, ended.err
    assert words in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not ended.traceback
    assert list(tmp_path.iterdir()) == []


def test_done_and_damaged(tmp_path: Path, launcher: Launcher, weights: Path, clip: Path) -> None:
    assert segmented(launcher, clip, tmp_path / "out.mp4", "--weights", weights).code == ExitCode.OK
    missing = segmented(launcher, tmp_path / "none.mp4", tmp_path / "o.mp4", "--weights", weights)
    assert (missing.code, len(missing.err.splitlines())) == (ExitCode.INPUT, 1)
    fast = make_clip(tmp_path / "fast.mp4", container_options={"movflags": "+faststart"})
    fast.write_bytes(fast.read_bytes()[: fast.stat().st_size * 7 // 10])
    cut = segmented(launcher, fast, tmp_path / "cut.mp4", "--weights", weights)
    assert cut.code == ExitCode.INPUT
    assert "truncated" in cut.err
    assert (tmp_path / "cut.mp4").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_folder_that_may_not_be_written(launcher: Launcher, weights: Path, clip: Path) -> None:
    """Not even by root, as which tests may run."""
    for name in ("/proc/icnet.mp4", "/proc/labels"):
        ended = segmented(launcher, clip, name, "--weights", weights)
        assert ended.code == ExitCode.OUTPUT, ended.err
        assert len(ended.err.splitlines()) == 1


def test_a_bug_is_called_one(tmp_path: Path, launcher: Launcher, weights: Path, clip: Path) -> None:
    ended = launcher.run(clip, tmp_path / "out.mp4", weights, call="tests.robust.test_exit_codes:with_a_bug")
    assert ended.code == ExitCode.BUG
    assert "internal error (a bug): RuntimeError: for a test; --debug shows where" in ended.err
    assert list(tmp_path.iterdir()) == []


def with_a_bug(clip: str, output: str, weights: str) -> None:
    """In a process of its own: the command over an encoder that raises what nothing expects."""
    from icnet_cli.cli.app import run
    from icnet_cli.pipeline.sinks import VideoSink

    def write(*_: Any) -> None:
        raise RuntimeError("for a test")

    VideoSink.write = write  # type: ignore[method-assign]
    sys.exit(run(["segment", clip, "-o", output, "--device", "cpu", "--weights", weights]))


def test_a_result_that_fails_its_own_check(tmp_path: Path, launcher: Launcher) -> None:
    for split in ("train", "val"):
        for number in range(2):
            write_picture(tmp_path / split / f"{number}.png", picture(number))
            write_labels_png(tmp_path / f"{split}annot" / f"{number}.png", picture(number)[..., 0] // 64)
    (tmp_path / "valannot" / "1.png").unlink()
    ended = launcher.run("data", "check", tmp_path)
    assert ended.code == ExitCode.CHECK
    assert "1.png" in ended.out


def test_a_full_disk_keeps_a_long_runs_segments(tmp_path: Path, launcher: Launcher, weights: Path) -> None:
    """RLIMIT_FSIZE stands in for the disk: segments fit, the joined file does not; with room it is only joined."""
    ticks = tuple(range(0, 75 * 3000, 1000))
    clip = make_clip(tmp_path / "long.mp4", ticks, Fraction(1, 3000))
    options = ("--weights", weights, "--codec", "ffv1")
    whole = segmented(launcher, clip, tmp_path / "whole.mkv", *options)
    assert whole.code == 0, whole.err
    limit = (tmp_path / "whole.mkv").stat().st_size // 2
    full = segmented(launcher, clip, tmp_path / "out.mkv", *options, limits={"RLIMIT_FSIZE": limit})
    assert full.code == ExitCode.OUTPUT, full.err
    assert "out.mkv.part/ holds all of it; go on with: icnet segment" in full.err
    assert full.err.rstrip().endswith("--resume")
    assert not (tmp_path / "out.mkv").exists()
    done = segmented(launcher, clip, tmp_path / "out.mkv", *options, "--resume")
    assert done.code == 0, done.err
    assert (tmp_path / "out.mkv").read_bytes()[-1000:] == (tmp_path / "whole.mkv").read_bytes()[-1000:]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.mp4", "out.mkv", "whole.mkv"]


def test_the_table_is_complete() -> None:
    reached = {code for code, *_ in REFUSED} | {ExitCode.OK, ExitCode.INPUT, ExitCode.BUG, ExitCode.CHECK}
    assert reached | {ExitCode(code) for code in OF_SIGNALS.values()} == set(ExitCode)

"""`icnet segment -o -` and `icnet segment -`: frames from and to other programs, which know no times."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from icnet_cli.config import SegmentConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pipeline import opening, outputs, streams
from icnet_cli.video import open_video
from tests.inference.tiny import CLASSES, stripes

from .conftest import SIZE, TIMES, frames, run, write_video

EVEN = tuple(range(8))
STDOUT = Path("-")


class Stdout:
    """Standard output as bytes."""

    def __init__(self, is_terminal: bool = False) -> None:
        self.buffer = io.BytesIO()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.fixture
def stdout(monkeypatch: pytest.MonkeyPatch) -> Stdout:
    made = Stdout()
    for module in (outputs, streams):  # the test runner keeps sys.stdout to itself
        monkeypatch.setattr(module, "sys", SimpleNamespace(stdout=made))
    return made


@pytest.fixture
def even(tmp_path: Path) -> Path:
    """A video at a constant ten frames a second."""
    return write_video(tmp_path / "even.mp4", frames(len(EVEN)), EVEN)


@contextmanager
def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> Iterator[None]:
    out, into = os.pipe()

    def feed() -> None:
        with os.fdopen(into, "wb") as file:
            file.write(data)

    thread = threading.Thread(target=feed)
    thread.start()
    monkeypatch.setattr(opening, "STDIN", out)
    try:
        yield
    finally:
        os.close(out)
        thread.join(10)


def times_and_pictures(data: bytes, place: Path) -> tuple[list[float], list[np.ndarray]]:
    (place / "streamed.y4m").write_bytes(data)
    with open_video(place / "streamed.y4m") as reader:
        found = list(reader)
    return [round(frame.seconds, 6) for frame in found], [frame.rgb() for frame in found]


def test_y4m_holds_the_pictures_of_a_file(
    tmp_path: Path, even: Path, segmenter: Segmenter, stdout: Stdout
) -> None:
    _, report = run(segmenter, even, STDOUT, alpha=0.7, blur=("red",))
    run(segmenter, even, tmp_path / "out.mkv", alpha=0.7, blur=("red",), codec="ffv1")
    times, pictures = times_and_pictures(stdout.buffer.getvalue(), tmp_path)
    with open_video(tmp_path / "out.mkv") as reader:
        np.testing.assert_array_equal(pictures, [frame.rgb() for frame in reader])
    assert times == [n / 10 for n in EVEN]
    assert (report["output"], report["frames"]) == ("-", len(EVEN))


def test_raw_labels(even: Path, segmenter: Segmenter, stdout: Stdout) -> None:
    run(segmenter, even, STDOUT, view="labels", format="raw", ids="dataset")
    with open_video(even) as reader:
        labels = np.stack([segmenter.labels(frame.rgb()) for frame in reader])
    assert stdout.buffer.getvalue() == np.array(CLASSES.ids, np.uint8)[labels].tobytes()


def test_pictures_come_at_a_rate(tmp_path: Path, folder: Path, segmenter: Segmenter, stdout: Stdout) -> None:
    run(segmenter, f"{folder}/*.png", STDOUT, fps=Fraction(5), pix_fmt="yuv444p", alpha=0.0)
    times, pictures = times_and_pictures(stdout.buffer.getvalue(), tmp_path)
    assert (times, pictures[0].shape) == ([0.0], (40, 64, 3))
    assert np.abs(pictures[0].astype(int) - stripes(40, 64, seed=0)).mean() < 3
    assert b" F5:1 " in stdout.buffer.getvalue()[:100]
    with pytest.raises(IcnetError, match="one size"):
        run(segmenter, folder, STDOUT)


def test_a_variable_rate_is_refused(
    video: Path, even: Path, segmenter: Segmenter, stdout: Stdout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(IcnetError, match=r"constant rate.*--fps") as caught:
        run(segmenter, video, STDOUT)
    assert caught.value.code == ExitCode.USAGE
    assert stdout.buffer.getvalue() == b""  # before any work
    run(segmenter, even, STDOUT, every=2)
    assert b" F5:1 " in stdout.buffer.getvalue()[:100]
    assert run(segmenter, video, STDOUT, end_s=0.29)[1]["frames"] == 3  # the part before its first gap


def test_fps_keeps_the_time_of_a_variable_rate(
    tmp_path: Path, video: Path, segmenter: Segmenter, stdout: Stdout
) -> None:
    run(segmenter, video, STDOUT, fps=Fraction(10), view="labels", format="raw")
    shown = np.frombuffer(stdout.buffer.getvalue(), np.uint8).reshape(-1, *SIZE)
    with open_video(video) as reader:
        labels = [segmenter.labels(frame.rgb()) for frame in reader]
    on = [max(n for n, at in enumerate(TIMES) if at <= tenth) for tenth in range(TIMES[-1] + 1)]
    np.testing.assert_array_equal(shown, [labels[n] for n in on])


def test_a_video_from_a_pipe(
    tmp_path: Path, video: Path, even: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container through a pipe keeps its times, and its sound is named as left behind."""
    with stdin(monkeypatch, video.read_bytes()):
        _, report = run(segmenter, "-", tmp_path / "piped.mkv", codec="ffv1")
    run(segmenter, video, tmp_path / "file.mkv", codec="ffv1")
    for name in ("piped.mkv", "file.mkv"):
        with open_video(tmp_path / name) as reader:
            found = [(f.pts, f.duration, f.rgb().tobytes()) for f in reader]
        assert len(found) == len(TIMES)
        expected = found if name == "piped.mkv" else expected  # noqa: F821
        assert found == expected
    assert (report["input"], report["left_out"]) == ("-", [])


def test_sound_in_a_pipe_is_told(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.video.video_clips import make_clip

    clip = make_clip(tmp_path / "in.mkv", audio="aac").read_bytes()
    for no_audio, told in ((False, 1), (True, 0)):
        with stdin(monkeypatch, clip):
            _, report = run(segmenter, "-", tmp_path / f"{no_audio}.mp4", no_audio=no_audio)
        assert len(report["left_out"]) == told
        said = "audio aac is left out: a pipe is read once, for its pictures; name a file to keep it"
        assert set(report["left_out"]) <= {said}


def test_y4m_in_and_out(
    tmp_path: Path, even: Path, segmenter: Segmenter, stdout: Stdout, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(segmenter, even, STDOUT, alpha=0.0)
    first, stdout.buffer = stdout.buffer.getvalue(), io.BytesIO()
    with stdin(monkeypatch, first):
        run(segmenter, "-", STDOUT, alpha=0.0, every=2)
    times, pictures = times_and_pictures(stdout.buffer.getvalue(), tmp_path)
    assert times == [0.0, 0.2, 0.4, 0.6]
    np.testing.assert_array_equal(pictures, times_and_pictures(first, tmp_path)[1][::2])


def test_a_pipes_variable_rate_shows_on_the_way(
    video: Path, segmenter: Segmenter, stdout: Stdout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stdin(monkeypatch, video.read_bytes()), pytest.raises(IcnetError, match="--fps") as caught:
        run(segmenter, "-", STDOUT)
    assert caught.value.code == ExitCode.USAGE
    assert str(caught.value).startswith("the frames of stdin do not come at a constant rate")
    with stdin(monkeypatch, video.read_bytes()):
        assert run(segmenter, "-", STDOUT, fps=Fraction(10))[1]["frames"] == len(TIMES)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"codec": "h264"}, "stdout is none"),
        ({"format": "raw", "pix_fmt": "yuv420p10le"}, "raw stream holds"),
        ({"pix_fmt": "rgb24"}, "y4m stream holds"),
        ({"view": "labels", "blur": ("red",)}, "--blur"),
        ({"output": Path("out.mp4"), "format": "raw"}, "--format is for -o -"),
        ({"output": Path("out.mp4"), "fps": Fraction(25)}, "--fps is for"),
        ({"output": Path("out"), "fps": Fraction(25)}, "--fps is for"),
        ({"source": "-", "start_s": 1.0}, "--start needs a file"),
    ],
)
def test_what_does_not_fit_a_stream(
    even: Path, segmenter: Segmenter, stdout: Stdout, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(IcnetError, match=words) as caught:
        run(segmenter, **{"source": even, "output": STDOUT, **options})
    assert caught.value.code == ExitCode.USAGE
    assert stdout.buffer.getvalue() == b""


def test_a_terminal_is_spared(even: Path, segmenter: Segmenter, stdout: Stdout) -> None:
    stdout.is_terminal = True
    with pytest.raises(IcnetError, match="is a terminal"):
        run(segmenter, even, STDOUT)


def test_a_rate_is_read_exactly() -> None:
    from icnet_cli.cli.values import parse_rate

    assert [parse_rate(text) for text in ("25", "29.97", "30000/1001")] == [
        Fraction(25), Fraction(2997, 100), Fraction(30000, 1001),
    ]  # fmt: skip
    for text in ("fast", "1/0", "-5", "1e3", ""):
        with pytest.raises(ValueError, match="frames a second"):
            parse_rate(text)
    assert SegmentConfig("a", STDOUT, fps=Fraction(0)).problems()


def test_the_reader_may_go(tmp_path: Path, even: Path, segmenter: Segmenter) -> None:
    """A closed pipe ends the command quietly."""
    run(segmenter, even, tmp_path / "labels.mkv")
    words = [
        "paint",
        str(tmp_path / "labels.mkv"),
        str(even),
        "-o",
        "-",
        "--fps",
        "1000",
        "--progress",
        "none",
    ]
    command = [sys.executable, "-m", "icnet_cli", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(10) == b"YUV4MPEG2 "
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (0, b"")


def test_a_full_disk_is_told(
    even: Path, segmenter: Segmenter, stdout: Stdout, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() > 20_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data[:1000])  # a part of it, as a pipe may

    stdout.buffer = Full()
    assert run(segmenter, even, STDOUT, frames=2)[1]["frames"] == 2
    with pytest.raises(IcnetError, match="cannot write stdout: the disk is full") as caught:
        run(segmenter, even, STDOUT)
    assert caught.value.code == ExitCode.OUTPUT


@pytest.mark.parametrize("verb", [["segment"], ["paint", "labels.mkv"]])
def test_stdout_is_for_one(verb: list[str], even: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from icnet_cli.cli.app import run as icnet

    assert icnet([*verb, str(even), "-o", "-", "--json"]) == ExitCode.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert "--json and -o -" in said.err

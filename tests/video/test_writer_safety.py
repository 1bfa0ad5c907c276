"""The file is there whole or not at all, and what cannot be written is known before any work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from copying import copy, refusal
from video_clips import make_clip, numbers, picture

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.video import CODECS, VideoWriter, check_output, open_video
from icnet_cli.video.containers import starts


def stopped_at(number: int, error: type[BaseException], source: Path, target: Path, **options: Any) -> None:
    """A copy that is broken off by `error` after frame `number`, with nothing under its name until then."""
    before = target.read_bytes() if target.exists() else None
    with open_video(source) as reader, VideoWriter(target, reader, width=128, height=64, **options) as writer:
        for frame in reader:
            writer.write(frame.yuv420(), pts=frame.pts, duration=frame.duration)
            assert (target.read_bytes() if target.exists() else None) == before
            if frame.index == number:
                raise error


@pytest.mark.parametrize("raised", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_nothing(tmp_path: Path, raised: type[BaseException]) -> None:
    path = make_clip(tmp_path / "in.mp4", audio="aac")
    target = tmp_path / "out" / "out.mp4"
    target.parent.mkdir()
    for number in (0, 5, 11):
        with pytest.raises(raised):
            stopped_at(number, raised, path, target)
        assert list(target.parent.iterdir()) == []


def test_what_stood_there_stays_until_the_new_file_is_whole(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "in.mp4")
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")
    assert "-y" in refusal(ExitCode.USAGE, path, target)
    with pytest.raises(RuntimeError):
        stopped_at(3, RuntimeError, path, target, overwrite=True)
    assert target.read_bytes() == b"old"
    copy(path, target, overwrite=True)
    assert numbers(target) == list(range(12))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_a_name_that_is_taken_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    writer = VideoWriter(target, width=128, height=64)
    writer.write(picture(0), pts=0)
    target.write_bytes(b"another program's")
    with pytest.raises(IcnetError) as caught:
        writer.close()
    assert caught.value.code == ExitCode.USAGE
    assert target.read_bytes() == b"another program's"
    assert list(tmp_path.iterdir()) == [target]


def test_the_input_is_never_written_to(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "in.mp4")
    before = path.read_bytes()
    (tmp_path / "soft.mp4").symlink_to(path)
    os.link(path, tmp_path / "hard.mp4")
    for target in (path, tmp_path / "soft.mp4", tmp_path / "hard.mp4", tmp_path / "x" / ".." / "in.mp4"):
        (tmp_path / "x").mkdir(exist_ok=True)
        assert "input itself" in refusal(ExitCode.USAGE, path, target, overwrite=True)
        assert "input itself" in refusal(ExitCode.USAGE, tmp_path / "soft.mp4", target, overwrite=True)
    assert path.read_bytes() == before


def test_a_link_is_written_through(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "in.mp4")
    (tmp_path / "far").mkdir()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "far" / "real.mp4")
    copy(path, tmp_path / "link.mp4")
    assert numbers(tmp_path / "far" / "real.mp4") == list(range(12))
    assert (tmp_path / "link.mp4").is_symlink()


def test_places_that_cannot_be_written_are_known_before_any_work(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "in.mp4")
    assert "folder does not exist" in refusal(ExitCode.OUTPUT, path, tmp_path / "none" / "out.mp4")
    (tmp_path / "folder.mp4").mkdir()
    assert "folder" in refusal(ExitCode.USAGE, path, tmp_path / "folder.mp4", overwrite=True)


def test_a_full_disk_is_said_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    path = make_clip(tmp_path / "in.mp4", range(40), Fraction(1, 25), options={"crf": "1"})
    target = tmp_path / "out" / "out.mkv"
    target.parent.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500, hard))
        message = refusal(ExitCode.OUTPUT, path, target, crf=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert "size" in message
    assert list(target.parent.iterdir()) == []


def test_no_frame_no_file(tmp_path: Path) -> None:
    with pytest.raises(IcnetError) as caught, VideoWriter(tmp_path / "out.mp4", width=64, height=64):
        pass
    assert caught.value.code == ExitCode.INPUT
    assert list(tmp_path.iterdir()) == []


def test_containers_and_codecs_that_do_not_fit_name_one_that_does() -> None:
    for name, codec, word in [
        ("out.webm", "h264", ".mp4 or .mkv"), ("out.mov", "ffv1", ".mkv"), ("out.webm", "ffv1", ".mkv"),
        ("out.avi", None, ".mp4"), ("out.xyz", None, ".mp4"), ("out", None, ".mp4"), ("out.mp4", "xvid", "h264"),
    ]:  # fmt: skip
        with pytest.raises(IcnetError) as caught:
            check_output(name, codec)
        assert caught.value.code == ExitCode.USAGE
        assert word in str(caught.value)
    assert check_output("out.webm").codec.family == "vp9"
    assert check_output("out.MP4").codec.family == "h264"


def test_qualities_and_presets_out_of_range_are_refused() -> None:
    for codec, options in [
        ("h264", {"crf": 52}), ("h264", {"crf": -1}), ("vp9", {"crf": 64}), ("ffv1", {"crf": 3}),
        ("h264", {"preset": "warp"}), ("av1", {"preset": "slow"}), ("ffv1", {"preset": "slow"}),
    ]:  # fmt: skip
        with pytest.raises(IcnetError) as caught:
            check_output("out.mkv", codec, **options)  # type: ignore[arg-type]
        assert caught.value.code == ExitCode.USAGE
    check_output("out.mkv", "vp9", crf=63, preset="8")


def test_a_hardware_encoder_without_its_hardware_is_a_device_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = replace(CODECS["h264"], options=(("profile", "no such hardware"),), hardware=True)
    monkeypatch.setitem(CODECS, "h264_absent", absent)  # fails as an encoder does whose device is missing
    writer = VideoWriter(tmp_path / "out.mp4", width=128, height=64, codec="h264_absent", pix_fmt="yuv444p")
    with pytest.raises(IcnetError) as caught:
        writer.write(picture(0), pts=0)
    writer.abort()
    assert caught.value.code == ExitCode.DEVICE
    assert "--codec h264" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_hardware_encoder_is_tried_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CODECS, "h264_there", replace(CODECS["h264"], hardware=True))
    assert check_output("out.mp4", "h264_there").codec.encoder == "libx264"
    missing = missing_hardware()
    before = av.logging.get_level()
    with pytest.raises(
        IcnetError, match=f"{missing} could not start on this machine; use --codec h264"
    ) as caught:
        VideoWriter(tmp_path / "out.mp4", width=128, height=64, codec=missing)
    assert caught.value.code == ExitCode.DEVICE
    assert av.logging.get_level() == before


def missing_hardware() -> str:
    """An encoder for h264 that is built in and finds no device here."""
    names = [name for name in CODECS if name.startswith("h264_") and name in av.codecs_available]
    missing = next((name for name in names if not starts(name)), None)
    if missing is None:
        pytest.skip("every hardware encoder that is built in works here")
    return missing


def test_missing_hardware_is_told_before_torch_is_loaded(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4")
    words = ["segment", str(source), "-o", str(tmp_path / "out.mp4"), "--codec", missing_hardware()]
    script = (
        f"import sys; sys.argv[1:] = {words!r}\n"
        "from icnet_cli.cli.app import run\n"
        "sys.exit(int(run()) + 100 * ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.DEVICE, done.stderr
    assert len(done.stderr.splitlines()) == 1


def trial(target: Path, encoder: str) -> None:
    """Ask the muxer itself whether it takes an encoder's video."""
    with av.open(str(target), "w") as out:
        out.add_stream(encoder, 25, width=128, height=64)
        out.start_encoding()


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1", "ffv1"])
def test_what_the_table_allows_can_be_written(tmp_path: Path, suffix: str, codec: str) -> None:
    target = tmp_path / f"out{suffix}"
    try:
        check_output(target, codec)
    except IcnetError:
        family = CODECS[codec].encoder
        with pytest.raises((ValueError, av.FFmpegError)):
            trial(target, family)
        return
    with VideoWriter(target, width=128, height=64, codec=codec) as writer:
        for n in range(3):
            writer.write(picture(n), pts=n, time_base=Fraction(1, 25), duration=1)
    assert numbers(target) == [0, 1, 2]


def test_a_source_of_any_rate_can_be_encoded(tmp_path: Path) -> None:
    """Uncompressed video, or a damaged file that claims a rate no encoder can count."""
    source = make_clip(tmp_path / "in.mkv")
    for rate in (808_080_000, 10**12):
        with open_video(source) as reader:
            reader.info = replace(reader.info, bit_rate=rate)
            with VideoWriter(tmp_path / f"{rate}.mp4", reader, width=128, height=64) as writer:
                for frame in reader:
                    writer.write(frame.yuv420(), pts=frame.pts, duration=frame.duration)
        assert numbers(tmp_path / f"{rate}.mp4") == numbers(source)

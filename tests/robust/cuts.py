"""Truncated files: ten videos that declare their end, each cut at twenty places.

    python -m tests.robust.cuts --places 20 --commands 20

None may be silent: where a frame is missing, the reader says so or the file is refused. Every frame that FFmpeg itself
decodes is given, and no whole file is called short. `--commands` of a file's cuts also go through `icnet segment`:
its exit code is 3, and its output holds every decodable frame.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.video import open_video
from tests.robust.common import BASE, generator, run_long, ticks, turns
from tests.robust.launcher import Launcher
from tests.video.video_clips import make_clip

COUNT = 24


def make_declaring(folder: Path) -> list[Path]:
    """Ten videos whose container says how long they are, 24 frames each."""
    folder.mkdir(parents=True, exist_ok=True)
    plain: dict[str, Any] = {"ticks": ticks(COUNT), "time_base": BASE}
    fast: dict[str, Any] = {"container_options": {"movflags": "+faststart"}}
    x265: dict[str, Any] = {
        "codec": "libx265",
        "options": {"x265-params": "log-level=0", "preset": "ultrafast"},
    }
    vp9: dict[str, Any] = {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}
    return [
        make_clip(folder / "fast.mp4", **plain, **fast),
        make_clip(folder / "sound.mp4", **plain, **fast, b_frames=2, audio="aac", audio_seconds=2.0),
        make_clip(folder / "end.mp4", **plain),
        make_clip(folder / "hevc.mov", **plain, **fast, **x265),
        make_clip(folder / "plain.mkv", **plain),
        make_clip(folder / "sound.mkv", **plain, b_frames=2, audio="aac", audio_seconds=2.0),
        make_clip(folder / "ffv1.mkv", **plain, codec="ffv1"),
        make_clip(folder / "vp9.webm", **plain, **vp9),
        make_clip(folder / "mpeg4.avi", ticks(COUNT), BASE, codec="mpeg4"),
        make_clip(folder / "sound.avi", ticks(COUNT), BASE, codec="mjpeg", pix_fmt="yuvj420p", audio="mp3"),
    ]


def decodable(path: Path) -> int:
    """Frames that FFmpeg decodes, asked without any of our code."""
    count = 0
    with contextlib.suppress(av.FFmpegError), av.open(str(path)) as container:
        for packet in container.demux(video=0):
            with contextlib.suppress(av.FFmpegError):
                count += len(packet.decode())
    return count


@dataclass
class Tally:
    """What became of the cut files."""

    files: int = 0
    refused: int = 0
    told: int = 0
    whole: int = 0  # cut behind the last picture: nothing is missing
    silent: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # fewer frames than FFmpeg decodes
    falsely_short: list[str] = field(default_factory=list)
    commands: int = 0
    wrong: list[str] = field(default_factory=list)  # the command's code or its output

    @property
    def met(self) -> bool:
        return not (self.silent or self.lost or self.falsely_short or self.wrong)

    @property
    def line(self) -> str:
        bad = "".join(f"\n  {name}" for name in (*self.silent, *self.lost, *self.falsely_short, *self.wrong))
        return (
            f"{self.files} cut files: {len(self.silent)} silent, {len(self.lost)} with a decodable frame lost, "
            f"{len(self.falsely_short)} whole files called short ({self.told} told, {self.refused} refused, "
            f"{self.whole} cut behind the last picture); {self.commands} of them through icnet segment: "
            f"{len(self.wrong)} with a wrong code or output{bad}"
        )


def read(path: Path) -> tuple[int, bool] | None:
    """(frames, whether something was said of a loss); None where the file is refused."""
    try:
        with open_video(path) as reader:
            count = sum(1 for _ in reader)
            return count, bool(reader.shortfall or reader.frames_lost or reader.frames_damaged)
    except IcnetError as error:
        if error.code is not ExitCode.INPUT:
            raise
        return None


def measure(folder: Path, places: int, commands: int, seed: int, launcher: Launcher, weights: Path) -> Tally:
    """Cut each file at `places` random places; the first `commands` of each through the command too."""
    tally = Tally()
    for number, whole in enumerate(turns(make_declaring(folder / "whole"), "files cut")):
        data = whole.read_bytes()
        if read(whole) != (COUNT, False):
            tally.falsely_short.append(f"{whole.name}: {read(whole)}")
        for place, share in enumerate(generator(seed, number).uniform(0.02, 1.0, places)):
            cut = folder / f"cut{whole.suffix}"
            cut.write_bytes(data[: int(len(data) * share)])
            _judge(tally, cut, f"{whole.name} at {share:.3f}")
            if place < commands:
                _command(tally, cut, f"icnet segment {whole.name} at {share:.3f}", folder, launcher, weights)
    return tally


def _judge(tally: Tally, cut: Path, name: str) -> None:
    tally.files += 1
    found = read(cut)
    if found is None:
        tally.refused += 1
        return
    frames, told = found
    tally.told += told
    if frames < COUNT and not told:
        tally.silent.append(f"{name}: {frames} of {COUNT} frames")
    tally.whole += frames == COUNT and not told
    if frames < decodable(cut):
        tally.lost.append(f"{name}: {frames} of {decodable(cut)} decodable")


def _command(tally: Tally, cut: Path, name: str, folder: Path, launcher: Launcher, weights: Path) -> None:
    tally.commands += 1
    output = folder / "out.mkv"
    output.unlink(missing_ok=True)
    found = read(cut)
    ended = launcher.run("segment", cut, "-o", output, "--weights", weights, "--device", "cpu")
    code = 3 if found is None or found[1] else 0
    written = decodable(output) if output.exists() else 0
    if ended.code != code or ended.traceback or written != (found or (0, False))[0]:
        tally.wrong.append(f"{name}: code {ended.code}, {written} frames; {ended.err.strip()}")


if __name__ == "__main__":
    run_long(measure, __doc__, places=20, commands=20, seed=0)

"""`icnet segment`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icnet_cli.cli import batch
from icnet_cli.cli.console import LoopConsole, emit_json, say
from icnet_cli.cli.progress import Status, watch
from icnet_cli.config import STDOUT, SegmentConfig
from icnet_cli.errors import usage_error

_LEAST_SHOWN = 0.0005  # a share that rounds to 0.0 % says nothing


def segment(config: SegmentConfig, console: LoopConsole) -> None:
    """Paint the classes of every pixel over road video or pictures.

    \b
    Examples:
      icnet segment street.mp4 -o out.mp4
      icnet segment street.mp4 -o out.mp4 --view side-by-side --legend
      icnet segment street.mp4 -o clip.mp4 --start 1:00 --end 1:20
      icnet segment "frames/*.png" -o labels/       a label PNG a picture
      icnet segment street.mp4 -o labels/           a label PNG a frame
      icnet segment videos/ -o painted/             every video of a folder
      icnet segment street.mp4 -o labels.mkv        a label video, for icnet paint
      icnet segment street.mp4 -o - | ffplay -      frames for another program
    """
    from icnet_cli.pipeline.batch import is_batch
    from icnet_cli.pipeline.segment import DamagedInputError
    from icnet_cli.pipeline.segment import segment as run

    refuse_json_on_stdout(config.output, console)
    if is_batch(config):
        batch.segment_many(config, console)
        return
    try:
        report = watch(run(config), console.progress, status)
    except DamagedInputError as error:
        tell(error.report, console)  # what could be decoded is written; the error then says what was lost
        raise
    tell(report, console)


def refuse_json_on_stdout(output: Path, console: LoopConsole) -> None:
    """Raise a usage error where both the frames and the report would go to stdout."""
    if console.json and str(output) == STDOUT:
        raise usage_error(
            "--json and -o - would both write to stdout; leave one out (--stats FILE tells of frames)"
        )


def status(event: Any) -> Status | None:
    """A `FrameDone` for the progress display; a notice is told at once."""
    if not hasattr(event, "done"):
        say(event.text)
        return None
    return Status(event.done, event.total, notes={"slowest": event.slowest})


def tell(report: dict[str, Any], console: LoopConsole) -> None:
    """The tracks that are missing, the closing line, and the report for --json."""
    for line in report.get("left_out", ()):
        say(line)
    say(closing_line(report))
    if console.json:
        emit_json(report)


def closing_line(report: dict[str, Any]) -> str:
    """Frames, seconds, fps, where it is, and the share of each class that was seen, largest first."""
    shares = sorted(report.get("class_share", {}).items(), key=lambda item: -item[1])
    seen = ", ".join(f"{name} {share:.1%}" for name, share in shares if share >= _LEAST_SHOWN)
    frames = "1 frame" if report["frames"] == 1 else f"{report['frames']} frames"
    pace = f"{frames} in {report['seconds']:.1f} s, {report['end_to_end_fps']:.1f} fps"
    name = "stdout" if report["output"] == STDOUT else report["output"]
    return f"{name}: {pace}; {seen}" if seen else f"{name}: {pace}"

"""`icnet segment`."""

from __future__ import annotations

from typing import Any

from icnet_cli.cli.console import LoopConsole, emit_json, say
from icnet_cli.cli.progress import Status, watch
from icnet_cli.config import SegmentConfig

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
    """
    from icnet_cli.pipeline.segment import DamagedInputError
    from icnet_cli.pipeline.segment import segment as run

    try:
        report = watch(run(config), console.progress, _status)
    except DamagedInputError as error:
        _tell(error.report, console)  # what could be decoded is written; the error then says what was lost
        raise
    _tell(report, console)


def _status(event: Any) -> Status:
    return Status(event.done, event.total, notes={"slowest": event.slowest})


def _tell(report: dict[str, Any], console: LoopConsole) -> None:
    for line in report.get("left_out", ()):
        say(line)
    say(closing_line(report))
    if console.json:
        emit_json(report)


def closing_line(report: dict[str, Any]) -> str:
    """Frames, seconds, fps, where it is, and the share of each class that was seen, largest first."""
    shares = sorted(report["class_share"].items(), key=lambda item: -item[1])
    seen = ", ".join(f"{name} {share:.1%}" for name, share in shares if share >= _LEAST_SHOWN)
    frames = "1 frame" if report["frames"] == 1 else f"{report['frames']} frames"
    pace = f"{frames} in {report['seconds']:.1f} s, {report['end_to_end_fps']:.1f} fps"
    return f"{report['output']}: {pace}; {seen}"

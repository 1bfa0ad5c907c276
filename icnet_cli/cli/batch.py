"""`icnet segment` over many videos: its progress, its closing table, its exit code."""

from __future__ import annotations

from typing import Any

from icnet_cli.cli import again
from icnet_cli.cli.console import LoopConsole, emit_json
from icnet_cli.cli.progress import Status, counted, say_news, watch
from icnet_cli.cli.tip import Tip
from icnet_cli.config import SegmentConfig
from icnet_cli.errors import ExitCode, IcnetError


def segment_many(config: SegmentConfig, console: LoopConsole) -> None:
    """Run them all, say how each ended, and raise the first failure's code where there is one."""
    from icnet_cli.pipeline.batch import segment_many as run

    try:
        report = watch(run(config), console.progress, Tip(config, console.progress).before(_status))
    except BaseException as error:
        if not isinstance(error, IcnetError) and config.output.is_dir():
            error.add_note(f"{config.output}/ holds what is done; go on with: {again.with_resume()}")
        raise
    for line in table(report["files"]):
        say_news(line, console.progress)
    if console.json:
        emit_json(report)
    if report["failed"]:
        count = len(report["files"])
        raise IcnetError(
            f"{report['failed']} of {count} videos failed; they are named above", ExitCode(report["code"])
        )


def _status(event: Any) -> Status:
    frame = event.frame
    notes = {"video": f"{event.number}/{event.of} {event.source.name}", "slowest": frame.slowest}
    return Status(frame.done, frame.total, notes=notes)


def table(files: list[dict[str, Any]]) -> list[str]:
    """A line a video: how it ended, its exit code, where it is, and what is wrong; below it what could not be kept."""
    return [line for file in files for line in (_line(file), *_notes(file))]


def _notes(file: dict[str, Any]) -> list[str]:
    tracks = [f"{file['input']}: {line}" for line in file.get("left_out", ())]
    return [*tracks, *file.get("notices", ())]


def _line(file: dict[str, Any]) -> str:
    if file.get("finished_before"):
        return f"done      {file['input']} -> {file['output']}: was complete already"
    if file["error"] is None:
        frames = counted(file["frames"])
        return f"done      {file['input']} -> {file['output']}: {frames}, {file['seconds']:.1f} s"
    return f"FAILED {file['code']}  {file['input']}: {file['error']}"

"""`icnet segment`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icnet_cli.cli import again, batch, live
from icnet_cli.cli.console import LoopConsole, emit_json
from icnet_cli.cli.progress import Status, counted, say_news, watch
from icnet_cli.cli.streams import was_closed
from icnet_cli.cli.tip import Tip
from icnet_cli.config import STDOUT, SegmentConfig
from icnet_cli.config.live import NOWHERE
from icnet_cli.errors import ExitCode, IcnetError, output_error, usage_error

_LEAST_SHOWN = 0.0005  # a share that rounds to 0.0 % says nothing


def segment(config: SegmentConfig, console: LoopConsole) -> None:
    """Paint the classes of every pixel over road video or pictures.

    \b
    Examples:
      icnet segment street.mp4 -o out.mp4
      icnet segment street.mp4 -o out.mp4 --view side-by-side --legend
      icnet segment street.mp4 -o out.mp4 --reuse auto   faster, almost as good
      icnet segment street.mp4 -o clip.mp4 --start 1:00 --end 1:20
      icnet segment "frames/*.png" -o labels/       a label PNG a picture
      icnet segment street.mp4 -o labels/           a label PNG a frame
      icnet segment videos/ -o painted/             every video of a folder
      icnet segment street.mp4 -o labels.mkv        a label video, for icnet paint
      icnet segment night.mp4 -o out.mp4 --resume   go on after Ctrl-C
      icnet segment street.mp4 -o - | ffplay -      frames for another program
      icnet segment camera:0 --show                 a camera, in a window
      icnet segment rtsp://host/cam -o out.mp4      reconnects; Ctrl-C ends it
    """
    check_stdout(config.output, console)
    try:
        _segment(config, console)
    except BaseException as error:
        note_what_stays(config.output, error)
        raise


def _segment(config: SegmentConfig, console: LoopConsole) -> None:
    from icnet_cli.pipeline.batch import is_batch
    from icnet_cli.pipeline.segment import DamagedInputError
    from icnet_cli.pipeline.segment import segment as run

    if is_batch(config):
        if config.output == NOWHERE:
            raise usage_error(
                "--show is for one source, and there are several; name one, or a folder with -o"
            )
        batch.segment_many(config, console)
        return
    watched = live.watched_run(config)
    signals = live.EndedBySignals(watched)
    try:
        with signals:
            events = live.shown(run(config, watched=watched), watched, config)
            report = watch(events, console.progress, Tip(config, console.progress).before(status))
    except DamagedInputError as error:
        tell(error.report, console)  # what could be decoded is written; the error then says what was lost
        raise
    tell(report, console)
    signals.tell()


def note_what_stays(output: Path, error: BaseException) -> None:
    """Where a run that ends with `error` leaves something that can be resumed, have the closing line say how."""
    from icnet_cli.pipeline.leftover import left_behind

    if output == NOWHERE or (isinstance(error, IcnetError) and error.code == ExitCode.USAGE):
        return  # nothing was to stay, or it says itself what is there
    words = left_behind(output)
    if words:
        error.add_note(f"{words}; go on with: {again.with_resume()}")


def check_stdout(output: Path, console: LoopConsole) -> None:
    """See that frames for stdout can go there.

    Raises:
        IcnetError: USAGE where the report would go there too; OUTPUT where it is closed.
    """
    if str(output) != STDOUT:
        return
    if console.json:
        raise usage_error(
            "--json and -o - would both write to stdout; leave one out (--stats FILE tells of frames)"
        )
    if was_closed("stdout"):
        raise output_error("-o - writes to stdout, which is closed; pipe it into a program or name a file")


def status(event: Any) -> Status | str | None:
    """A `FrameDone` for the progress display; a notice is told at once."""
    if not hasattr(event, "done"):
        return event.text or None  # an empty one is a sign of life for a window
    dropped = getattr(event, "dropped", 0) or None  # `paint` has none
    return Status(event.done, event.total, notes={"dropped": dropped, "slowest": event.slowest})


def tell(report: dict[str, Any], console: LoopConsole) -> None:
    """The tracks that are missing, the closing line, and the report for --json."""
    if report.get("finished_before"):
        unknown = "its options are not checked; -y makes it anew"  # a finished output keeps no record of them
        complete = f"{report['output']} is complete already: there is nothing to resume ({unknown})"
        say_news(complete, console.progress)
        if console.json:
            emit_json(report)
        return
    lines = [*report.get("left_out", ()), *report.get("notices", ()), closing_line(report)]
    if console.progress == "json" and report["problem"]:  # elsewhere the error that follows says it
        lines.insert(0, report["problem"])
    for line in lines:
        say_news(line, console.progress)
    if console.json:
        emit_json(report)


def closing_line(report: dict[str, Any]) -> str:
    """Frames, seconds, fps, where it is, and the share of each class that was seen, largest first."""
    shares = sorted(report.get("class_share", {}).items(), key=lambda item: -item[1])
    seen = ", ".join(f"{name} {share:.1%}" for name, share in shares if share >= _LEAST_SHOWN)
    frames = counted(report["frames"])
    if report.get("frames_before"):
        frames += f" ({report['frames_before']} of them before)"
    pace = f"{frames} in {report['seconds']:.1f} s, {report['end_to_end_fps']:.1f} fps"
    if report.get("frames_dropped"):
        pace += f", {report['frames_dropped']} dropped"
    pace += reuse_words(report)
    name = "stdout" if report["output"] == STDOUT else report["output"] or "shown"
    return f"{name}: {pace}; {seen}" if seen else f"{name}: {pace}"


def reuse_words(report: dict[str, Any]) -> str:
    """On how many frames the network ran, and how well a time was kept by which settings; empty without either."""
    reuse = report.get("reuse")
    if reuse is None:
        return ""
    runs = reuse["network_runs"]
    # What was counted in this run; of those before it nothing is known.
    frames = report["frames"] - report.get("frames_before", 0)
    return f", network on {runs} of {counted(frames)}{kept_words(report.get('deadline'))}"


def kept_words(kept: dict[str, Any] | None) -> str:
    """How often a time was kept, and by which settings; empty where there was none to keep."""
    if kept is None or not kept["frames"]:
        return ""
    words = f", {ms_words(kept['ms'])} kept for {kept['kept_share']:.1%} of frames, {kept['missed']} missed"
    words += "" if kept["possible"] else " (no setting keeps it here)"
    return words + ": " + ", ".join(_setting_words(each) for each in kept["chosen"])


def ms_words(ms: float) -> str:
    """Milliseconds in words: `33 ms`, `33.37 ms`, `33000 ms`."""
    return f"{round(ms, 2):.10g} ms"


def _setting_words(chosen: dict[str, Any]) -> str:
    size, span = "x".join(map(str, chosen["size"])), chosen["span"]
    each = {1: "on each frame", 2: "each 2nd frame", 3: "each 3rd frame"}.get(span, f"each {span}th frame")
    return f"{size} {'beside the frames' if chosen['beside'] else each} ({chosen['frames']})"

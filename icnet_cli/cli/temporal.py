"""`icnet eval --temporal`: the video is opened here and handed to the evaluation, which knows of no video."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from icnet_cli.cli.console import LoopConsole, emit_json, emit_table, score
from icnet_cli.cli.progress import Status, counted, say_news, watch
from icnet_cli.cli.segment import kept_words, ms_words
from icnet_cli.cli.segment import status as segment_status
from icnet_cli.config import EvalConfig, SegmentConfig
from icnet_cli.config.temporal import CHOSEN

_COLUMNS = (
    ("agreement", "agreement"),
    ("flicker", "flicker"),
    ("neighbour_agreement", "neighbours agree"),
    ("miou", "mIoU"),
)


def evaluate_video(config: EvalConfig, console: LoopConsole) -> None:
    """Measure a video's labels over time, by the network on each frame and in the way that is asked for.

    Raises:
        IcnetError: INPUT, after the report, where the video was damaged: what could be decoded has been measured.
    """
    from icnet_cli.errors import input_error

    document = measure_video(config, console)
    if console.json:
        emit_json(document)
    else:
        emit_table(ways_table(document))
        emit_table(class_table(document))
    say_news(closing_line(document), console.progress)
    if document["problem"]:
        raise input_error(f"{config.temporal}: {document['problem']}; measured on what could be decoded")


def measure_video(config: EvalConfig, console: LoopConsole) -> dict[str, Any]:
    """The report: see `evaluation.steady.measure`, and what was measured with what."""
    from itertools import islice

    from icnet_cli.errors import usage_error
    from icnet_cli.evaluation.steady import Truth, measure
    from icnet_cli.inference.segmenter import load
    from icnet_cli.pipeline.sources import damage_of
    from icnet_cli.video import open_video

    assert config.temporal is not None
    truth = Truth(config.truth) if config.truth else None
    with ExitStack() as stack:
        video = stack.enter_context(open_video(config.temporal))
        segmenter = load(config.weights, config.device, config.precision, config.size, config.backend)
        if not segmenter.engine.gives_scores:
            raise usage_error(f"--temporal needs scores, and {config.weights} gives labels")
        ways = _ways(config, segmenter, console, stack)
        pictures = (frame.rgb() for frame in islice(video, config.frames))
        total = min(filter(None, (video.info.frames_estimated, config.frames)), default=None)
        found = watch(measure(segmenter, ways, pictures, truth, total), console.progress, _status)
    return {
        "video": str(config.temporal),
        "frames_damaged": video.frames_damaged,
        "problem": damage_of(video),
        "weights": config.weights,
        "model": segmenter.meta.model,
        "device": str(segmenter.device),
        "precision": segmenter.precision,
        "backend": segmenter.backend,
        **found,
    }


def _ways(config: EvalConfig, segmenter: Any, console: LoopConsole, stack: ExitStack) -> list[Any]:
    """What is measured beside the network on each frame, if anything."""
    from icnet_cli.evaluation.steady import Way
    from icnet_cli.inference.reuse import Reuse

    if config.realtime or config.deadline_s is not None:
        return [_labelled_in_time(config, segmenter, console, stack)]
    way = Way(Reuse.of(config.reuse or "1", config.reuse_kind), config.smooth)
    return [] if way.is_plain else [way]


def _labelled_in_time(config: EvalConfig, segmenter: Any, console: LoopConsole, stack: ExitStack) -> Any:
    """What `segment` makes of the video, which is run first and alone: measuring would take its time."""
    from icnet_cli.evaluation.steady import LabelledBefore
    from icnet_cli.pipeline.segment import DamagedInputError, segment
    from icnet_cli.video.labels import LabelVideo

    folder = stack.enter_context(TemporaryDirectory())
    job = SegmentConfig(
        str(config.temporal), Path(folder) / "labels.mkv", view="labels", frames=config.frames, smooth=config.smooth,
        deadline_s=config.deadline_s, realtime=config.realtime,
    )  # fmt: skip
    try:
        report = watch(segment(job, segmenter), console.progress, segment_status)
    except DamagedInputError as error:
        report = error.report
    labels = stack.enter_context(LabelVideo(job.output))
    reuse = report["reuse"]
    told = {"reuse": reuse["span"], "reuse_kind": reuse["kind"], "smooth": reuse["smooth"]}
    way = {**told, "deadline": report["deadline"]}
    return LabelledBefore(iter(labels), way, reuse["frames"], reuse["network_runs"])


def _status(event: Any) -> Status:
    return Status(event.done, event.total)


def ways_table(document: dict[str, Any]) -> Any:
    """A row for the network on each frame, and one for each way."""
    from rich import box
    from rich.table import Table

    shown = [(key, title) for key, title in _COLUMNS if key in document["per_frame"]]
    table = Table("labelled", box=box.SIMPLE_HEAD, show_edge=False)
    for _, title in shown:
        table.add_column(title, justify="right")
    for name, row in _rows(document):
        table.add_row(name, *(score(row[key]) for key, _ in shown))
    return table


def class_table(document: dict[str, Any]) -> Any:
    """Flicker by class, a column a way; and IoU where there is truth."""
    from rich import box
    from rich.table import Table

    rows = _rows(document)
    table = Table("class", box=box.SIMPLE_HEAD, show_edge=False)
    kinds = [("flicker_per_class", "flicker"), ("per_class", "IoU")]
    columns = [(row, key, f"{title}, {name}") for key, title in kinds for name, row in rows if key in row]
    for _, _, title in columns:
        table.add_column(title, justify="right")
    for name in document["per_frame"]["flicker_per_class"]:
        table.add_row(name, *(score(row[key][name]) for row, key, _ in columns))
    return table


def _rows(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [("each frame", document["per_frame"]), *((way_name(way), way) for way in document["ways"])]


def way_name(way: dict[str, Any]) -> str:
    """A way as the options that ask for it."""
    words = [_time_name(way["deadline"])] if "deadline" in way else []
    words += [f"reuse {way['reuse']}"] if way["reuse"] not in (1, CHOSEN) else []
    words += [way["reuse_kind"]] if way["reuse_kind"] != "scores" else []
    words += [f"smooth {way['smooth']:g}"] if way["smooth"] else []
    return " ".join(words) or "each frame"


def _time_name(kept: dict[str, Any]) -> str:
    return "realtime" if kept["kind"] == "realtime" else f"deadline {ms_words(kept['ms'])}"


def closing_line(document: dict[str, Any]) -> str:
    """What was measured, and on how many frames the network would have run."""
    frames = f"{counted(document['frames'])} of {document['video']}"
    cuts = f", {document['cuts']} scene cuts" if document["cuts"] else ""
    runs = "".join(
        f"; {way_name(way)}: network on {way['network_runs']}{kept_words(way.get('deadline'))}"
        for way in document["ways"]
    )
    return f"{frames}{cuts}, {document['model']} on {document['device']} {document['precision']}{runs}"

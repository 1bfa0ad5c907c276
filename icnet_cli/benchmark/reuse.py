"""What reuse between frames gains and what it loses: `icnet bench --video FILE --reuse 1,2,3,5`.

Speed is that of the program itself, file in to file out, each way in turn for a few rounds, so that a machine that
is busy for a while is so for all. Beside it stands the processor's time, which other programs hardly change. What is
lost is measured once, with the network on each frame beside.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from icnet_cli.config import BenchConfig, SegmentConfig
from icnet_cli.errors import input_error
from icnet_cli.evaluation.steady import Way, measure
from icnet_cli.inference.reuse import Reuse
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pipeline.segment import DamagedInputError, segment
from icnet_cli.reports.axes import Panel, draw_panels
from icnet_cli.video import open_video

from .subjects import Subject

_ROUNDS = 3


def reuse_report(
    config: BenchConfig, subject: Subject, *, quick: bool = False, run: Callable[..., Any] = segment
) -> Generator[Any, None, dict[str, Any]]:
    """Time each way of `config.reuse` and measure what it loses; events a frame.

    Returns:
        `rows`, one a way: `reuse`, `reuse_kind`, `smooth`, `end_to_end_fps` (the median of the rounds), `rounds_fps`,
        `speedup` over the first way, `cpu_ms` (processor time a
        frame, of all cores), `agreement`, `flicker`, `neighbour_agreement`, `network_runs`; and `per_frame`.

    Raises:
        IcnetError: INPUT where the video cannot be read; USAGE for a kind of reuse that the network does not have.
    """
    if config.video is None or not config.video.is_file():
        raise input_error(f"no video {config.video}; give a file that exists")
    words = config.reuse or ()
    segmenter = subject.segmenter(config.device, config.precision, config.size)
    rounds: list[list[float]] = [[] for _ in words]
    processor: list[list[float]] = [[] for _ in words]
    report: Mapping[str, Any] = {}
    for _ in range(1 if quick else _ROUNDS):
        for word, speeds, spent in zip(words, rounds, processor, strict=True):
            begun = time.process_time()
            report = yield from _timed(config, segmenter, word, run)
            speeds.append(report["end_to_end_fps"])
            spent.append((time.process_time() - begun) * 1000 / max(1, report["frames"]))
    ways = [Way(Reuse.of(word, config.reuse_kind), config.smooth) for word in words]
    with open_video(config.video) as video:
        pictures = (frame.rgb() for frame in islice(video, config.frames))
        quality = yield from measure(segmenter, ways, pictures, total=report["frames"])
    return {
        "rows": _rows(rounds, processor, quality["ways"]),
        "per_frame": quality["per_frame"],
        "video": config.video.name,
        "variant": subject.variant,
        **{name: report[name] for name in ("frames", "model", "size", "output_size", "device", "precision")},
        "backend": report["backend"],
    }


def _timed(
    config: BenchConfig, segmenter: Segmenter, word: str, run: Callable[..., Any]
) -> Generator[Any, None, Mapping[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        labels = config.view == "labels"
        job = SegmentConfig(
            str(config.video), Path(folder) / ("labels" if labels else "out.mp4"), view=config.view,
            frames=config.frames, device=config.device, preset=None if labels else config.preset,
            # Without smoothing `--reuse 1` is each frame for itself, and takes no flow.
            reuse=None if word == "1" else word, reuse_kind="scores" if word == "1" else config.reuse_kind,
            smooth=config.smooth,
        )  # fmt: skip
        try:
            report = yield from run(job, segmenter)
        except DamagedInputError as error:
            report = error.report
    return dict(report)


def _rows(
    rounds: Sequence[Sequence[float]],
    processor: Sequence[Sequence[float]],
    ways: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    first = median(rounds[0])
    kept = ("agreement", "flicker", "neighbour_agreement", "network_runs", "reuse", "reuse_kind", "smooth")
    return [
        {name: way[name] for name in kept}
        | {
            "end_to_end_fps": median(speeds),
            "rounds_fps": list(speeds),
            "cpu_ms": median(spent),
            # Of the same round, so that what else the machine did weighs on both.
            "speedup": median(fps / base for fps, base in zip(speeds, rounds[0], strict=True))
            if first
            else None,
        }
        for speeds, spent, way in zip(rounds, processor, ways, strict=True)
    ]


def plot_reuse(document: Mapping[str, Any], path: Path) -> None:
    """Agreement and flicker over the frames a second, each with what the network on each frame has of itself.

    Raises:
        IcnetError: OUTPUT where the file cannot be written.
    """
    rows = sorted(document["rows"], key=lambda row: -row["network_runs"])
    speeds = [row["end_to_end_fps"] for row in rows]
    about = f"frames a second, file to file: {document['model']} on {document['video']}, {document['device']}"
    panels = []
    for key, base, own in (
        ("agreement", "neighbour_agreement", "neighbouring frames of the network"),
        ("flicker", "flicker", "the network on each frame"),
    ):
        points = {
            (row["end_to_end_fps"], row[key]): str(row["reuse"]) for row in rows if row[key] is not None
        }
        level = document["per_frame"][base]
        lines = {"with reuse": list(points)}
        if level is not None:
            lines[own] = [(end, level) for end in (min(speeds), max(speeds))]
        panels.append(
            Panel(
                lines, title=key, xlabel=about, labels=points, from_zero=key == "flicker",
                faded=frozenset({own}),
            )
        )  # fmt: skip
    draw_panels(panels, path)

"""What reuse between frames gains and what it loses: `icnet bench --video FILE --reuse 1,2,3,5`.

Speed is that of the program itself, file in to file out, each way in turn for a few rounds, so that a machine that
is busy for a while is so for all. What is lost is measured once, with the network on each frame beside.
"""

from __future__ import annotations

import tempfile
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
from icnet_cli.reports.plots import Panel, draw_panels
from icnet_cli.video import open_video

from .subjects import Subject

_ROUNDS = 3
_NEIGHBOURS = "neighbouring frames of the network"


def reuse_report(
    config: BenchConfig, subject: Subject, *, quick: bool = False, run: Callable[..., Any] = segment
) -> Generator[Any, None, dict[str, Any]]:
    """Time each way of `config.reuse` and measure what it loses; events a frame.

    Returns:
        `rows`, one a way: `reuse`, `reuse_kind`, `smooth`, `end_to_end_fps` (the median of the rounds), `rounds_fps`,
        `speedup` over the first way, `agreement`, `flicker`, `neighbour_agreement`, `network_runs`; and `per_frame`.

    Raises:
        IcnetError: INPUT where the video cannot be read; USAGE for a kind of reuse that the network does not have.
    """
    if config.video is None or not config.video.is_file():
        raise input_error(f"no video {config.video}; give a file that exists")
    words = config.reuse or ()
    segmenter = subject.segmenter(config.device, config.precision, config.size)
    rounds: list[list[float]] = [[] for _ in words]
    report: Mapping[str, Any] = {}
    for _ in range(1 if quick else _ROUNDS):
        for word, speeds in zip(words, rounds, strict=True):
            report = yield from _timed(config, segmenter, word, run)
            speeds.append(report["end_to_end_fps"])
    ways = [Way(Reuse.of(word, config.reuse_kind), config.smooth) for word in words]
    with open_video(config.video) as video:
        pictures = (frame.rgb() for frame in islice(video, config.frames))
        quality = yield from measure(segmenter, ways, pictures, total=report["frames"])
    return {
        "rows": _rows(rounds, quality["ways"]),
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
            frames=config.frames, preset=None if labels else config.preset,
            # Without smoothing `--reuse 1` is each frame for itself, and takes no flow.
            reuse=None if word == "1" else word, reuse_kind="scores" if word == "1" else config.reuse_kind,
            smooth=config.smooth,
        )  # fmt: skip
        try:
            report = yield from run(job, segmenter)
        except DamagedInputError as error:
            report = error.report
    return dict(report)


def _rows(rounds: Sequence[Sequence[float]], ways: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    first = median(rounds[0])
    kept = ("agreement", "flicker", "neighbour_agreement", "network_runs", "reuse", "reuse_kind", "smooth")
    return [
        {name: way[name] for name in kept}
        | {
            "end_to_end_fps": median(speeds),
            "rounds_fps": list(speeds),
            # Of the same round, so that what else the machine did weighs on both.
            "speedup": median(fps / base for fps, base in zip(speeds, rounds[0], strict=True))
            if first
            else None,
        }
        for speeds, way in zip(rounds, ways, strict=True)
    ]


def plot_reuse(document: Mapping[str, Any], path: Path) -> None:
    """Agreement and flicker over the frames a second, each with what the network on each frame has of itself.

    Raises:
        IcnetError: OUTPUT where the file cannot be written.
    """
    rows = sorted(document["rows"], key=lambda row: row["end_to_end_fps"])
    ends = (rows[0]["end_to_end_fps"], rows[-1]["end_to_end_fps"])
    about = f"{document['model']}, {document['video']}, {document['device']}"
    panels = []
    for key, base, title in (
        ("agreement", "neighbour_agreement", "agreement with the network on each frame"),
        ("flicker", "flicker", "flicker: pixels that change class without cause"),
    ):
        points = [(row["end_to_end_fps"], row[key]) for row in rows if row[key] is not None]
        level = document["per_frame"][base]
        name = _NEIGHBOURS if key == "agreement" else "the network on each frame"
        lines = {"with reuse": points} | ({} if level is None else {name: [(end, level) for end in ends]})
        labels = {
            (row["end_to_end_fps"], row[key]): str(row["reuse"]) for row in rows if row[key] is not None
        }
        panels.append(
            Panel(
                lines, title=f"{title} ({about})", xlabel="frames a second, file to file", labels=labels,
                from_zero=key == "flicker", faded=frozenset({name}),
            )
        )  # fmt: skip
    draw_panels(panels, path)

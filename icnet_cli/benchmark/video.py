"""The whole way from video file to video file, timed by running the program that `icnet segment` runs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from icnet_cli.config import DEFAULT_WEIGHTS, BenchConfig, SegmentConfig
from icnet_cli.errors import input_error, usage_error
from icnet_cli.inference.choice import Work
from icnet_cli.inference.processor import cpu_has_bf16
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pipeline.segment import DamagedInputError, FrameDone, Notice, segment
from icnet_cli.video import open_video

from .naive import compared, naive_run
from .plain import apart
from .rows import network_input, time_pass
from .subjects import Subject
from .timing import Protocol

Lanes = Mapping[str, Sequence[str]]
# What runs after what in one thread; the lanes run at once (pipeline/lanes.py). A run over a device tells its own.
LANES: Lanes = {
    "decode": ("decode",),
    "network": ("prepare", "upload", "forward", "postprocess"),
    "encode": ("render", "download", "encode"),
}
_FEWER = "--every 2 labels every second frame only"
_SMALLER = "a smaller --size (half of each side is a quarter of the pixels)"


def video_report(
    config: BenchConfig, subject: Subject, protocol: Protocol, run: Callable[..., Any] = segment
) -> Generator[FrameDone | Notice, None, dict[str, Any]]:
    """Run `segment` on the video, its output thrown away, and say where the time went.

    Returns:
        segment's own report (without its paths), and `stages` (p50, p95, p99 of each), `model_fps` (the
        network alone, at the size it ran at), `overlap`, `bottleneck` and `advice`; `naive` where that was asked for.
    """
    if config.video is None or not config.video.is_file():
        raise input_error(f"no video {config.video}; give a file that exists")
    if config.naive and subject.loaded is None:
        raise usage_error(
            "--naive runs a network as the paper writes it; give --weights that are no exported file"
        )
    segmenter = yield from _segmenter(config, subject)
    with tempfile.TemporaryDirectory() as folder:
        job = SegmentConfig(
            str(config.video), Path(folder) / _output_name(config.view), view=config.view, frames=config.frames,
            preset=config.preset if config.view != "labels" else None, hwaccel=config.hwaccel, device=config.device,
        )  # fmt: skip
        try:
            report = yield from run(job, segmenter)
        except DamagedInputError as error:
            report = error.report  # what could be decoded has been timed
    size = (int(report["size"][0]), int(report["size"][1]))
    model = time_pass(segmenter.forward, network_input(segmenter, size), protocol)
    document = describe(report, model, config.preset) | {"variant": subject.variant, "preset": config.preset}
    if config.naive:
        yield Notice("the naive loop, for comparison")
        naive = apart(naive_run, config.video, config.weights or DEFAULT_WEIGHTS, size, config.frames)
        document["naive"] = compared(report, naive)
    return document


def _segmenter(config: BenchConfig, subject: Subject) -> Generator[Notice, None, Segmenter]:
    """As `segment` makes it for this video, built before the clock runs."""
    with open_video(str(config.video)) as video:
        size, frames = (video.info.height, video.info.width), video.info.frames_estimated
    work = Work(config.frames or frames, size)
    segmenter = subject.segmenter(config.device, config.precision, config.size, config.backend, work)
    to_build = segmenter.still_to_build(*size)
    if to_build:
        yield Notice(to_build)
    segmenter.warm(*size)
    return segmenter


def _output_name(view: str) -> str:
    # Labels go into a folder of PNGs, as `segment` writes them unless told otherwise.
    return "labels" if view == "labels" else "out.mp4"


def describe(
    report: Mapping[str, Any], model: Mapping[str, Any], preset: str | None = None
) -> dict[str, Any]:
    """The report of a run with what follows from it; `model` is the timing of the network alone.

    `overlap` is the frame rate over what it would be with one stage after the other: 1 where nothing runs at once.
    `share_of_slowest_lane` is the frame rate over what the slowest lane alone would give: 1 where it never waits.
    """
    p50: Mapping[str, float] = report["stages_ms"]
    stages = [
        {
            "stage": name,
            "ms_p50": p50[name],
            "ms_p95": report.get("stages_ms_p95", {}).get(name),
            "ms_p99": report.get("stages_ms_p99", {}).get(name),
        }
        for name in p50
    ]
    one_by_one = sum(p50.values())
    lanes: Lanes = report.get("lanes", LANES)
    lane, stage = bottleneck(p50, lanes)
    longest = sum(p50.get(name, 0.0) for name in lanes[lane])
    kept = {name: value for name, value in report.items() if name not in ("input", "output", "class_share")}
    return {
        **kept,
        "stages": stages,
        "rows": _rows(report, stages, model),
        "model_fps": model["model_fps"],
        "model_ms_p50": model["ms_p50"],
        "model_runs": model["runs"],
        "sequential_fps": 1000 / one_by_one if one_by_one else None,
        "overlap": report["end_to_end_fps"] * one_by_one / 1000,
        "share_of_slowest_lane": report["end_to_end_fps"] * longest / 1000,
        "bottleneck": stage,
        "bottleneck_lane": lane,
        "advice": advice(
            lane,
            stage,
            p50,
            str(report["device"]),
            report.get("view", "overlay"),
            preset,
            lanes,
            decodes_on_gpu=report.get("hwaccel") == "cuda",
            spare_bf16=report["precision"] == "fp32" and cpu_has_bf16(),
        ),
    }


def _rows(
    report: Mapping[str, Any], stages: list[dict[str, Any]], model: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The stages and the two wholes, each with what it was measured of, for comparing two runs."""
    about = {"model": report["model"], "resolution": report["size"], "precision": report["precision"]}
    whole = {"stage": "network alone", **{key: model[key] for key in ("ms_p50", "ms_p95", "ms_p99")}}
    each = {"stage": "a frame, end to end", "ms_p50": 1000 / report["end_to_end_fps"]}
    return [{**about, **row} for row in (*stages, whole, each)]


def bottleneck(p50: Mapping[str, float], lanes: Lanes = LANES) -> tuple[str, str]:
    """The lane that takes the longest, and the longest stage in it."""
    spent = {lane: sum(p50.get(stage, 0.0) for stage in stages) for lane, stages in lanes.items()}
    lane = max(spent, key=lambda name: spent[name])
    return lane, max((name for name in lanes[lane] if name in p50), key=lambda name: p50[name])


def advice(
    lane: str,
    stage: str,
    p50: Mapping[str, float],
    device: str,
    view: str = "overlay",
    preset: str | None = None,
    lanes: Lanes = LANES,
    *,
    decodes_on_gpu: bool = False,
    spare_bf16: bool = False,
) -> str:
    """One sentence: what holds the run up, and the option of `icnet segment` that would relieve it."""
    spent = sum(p50.get(name, 0.0) for name in lanes[lane])
    within = "" if spent == p50[stage] else f" in the {lane} lane ({spent:.1f} ms a frame)"
    cure = relief(stage, device, view, preset, decodes_on_gpu=decodes_on_gpu, spare_bf16=spare_bf16)
    return f"The bottleneck is {stage}, {p50[stage]:.1f} ms a frame{within}: {cure}."


def relief(
    stage: str,
    device: str,
    view: str,
    preset: str | None,
    *,
    decodes_on_gpu: bool = False,
    spare_bf16: bool = False,
) -> str:
    """What makes a stage shorter, or has fewer frames go through it.

    Args:
        spare_bf16: whether the CPU has bf16 of its own and runs the network in fp32.
    """
    if stage == "decode":
        if device != "cpu" and not decodes_on_gpu:
            return "--hwaccel gives it to the GPU's own decoder"
        return "no option decodes faster; a source with smaller frames or an easier codec does"
    if stage == "forward" and device == "cpu" and spare_bf16:
        return f"--precision bf16 (this processor has it), --weights of a smaller network, or {_SMALLER}"
    if stage == "forward" and device == "cpu":
        return f"--device cuda, --weights of a smaller network, or {_SMALLER}"
    if stage in ("prepare", "upload", "forward"):
        return f"{_SMALLER} gives the network less to do"
    if stage == "render" and view in ("overlay", "side-by-side"):
        return "--view color paints without mixing in the picture"
    if stage == "encode" and view != "labels" and preset != "ultrafast":
        return "--preset ultrafast encodes faster, into a larger file"
    return _FEWER

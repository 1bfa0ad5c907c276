"""The whole way: that it is segment's own, what is worked out of its report, and what is advised."""

from __future__ import annotations

import inspect
import re
from collections.abc import Generator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from icnet_cli.benchmark.subjects import subjects
from icnet_cli.benchmark.video import LANES, bottleneck, describe, relief, video_report
from icnet_cli.checkpoints.format import WeightsMeta, save_weights
from icnet_cli.classes import load_table
from icnet_cli.config import BenchConfig, SegmentConfig, flag_of
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference.choice import Work
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.models import build
from icnet_cli.pipeline import segment as pipeline
from tests.benchmark.conftest import SHORT, SMALL
from tests.pipeline.conftest import frames, write_video

STAGES = [stage for stages in LANES.values() for stage in stages]
REPORT: dict[str, Any] = {
    "input": "private.mp4", "output": "out.mp4", "view": "overlay", "frames": 10, "device": "cpu",
    "precision": "fp32", "model": "icnet", "size": [64, 96], "end_to_end_fps": 50.0, "class_share": {},
    "stages_ms": {
        "decode": 5.0, "prepare": 2.0, "forward": 10.0, "postprocess": 3.0, "render": 4.0, "encode": 16.0,
    },
    "stages_ms_p95": {"decode": 6.0}, "stages_ms_p99": {"decode": 7.0},
}  # fmt: skip
MODEL = {"model_fps": 100.0, "ms_p50": 10.0, "ms_p95": 11.0, "ms_p99": 12.0, "runs": 3}


def finish(events: Generator[Any, None, dict]) -> tuple[list[Any], dict]:
    seen = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as end:
            return seen, end.value


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "in.mp4", frames())


def test_it_times_the_program_that_segment_runs() -> None:
    assert inspect.signature(video_report).parameters["run"].default is pipeline.segment


@pytest.mark.parametrize("view", ["overlay", "labels"])
def test_a_video_from_file_to_file(video: Path, view: str) -> None:
    config = BenchConfig(video=video, view=view, frames=4, device="cpu", size=(32, 64))
    seen, report = finish(video_report(config, SMALL, SHORT))
    assert (len(seen), report["frames"], report["view"], report["size"]) == (4, 4, view, [32, 64])
    names = [stage["stage"] for stage in report["stages"]]
    assert set(names) == set(report["stages_ms"])
    assert {"decode", "prepare", "forward", "postprocess", "render", "encode"} <= set(names)
    for stage in report["stages"]:
        assert stage["ms_p50"] <= stage["ms_p95"] <= stage["ms_p99"]
    assert report["model_fps"] > 0
    assert report["advice"].count(".") >= 1
    assert "in.mp4" not in str(report)


def test_a_small_video_is_timed_at_the_size_it_runs_at(
    tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default enlarges, so asking it for an enlarged picture's size enlarges again."""
    timed: list[tuple[int, ...]] = []
    forward = Segmenter.forward

    def seen(self: Segmenter, pictures: torch.Tensor) -> torch.Tensor:
        timed.append(tuple(pictures.shape[2:]))
        return forward(self, pictures)

    monkeypatch.setattr(Segmenter, "forward", seen)
    network = build("fast-scnn", {"keep": 0.25, "num_classes": 11})
    save_weights(
        tmp_path / "w.safetensors", network, WeightsMeta.of(network, load_table("camvid"), (400, 600))
    )
    config = BenchConfig(video=video, weights=str(tmp_path / "w.safetensors"), frames=2, device="cpu")
    (subject,) = subjects(config)
    _, report = finish(video_report(config, subject, SHORT))
    assert {*timed} == {tuple(report["size"])}
    height, width = report["size"]
    assert Segmenter(subject.network(), subject.loaded.meta).input_size(height, width) != (height, width)


@pytest.mark.parametrize(
    ("picture", "expected"), [((360, 640), (352, 640)), ((2160, 3840), (1088, 1920)), (None, (1024, 2048))]
)
def test_random_weights_have_no_size_to_enlarge_to(picture: Any, expected: tuple[int, int]) -> None:
    segmenter = SMALL.segmenter("cpu", "fp32", None, work=Work(1, picture))
    assert segmenter.input_size(*(picture or (1024, 2048))) == expected


def test_an_encoder_preset_is_passed_on(video: Path) -> None:
    jobs: list[SegmentConfig] = []

    def run(config: SegmentConfig, segmenter: Any) -> Generator[Any, None, dict]:
        jobs.append(config)
        yield None
        return REPORT

    for view in ("overlay", "labels"):
        finish(
            video_report(
                BenchConfig(video=video, preset="ultrafast", view=view, device="cpu"), SMALL, SHORT, run
            )
        )
    assert [job.preset for job in jobs] == ["ultrafast", None]
    assert [job.output.name for job in jobs] == ["out.mp4", "labels"]
    assert [job.device for job in jobs] == ["cpu", "cpu"], "whose decoder it is that is timed"
    assert not any(job.output.parent.exists() for job in jobs), "what was written is thrown away"


def test_a_video_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IcnetError) as refused:
        finish(video_report(BenchConfig(video=tmp_path / "none.mp4"), SMALL, SHORT))
    assert refused.value.code == ExitCode.INPUT


def test_what_is_worked_out() -> None:
    found = describe(REPORT, MODEL)
    assert found["sequential_fps"] == 25  # 40 ms a frame one after the other
    assert found["overlap"] == 2  # 50 fps
    assert (found["model_fps"], found["end_to_end_fps"]) == (100, 50)
    assert found["stages"][0] == {"stage": "decode", "ms_p50": 5, "ms_p95": 6, "ms_p99": 7}
    assert found["stages"][1]["ms_p95"] is None
    assert not {"input", "output", "class_share"} & set(found)
    wholes = {row["stage"]: row["ms_p50"] for row in found["rows"][-2:]}
    assert wholes == {"network alone": 10, "a frame, end to end": 20}
    assert {row["model"] for row in found["rows"]} == {"icnet"}


def test_the_bottleneck_is_the_slowest_lane_and_its_longest_stage() -> None:
    assert bottleneck(REPORT["stages_ms"]) == ("encode", "encode")
    slow_network = REPORT["stages_ms"] | {"postprocess": 18.0}
    assert bottleneck(slow_network) == ("network", "postprocess")
    assert bottleneck({"decode": 9.0, "forward": 2.0, "encode": 8.0}) == ("decode", "decode")


def test_a_run_over_a_device_tells_its_own_lanes() -> None:
    """Copies, the stages of the device and the host's threads run beside one another."""
    lanes = {
        "decode": ["decode"],
        "upload": ["upload"],
        "device": ["prepare", "forward"],
        "encode": ["encode"],
    }
    p50 = {"decode": 2.0, "upload": 5.0, "prepare": 4.0, "forward": 5.0, "encode": 8.0}
    assert bottleneck(p50, lanes) == ("device", "forward")
    found = describe(REPORT | {"stages_ms": p50, "lanes": lanes, "end_to_end_fps": 100}, MODEL)
    assert (found["bottleneck_lane"], found["share_of_slowest_lane"]) == ("device", pytest.approx(0.9))


def test_a_gpu_s_decoder_is_advised_where_it_is_not_used() -> None:
    assert "--hwaccel" in relief("decode", "cuda:0", "overlay", None)
    assert "--hwaccel" not in relief("decode", "cuda:0", "overlay", None, decodes_on_gpu=True)
    assert "--hwaccel" not in relief("decode", "cpu", "overlay", None)


def test_one_sentence_names_it_and_an_option() -> None:
    assert describe(REPORT, MODEL)["advice"] == (
        "The bottleneck is encode, 16.0 ms a frame in the encode lane (20.0 ms a frame): "
        "--preset ultrafast encodes faster, into a larger file."
    )


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
@pytest.mark.parametrize("view", ["overlay", "labels"])
def test_what_is_advised_can_be_done(stage: str, device: str, view: str) -> None:
    advised = re.findall(r"--[a-z-]+", relief(stage, device, view, None))
    assert set(advised) <= {flag_of(item) for item in fields(SegmentConfig)}
    assert advised or stage == "decode"
    assert "cuda" not in relief(stage, "cuda:0", view, None)


def test_what_is_done_already_is_not_advised() -> None:
    assert "--precision bf16" in relief("forward", "cpu", "overlay", None, spare_bf16=True)
    assert "--precision" not in relief("forward", "cpu", "overlay", None)
    assert "preset" not in relief("encode", "cpu", "overlay", "ultrafast")
    assert "preset" not in relief("encode", "cpu", "labels", None)
    assert "--view" not in relief("render", "cpu", "color", None)

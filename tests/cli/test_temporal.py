"""`icnet eval --temporal`, and the options between frames of `icnet segment`, on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from icnet_cli.cli.segment import closing_line, ms_words
from icnet_cli.cli.temporal import way_name
from icnet_cli.pixels.files import write_labels_png
from tests.cli.conftest import Icnet
from tests.inference.test_reuse import SIZE, drive
from tests.pipeline.conftest import write_video


@pytest.fixture
def road(tmp_path: Path) -> Path:
    return write_video(tmp_path / "road.mp4", drive(60, 5), tuple(range(5)))


def test_a_video_is_measured_as_tables(icnet: Icnet, road: Path, weights: Path) -> None:
    outcome = icnet("eval", "--temporal", road, "--reuse", "2", "--weights", weights, "--frames", 4)
    assert outcome.code == 0, outcome.err
    assert "each frame" in outcome.out
    assert "reuse 2" in outcome.out
    assert "mIoU" not in outcome.out
    assert outcome.err.splitlines()[-1].endswith("reuse 2: network on 2")


def test_with_truth_there_is_an_miou_in_the_json(
    icnet: Icnet, road: Path, weights: Path, tmp_path: Path
) -> None:
    for i in range(5):
        write_labels_png(tmp_path / "truth" / f"{i}.png", np.full(SIZE, 3, np.uint8))
    outcome = icnet(
        "eval", "--temporal", road, "--truth", tmp_path / "truth", "--smooth", "0.5", "--weights", weights, "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    document = outcome.document
    assert document["frames"] == 5
    assert document["ways"][0]["smooth"] == 0.5
    assert {"miou", "flicker", "agreement", "neighbour_agreement"} <= set(document["ways"][0])
    assert document["per_frame"]["agreement"] == 1


@pytest.mark.parametrize("time", [("--deadline", "30"), ("--realtime",)])
def test_a_time_to_keep_is_measured_as_segment_keeps_it(
    icnet: Icnet, tmp_path: Path, weights: Path, time: tuple[str, ...]
) -> None:
    # Ten seconds from frame to frame, so that no machine is late and each frame has the network for itself.
    road = write_video(tmp_path / "slow.mp4", drive(61, 4), (0, 100, 200, 300))
    outcome = icnet("eval", "--temporal", road, *time, "--weights", weights, "--json")
    assert outcome.code == 0, outcome.err
    (way,) = outcome.document["ways"]
    assert (way["reuse"], way["agreement"], way["network_runs"]) == ("chosen", 1, 4)
    assert way["deadline"]["kept_share"] == 1
    assert way["flicker"] == outcome.document["per_frame"]["flicker"]
    assert "kept for 100.0% of frames" in outcome.err


def test_a_time_that_nothing_keeps_costs_agreement(icnet: Icnet, road: Path, weights: Path) -> None:
    outcome = icnet("eval", "--temporal", road, "--deadline", "0.1ms", "--weights", weights, "--frames", 4)
    assert outcome.code == 0, outcome.err
    assert "deadline 0.1 ms" in outcome.out
    assert "(no setting keeps it here)" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("eval",), "DATASET is missing"),
        (("eval", "camvid", "--reuse", "2"), "--reuse is for --temporal"),
        (("eval", "camvid", "--realtime"), "--realtime is for --temporal"),
        (("eval", "--temporal", "a.mp4", "--realtime", "--reuse", "2"), "leave out --reuse"),
        (("eval", "--temporal", "a.mp4", "--realtime", "--deadline", "33ms"), "give one"),
        (("eval", "camvid", "--temporal", "a.mp4", "--report", "page"), "leave out DATASET, --report"),
        (("eval", "--temporal", "a.mp4", "--flip"), "leave out --flip"),
        (("eval", "--temporal", "a.mp4", "--reuse", "no"), "--reuse must be auto"),
        (("segment", "a.mp4", "-o", "b.mp4", "--realtime", "--deadline", "33ms"), "give one"),
        (("segment", "a.mp4", "-o", "b.mp4", "--reuse", "3", "--batch", "4"), "--batch"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    refused: Callable[..., str], arguments: tuple[str, ...], words: str
) -> None:
    assert words in refused(2, *arguments)


def test_a_run_says_what_was_reused_and_whether_the_time_was_kept(
    icnet: Icnet, road: Path, weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    outcome = icnet("segment", road, "-o", out, "--reuse", "3", "--weights", weights, "--backend", "torch")
    assert outcome.code == 0, outcome.err
    assert "network on 2 of 5 frames" in outcome.err
    outcome = icnet("segment", road, "-o", out, "-y", "--deadline", "9", "--weights", weights)
    assert outcome.code == 0, outcome.err
    assert "9000 ms kept for 100.0% of frames" in outcome.err


def test_the_words_of_a_deadline_that_was_not_kept() -> None:
    report = {
        "output": "o.mp4", "frames": 100, "seconds": 4.0, "end_to_end_fps": 25.0,
        "reuse": {"network_runs": 25, "runs_beside": 5},
        "deadline": {
            "kind": "realtime", "ms": 40.0, "frames": 100, "missed": 7, "kept_share": 0.93, "possible": False,
            "chosen": [
                {"size": [480, 832], "span": 5, "beside": False, "frames": 60},
                {"size": [256, 416], "span": 1, "beside": True, "frames": 40},
            ],
        },
    }  # fmt: skip
    line = closing_line(report)
    assert "network on 25 of 100 frames" in line  # those beside are among them
    assert "40 ms kept for 93.0% of frames, 7 missed" in line
    assert "480x832 each 5th frame (60), 256x416 beside the frames (40)" in line
    assert "no setting keeps it here" in line


@pytest.mark.parametrize(("ms", "words"), [(33.0, "33 ms"), (1001 / 30, "33.37 ms"), (33000.0, "33000 ms")])
def test_a_time_is_never_told_with_an_exponent(ms: float, words: str) -> None:
    assert ms_words(ms) == words


def test_a_damaged_video_is_measured_as_far_as_it_goes_and_told(
    icnet: Icnet, weights: Path, tmp_path: Path
) -> None:
    whole = write_video(tmp_path / "whole.mkv", drive(61, 12), tuple(range(12)))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    outcome = icnet("eval", "--temporal", cut, "--weights", weights, "--json")
    assert outcome.code == 3
    document = json.loads(outcome.out)
    assert 0 < document["frames"] < 12
    assert document["problem"] in outcome.err.splitlines()[-1]
    assert "measured on what could be decoded" in outcome.err
    outcome = icnet("eval", "--temporal", whole, "--weights", weights, "--json")
    assert (outcome.code, json.loads(outcome.out)["problem"]) == (0, None)


def test_of_a_resumed_run_those_frames_are_told_that_it_labelled() -> None:
    report = {
        "output": "o.mp4", "frames": 100, "frames_before": 60, "seconds": 4.0, "end_to_end_fps": 10.0,
        "reuse": {"network_runs": 8, "runs_beside": 0},
    }  # fmt: skip
    assert "100 frames (60 of them before) in 4.0 s, 10.0 fps, network on 8 of 40 frames" in closing_line(
        report
    )


def test_a_way_is_called_by_its_options() -> None:
    assert way_name({"reuse": 1, "reuse_kind": "scores", "smooth": 0.0}) == "each frame"
    assert way_name({"reuse": "auto", "reuse_kind": "deep", "smooth": 0.5}) == "reuse auto deep smooth 0.5"
    chosen = {"reuse": "chosen", "reuse_kind": "scores", "smooth": 0.5}
    assert way_name(chosen | {"deadline": {"kind": "realtime", "ms": 40.0}}) == "realtime smooth 0.5"
    assert way_name(chosen | {"deadline": {"kind": "deadline", "ms": 33.0}}) == "deadline 33 ms smooth 0.5"

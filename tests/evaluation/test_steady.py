"""Ways to label a video, measured beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.evaluation.steady import LabelledBefore, Truth, Way, measure
from icnet_cli.inference.reuse import Reuse
from icnet_cli.pixels.files import write_labels_png
from tests.inference.test_reuse import SIZE, Counting, drive


def result(*arguments: Any, **options: Any) -> dict[str, Any]:
    events = measure(*arguments, **options)
    while True:
        try:
            next(events)
        except StopIteration as end:
            return dict(end.value)


def truth_in(folder: Path, labels: list[np.ndarray]) -> Path:
    for i, each in enumerate(labels):
        write_labels_png(folder / f"frame_{i:04d}.png", each)
    return folder


def test_the_network_runs_once_a_frame_for_all_ways(tmp_path: Path) -> None:
    frames = drive(40, 6)
    labels = [Counting().labels(frame) for frame in frames]
    segmenter = Counting()
    ways = [Way(), Way(Reuse(3)), Way(smooth=0.5)]
    found = result(segmenter, ways, frames, Truth(truth_in(tmp_path, labels)), total=6)
    assert segmenter.seen == 6
    plain, every_third, smooth = found["ways"]
    assert plain["agreement"] == 1
    assert plain["miou"] == found["per_frame"]["miou"] == 1
    assert plain["flicker"] == found["per_frame"]["flicker"]
    assert every_third["network_runs"] == 2
    assert 0.95 < every_third["agreement"] < 1
    assert 0.9 < every_third["miou"] < 1
    assert every_third["agreement"] > found["per_frame"]["neighbour_agreement"]
    assert smooth["network_runs"] == 6


def test_cuts_are_counted_and_not_measured_across() -> None:
    found = result(Counting(), [Way(Reuse(9))], drive(41, 2) + drive(42, 2))
    assert found["cuts"] == 1
    assert found["frames"] == 4
    assert found["ways"][0]["frames"] == {"first": 1, "carried": 2, "cut": 1}
    assert "miou" not in found["per_frame"]


def test_noise_of_the_network_is_flicker_and_smoothing_halves_it() -> None:
    found = result(Counting(noise=0.35), [Way(smooth=0.7)], drive(43, 6))
    assert found["per_frame"]["flicker"] > 0.005
    assert found["ways"][0]["flicker"] < found["per_frame"]["flicker"] / 2
    assert set(found["per_frame"]["flicker_per_class"]) == {"red", "green", "blue"}


def test_truth_from_an_npz_is_that_of_a_folder(tmp_path: Path) -> None:
    labels = [np.full(SIZE, k, np.uint8) for k in (0, 2, 255)]
    np.savez(tmp_path / "labels.npz", labels=np.stack(labels))
    one, other = Truth(tmp_path / "labels.npz"), Truth(truth_in(tmp_path / "png", labels))
    for i in range(3):
        assert np.array_equal(one.labels(i, SIZE, 3), other.labels(i, SIZE, 3))


def test_a_truth_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    truth = Truth(truth_in(tmp_path / "a", [np.full(SIZE, 2, np.uint8)]))
    for wrong, words in (
        ((0, (64, 64), 3), "the video's 64x64"),
        ((0, SIZE, 2), "holds 2, expected 0 to 1"),
        ((1, SIZE, 3), "labels of 1 frames"),
    ):
        with pytest.raises(IcnetError, match=words) as refused:
            truth.labels(*wrong)
        assert refused.value.code == ExitCode.INPUT
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.npz").write_bytes(b"not one")
    np.savez(tmp_path / "other.npz", labels=np.zeros(3))
    for name in ("empty", "missing", "bad.npz", "other.npz"):
        with pytest.raises(IcnetError):
            Truth(tmp_path / name)


def before(labels: list[np.ndarray]) -> LabelledBefore:
    return LabelledBefore(iter(labels), {"reuse": "chosen"}, {"carried": len(labels)}, 1)


def test_labels_that_were_made_before_are_measured_as_any_others() -> None:
    frames = drive(44, 4)
    own = [Counting().labels(frame) for frame in frames]
    late = [own[0], *own[:-1]]
    same, other = result(Counting(), [before(own), before(late)], frames)["ways"]
    assert (same["agreement"], same["reuse"], same["network_runs"], same["frames"]) == (
        1, "chosen", 1, {"carried": 4},
    )  # fmt: skip
    shares = [float((a == b).mean()) for a, b in zip(own, late, strict=True)]
    assert other["agreement"] == pytest.approx(np.mean(shares))
    assert other["agreement"] < 0.97


def test_labels_made_before_of_other_frames_are_refused() -> None:
    frames = drive(44, 2)
    own = [Counting().labels(frame) for frame in frames]
    for wrong in (own[:1], [own[0], own[1][:-8]]):
        with pytest.raises(IcnetError, match="not those that were labelled") as refused:
            result(Counting(), [before(wrong)], frames)
        assert refused.value.code == ExitCode.INPUT


def test_a_frame_of_another_size_is_no_cut() -> None:
    frames = drive(45, 3)
    found = result(Counting(), [Way(Reuse(9))], [*frames, frames[0][:96], frames[1][:96]])
    assert (found["cuts"], found["ways"][0]["frames"]["first"]) == (0, 2)


def test_no_frame_is_an_error() -> None:
    with pytest.raises(IcnetError, match="no frame"):
        result(Counting(), [Way()], [])

"""The network beside the frames, by a background that finishes when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from icnet_cli.inference.beside import BesideScores, Done
from icnet_cli.inference.reuse import Reuse
from tests.inference.test_reuse import Counting, agreement, drive


class Later:
    """Runs what it was given when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Done], Future[Done]]] = []

    def submit(self, work: Callable[[], Done], /) -> Future[Done]:
        future: Future[Done] = Future()
        self.waiting.append((work, future))
        return future

    def finish(self) -> None:
        for work, future in self.waiting:
            future.set_result(work())
        self.waiting.clear()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.waiting.clear()


def labels_of(
    scores: BesideScores, frame: np.ndarray, took: Callable[[float], None] = lambda seconds: None
) -> np.ndarray:
    found = scores.scores_beside(frame, took)
    return scores.segmenter.postprocess(found, (frame.shape[0], frame.shape[1]))[0]


def test_no_frame_waits_and_what_arrives_is_carried_to_now() -> None:
    frames = drive(20, 9)
    plain = [Counting().labels(frame) for frame in frames]
    segmenter, later = Counting(), Later()
    took: list[float] = []
    scores = BesideScores(segmenter, Reuse(), background=later)
    labels = [labels_of(scores, frames[0], took.append)]
    assert segmenter.seen == 1  # the first frame has nothing to be carried from
    for i, frame in enumerate(frames[1:], 1):
        labels.append(labels_of(scores, frame, took.append))
        if i % 3 == 0:
            assert len(later.waiting) == 1  # never more than one under way
            later.finish()
    assert scores.counts == {"first": 1, "carried": 8, "beside": 2}
    assert scores.frames == 9
    assert (scores.runs, scores.awaited) == (3, 1)
    assert len(took) == 2
    assert agreement(labels, plain).share > 0.96


def test_a_run_has_the_size_of_the_frame_that_began_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may wait for one before it whose result is not asked for any more; by then another size may be chosen."""
    sizes: list[tuple[int, int] | None] = []
    prepare = Counting.prepare

    def noting(self: Counting, frames: Any, size: tuple[int, int] | None = None) -> Any:
        sizes.append(size)
        return prepare(self, frames, size)

    monkeypatch.setattr(Counting, "prepare", noting)
    frames, later = drive(20, 3), Later()
    scores = BesideScores(Counting(), Reuse(), background=later)
    for frame, size in zip(frames, ((96, 128), (64, 96), (32, 64)), strict=True):
        scores.size = size
        labels_of(scores, frame)
    later.finish()
    assert sizes == [(96, 128), (64, 96)]  # the first frame waits, the second begins a run, the third none


def test_after_a_cut_a_frame_waits_and_what_was_under_way_is_forgotten() -> None:
    before, after = drive(21, 3), drive(22, 2)
    segmenter, later = Counting(), Later()
    scores = BesideScores(segmenter, Reuse(), background=later)
    for frame in before:
        labels_of(scores, frame)
    found = labels_of(scores, after[0])
    assert np.array_equal(found, segmenter.labels(after[0]))
    later.finish()  # that of the scene before
    labels_of(scores, after[1])
    assert scores.counts["beside"] == 0


def test_smoothing_averages_what_arrives_with_what_was_known_of_its_frame() -> None:
    frames = drive(23, 5)
    later = Later()
    scores = BesideScores(Counting(noise=0.3), Reuse(), smooth=0.6, background=later)
    for frame in frames:
        found = labels_of(scores, frame)
        later.finish()
    plain = Counting()
    assert agreement([found], [plain.labels(frames[-1])]).share > 0.9


def test_with_a_thread_of_its_own() -> None:
    frames = drive(24, 4)
    scores = BesideScores(Counting(), Reuse())
    for frame in frames:
        labels_of(scores, frame)
    scores.scores(frames[-1])  # back to waiting for it
    scores.close()
    assert scores.frames == 5

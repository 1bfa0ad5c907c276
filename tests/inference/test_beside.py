"""The network beside the frames, by a background that finishes when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

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


def labels_of(scores: BesideScores, frame: np.ndarray) -> np.ndarray:
    return scores.segmenter.postprocess(scores.scores_beside(frame), (frame.shape[0], frame.shape[1]))[0]


def test_no_frame_waits_and_what_arrives_is_carried_to_now() -> None:
    frames = drive(20, 9)
    plain = [Counting().labels(frame) for frame in frames]
    segmenter, later = Counting(), Later()
    took: list[float] = []
    scores = BesideScores(segmenter, Reuse(), took=took.append, background=later)
    labels = [labels_of(scores, frames[0])]
    assert segmenter.seen == 1  # the first frame has nothing to be carried from
    for i, frame in enumerate(frames[1:], 1):
        labels.append(labels_of(scores, frame))
        if i % 3 == 0:
            assert len(later.waiting) == 1  # never more than one under way
            later.finish()
    assert scores.counts == {"first": 1, "carried": 8, "beside": 2}
    assert scores.frames == 9
    assert (scores.runs, scores.awaited) == (3, 1)
    assert len(took) == 2
    assert agreement(labels, plain).share > 0.96


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

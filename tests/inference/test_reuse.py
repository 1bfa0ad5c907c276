"""Scores carried from frame to frame: against the network on each frame, and where it must run again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from icnet_cli.errors import IcnetError
from icnet_cli.evaluation.temporal import Agreement, Flicker
from icnet_cli.inference.cascade import Cascade, cascade_of
from icnet_cli.inference.motion import DeviceMotion, HostMotion
from icnet_cli.inference.reuse import AUTO_SPAN, FrameScores, Reuse, Trail
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.models import build
from icnet_cli.pixels.cv import cv2
from tests.inference.tiny import TinyNetwork, randomised, tiny_meta

SIZE = (128, 160)
RED = (230, 20, 20)  # someone in a red coat


class Counting(Segmenter):
    """Counts the pictures that its network has seen, and can be made unsure of itself."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__(TinyNetwork(), tiny_meta(SIZE), "cpu", size=SIZE)
        self.seen, self._noise = 0, noise
        self._random = torch.Generator().manual_seed(0)

    def forward(self, pictures: Tensor) -> Tensor:
        self.seen += 1
        scores = super().forward(pictures)
        return scores + self._noise * torch.randn(scores.shape, generator=self._random)


def scene(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H, W, 3): blots of red, green and blue with texture on them, which flow can hold on to."""
    rng = np.random.default_rng(seed)
    blots = cv2.GaussianBlur(rng.random((*size, 3)).astype(np.float32), (0, 0), 12).argmax(axis=2)
    colours = np.array(((200, 60, 60), (60, 200, 60), (60, 60, 200)), np.float32)[blots]
    texture = cv2.GaussianBlur(rng.random(size).astype(np.float32), (0, 0), 2)
    texture = cv2.normalize(texture, None, -55, 55, cv2.NORM_MINMAX)[..., None]
    return np.clip(colours + texture, 0, 255).astype(np.uint8)


def drive(seed: int, count: int, step: int = 2) -> list[np.ndarray]:
    """The scene passing by: a window that moves over a wider one."""
    wide = scene(seed, (SIZE[0], SIZE[1] + step * count))
    return [np.ascontiguousarray(wide[:, i * step : i * step + SIZE[1]]) for i in range(count)]


def agreement(one: list[np.ndarray], other: list[np.ndarray]) -> Agreement:
    total = Agreement()
    for a, b in zip(one, other, strict=True):
        total.add(a, b)
    return total


def test_each_frame_for_itself_is_what_the_segmenter_gives() -> None:
    frames = drive(0, 3)
    plain, each = Counting(), FrameScores(Counting())
    for frame in frames:
        assert np.array_equal(each.labels(frame), plain.labels(frame))
    assert each.counts == {"first": 1, "due": 2}


def test_carried_labels_follow_the_picture() -> None:
    frames = drive(1, 7)
    plain = [Counting().labels(frame) for frame in frames]
    segmenter = Counting()
    reused = FrameScores(segmenter, Reuse(3))
    labels = [reused.labels(frame) for frame in frames]
    copied = [plain[i - i % 3] for i in range(len(frames))]
    assert segmenter.seen == reused.runs == 3
    assert reused.counts["carried"] == 4
    assert np.array_equal(labels[3], plain[3])
    assert agreement(labels, plain).share > 0.97
    assert 1 - agreement(labels, plain).share < (1 - agreement(copied, plain).share) / 2


def test_on_a_scene_cut_the_network_runs_again() -> None:
    before, after = drive(2, 3), drive(3, 3)
    segmenter = Counting()
    reused = FrameScores(segmenter, Reuse(10))
    labels = [reused.labels(frame) for frame in before + after]
    assert np.array_equal(labels[3], segmenter.labels(after[0]))
    assert reused.counts["cut"] == 1
    assert reused.runs == 2


def test_where_something_appears_the_network_runs_again() -> None:
    frames = [scene(4) for _ in range(3)]
    frames[2] = frames[2].copy()
    frames[2][30:110, 40:120] = np.random.default_rng(0).integers(0, 255, (80, 80, 3))
    reused = FrameScores(Counting(), Reuse(10))
    for frame in frames:
        reused.labels(frame)
    assert reused.counts == {"first": 1, "carried": 1, "unexplained": 1}


def test_where_a_little_has_gone_the_network_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ground = scene(15)
    frames = [ground.copy(), ground.copy(), ground]
    for frame in frames[:2]:
        frame[40:62, 60:82] = RED  # a fiftieth of the picture
    plain = Counting().labels(ground)
    gone = np.s_[43:59, 63:79]
    reused = FrameScores(Counting(), Reuse(10))
    labels = [reused.labels(frame) for frame in frames]
    assert reused.counts == {"first": 1, "carried": 1, "unexplained": 1}
    assert np.array_equal(labels[2], plain)
    # The picture as a whole is explained: without a look at its patches he would be seen where he is no more.
    monkeypatch.setattr("icnet_cli.inference.reuse.PATCH_SHARE", 1.0)
    reused = FrameScores(Counting(), Reuse(10))
    labels = [reused.labels(frame) for frame in frames]
    assert reused.counts == {"first": 1, "carried": 2}
    assert (labels[2][gone] != plain[gone]).mean() > 0.3


def test_auto_has_a_longest_span_and_ends_it_where_things_move_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "icnet_cli.inference.reuse.PATCH_SHARE", 1.0
    )  # what comes in at the border is another test's
    still = FrameScores(Counting(), Reuse.of("auto"))
    for _ in range(AUTO_SPAN + 1):
        still.labels(scene(5))
    assert still.counts == {"first": 1, "carried": AUTO_SPAN - 1, "due": 1}
    fast = FrameScores(Counting(), Reuse.of("auto"))
    for frame in drive(6, 4, step=6):
        fast.labels(frame)
    assert fast.counts["drifted"] >= 1


def test_a_frame_of_another_size_begins_anew() -> None:
    reused = FrameScores(Counting(), Reuse(5))
    reused.labels(scene(7))
    assert reused.labels(scene(7, (96, 160))).shape == (96, 160)
    assert reused.counts == {"first": 2}


def test_reset_forgets() -> None:
    frames = drive(8, 4)
    reused = FrameScores(Counting(), Reuse(4), smooth=0.5)
    for frame in frames[:2]:
        reused.labels(frame)
    reused.reset()
    fresh = FrameScores(Counting(), Reuse(4), smooth=0.5)
    for frame in frames[2:]:
        assert np.array_equal(reused.labels(frame), fresh.labels(frame))


def test_smoothing_takes_the_flicker_and_nothing_else() -> None:
    frames = drive(9, 8)
    truth = [Counting().labels(frame) for frame in frames]
    shares, right = [], []
    for smooth in (0.0, 0.7):
        each, flicker = FrameScores(Counting(noise=0.35), smooth=smooth), Flicker()
        labels = [each.labels(frame) for frame in frames]
        for frame, found in zip(frames, labels, strict=True):
            flicker.add(frame, found)
        shares.append(flicker.share)
        right.append(agreement(labels, truth).share)
    assert shares[1] < shares[0] / 2
    assert right[1] > right[0]


def test_smoothing_a_still_picture_changes_nothing() -> None:
    """However sure the network is: a probability that was cut off would move borders on the way to full size."""

    class Sure(Counting):
        def forward(self, pictures: Tensor) -> Tensor:
            # At a quarter of the size, as the networks' scores are.
            return 25 * torch.nn.functional.avg_pool2d(super().forward(pictures), 4)

    still = scene(12)
    plain = Sure().labels(still)
    assert len(np.unique(plain)) > 1
    each = FrameScores(Sure(), smooth=0.5)
    for _ in range(3):
        np.testing.assert_array_equal(each.labels(still), plain)


def test_no_trail_stays_behind_what_moves() -> None:
    ground = scene(10)
    frames = []
    for i in range(6):
        frame = ground.copy()
        frame[40:80, 20 + 12 * i : 44 + 12 * i] = RED  # half his width further each frame
        frames.append(frame)
    plain = [Counting().labels(frame) for frame in frames]
    each = FrameScores(Counting(), smooth=0.8)
    labels = [each.labels(frame) for frame in frames]
    left = np.zeros(SIZE, bool)
    left[40:80, 20:68] = True  # where he was and is no more
    trail = (labels[-1] == 0) & (plain[-1] != 0) & left
    assert trail.sum() < 0.04 * left.sum()
    # The same average without its gate does leave one.
    each = FrameScores(Counting(), smooth=0.8, motion=Ungated())
    labels = [each.labels(frame) for frame in frames]
    trail = (labels[-1] == 0) & (plain[-1] != 0) & left
    assert trail.sum() > 0.08 * left.sum()


class Ungated(DeviceMotion):
    """Takes nothing to move, and everything before to count."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))

    def flow(self, previous: Any, current: Any) -> Any:
        return torch.zeros((*current.shape, 2))

    def gate(self, error: Any, size: tuple[int, int]) -> Tensor:
        return torch.ones(1, 1, *size)


def test_after_a_cut_smoothing_knows_nothing_of_before() -> None:
    before, after = drive(11, 3), drive(12, 2)
    segmenter = Counting()
    each = FrameScores(segmenter, smooth=0.9)
    labels = [each.labels(frame) for frame in before + after]
    assert np.array_equal(labels[3], segmenter.labels(after[0]))


def test_the_twin_on_a_device_carries_as_well() -> None:
    frames = drive(13, 6)
    plain = [Counting().labels(frame) for frame in frames]
    reused = FrameScores(Counting(), Reuse(3), motion=DeviceMotion(torch.device("cpu")))
    labels = [reused.labels(frame) for frame in frames]
    assert reused.runs == 2
    assert agreement(labels, plain).share > 0.96


@pytest.mark.gpu
def test_on_a_gpu_as_on_the_host() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    frames = drive(13, 6)
    host = FrameScores(Segmenter(TinyNetwork(), tiny_meta(SIZE), "cpu", size=SIZE), Reuse(3), smooth=0.5)
    device = FrameScores(Segmenter(TinyNetwork(), tiny_meta(SIZE), "cuda", size=SIZE), Reuse(3), smooth=0.5)
    one, other = ([each.labels(frame) for frame in frames] for each in (host, device))
    assert agreement(one, other).share > 0.96


@pytest.mark.parametrize("head", ["published", "fused"])
def test_the_cascades_halves_are_the_network(head: str) -> None:
    network = randomised(build("icnet", {"num_classes": 4, "keep": 0.125, "head": head}))
    x = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        cascade = Cascade(network)  # type: ignore[arg-type]
        torch.testing.assert_close(cascade.finish(cascade.deep(x), x), network.scores(x))  # type: ignore[operator]


def test_deep_runs_the_high_branch_on_each_frame() -> None:
    network = randomised(build("icnet", {"num_classes": 3, "keep": 0.125}))
    segmenter = Segmenter(network, tiny_meta(SIZE), "cpu", size=SIZE)
    frames = drive(14, 4)
    reused = FrameScores(segmenter, Reuse(2, kind="deep"))
    labels = [reused.labels(frame) for frame in frames]
    assert reused.counts == {"first": 1, "carried": 2, "due": 1}
    assert np.array_equal(labels[2], segmenter.labels(frames[2]))
    smoothed = FrameScores(segmenter, Reuse(2, kind="deep"), smooth=0.5)
    assert all(smoothed.labels(frame).shape == SIZE for frame in frames)


def test_deep_with_smoothing_computes_each_flow_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network = randomised(build("icnet", {"num_classes": 3, "keep": 0.125}))
    segmenter = Segmenter(network, tiny_meta(SIZE), "cpu", size=SIZE)
    frames, flows = [*drive(14, 5), *drive(3, 2)], 0
    flow_between = HostMotion.flow

    def counted(self: HostMotion, previous: Any, current: Any) -> Any:
        nonlocal flows
        flows += 1
        return flow_between(self, previous, current)

    def labelled() -> list[np.ndarray]:
        reused = FrameScores(segmenter, Reuse(3, kind="deep"), smooth=0.5)
        labels = [reused.labels(frame) for frame in frames]
        assert reused.counts == {"first": 1, "carried": 4, "due": 1, "cut": 1}
        return labels

    monkeypatch.setattr(HostMotion, "flow", counted)
    once = labelled()
    assert flows == len(frames) - 1
    advance = Trail.advance
    monkeypatch.setattr(Trail, "advance", lambda self, motion, grey, step=None: advance(self, motion, grey))
    assert all(map(np.array_equal, once, labelled()))
    assert flows > 2 * (len(frames) - 1)


def test_deep_is_refused_for_other_networks() -> None:
    with pytest.raises(IcnetError, match="ICNet with all three branches"):
        FrameScores(Counting(), Reuse(2, kind="deep"))
    network = build("icnet", {"num_classes": 3, "keep": 0.125, "branches": "sub24"})
    assert cascade_of(Segmenter(network, tiny_meta(SIZE), "cpu").engine) is None

"""`icnet segment` with scores carried between frames: what is written, what is told, what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from icnet_cli.config import SegmentConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference.beside import Done
from icnet_cli.inference.cuda import CudaEngine
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pipeline.deadline import PUNCTUAL, Pace, Setting
from icnet_cli.pipeline.items import Picture
from icnet_cli.pipeline.labeller import MotionLabeller, SingleLabeller, labeller_of
from icnet_cli.pipeline.sources import Selection, VideoSource
from icnet_cli.video import open_video
from tests.inference.test_graphs import Capture
from tests.inference.test_reuse import SIZE, drive
from tests.inference.tiny import TinyNetwork, tiny_meta
from tests.pipeline.conftest import run, write_video


class AtOnce:
    """A background whose runs are over before the next frame comes."""

    def submit(self, work: Callable[[], Done], /) -> Future[Done]:
        future: Future[Done] = Future()
        future.set_result(work())
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing is under way."""


def picture(rgb: np.ndarray, index: int, *, at: int | None = None, begins: bool = False) -> Picture:
    return Picture(
        str(index), index, rgb, pts=index if at is None else at, duration=1,
        time_base=Fraction(1, 25), starts_segment=begins,
    )  # fmt: skip


def motion(config: SegmentConfig) -> MotionLabeller:
    labeller = labeller_of(config, Segmenter(TinyNetwork(), tiny_meta(SIZE), "cpu", size=SIZE), None)
    assert isinstance(labeller, MotionLabeller)
    return labeller


def config(**options: object) -> SegmentConfig:
    return SegmentConfig(source="in.mp4", output=Path("out.mp4"), **options)  # type: ignore[arg-type]


@pytest.fixture
def road(tmp_path: Path) -> Path:
    """A tenth of a second from frame to frame."""
    return write_video(tmp_path / "road.mp4", drive(30, 8), tuple(range(8)))


def test_the_network_runs_on_key_frames_and_the_report_says_so(
    segmenter: Segmenter, road: Path, tmp_path: Path
) -> None:
    events, report = run(segmenter, road, tmp_path / "out.mp4", reuse="4")
    assert len(events) == report["frames"] == 8
    assert report["reuse"]["frames"] == {"first": 1, "carried": 6, "due": 1}
    assert report["reuse"]["network_runs"] == len(segmenter.stage_times["forward"]) == 2
    assert "deadline" not in report


def test_without_these_options_nothing_is_carried(segmenter: Segmenter, video: Path, tmp_path: Path) -> None:
    _, report = run(segmenter, video, tmp_path / "out.mp4")
    assert "reuse" not in report
    assert isinstance(labeller_of(config(), segmenter, None), SingleLabeller)


def test_where_a_segment_begins_all_is_forgotten() -> None:
    frames = drive(31, 6)
    uninterrupted, resumed = motion(config(reuse="9", smooth=0.5)), motion(config(reuse="9", smooth=0.5))
    for i, frame in enumerate(frames[:3]):
        uninterrupted.label(picture(frame, i, begins=i == 0))
    for i, frame in enumerate(frames[3:], 3):
        one = uninterrupted.label(picture(frame, i, begins=i == 3))[0]
        other = resumed.label(picture(frame, i, begins=i == 3))[0]
        assert np.array_equal(one, other)


def test_after_a_gap_in_time_all_is_forgotten() -> None:
    frames = drive(32, 4)
    labeller = motion(config(reuse="9"))
    for i, at in enumerate((0, 1, 60, 30)):  # two seconds later, then back
        labeller.label(picture(frames[i], i, at=at))
    assert labeller.scores.counts == {"first": 3, "carried": 1}


def test_frames_that_are_left_out_are_no_gap(segmenter: Segmenter, road: Path, tmp_path: Path) -> None:
    _, report = run(segmenter, road, tmp_path / "out.mp4", reuse="9", every=2)
    # What has come in at the border by the fourth is unexplained.
    assert report["reuse"]["frames"] == {"first": 1, "carried": 2, "unexplained": 1}


@pytest.mark.parametrize("time", [{"deadline_s": 30.0}, {"realtime": True}])
def test_a_time_that_is_ample_is_kept_with_the_network_on_each_frame(
    time: dict[str, object], segmenter: Segmenter, road: Path, tmp_path: Path
) -> None:
    if "realtime" in time:  # a source so slow that no machine is late
        road = write_video(tmp_path / "slow.mp4", drive(33, 3), (0, 100, 200))
    _, report = run(segmenter, road, tmp_path / "out.mp4", **time)
    kept = report["deadline"]
    assert kept["missed"] == 0
    assert kept["kept_share"] == 1
    assert [(each["span"], each["beside"]) for each in kept["chosen"]] == [(1, False)]
    assert kept["chosen"][0]["size"] == report["size"]


def test_a_time_that_nothing_keeps_is_told(segmenter: Segmenter, road: Path, tmp_path: Path) -> None:
    _, report = run(segmenter, road, tmp_path / "out.mp4", deadline_s=1e-6)
    assert report["deadline"]["missed"] == 8
    assert report["deadline"]["possible"] is False


def test_a_time_that_every_frame_kept_is_possible(
    segmenter: Segmenter, road: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the guesses of a run that ended amid its slow start were."""
    monkeypatch.setattr(Pace, "fits", lambda *_: False)
    _, report = run(segmenter, road, tmp_path / "out.mp4", deadline_s=30.0)
    assert (report["deadline"]["missed"], report["deadline"]["possible"]) == (0, True)


def test_each_size_that_may_be_chosen_has_its_graph_before_the_first_picture(
    segmenter: Segmenter, road: Path, tmp_path: Path
) -> None:
    """A capture amid the run would be taken for what the size costs, and the size would not be chosen again."""
    capture = Capture()
    segmenter.engine = CudaEngine(
        segmenter.network, segmenter.meta.normalisation, segmenter.device, "fp32", capture=capture
    )
    run(segmenter, road, tmp_path / "out.mp4", deadline_s=30.0, frames=1)
    scales = {setting.scale for setting in PUNCTUAL}
    assert len(scales) > 4
    assert capture.captured == len(scales)
    assert len(segmenter.engine._graphed) == len(scales)  # none had to make room


@contextmanager
def pacing(road: Path) -> Iterator[tuple[MotionLabeller, Pace, list[Setting]]]:
    """A labeller whose runs beside are over at once, its pace, and the settings whose cost it is told."""
    segmenter = Segmenter(TinyNetwork(), tiny_meta(SIZE), "cpu", size=SIZE)
    with open_video(road) as reader:
        labeller = labeller_of(config(deadline_s=0.01), segmenter, VideoSource(reader, Selection()))
        assert isinstance(labeller, MotionLabeller)
        assert labeller.pace is not None
        told: list[Setting] = []
        labeller.pace.costs.add_network = lambda seconds, setting: told.append(setting)  # type: ignore[method-assign]
        labeller.scores._background = AtOnce()
        yield labeller, labeller.pace, told


def test_what_runs_beside_is_no_frames_cost(road: Path) -> None:
    """A frame that a finished run arrives in took a carried frame's time, which is not the network's."""
    with pacing(road) as (labeller, pace, told):
        pace.setting = Setting(beside=True)
        pace.fits = lambda setting, share=1.0: setting.beside  # type: ignore[method-assign]
        for i, frame in enumerate(drive(34, 7)):
            labeller.label(picture(frame, i, begins=i == 0))
        labeller.close()
    counts = labeller.scores.counts
    assert counts["beside"] >= 2
    assert len(told) == counts["first"] + counts["beside"]
    assert labeller.report()["reuse"]["network_runs"] == len(told)


def test_a_run_beside_is_the_cost_of_the_size_that_it_was_begun_at(road: Path) -> None:
    """The size may change while it is under way; taken for the smaller one's, the larger one's time would be dear."""
    with pacing(road) as (labeller, pace, told):
        pace.fits = lambda setting, share=1.0: setting == pace.setting  # type: ignore[method-assign]
        for i, (frame, scale) in enumerate(zip(drive(34, 4), (1.0, 1.0, 0.5, 0.5), strict=True)):
            pace.setting = Setting(scale, beside=True)
            labeller.label(picture(frame, i, begins=i == 0))
        labeller.close()
    assert told[1:] == [
        Setting(1.0, beside=True),
        Setting(0.5, beside=True),
    ]  # told[0]: the frame that waited


def test_confidence_comes_with_carried_scores(segmenter: Segmenter, road: Path, tmp_path: Path) -> None:
    stats = tmp_path / "rows.csv"
    run(segmenter, road, tmp_path / "out.mp4", reuse="3", confidence=True, stats=stats)
    assert stats.read_text().count("\n") == 9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reuse": "0"}, "--reuse must be auto or a number"),
        ({"reuse": "often"}, "--reuse must be auto or a number"),
        ({"reuse_kind": "deep"}, "give --reuse K or auto"),
        ({"reuse": "2", "deadline_s": 0.03}, "leave out --reuse"),
        ({"deadline_s": 0.03, "realtime": True}, "give one"),
        ({"smooth": 1.0}, "--smooth must be at most"),
        ({"deadline_s": 0.0}, "--deadline must be above"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(IcnetError, match=words) as refused:
        config(**options).check()
    assert refused.value.code == ExitCode.USAGE


def test_pictures_have_no_rate_to_keep(segmenter: Segmenter, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(IcnetError, match="no time to keep"):
        run(segmenter, folder, tmp_path / "labels", realtime=True)


def test_an_engine_that_gives_labels_has_no_scores_to_carry(segmenter: Segmenter) -> None:
    segmenter.engine.gives_scores = False
    with pytest.raises(IcnetError, match="--reuse needs scores"):
        labeller_of(config(reuse="2"), segmenter, None)

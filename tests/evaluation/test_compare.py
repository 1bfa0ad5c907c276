from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from icnet_cli.classes import ClassTable
from icnet_cli.evaluation.compare import FRAMES, Comparison, Seen

CLASSES = ClassTable("three", ("road", "sky", "car"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)), (0, 1, 2))
SHAPE = (40, 60)


class Says:
    """A labeller that gives what it is told, and notes what it was asked."""

    classes = CLASSES

    def __init__(self, *answers: np.ndarray) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []
        self.log: list[str] | None = None
        self.name = ""

    def labels(self, frame: np.ndarray) -> np.ndarray:
        number = int(frame[0, 0, 0])
        self.asked.append(number)
        if self.log is not None:
            self.log.append(f"{self.name}{number}")
        return self.answers[number % len(self.answers)]


def full(value: int, rows: int = 0, other: int = 0) -> np.ndarray:
    """Labels of one value, the first `rows` rows of another."""
    labels = np.full(SHAPE, value, np.uint8)
    labels[:rows] = other
    return labels


def pictures(count: int, truth: np.ndarray | None = None) -> Iterator[Seen]:
    for number in range(count):
        yield Seen(f"p{number}", np.full((*SHAPE, 3), number, np.uint8), truth)


def compared(a: Says, b: Says, count: int = 1, truth: np.ndarray | None = None, **options) -> Comparison:
    comparison = Comparison(a, b, **options)
    list(comparison.events(pictures(count, truth)))
    return comparison


def test_disagreement_is_the_share_of_pixels_and_of_each_class() -> None:
    document = compared(Says(full(0)), Says(full(0, 10, 1))).to_dict()
    assert document["disagreement"] == pytest.approx(0.25)
    assert document["per_class"] == {"road": pytest.approx(0.25), "sky": 1.0, "car": None}
    assert document["between"] == [[1800, 600, 0], [0, 0, 0], [0, 0, 0]]
    assert document["a"]["class_share"] == {"road": 1.0, "sky": 0.0, "car": 0.0}
    assert document["b"]["class_share"] == {"road": 0.75, "sky": 0.25, "car": 0.0}


def test_weights_never_disagree_with_themselves() -> None:
    comparison = compared(Says(full(2)), Says(full(2)), 3)
    assert comparison.to_dict()["disagreement"] == 0
    assert comparison.shots == []  # there is nothing to see


def test_with_truth_it_says_who_is_right() -> None:
    truth = full(0)
    truth[30:] = 255
    document = compared(Says(full(0)), Says(full(0, 15, 1)), truth=truth).to_dict()
    assert document["truth"] == {
        "neither_right": 0.0,
        "only_a_right": 0.5,
        "only_b_right": 0.0,
        "both_right": 0.5,
    }
    assert document["a"]["miou"] == 1.0
    assert document["b"]["per_class"]["road"] == 0.5


def test_without_truth_there_is_no_accuracy() -> None:
    document = compared(Says(full(0)), Says(full(1))).to_dict()
    assert "truth" not in document
    assert not {"miou", "per_class", "pixel_accuracy"} & set(document["a"])


def test_the_two_take_turns_after_a_run_that_is_not_timed() -> None:
    a, b, log = Says(full(0)), Says(full(1)), []
    a.log = b.log = log
    a.name, b.name = "a", "b"
    comparison = compared(a, b, 4)
    assert log == ["a0", "b0", "a0", "b0", "b1", "a1", "a2", "b2", "b3", "a3"]
    assert len(comparison.a.ms) == len(comparison.b.ms) == 4
    document = comparison.to_dict()
    assert document["time_ratio"] > 0
    assert document["a"]["fps"] == pytest.approx(1000 / document["a"]["ms_p50"])


def test_flicker_is_of_frames_in_order_only() -> None:
    steady, changing = Says(full(0)), Says(full(0), full(1))
    document = compared(steady, changing, 6, in_order=True).to_dict()
    assert document["a"]["flicker"] == 0
    assert document["b"]["flicker"] == 1.0
    assert document["b"]["flicker_per_class"] == {"road": 1.0, "sky": 1.0, "car": None}
    assert "flicker" not in compared(steady, changing, 6).to_dict()["a"]


def test_the_frames_of_most_disagreement_are_kept_apart_and_few() -> None:
    b = Says(*(full(0, 1 + number % 7, 1) for number in range(70)))
    comparison = compared(Says(full(0)), b, 70)
    assert len(comparison.shots) == FRAMES
    assert comparison.shots[0].differ == 7 / 40
    spread = compared(Says(full(0)), b, 70, apart=7)
    assert [shot.name for shot in spread.shots] == [f"p{number}" for number in range(6, 70, 7)]
    shot = spread.shots[0]
    assert shot.confusions == ((0, 1, 7 / 40),)
    assert shot.truth is None


def test_a_last_part_that_is_shorter_is_kept_too() -> None:
    b = Says(full(0), full(0), full(0), full(0, 5, 2))
    assert [shot.name for shot in compared(Says(full(0)), b, 4, apart=100).shots] == ["p3"]


def test_where_they_disagree() -> None:
    share, picture = compared(Says(full(0)), Says(full(0), full(0, 10, 1)), 4).heat or (None, None)
    assert share is not None
    assert share.shape == SHAPE
    assert (share[:10] == 0.5).all()
    assert (share[10:] == 0).all()
    assert picture.shape == (*SHAPE, 3)
    assert Comparison(Says(full(0)), Says(full(0))).heat is None


def test_the_report_is_json() -> None:
    document = compared(Says(full(0)), Says(full(1)), 2, truth=full(255)).to_dict()
    json.dumps(document, allow_nan=False)
    assert "truth" not in document  # nothing was labelled

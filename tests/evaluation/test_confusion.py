from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from icnet_cli.evaluation.confusion import Confusion


def confusion_of(truth: list[int], prediction: list[int], num_classes: int) -> Confusion:
    confusion = Confusion(num_classes)
    confusion.update(np.array([truth], np.uint8), np.array([prediction], np.uint8))
    return confusion


@st.composite
def labelled_pictures(draw: st.DrawFn) -> tuple[int, list[tuple[np.ndarray, np.ndarray]]]:
    k = draw(st.integers(1, 6))
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    truth = arrays(np.uint8, shape, elements=st.sampled_from([*range(k), 255]))
    prediction = arrays(np.uint8, shape, elements=st.integers(0, k - 1))
    return k, draw(st.lists(st.tuples(truth, prediction), max_size=3))


def naive_counts(k: int, pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[list[int]]:
    counts = [[0] * k for _ in range(k)]
    for truth, prediction in pairs:
        for t, p in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
            if t != 255:
                counts[t][p] += 1
    return counts


@given(labelled_pictures())
def test_counts_and_figures_agree_with_a_loop_over_pixels(case):
    k, pairs = case
    confusion = Confusion(k)
    for truth, prediction in pairs:
        confusion.update(truth, prediction)
    counts = naive_counts(k, pairs)
    assert confusion.to_list() == counts

    ious = []
    recalls = []
    for c in range(k):
        row, column = sum(counts[c]), sum(r[c] for r in counts)
        if union := row + column - counts[c][c]:
            assert confusion.iou[c] == pytest.approx(counts[c][c] / union)
            ious.append(counts[c][c] / union)
        else:
            assert math.isnan(confusion.iou[c])
        if row:
            recalls.append(counts[c][c] / row)
    total = sum(map(sum, counts))
    assert_same(confusion.miou, sum(ious), len(ious))
    assert_same(confusion.mean_accuracy, sum(recalls), len(recalls))
    assert_same(confusion.pixel_accuracy, sum(counts[c][c] for c in range(k)), total)


def assert_same(figure: float, part: float, whole: int) -> None:
    if whole:
        assert figure == pytest.approx(part / whole)
    else:
        assert math.isnan(figure)


@given(labelled_pictures())
def test_adding_confusions_is_counting_all_the_images_in_one(case):
    k, pairs = case
    whole = Confusion(k)
    total = Confusion(k)
    for truth, prediction in pairs:
        whole.update(truth, prediction)
        part = Confusion(k)
        part.update(truth, prediction)
        total = total + part
    assert total == whole
    assert Confusion.from_list(whole.to_list()) == whole


def test_the_figures_of_a_matrix_worked_by_hand():
    confusion = confusion_of([0, 0, 0, 1, 1, 255], [0, 0, 1, 1, 0, 0], 3)
    assert confusion.to_list() == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert confusion.iou[:2] == pytest.approx([2 / 4, 1 / 3])
    assert math.isnan(confusion.iou[2])
    assert confusion.miou == pytest.approx((2 / 4 + 1 / 3) / 2)
    assert confusion.pixel_accuracy == pytest.approx(3 / 5)
    assert confusion.mean_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert confusion.pixels == 5


def test_a_class_only_predicted_counts_as_zero_and_an_absent_one_does_not_count():
    only_predicted = confusion_of([0, 0, 0, 0], [0, 0, 0, 1], 2)
    assert only_predicted.iou[1] == 0
    assert only_predicted.miou == pytest.approx((3 / 4 + 0) / 2)
    absent = confusion_of([0, 0, 0, 0], [0, 0, 0, 0], 2)
    assert absent.miou == 1
    # it has no truth, so it has no accuracy either way
    assert only_predicted.mean_accuracy == pytest.approx(3 / 4)


def test_a_prediction_on_an_ignored_pixel_is_no_false_positive():
    assert confusion_of([0, 255], [0, 1], 2).iou[0] == 1
    assert math.isnan(confusion_of([0, 255], [0, 1], 2).iou[1])


def test_nothing_counted_is_nan_without_a_warning(recwarn):
    empty = confusion_of([255, 255], [0, 1], 2)
    assert empty.pixels == 0
    for figure in (empty.miou, empty.pixel_accuracy, empty.mean_accuracy, empty.category_miou(["a", "b"])):
        assert math.isnan(figure)
    assert not recwarn.list


def test_a_confusion_within_a_category_is_no_error_and_one_across_is():
    confusion = confusion_of([0, 1, 2, 2], [1, 0, 2, 0], 3)
    by_category = confusion.category_iou(["flat", "flat", "sky"])
    assert by_category == pytest.approx({"flat": 2 / 3, "sky": 1 / 2})
    assert confusion.category_miou(["flat", "flat", "sky"]) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert confusion.miou < confusion.category_miou(["flat", "flat", "sky"])
    with pytest.raises(ValueError, match="2 categories for 3 classes"):
        confusion.category_iou(["flat", "sky"])


def test_categories_need_not_be_neighbours():
    confusion = confusion_of([0, 2, 1], [2, 0, 1], 3)
    assert confusion.category_iou(["a", "b", "a"]) == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize("truth", [0, 255])
def test_a_prediction_outside_the_classes_raises_and_counts_nothing(truth):
    confusion = Confusion(3)
    with pytest.raises(ValueError, match="prediction holds the value 3; expected 0 to 2"):
        confusion.update(np.array([[0, truth]], np.uint8), np.array([[0, 3]], np.uint8))
    assert confusion.pixels == 0


def test_a_truth_outside_the_classes_raises_unless_it_is_255():
    confusion = Confusion(3)
    with pytest.raises(ValueError, match="truth holds the value 254; expected 0 to 2 or 255"):
        confusion.update(np.array([[0, 254]], np.uint8), np.array([[0, 0]], np.uint8))
    confusion.update(np.array([[0, 255]], np.uint8), np.array([[0, 0]], np.uint8))
    assert confusion.pixels == 1


def test_shapes_and_types_that_differ_raise():
    confusion = Confusion(3)
    one = np.zeros((1, 2), np.uint8)
    with pytest.raises(ValueError, match=r"truth is \(1, 2\) and prediction \(2, 1\)"):
        confusion.update(one, one.T)
    with pytest.raises(ValueError, match="uint8"):
        confusion.update(one.astype(np.int64), one)
    with pytest.raises(ValueError, match="3 and 4 classes"):
        confusion + Confusion(4)


@pytest.mark.parametrize("rows", [[[1, 2]], [[1], [2]], [[1, -1], [0, 0]], [[1.5]], []])
def test_a_list_that_is_no_confusion_is_refused(rows):
    with pytest.raises(ValueError, match=r"confusion|num_classes"):
        Confusion.from_list(rows)


def test_counts_do_not_wrap():
    confusion = Confusion.from_list([[2**40, 0], [0, 2**40]])
    assert (confusion + confusion).pixels == 2**42


@pytest.mark.parametrize("num_classes", [0, 256])
def test_class_counts_that_a_byte_cannot_hold_are_refused(num_classes):
    with pytest.raises(ValueError, match="1 to 255"):
        Confusion(num_classes)

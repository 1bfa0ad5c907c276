from __future__ import annotations

import numpy as np
import pytest

from icnet_cli.evaluation.worst import CROP_SIDE, ClassCrops, Top, WorstFrames

IMAGE = np.zeros((100, 200, 3), np.uint8)
TRUTH = np.zeros((100, 200), np.uint8)


def with_box(value: int, top: int, left: int, height: int, width: int) -> np.ndarray:
    labels = TRUTH.copy()
    labels[top : top + height, left : left + width] = value
    return labels


def test_the_highest_are_kept_in_order_and_the_earlier_of_equals() -> None:
    top: Top[str] = Top(3)
    for name, rank in (("a", 1), ("b", 3), ("c", 2), ("d", 2), ("e", 0), ("f", 3)):
        assert top.wants(rank) or name == "e"
        top.add(rank, name)
    assert top.items == ["b", "f", "c"]
    assert not top.wants(2)


def test_the_worst_frames_are_those_with_most_of_the_labelled_pixels_wrong() -> None:
    worst = WorstFrames(3, most=2)
    for name, wrong_rows in (("some", 10), ("none", 0), ("most", 60), ("few", 5)):
        worst.add(name, IMAGE, TRUTH, with_box(1, 0, 0, wrong_rows, 200))
    ignored = TRUTH.copy()
    ignored[20:] = 255
    worst.add("half", IMAGE, ignored, with_box(2, 0, 0, 10, 200))  # ten rows of the twenty that count
    assert [shot.name for shot in worst.shots] == ["most", "half"]
    assert worst.shots[1].wrong == 0.5
    assert worst.shots[1].confusions == ((0, 2, 0.5),)
    assert worst.shots[0].miou == pytest.approx(0.4 / 2)  # IoU of class 0 is 0.4, that of class 1 is 0


def test_a_frame_without_labels_is_passed_over() -> None:
    worst = WorstFrames(3)
    worst.add("nothing", IMAGE, np.full_like(TRUTH, 255), TRUTH)
    assert worst.shots == []


def test_only_small_pictures_of_few_frames_are_kept() -> None:
    worst = WorstFrames(3, most=2)
    large, truth = np.zeros((960, 1280, 3), np.uint8), np.zeros((960, 1280), np.uint8)
    for number in range(5):
        worst.add(str(number), large, truth, truth)
    assert len(worst.shots) == 2
    for shot in worst.shots:
        assert shot.image.shape == (360, 480, 3)
        assert shot.image.base is None  # a view would keep the whole picture alive
        assert shot.truth.base is None


def test_crops_show_where_a_class_was_found_best_and_worst() -> None:
    crops = ClassCrops(3, most=2)
    truth = with_box(1, 30, 50, 20, 20)
    crops.add("found", IMAGE, truth, truth)
    crops.add("half", IMAGE, truth, with_box(1, 30, 50, 10, 20))
    crops.add("missed", IMAGE, truth, TRUTH)
    best, worst = crops.best[1].items, crops.worst[1].items
    assert [(one.name, one.iou) for one in best] == [("found", 1.0), ("half", 0.5)]
    assert [(one.name, one.iou) for one in worst] == [("missed", 0.0), ("half", 0.5)]
    assert best[0].image.shape[:2] == best[0].truth.shape == best[0].labels.shape
    assert max(best[0].truth.shape) <= CROP_SIDE
    assert worst[0].truth.any()
    assert not worst[0].labels.any()
    assert crops.best[2].items == crops.worst[2].items == []


def test_a_large_things_thin_rim_is_not_the_worst() -> None:
    crops = ClassCrops(3, most=1)
    large = with_box(1, 0, 0, 90, 180)
    crops.add("rim", IMAGE, large, with_box(1, 0, 0, 88, 180))  # 360 pixels wrong of 16,200
    small = with_box(1, 30, 50, 15, 15)
    crops.add("missed", IMAGE, small, TRUTH)  # all of 225
    assert crops.worst[1].items[0].name == "missed"


def test_specks_and_ignored_pixels_make_no_crop() -> None:
    crops = ClassCrops(3)
    crops.add("speck", IMAGE, with_box(1, 30, 50, 2, 2), TRUTH)
    assert crops.worst[1].items == []
    crops = ClassCrops(3)
    crops.add("ignored", IMAGE, np.full_like(TRUTH, 255), TRUTH)
    assert crops.worst[0].items == []
    # What is predicted where the truth is ignored is no mistake.
    truth = with_box(1, 30, 50, 20, 20)
    truth[50:] = 255
    found = with_box(1, 30, 50, 60, 20)
    crops.add("beyond", IMAGE, truth, found)
    assert crops.best[1].items[0].iou == 1.0


def test_large_pictures_are_searched_at_a_part_of_their_size() -> None:
    truth = np.zeros((1024, 2048), np.uint8)
    truth[400:600, 900:1100] = 1
    crops = ClassCrops(3)
    crops.add("x", np.zeros((1024, 2048, 3), np.uint8), truth, truth)
    (crop,) = crops.best[1].items
    assert crop.iou == 1.0
    rows, columns = np.nonzero(crop.truth)
    middle = crop.truth.shape[0] / 2
    assert abs(rows.mean() - middle) < 4
    assert abs(columns.mean() - middle) < 4

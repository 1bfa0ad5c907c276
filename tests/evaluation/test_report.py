from __future__ import annotations

import pytest

from icnet_cli.evaluation.report import Protocol, reproduces

PROTOCOL = Protocol("camvid", "val", (544, 736)).to_dict()
FIGURE = {"miou": 0.61, "images": 101, "protocol": PROTOCOL}
STORED = {"miou": 0.6, "images": 101, "protocol": PROTOCOL}


def card(**metrics: object) -> dict[str, object]:
    return {"metrics": metrics}


def test_the_figure_and_its_distance_are_named():
    found = reproduces(card(val_of_train_only_run=STORED), FIGURE)
    assert found == {
        "field": "val_of_train_only_run",
        "card_value": 0.6,
        "difference": pytest.approx(0.01),
    }


def test_weights_retrained_on_val_meet_the_figure_of_what_they_have_seen():
    both = card(val_of_train_only_run=STORED, val_seen_in_training=STORED | {"miou": 0.8})
    assert reproduces(both, FIGURE)["field"] == "val_seen_in_training"
    # their own figure has another protocol: the other file's is still not theirs to reproduce
    elsewhere = STORED | {"protocol": PROTOCOL | {"split": "test"}}
    assert reproduces(card(val_of_train_only_run=STORED, val_seen_in_training=elsewhere), FIGURE) is None


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "cityscapes"},
        {"split": "train"},
        {"size": [360, 480]},
        {"size": None},
        {"scales": [0.5, 1.0]},
        {"flip": True},
        {"ignore_index": 11},
        {"branches": "sub4"},
    ],
)
def test_another_protocol_reproduces_nothing(change):
    assert reproduces(card(val_of_train_only_run=STORED | {"protocol": PROTOCOL | change}), FIGURE) is None


def test_another_number_of_pictures_reproduces_nothing():
    assert reproduces(card(val_of_train_only_run=STORED | {"images": 100}), FIGURE) is None
    without = {"miou": 0.6, "protocol": PROTOCOL}
    assert reproduces(card(val_of_train_only_run=without), FIGURE) is not None


@pytest.mark.parametrize(
    "strange",
    [
        {},
        {"metrics": None},
        {"metrics": [1]},
        card(val_of_train_only_run=0.6),
        card(val_of_train_only_run={"miou": 0.6}),
        card(val_of_train_only_run={"miou": "0.6", "protocol": PROTOCOL}),
        card(val_of_train_only_run={"miou": 0.6, "protocol": {}}),
        card(another=STORED),
    ],
)
def test_a_card_of_another_form_is_passed_over(strange):
    assert reproduces(strange, FIGURE) is None


def test_a_figure_that_is_no_number_reproduces_nothing():
    assert reproduces(card(val_of_train_only_run=STORED), FIGURE | {"miou": None}) is None

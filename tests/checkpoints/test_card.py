from __future__ import annotations

from icnet_cli.checkpoints.card import card_markdown
from icnet_cli.checkpoints.format import WeightsMeta
from icnet_cli.models import build

from .test_format import CLASSES

CARD = {
    "data": "made | here",
    "licence": "none",
    "command": "icnet train x/",
    "seed": 3,
    "step": 70,
    "epochs": 2,
    "splits": ["train"],
    "metrics": {"val_of_train_only_run": {"miou": 0.51234, "images": 9, "protocol": {"split": "val"}}},
}


def card(changes: dict[str, object]) -> str:
    network = build("fast-scnn", {"keep": 0.25, "num_classes": 2})
    return card_markdown("two", WeightsMeta.of(network, CLASSES, (64, 96), card=CARD | changes))


def test_a_card_says_what_the_header_says() -> None:
    text = card({})
    for words in (
        "# two",
        "64x96",
        "made \\| here",
        "icnet train x/",
        "| seed | 3 |",
        "70 (2 epochs; splits train)",
    ):
        assert words in text
    assert (
        "`val_of_train_only_run`: mIoU 0.5123 on the val split, which training did not see, 9 images (split val)"
        in text
    )


def test_a_figure_on_seen_frames_is_called_that() -> None:
    seen = {"metrics": {"val_seen_in_training": {"miou": 0.9, "images": 9, "protocol": {}}}}
    assert "which training saw" in card(seen)
    assert "did not see" not in card(seen)
    assert "None measured." in card({"metrics": {}})


def test_both_figures_stand_side_by_side_each_with_its_command() -> None:
    settled = {"miou": 0.5, "images": 9, "protocol": {}, "command": "icnet train x/ --seed 1"}
    text = card({"metrics": {"val_of_train_only_run": settled, "val_seen_in_training": {"miou": 0.9}}})
    assert "mIoU 0.5000 on the val split, which training did not see" in text
    assert "Its command: icnet train x/ --seed 1." in text
    assert "mIoU 0.9000 on the val split, which training saw" in text
    assert "Its command" not in card({})


def test_how_it_was_measured_is_said_in_words() -> None:
    protocol = {
        "branches": None,
        "flip": False,
        "ignore_index": 255,
        "scales": [0.75, 1.0],
        "size": [608, 832],
        "split": "val",
    }
    text = card({"metrics": {"val_seen_in_training": {"miou": 0.9, "images": 9, "protocol": protocol}}})
    assert "9 images (flip no, ignore index 255, scales 0.75 1, size 608x832, split val)." in text

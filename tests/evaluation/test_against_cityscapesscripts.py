"""The figures of `icnet eval` are those of Cityscapes' own scripts, read from the PNGs that its server takes."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from icnet_cli.checkpoints.format import load_weights
from icnet_cli.classes import load_table
from icnet_cli.config import EvalConfig
from icnet_cli.evaluation.evaluate import evaluate
from icnet_cli.evaluation.report import EvalReport
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pixels.files import read_picture, write_labels_png, write_picture

scripts: ModuleType = pytest.importorskip(
    "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling",
    reason="cityscapesscripts is not installed: pip install 'icnet[dev]'",
)

FRAMES = ("frankfurt_000000_000294", "frankfurt_000001_005898", "munster_000173_000019")
TOLERANCE = 1e-6


def label_path(root: Path, frame: str) -> Path:
    return root / "gtFine" / "val" / frame.split("_")[0] / f"{frame}_gtFine_labelIds.png"


@pytest.fixture
def weights(make_weights) -> Path:
    return make_weights(table="cityscapes", size=(64, 128))


@pytest.fixture
def cityscapes(tmp_path: Path, weights: Path) -> tuple[Path, int]:
    """Three pictures whose truth is what the weights answer, but for blocks of random ids, ignored ones included.

    Also gives a class (train id) that occurs neither in the truth nor in the predictions.
    """
    root, table, rng = tmp_path / "cityscapes", load_table("cityscapes"), np.random.default_rng(0)
    loaded = load_weights(weights)
    segmenter = Segmenter(loaded.network, loaded.meta, "cpu", size=(64, 128))
    pictures = [rng.integers(0, 256, (8, 16, 3), np.uint8).repeat(8, 0).repeat(8, 1) for _ in FRAMES]
    answers = [segmenter.labels(picture) for picture in pictures]
    absent = min(set(range(19)) - set(np.unique(answers).tolist()))
    ids = [id for id in range(34) if id != table.ids[absent]]
    for frame, picture, answer in zip(FRAMES, pictures, answers, strict=True):
        noise = rng.choice(ids, (16, 32)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        noisy = (rng.random((16, 32)) < 0.6).repeat(4, 0).repeat(4, 1)
        truth = np.where(noisy, noise, table.ids_of_train_ids()[answer])
        write_labels_png(label_path(root, frame), truth)
        city = frame.split("_")[0]
        write_picture(root / "leftImg8bit" / "val" / city / f"{frame}_leftImg8bit.png", picture)
    return root, absent


def ours(root: Path, weights: Path, predictions: Path, **options) -> EvalReport:
    config = EvalConfig(root, weights=str(weights), device="cpu", predictions=predictions, **options)
    generator = evaluate(config)
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def theirs(root: Path, predictions: Path) -> dict:
    """Their script's result, the prediction of each frame found by its own rule."""
    args = copy.copy(scripts.args)
    args.quiet, args.JSONOutput, args.evalInstLevelScore = True, False, False
    args.predictionPath, args.predictionWalk = str(predictions), None
    truth = [str(label_path(root, frame)) for frame in FRAMES]
    return scripts.evaluateImgLists([scripts.getPrediction(args, path) for path in truth], truth, args)


def same(found: float | None, expected: float) -> bool:
    if found is None:
        return math.isnan(expected)
    return abs(found - expected) < TOLERANCE


@pytest.mark.parametrize("options", [{}, {"scales": (0.5, 1.0), "flip": True}])
def test_every_figure_agrees(cityscapes, weights, tmp_path, options):
    root, absent = cityscapes
    predictions = tmp_path / "results"
    found = ours(root, weights, predictions, ids="dataset", **options).to_dict()
    expected = theirs(root, predictions)

    for name, iou in found["per_class"].items():
        assert same(iou, expected["classScores"][name]), name
    assert same(found["miou"], expected["averageScoreClasses"])
    for name, iou in found["per_category"].items():
        assert same(iou, expected["categoryScores"][name]), name
    assert same(found["category_miou"], expected["averageScoreCategories"])
    # neither is a comparison of nothing: figures of all kinds occur
    values = [iou for iou in found["per_class"].values() if iou is not None]
    assert sum(0 < iou < 1 for iou in values) >= 5
    if not options:
        assert found["per_class"][load_table("cityscapes").names[absent]] is None
    assert found["category_miou"] != found["miou"]
    pixels = np.concatenate([read_picture(label_path(root, frame))[..., 0].ravel() for frame in FRAMES])
    assert np.sum(found["confusion"]) == np.isin(pixels, load_table("cityscapes").ids).sum()


def test_predictions_lie_where_the_server_looks_and_train_ids_would_not_do(cityscapes, weights, tmp_path):
    root, _ = cityscapes
    right, wrong = tmp_path / "dataset", tmp_path / "train"
    report = ours(root, weights, right, ids="dataset")
    ours(root, weights, wrong, ids="train")
    names = sorted(path.relative_to(right).as_posix() for path in right.rglob("*.png"))
    assert names == [f"{frame.split('_')[0]}/{frame}.png" for frame in FRAMES]
    assert same(report.to_dict()["miou"], theirs(root, right)["averageScoreClasses"])
    assert not same(report.to_dict()["miou"], theirs(root, wrong)["averageScoreClasses"])


def test_a_figure_that_is_off_would_be_noticed(cityscapes, weights, tmp_path):
    root, _ = cityscapes
    report = ours(root, weights, tmp_path / "results", ids="dataset")
    report.confusion.matrix[0, 1] += 1
    assert not same(report.to_dict()["miou"], theirs(root, tmp_path / "results")["averageScoreClasses"])

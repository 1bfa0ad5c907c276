"""Pairs are read, kept in memory on request, and checked before an epoch is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icnet_cli.data import SegmentationDataset, recognise
from icnet_cli.errors import ExitCode, IcnetError

from . import make


def dataset(root: Path, **options: bool) -> SegmentationDataset:
    return SegmentationDataset(recognise(root), ["train", "val"], **options)


def test_pairs_of_several_splits(tmp_path: Path) -> None:
    pairs = dataset(make.camvid(tmp_path))
    pairs.check_files()
    assert len(pairs) == 5
    assert pairs.classes.name == "camvid"
    image, labels = pairs.read(4)
    assert (image == make.image("val_frame1.png")).all()
    assert set(np.unique(labels)) == {*range(11), 255}
    assert (image.dtype, labels.dtype) == (np.uint8, np.uint8)


def test_the_cache_decodes_a_pair_once(tmp_path: Path) -> None:
    kept, plain = dataset(make.camvid(tmp_path), cache=True), dataset(tmp_path)
    kept.preload()
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    assert kept.read(0)[0].shape == (*make.SIZE, 3)
    assert kept.read(0)[0] is kept.read(0)[0]
    with pytest.raises(IcnetError, match="missing"):
        plain.read(0)


def test_no_split_named(tmp_path: Path) -> None:
    with pytest.raises(IcnetError, match="found train, val"):
        SegmentationDataset(recognise(make.camvid(tmp_path)), [])


def test_every_nth_sample_of_a_split(tmp_path: Path) -> None:
    root = make.camvid(tmp_path, {"train": 3, "val": 7})
    pairs = SegmentationDataset(recognise(root), ["train", "val/3"])
    assert [sample.name for sample in pairs.samples] == [
        *(f"train_frame{index}" for index in range(3)),
        *(f"val_frame{index}" for index in (0, 3, 6)),
    ]
    assert pairs.splits == ("train", "val/3")  # what an evaluation's protocol calls it
    assert len(SegmentationDataset(recognise(root), ["val/1"])) == 7
    assert len(SegmentationDataset(recognise(root), ["val/99"])) == 1


@pytest.mark.parametrize("split", ["val/", "val/0", "val/-2", "val/x", "val/1.5", "val/2/2", "val/²"])
def test_a_share_of_a_split_that_is_none(tmp_path: Path, split: str) -> None:
    with pytest.raises(IcnetError, match="val/N for every Nth") as caught:
        SegmentationDataset(recognise(make.camvid(tmp_path)), [split])
    assert caught.value.code == ExitCode.USAGE


def test_a_share_of_a_split_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(IcnetError, match="no split 'valid'; found train, val") as caught:
        SegmentationDataset(recognise(make.camvid(tmp_path)), ["valid/2"])
    assert caught.value.code == ExitCode.INPUT


def test_the_typical_size_is_the_middle_one(tmp_path: Path) -> None:
    root = make.camvid(tmp_path, {"train": 5, "val": 1})
    for name, size in zip(
        "01", [(10, 10), (400, 600)], strict=True
    ):  # an odd one at each end changes nothing
        make.write(root / "trainannot" / f"train_frame{name}.png", make.labels([1], size))
    assert dataset(root).typical_size() == make.SIZE
    for name in "23":
        make.write(root / "trainannot" / f"train_frame{name}.png", make.labels([1], (400, 600)))
    assert dataset(root).typical_size() == (400, 600)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


DAMAGE = {
    "image cut short": lambda root: cut_short(root / "train/train_frame1.png"),
    "labels cut short": lambda root: cut_short(root / "trainannot/train_frame1.png"),
    "labels missing": lambda root: (root / "trainannot/train_frame1.png").unlink(),
    "labels empty": lambda root: (root / "trainannot/train_frame1.png").write_bytes(b""),
    "another size": lambda root: make.write(
        root / "trainannot/train_frame1.png", make.labels([0], size=(24, 32))
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_before_an_epoch_is_lost(tmp_path: Path, kind: str) -> None:
    pairs = dataset(make.camvid(tmp_path))
    pairs.check_files()
    DAMAGE[kind](tmp_path)
    with pytest.raises(IcnetError, match=r"train_frame1\.png") as caught:
        pairs.check_files()
    assert caught.value.code == ExitCode.INPUT
    with pytest.raises(IcnetError, match=r"train_frame1\.png"):
        pairs.read(1)


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_counted_and_left_out_on_request(tmp_path: Path, kind: str) -> None:
    pairs = dataset(make.camvid(tmp_path), skip_damaged=True)
    DAMAGE[kind](tmp_path)
    pairs.check_files()
    assert (len(pairs), pairs.num_damaged) == (4, 1)
    assert all(sample.name != "train_frame1" for sample in pairs.samples)
    pairs.check_files()
    assert pairs.num_damaged == 1


def test_nothing_left_is_an_error_even_then(tmp_path: Path) -> None:
    pairs = dataset(make.camvid(tmp_path), skip_damaged=True)
    for path in tmp_path.rglob("*annot/*.png"):
        path.unlink()
    with pytest.raises(IcnetError, match="5 of 5 pairs"):
        pairs.check_files()


def test_a_class_table_that_does_not_fit_is_no_damage(tmp_path: Path) -> None:
    make.folder(tmp_path, [0, 1, 2, 77])
    pairs = dataset(tmp_path, skip_damaged=True)
    with pytest.raises(IcnetError, match=r"value 77.*expected 0-2, 255"):
        pairs.check_files()


def test_labels_in_another_form_are_no_damage(tmp_path: Path) -> None:
    pairs = dataset(make.camvid(tmp_path), skip_damaged=True)
    make.write(tmp_path / "valannot/val_frame0.png", make.image("labels"))
    with pytest.raises(IcnetError, match=r"val_frame0\.png is a color image"):
        pairs.check_files()

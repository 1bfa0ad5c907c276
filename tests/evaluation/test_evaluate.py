from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from icnet_cli.checkpoints.format import load_weights, save_weights
from icnet_cli.classes import load_table
from icnet_cli.config import EvalConfig
from icnet_cli.data import dataset as dataset_module
from icnet_cli.data.layouts import recognise
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.evaluation.confusion import Confusion
from icnet_cli.evaluation.evaluate import ImageDone, evaluate
from icnet_cli.evaluation.report import EvalReport
from icnet_cli.inference.segmenter import load
from icnet_cli.pixels.files import read_picture, write_labels_png, write_picture


def run(dataset: Path, weights: Path, **options) -> tuple[list[ImageDone], EvalReport]:
    options = {"device": "cpu"} | options
    events, generator = [], evaluate(EvalConfig(dataset, weights=str(weights), **options))
    while True:
        try:
            events.append(next(generator))
        except StopIteration as end:
            return events, end.value


def refused(code: ExitCode, match: str):
    class Refusal:
        def __enter__(self):
            self.raises = pytest.raises(IcnetError, match=match)
            self.caught = self.raises.__enter__()

        def __exit__(self, *failure):
            done = self.raises.__exit__(*failure)
            assert self.caught.value.code == code
            return done

    return Refusal()


def segmented(dataset: Path, weights: Path, size: tuple[int, int] | None) -> Confusion:
    """What `icnet segment` would make of the val split, counted."""
    segmenter, layout, confusion = load(weights, "cpu", size=size), recognise(dataset), Confusion(11)
    for sample in layout.samples("val"):
        confusion.update(layout.read_labels(sample), segmenter.labels(read_picture(sample.image)))
    return confusion


def test_what_is_measured_is_what_segment_runs(camvid, make_weights):
    weights = make_weights()
    _, report = run(camvid, weights)
    assert report.confusion == segmented(camvid, weights, (48, 64))
    _, larger = run(camvid, weights, size=(96, 128))
    assert larger.confusion == segmented(camvid, weights, (96, 128))
    assert larger.confusion != report.confusion


def test_the_report_has_the_keys_that_others_read(camvid, make_weights):
    events, report = run(camvid, make_weights())
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    confusion = Confusion.from_list(document["confusion"])
    assert document["miou"] == confusion.miou
    assert document["pixel_accuracy"] == confusion.pixel_accuracy
    assert document["mean_accuracy"] == confusion.mean_accuracy
    assert list(document["per_class"]) == list(load_table("camvid").names)
    assert document["images"] == 3
    assert document["model_ms"] > 0
    assert document["protocol"] == {
        "dataset": "camvid",
        "split": "val",
        "size": [48, 64],
        "scales": [1.0],
        "flip": False,
        "ignore_index": 255,
        "branches": None,
    }
    truth = [recognise(camvid).read_labels(sample) for sample in recognise(camvid).samples("val")]
    assert confusion.pixels == sum((labels != 255).sum() for labels in truth)
    assert [event.done for event in events] == [1, 2, 3]
    assert events[-1].total == 3
    assert events[-1].name == "frame_2"
    assert events[-1].miou == confusion.miou


def test_a_class_that_occurs_nowhere_is_null(camvid, make_weights):
    report = run(camvid, make_weights())[1]
    matrix = report.confusion.matrix
    matrix[3, :] = matrix[:, 3] = 0
    assert report.to_dict()["per_class"]["road"] is None
    matrix[3, 4] = 1
    assert report.to_dict()["per_class"]["road"] == 0


def test_pictures_of_another_shape_are_not_squeezed(camvid, make_weights):
    _, report = run(camvid, make_weights(size=(64, 128)))
    assert report.protocol.size == load(make_weights(size=(64, 128)), "cpu").input_size(48, 64) == (64, 96)


def test_scales_and_flip_change_the_prediction_and_stand_in_the_protocol(camvid, make_weights):
    weights = make_weights()
    plain = run(camvid, weights)[1]
    both = run(camvid, weights, scales=(0.75, 1.0, 1.5), flip=True)[1]
    assert both.confusion != plain.confusion
    assert both.confusion.pixels == plain.confusion.pixels
    assert both.to_dict()["protocol"]["scales"] == [0.75, 1.0, 1.5]
    assert both.to_dict()["protocol"]["flip"] is True
    assert both.protocol.size == (48, 64)


@pytest.mark.parametrize("ids", ["train", "dataset"])
def test_predictions_mirror_the_names_and_hold_what_was_counted(camvid, make_weights, tmp_path, ids):
    for side in ("val", "valannot"):
        (camvid / side / "drive").mkdir()
        shutil.move(camvid / side / "frame_1.png", camvid / side / "drive" / "frame_1.png")
    folder = tmp_path / "predictions"
    _, report = run(camvid, make_weights(), predictions=folder, ids=ids)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    assert names == ["drive/frame_1.png", "frame_0.png", "frame_2.png"]

    layout, confusion = recognise(camvid), Confusion(11)
    lookup = layout.classes.ids_of_train_ids()[:11].tolist() if ids == "dataset" else list(range(11))
    for sample in layout.samples("val"):
        values = read_picture(folder / f"{sample.name}.png")[..., 0]
        confusion.update(layout.read_labels(sample), np.vectorize(lookup.index)(values).astype(np.uint8))
    assert confusion == report.confusion
    assert report.to_dict()["predictions"] == {"folder": str(folder), "ids": ids}


def test_a_prediction_folder_that_holds_something_is_refused_unless_told(camvid, make_weights, tmp_path):
    (tmp_path / "predictions").mkdir()
    run(camvid, make_weights(), predictions=tmp_path / "predictions")
    with refused(ExitCode.USAGE, "not empty"):
        run(camvid, make_weights(), predictions=tmp_path / "predictions")
    run(camvid, make_weights(), predictions=tmp_path / "predictions", overwrite=True)


@pytest.mark.parametrize("side", ["val", "valannot"])
def test_predictions_never_land_on_the_dataset(camvid, make_weights, tmp_path, side):
    before = {path: path.read_bytes() for path in camvid.rglob("*.png")}
    link = tmp_path / "link"
    link.symlink_to(camvid / side)
    with refused(ExitCode.USAGE, "write over the dataset"):
        run(camvid, make_weights(), predictions=link, overwrite=True)
    assert before == {path: path.read_bytes() for path in camvid.rglob("*.png")}


def test_a_prediction_folder_that_cannot_be_made_is_an_output_error(camvid, make_weights, tmp_path):
    (tmp_path / "file").touch()
    with refused(ExitCode.OUTPUT, "file"):
        run(camvid, make_weights(), predictions=tmp_path / "file" / "predictions")


def test_classes_that_differ_are_refused_naming_both(camvid, make_weights):
    weights = make_weights(table="cityscapes")
    with refused(ExitCode.USAGE, r"19 classes of cityscapes \(road, .* has the 11 classes of camvid \(sky, "):
        run(camvid, weights)


def test_the_same_classes_in_another_order_are_refused_too(camvid, make_weights):
    weights = make_weights()
    loaded = load_weights(weights)
    turned = dict(loaded.meta.classes.to_dict(), names=list(reversed(loaded.meta.classes.names)))
    meta = type(loaded.meta)(**{**vars(loaded.meta), "classes": loaded.meta.classes.from_dict(turned)})
    save_weights(weights, loaded.network, meta)
    with refused(ExitCode.USAGE, "bicyclist.* but .*sky"):
        run(camvid, weights)


def break_structure(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("broken", ["val/frame_1.png", "valannot/frame_1.png"])
def test_a_damaged_file_ends_with_its_name_or_is_counted_and_left_out(camvid, make_weights, broken):
    break_structure(camvid / broken)
    with refused(ExitCode.INPUT, "frame_1"):
        run(camvid, make_weights())
    events, report = run(camvid, make_weights(), skip_damaged=True)
    assert (report.images, report.images_damaged) == (2, 1)
    assert [event.name for event in events] == ["frame_0", "frame_2"]
    assert report.to_dict()["images_damaged"] == 1


def test_a_label_value_met_only_while_reading_counts_as_damage_when_told(camvid, make_weights, monkeypatch):
    monkeypatch.setattr(dataset_module, "_PROBES", 0)
    write_labels_png(camvid / "valannot" / "frame_1.png", np.full((48, 64), 77, np.uint8))
    with refused(ExitCode.INPUT, "frame_1.*77"):
        run(camvid, make_weights())
    events, report = run(camvid, make_weights(), skip_damaged=True)
    assert (report.images, report.images_damaged) == (2, 1)
    assert [event.damaged for event in events] == [0, 1, 1]


def test_a_missing_split_and_missing_weights_say_so(camvid, make_weights):
    with refused(ExitCode.INPUT, "no split 'test'"):
        run(camvid, make_weights(), split="test")
    with refused(ExitCode.WEIGHTS, "no weights 'nowhere'"):
        run(camvid, Path("nowhere"))


def test_each_branch_of_the_cascade_answers_from_the_same_file(camvid, make_weights):
    weights = make_weights("icnet")
    found = {b: run(camvid, weights, branches=b)[1] for b in ("sub4", "sub24", "sub124")}
    assert found["sub124"].confusion == run(camvid, weights)[1].confusion
    assert found["sub4"].confusion != found["sub24"].confusion != found["sub124"].confusion
    assert found["sub4"].protocol.branches == "sub4"
    assert run(camvid, weights)[1].protocol.branches == "sub124"


def test_branches_are_refused_where_there_are_none(camvid, make_weights):
    with refused(ExitCode.USAGE, "is for ICNet.* holds fast-scnn"):
        run(camvid, make_weights(), branches="sub4")
    without_aux = make_weights("icnet", aux=False)
    with refused(ExitCode.WEIGHTS, "aux classifiers"):
        run(camvid, without_aux, branches="sub24")
    run(camvid, without_aux, branches="sub124")


def test_a_wrong_option_is_refused_before_anything_is_read():
    with refused(ExitCode.USAGE, "--scales needs at least one"):
        run(Path("missing"), Path("missing"), scales=())
    with refused(ExitCode.USAGE, "--scales must be above 0"):
        run(Path("missing"), Path("missing"), scales=(1.0, 0.0))


def test_the_run_that_made_the_cards_figure_reproduces_it_and_others_do_not(camvid, make_weights):
    figure = run(camvid, make_weights())[1].card_figure()
    weights = make_weights(card={"metrics": {"val_of_train_only_run": figure}})
    report = run(camvid, weights)[1]
    assert report.to_dict()["reproduces"] == {
        "field": "val_of_train_only_run",
        "card_value": figure["miou"],
        "difference": 0.0,
    }
    assert run(camvid, weights, size=(96, 128))[1].reproduces() is None
    assert run(camvid, weights, flip=True)[1].reproduces() is None
    assert run(camvid, weights, scales=(0.5, 1.0))[1].reproduces() is None
    shutil.copytree(camvid / "val", camvid / "test")
    shutil.copytree(camvid / "valannot", camvid / "testannot")
    assert run(camvid, weights, split="test")[1].reproduces() is None
    break_structure(camvid / "val" / "frame_1.png")
    assert run(camvid, weights, skip_damaged=True)[1].reproduces() is None


def test_on_this_machine_nothing_but_options_and_pictures_decides(camvid, make_weights):
    weights = make_weights()
    assert run(camvid, weights)[1].confusion == run(camvid, weights)[1].confusion


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("options", [{}, {"scales": (0.75, 1.0), "flip": True}])
def test_a_gpu_finds_what_the_cpu_finds(camvid, make_weights, options):
    weights = make_weights()
    on_cpu = run(camvid, weights, precision="fp32", **options)[1]
    for precision in ("fp32", "fp16"):
        on_gpu = run(camvid, weights, device="cuda", precision=precision, **options)[1]
        assert on_gpu.to_dict()["precision"] == precision
        assert on_gpu.model_ms > 0
        moved = np.abs(on_gpu.confusion.matrix - on_cpu.confusion.matrix).sum() / 2
        assert moved < 0.02 * on_cpu.confusion.pixels


@pytest.mark.parametrize("first", ["wide", "narrow"])
def test_pictures_of_several_shapes_each_keep_their_own(camvid, make_weights, first):
    """Whichever comes first by its name."""
    for index, name in enumerate((first, "narrow" if first == "wide" else "wide")):
        frame = f"frame_{index}.png"
        if name == "narrow":
            image, labels = read_picture(camvid / "val" / frame), np.zeros((48, 24), np.uint8)
            write_picture(camvid / "val" / frame, np.ascontiguousarray(image[:, :24]))
            write_labels_png(camvid / "valannot" / frame, labels)
    weights = make_weights()
    _, report = run(camvid, weights)
    assert report.protocol.size is None
    segmenter, confusion, layout = load(weights, "cpu"), Confusion(11), recognise(camvid)
    for sample in layout.samples("val"):
        image = read_picture(sample.image)
        exact = load(weights, "cpu", size=(48, 64)) if image.shape[1] == 64 else segmenter
        confusion.update(layout.read_labels(sample), exact.labels(image))
    assert report.confusion == confusion


def test_a_page_is_a_folder(camvid, make_weights, tmp_path):
    with refused(ExitCode.USAGE, "--report is a folder"):
        run(camvid, make_weights(), report=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()

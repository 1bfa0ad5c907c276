from __future__ import annotations

import json
from pathlib import Path

import pytest

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.reports.svg import thinned
from icnet_cli.reports.train_page import (
    CLASSES_FILE,
    ENVIRONMENT_FILE,
    METRICS_FILE,
    RUN_FILE,
    SAMPLES,
    SHOWN,
    _right,
    read_run,
    run_document,
    sample_path,
    train_page,
)
from tests.reports.examples import HARM
from tests.reports.parsed import Page
from tests.reports.runs import EVALUATIONS, write_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


def read(folder: Path) -> Page:
    return Page(train_page(read_run(folder))).check()


def test_the_figures_are_those_of_the_metrics(folder: Path) -> None:
    page = read(folder)
    document = page.data["report"]
    assert document == run_document(read_run(folder))
    assert (document["best_miou"], document["best_step"]) == (0.7, 700)
    assert (document["step"], document["epoch"], document["seconds"]) == (800, 10, 80.5)
    assert [row["step"] for row in document["evaluations"]] == list(EVALUATIONS)
    assert page.texts("strong") == ["0.7000", "800", f"{3 / 80:.4f}", "25.0", "1 min 20 s"]


def test_its_curves_are_told_in_words(folder: Path) -> None:
    told = [one.attributes["aria-label"] for one in read(folder).all("svg", role="img")]
    assert told == [
        "Loss from 3 at step 10 to 0.03798 at step 800",
        "mIoU from 0.1 at step 100 to 0.5 at step 800",
        "Learning rate from 0.01975 at step 10 to 0.0002469 at step 800",
        "Images a second from 25 at step 10 to 25 at step 800",
    ]


def test_predictions_over_time_from_the_first_to_the_last(folder: Path) -> None:
    page = read(folder)
    captions = [text for text in page.texts("figcaption") if text.startswith("Step")]
    steps = [int(text.split(":")[0].split()[1]) for text in captions]
    assert steps == [100, 200, 400, 500, 700, 800] * 2
    assert all(text.endswith("% right") for text in captions)
    assert len(page.all("img")) == 2 * (2 + SHOWN)


def test_names_are_text_and_paths_are_not_told(folder: Path) -> None:
    page = read(folder)
    assert "/home/me" not in page.source
    assert HARM not in page.source
    values = page.texts("dd")
    assert HARM in values
    assert "own.yaml" in values
    assert "Words with spaces / and a slash." in values
    assert "Option: seed" in page.texts("dt")
    assert not {"Option: dataset", "Recipe: stages", "Recipe: pretrained"} & set(page.texts("dt"))
    assert "From step 300 on" in page.texts("h3")


def test_of_paths_alone_the_last_part_is_told(folder: Path) -> None:
    run = json.loads((folder / RUN_FILE).read_text())
    run["recipe"] |= {
        "splits": ["train", "val/2"],
        "val_split": "val/3",
        "teachers": ["/home/me/a.safetensors", "b"],
    }
    run["config"] |= {"splits": ["train", "val/2"], "pretrained": "C:\\my files\\c.safetensors"}
    (folder / RUN_FILE).write_text(json.dumps(run))
    page = read(folder)
    facts = dict(zip(page.texts("dt")[-len(page.texts("dd")) :], page.texts("dd"), strict=True))
    assert facts["Recipe: splits"] == facts["Option: splits"] == "train, val/2"
    assert facts["Recipe: val split"] == "val/3"
    assert facts["Recipe: teachers"] == "a.safetensors, b"
    assert facts["Option: pretrained"] == "c.safetensors"
    assert "my files" not in page.source


@pytest.mark.parametrize("gone", [RUN_FILE, ENVIRONMENT_FILE, f"{SAMPLES}/{CLASSES_FILE}"])
@pytest.mark.parametrize("damage", [None, "{", "[1, 2]", '{"recipe": 3, "names": []}'])
def test_what_is_missing_or_damaged_is_left_out(folder: Path, gone: str, damage: str | None) -> None:
    if damage is None:
        (folder / gone).unlink()
    else:
        (folder / gone).write_text(damage)
    assert read(folder).texts("strong")[0] == "0.7000"


def test_a_picture_that_was_cut_short_leaves_its_row_out(folder: Path) -> None:
    path = sample_path(folder, "800", 0)
    path.write_bytes(path.read_bytes()[:-20])
    page = read(folder)
    assert [text for text in page.texts("h3") if text.startswith("Picture")] == ["Picture 1"]


def test_files_of_other_names_are_passed_over(folder: Path) -> None:
    for name in ("../x-0.png", "-1-0.png", "12-99.png", "note.png", "9999999999999-0.png"):
        (folder / SAMPLES / Path(name).name).write_bytes(b"x")
    assert len(read_run(folder).samples) == 2


def test_evaluations_that_found_nothing_labelled(folder: Path) -> None:
    (folder / METRICS_FILE).write_text(
        "step,epoch,loss,lr,miou,pixel_accuracy,images_per_s,seconds\n700,0,0.5,0.1,nan,nan,1,2\n"
    )
    page = read(folder)
    assert "no labelled pixel in 1 evaluation" in page.source
    assert "None" not in page.source.split("<script")[0]
    sample = next(iter(read_run(folder).samples))
    sample.truth[:] = 255
    assert _right(sample, next(iter(sample.predictions))).endswith("nothing is labelled")


def test_a_run_stopped_before_its_first_evaluation_has_a_page(folder: Path) -> None:
    (folder / METRICS_FILE).write_text(
        "step,epoch,loss,lr,miou,pixel_accuracy,images_per_s,seconds\n10,0,nan,0.1,,,1,2\n"
    )
    page = read(folder)
    assert page.data["report"]["best_miou"] is None
    assert page.data["report"]["last_loss"] is None
    assert "not evaluated yet" in page.source
    (folder / METRICS_FILE).write_text("step,epoch,loss,lr,miou,pixel_accuracy,images_per_s,seconds\n")
    assert read(folder).data["report"]["step"] == 0


def test_a_folder_without_metrics_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IcnetError, match=r"holds no metrics\.csv") as refused:
        read_run(tmp_path)
    assert refused.value.code == ExitCode.INPUT


def test_steps_are_spread_over_the_run() -> None:
    assert thinned([1, 2, 3], 6) == [1, 2, 3]
    assert thinned(list(range(100)), 3) == [0, 50, 99]


def test_the_document_is_json(folder: Path) -> None:
    json.dumps(run_document(read_run(folder)), allow_nan=False)

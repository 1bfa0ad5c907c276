from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from icnet_cli.checkpoints.format import load_weights, save_weights
from icnet_cli.classes import load_table
from icnet_cli.data.layouts import recognise
from icnet_cli.errors import ExitCode
from icnet_cli.evaluation.branches import with_ablation
from icnet_cli.evaluation.differences import CHANGES, difference_map
from icnet_cli.evaluation.regions import Regions
from icnet_cli.inference.segmenter import Segmenter, load
from icnet_cli.models import build
from icnet_cli.pixels.files import read_picture
from tests.evaluation.test_evaluate import refused, run


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def alone(camvid: Path, weights: Path, branch: str):
    return run(camvid, weights, branches=branch)[1]


def test_all_branches_in_one_pass_are_each_on_its_own(camvid, make_weights):
    weights = make_weights("icnet")
    _, report = run(camvid, weights, branches="all")
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert list(document["branches"]) == ["sub4", "sub24", "sub124"]
    for branch, figures in document["branches"].items():
        expected = alone(camvid, weights, branch).to_dict()
        for key in ("miou", "pixel_accuracy", "per_class"):
            assert figures[key] == expected[key]
        assert figures["model_ms"] > 0
    assert document["miou"] == document["branches"]["sub124"]["miou"]
    assert document["protocol"]["branches"] == "sub124"
    assert len({figures["pixel_accuracy"] for figures in document["branches"].values()}) == 3
    assert "branches" not in alone(camvid, weights, "sub24").to_dict()


def test_regions_of_each_branch_as_json_csv_and_plot(camvid, make_weights):
    weights = make_weights("icnet")
    _, report = run(camvid, weights, regions=True, region_bin=40)
    table = report.to_dict()["regions"]
    assert table["folder"] == "runs/eval/icnet-1"
    layout = recognise(camvid)
    for branch in ("sub4", "sub24", "sub124"):
        expected = Regions(40)
        config = load_weights(weights).meta.config | {"branches": branch}
        network = build("icnet", config)
        network.load_state_dict(load_weights(weights).network.state_dict())
        segmenter = Segmenter(network.eval(), load_weights(weights).meta, "cpu", size=(48, 64))
        for sample in layout.samples("val"):
            expected.add(layout.read_labels(sample), segmenter.labels(read_picture(sample.image)))
        found = [row["accuracy"][branch] for row in table["rows"]]
        assert found == [value for value in expected.curve() if value is not None]
        assert [row["regions"] for row in table["rows"]] == expected.counts[expected.counts > 0].tolist()
    folder = Path(table["folder"])
    assert json.loads((folder / "regions.json").read_text()) == {
        k: v for k, v in table.items() if k != "folder"
    }
    with (folder / "regions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["from", "to", "regions", "sub4", "sub24", "sub124", "sub24-sub4", "sub124-sub24"]
    assert [int(row["to"]) for row in rows] == [row["to"] for row in table["rows"]]
    change = float(rows[0]["sub124"]) - float(rows[0]["sub24"])
    assert float(rows[0]["sub124-sub24"]) == pytest.approx(change, abs=2e-6)
    assert read_picture(folder / "regions.png").std() > 5
    assert run(camvid, weights, regions=True)[1].figures["regions"]["folder"] == "runs/eval/icnet-2"


@pytest.mark.parametrize(
    ("model", "options", "curve"),
    [
        ("fast-scnn", {}, "fast-scnn"),
        ("icnet", {"branches": "sub4"}, "sub4"),
        ("icnet", {"aux": False}, "sub124"),  # these weights cannot answer from the others
    ],
)
def test_regions_where_there_is_one_answer(camvid, make_weights, model, options, curve):
    weights = make_weights(model, **{k: v for k, v in options.items() if k == "aux"})
    options = {k: v for k, v in options.items() if k != "aux"}
    document = run(camvid, weights, regions=True, output=Path("here"), **options)[1].to_dict()
    assert [list(row["accuracy"]) for row in document["regions"]["rows"]] == [[curve]]
    assert document["regions"]["rows"][0]["change"] == {}
    assert "branches" not in document
    assert Path("here/regions.csv").read_text().startswith(f"from,to,regions,{curve}\n1,3000,")


def test_figure_8_as_pictures(camvid, make_weights):
    weights = make_weights("icnet")
    _, report = run(camvid, weights, branches="all", diff=Path("maps"))
    assert report.to_dict()["differences"] == "maps"
    words = ("", "-sub4", "-sub24", "-sub124", "-diff1", "-diff2")
    assert {path.name for path in Path("maps").iterdir()} == {
        f"frame_{i}{word}.png" for i in range(3) for word in words
    }
    palette = load_table("camvid").palette_array()
    sample = recognise(camvid).samples("val")[0]
    labels = load(weights, "cpu", size=(48, 64)).labels(read_picture(sample.image))
    assert np.array_equal(read_picture(Path("maps/frame_0-sub124.png")), palette[labels])
    before, after = (read_picture(Path(f"maps/frame_0-{branch}.png")) for branch in ("sub24", "sub124"))
    changed = read_picture(Path("maps/frame_0-diff2.png")).any(axis=2)
    assert np.array_equal(changed, (before != after).any(axis=2))
    assert changed.any()
    sheet = read_picture(Path("maps/frame_0.png"))
    assert sheet.shape[0] > 3 * 48
    assert sheet.shape[1] >= 3 * 64


def test_a_change_has_the_colour_of_what_it_did() -> None:
    truth = np.array([[1, 1, 1, 1, 255, 255]], np.uint8)
    before = np.array([[1, 0, 1, 0, 0, 0]], np.uint8)
    after = np.array([[1, 1, 0, 2, 1, 0]], np.uint8)
    right, wrong, other, unlabelled = CHANGES.values()
    same = (0, 0, 0)
    expected = [same, right, wrong, other, unlabelled, same]
    assert [tuple(pixel) for pixel in difference_map(truth, before, after)[0]] == expected


def test_input_scale_is_what_the_network_sees(camvid, make_weights):
    weights = make_weights()
    _, half = run(camvid, weights, size=(96, 128), input_scale=0.5)
    assert half.to_dict()["protocol"]["scales"] == [0.5]
    assert half.confusion == run(camvid, weights, size=(48, 64))[1].confusion
    assert half.confusion != run(camvid, weights, size=(96, 128))[1].confusion
    assert half.confusion.pixels == 3 * 48 * 64 - half_ignored(camvid)  # labels stay at their own size
    both = run(camvid, weights, input_scale=0.5, scales=(1.0, 2.0))[1]
    assert both.to_dict()["protocol"]["scales"] == [0.5, 1.0]


def half_ignored(camvid: Path) -> int:
    layout = recognise(camvid)
    return sum(int((layout.read_labels(sample) == 255).sum()) for sample in layout.samples("val"))


def test_the_skip_connection_is_zeroed(camvid, make_weights, tmp_path):
    weights = make_weights(card={"metrics": {}})
    _, ablated = run(camvid, weights, ablation="skip")
    document = ablated.to_dict()
    assert document["protocol"]["ablation"] == "skip"
    loaded = load_weights(weights)
    network = build("fast-scnn", loaded.meta.config | {"skip": False})
    network.load_state_dict(loaded.network.state_dict())
    save_weights(tmp_path / "without.safetensors", network, with_ablation(loaded, "skip").meta)
    assert ablated.confusion == run(camvid, tmp_path / "without.safetensors")[1].confusion
    assert ablated.confusion != run(camvid, weights)[1].confusion


def test_an_ablated_network_reproduces_no_card(camvid, make_weights):
    plain = run(camvid, make_weights())[1]
    card = {"metrics": {"val_of_train_only_run": plain.card_figure()}}
    weights = make_weights(card=card)
    assert run(camvid, weights)[1].reproduces()["difference"] == 0
    assert run(camvid, weights, ablation="skip")[1].reproduces() is None
    assert run(camvid, weights, input_scale=0.5)[1].reproduces() is None


def test_what_a_network_cannot_do_is_refused(camvid, make_weights):
    fast, icnet = make_weights("fast-scnn"), make_weights("icnet")
    with refused(ExitCode.USAGE, "--branches all is for ICNet; .* holds fast-scnn"):
        run(camvid, fast, branches="all")
    with refused(ExitCode.USAGE, "--ablation skip is for Fast-SCNN; .* holds icnet"):
        run(camvid, icnet, ablation="skip")
    with refused(ExitCode.USAGE, "add --branches all"):
        run(camvid, icnet, diff=Path("maps"))
    with refused(ExitCode.USAGE, "--region-bin is for --regions"):
        run(camvid, icnet, region_bin=100)
    with refused(ExitCode.WEIGHTS, "take a file that kept them, or --branches sub124"):
        run(camvid, make_weights("icnet", aux=False), branches="all")
    assert not Path("maps").exists()
    assert not Path("runs").exists()


@pytest.mark.parametrize("flag", ["-o", "--diff"])
def test_a_folder_that_holds_something_is_not_written_into(camvid, make_weights, flag):
    weights = make_weights("icnet")
    options = (
        {"regions": True, "output": Path("out")} if flag == "-o" else {"branches": "all", "diff": Path("out")}
    )
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    with refused(ExitCode.USAGE, f"{flag} out is not empty"):
        run(camvid, weights, **options)
    run(camvid, weights, **options, overwrite=True)
    assert Path("out/mine.txt").exists()
    assert len(list(Path("out").iterdir())) > 3

"""Class tables: the bundled ones against their sources, a user's own, and what does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from icnet_cli.classes import TABLES, ClassTable, load_table, read_table
from icnet_cli.errors import ExitCode, IcnetError

# Eight lines of aliases that would print as ten million letters.
BOMB = "name:\n- &a [x]\n" + "".join(
    f"- &{one} [{', '.join([f'*{before}'] * 10)}]\n" for before, one in zip("abcdefg", "bcdefgh", strict=True)
)


def written(folder: Path, text: str) -> Path:
    path = folder / "classes.yaml"
    path.write_text(text)
    return path


def test_cityscapes_is_that_of_its_scripts() -> None:
    scripts = pytest.importorskip("cityscapesscripts.helpers.labels")
    table = load_table("cityscapes")
    theirs = sorted((one for one in scripts.labels if 0 <= one.trainId < 255), key=lambda one: one.trainId)
    assert table.names == tuple(one.name for one in theirs)
    assert table.ids == tuple(one.id for one in theirs)
    assert table.palette == tuple(one.color for one in theirs)
    assert table.categories == tuple(one.category for one in theirs)
    assert table.known_ids() == {one.id for one in scripts.labels if one.id >= 0} | {255}
    lookup = table.train_ids_of_ids()
    assert all(lookup[one.id] == one.trainId for one in scripts.labels if one.id >= 0)


def test_camvid_has_the_segnet_order_and_groups_all_32_colors() -> None:
    table = load_table("camvid")
    assert table.names[:4] == ("sky", "building", "pole", "road")
    assert (table.num_classes, table.names[10], table.palette[3]) == (11, "bicyclist", (128, 64, 128))
    assert table.train_ids_of_ids()[[0, 10, 11, 12, 255]].tolist() == [0, 10, 255, 254, 255]
    groups = {name: train_id for _, train_id, name in table.colors}
    assert len(groups) == len({color for color, _, _ in table.colors}) == 32
    assert {groups[name] for name in ("Car", "SUVPickupTruck", "Truck_Bus", "Train")} == {8}
    assert groups["Void"] == 255
    assert set(groups.values()) == {*range(11), 255}


def test_coco_stuff_maps_182_values_to_171_classes() -> None:
    table = load_table("coco-stuff")
    assert table.num_classes == 171
    assert table.known_ids() == {*range(182), 255}
    by_name = dict(zip(table.names, table.ids, strict=True))
    # COCO's category ids less one: person 1, toothbrush 90, banner 92, road 149, wood 182.
    expected = {"person": 0, "toothbrush": 89, "banner": 91, "road": 148, "wood": 181}
    assert {name: by_name[name] for name in expected} == expected
    assert sorted(id for id, _ in table.ignored) == [11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90]
    lookup = table.train_ids_of_ids()
    assert (lookup[91], lookup[181]) == (80, 170)  # 80 things come first
    assert len(set(table.palette)) == 171


@pytest.mark.parametrize("name", TABLES)
def test_a_table_survives_the_header_of_a_weights_file(name: str) -> None:
    table = load_table(name)
    again = ClassTable.from_dict(json.loads(json.dumps(table.to_dict())))
    assert again == table
    assert again.palette_array().tolist() == table.palette_array().tolist()
    assert again.palette_array().dtype == np.uint8


@pytest.mark.parametrize("name", TABLES)
def test_ids_and_train_ids_lead_back_and_forth(name: str) -> None:
    table = load_table(name)
    train_ids = np.arange(table.num_classes, dtype=np.uint8)
    assert (table.train_ids_of_ids()[table.ids_of_train_ids()[train_ids]] == train_ids).all()
    assert table.ids_of_train_ids()[255] == 255
    own = table.train_ids_of_train_ids()
    assert (own[train_ids] == train_ids).all()
    assert (own[table.num_classes : 254] == 254).all()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"names": ["road"]}, "palette"),
        ({"names": ["a"] * 11}, "twice"),
        ({"palette": [[0, 0, 300]] * 11}, "300"),
        ({"palette": [[0, 0]] * 11}, "three"),
        ({"ids": [0] * 11}, "id 0 is given twice"),
        ({"ids": [-1, *range(1, 11)]}, "-1"),
        ({"categories": ["a"]}, "categories"),
        ({"name": 3}, "name"),
        ({"names": None}, "misstates"),
    ],
)
def test_a_wrong_table_in_a_weights_file_is_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(IcnetError, match=word) as caught:
        ClassTable.from_dict(load_table("camvid").to_dict() | change)
    assert caught.value.code == ExitCode.WEIGHTS


@pytest.mark.parametrize("data", [None, [], "camvid", {}, {"names": []}])
def test_something_else_in_its_place_is_refused(data: object) -> None:
    with pytest.raises(IcnetError) as caught:
        ClassTable.from_dict(data)
    assert caught.value.code == ExitCode.WEIGHTS


def test_an_unknown_table_names_the_known_ones() -> None:
    with pytest.raises(IcnetError, match="cityscapes, camvid, coco-stuff"):
        load_table("kitti")


def test_a_list_of_names_is_enough(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "classes: [road, car, person]"))
    assert table.name == tmp_path.name
    assert table.names == ("road", "car", "person")
    assert table.ids == (0, 1, 2)
    assert len(set(table.palette)) == 3
    assert table.categories is None


def test_the_long_form_gives_ids_colors_and_ignored_values(tmp_path: Path) -> None:
    text = """
    name: street
    classes:
      - {id: 9, name: void, train_id: 255}
      - {id: 7, train_id: 1, name: road, color: [1, 2, 3], category: flat}
      - {id: 26, train_id: 0, name: car, category: vehicle}
      - {id: 255, train_id: 255, name: unlabelled}
    """
    table = read_table(written(tmp_path, text))
    assert (table.name, table.names, table.ids) == ("street", ("car", "road"), (26, 7))
    assert table.palette[1] == (1, 2, 3)
    assert table.categories == ("vehicle", "flat")
    assert table.train_ids_of_ids()[[7, 9, 26, 255, 8]].tolist() == [1, 255, 0, 255, 254]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "classes"),
        ("classes: road", "expected"),
        ("classes: []", "found 0 classes"),
        ("classes: [road, road]", "'road' twice"),
        ("classes: [road, 12]", "12"),
        ("classes: [yes]", "quotes where YAML takes it for something else"),
        ("classes: [{id: 1}]", "expected a name"),
        ("classes: [{name: road, colour: [1, 2, 3]}]", "colour"),
        ("classes: [road]\nclases: []", "clases"),
        ("classes: [{name: road, color: [1, 2]}]", "red, green, blue"),
        ("classes: [{name: road, color: [1, 2, 300]}]", "0 to 255"),
        ("classes: [{name: road, id: 300}]", "300"),
        (
            "classes: [{name: a, train_id: 0}, {name: b, train_id: 2}]",
            "found train ids 0, 2, expected 0 to 1",
        ),
        ("classes: [{name: a, train_id: 0}, {name: b}]", "all or none"),
        ("classes: [{name: a, train_id: x}]", "whole number"),
        ("classes: [{name: a, category: flat}, b]", "categories"),
        ("classes: [a, b]\ncolors: [{name: x, color: [1, 2, 3], train_id: 7}]", "train_id 7"),
        ("classes: [road", "not YAML"),
        ("classes: " + "[" * 3000, "YAML"),
        ("\x00", "not YAML"),
        ("classes: [a]\ncolors: 5", "lists of at most"),
        (f"classes: {['a'] * 600}", "at most 512"),
        (f"{BOMB}classes: [*h]", "found the class"),
        (f"{BOMB}classes: [{{name: a, id: *h}}]", "id a list"),
        ("classes: &a [*a]", "found the class"),
    ],
)
def test_a_table_that_does_not_fit_says_so(tmp_path: Path, text: str, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(IcnetError, match=words) as caught:
        read_table(path)
    assert caught.value.code == ExitCode.INPUT
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_beyond_bounds_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "classes.yaml"
    with path.open("wb") as file:
        file.truncate(2 << 20)
    with pytest.raises(IcnetError, match="larger"):
        read_table(path)
    with pytest.raises(IcnetError, match="could not be read"):
        read_table(tmp_path / "absent.yaml")


def test_254_classes_fit_and_255_do_not(tmp_path: Path) -> None:
    names = [f"c{index}" for index in range(255)]
    table = read_table(written(tmp_path, f"classes: {names[:254]}"))
    assert table.num_classes == 254
    with pytest.raises(IcnetError, match="expected 1 to 254"):
        read_table(written(tmp_path, f"classes: {names}"))

"""Palettes by name and by file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icnet_cli.classes import load_table
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.pipeline.palette import read_palette, recolour
from tests.inference.tiny import CLASSES


def table(path: Path, names: list[str], form: str) -> Path:
    rows = [{"name": name, "color": [index, 0, 9]} for index, name in enumerate(names)]
    path = path / f"palette.{form}"
    # JSON is YAML too; one reader takes both.
    path.write_text(json.dumps({"classes": rows}))
    return path


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_colours_are_matched_by_name(tmp_path: Path, form: str) -> None:
    other = read_palette(str(table(tmp_path, ["blue", "red", "mauve"], form)))
    found = recolour(CLASSES, other)
    assert found.palette == ((1, 0, 9), CLASSES.palette[1], (0, 0, 9))
    assert found.names == CLASSES.names


def test_other_names_give_their_colours_in_order(tmp_path: Path) -> None:
    other = read_palette(str(table(tmp_path, ["a", "b", "c"], "yaml")))
    assert recolour(CLASSES, other).palette == ((0, 0, 9), (1, 0, 9), (2, 0, 9))


def test_bundled_palettes_and_none() -> None:
    assert read_palette(None) is None
    assert recolour(CLASSES, None) is CLASSES
    assert recolour(load_table("camvid"), read_palette("cityscapes")).palette != load_table("camvid").palette


@pytest.mark.parametrize(
    ("palette", "code"), [("no-such-table", ExitCode.USAGE), ("broken.yaml", ExitCode.INPUT)]
)
def test_what_is_no_palette_is_refused(
    tmp_path: Path, palette: str, code: ExitCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.yaml").write_text("classes: 7")
    with pytest.raises(IcnetError, match=palette) as caught:
        read_palette(palette)
    assert caught.value.code == code


def test_a_palette_that_fits_nowhere_is_refused(tmp_path: Path) -> None:
    other = read_palette(str(table(tmp_path, ["a", "b"], "yaml")))
    with pytest.raises(IcnetError, match="names none of the classes") as caught:
        recolour(CLASSES, other)
    assert caught.value.code == ExitCode.USAGE

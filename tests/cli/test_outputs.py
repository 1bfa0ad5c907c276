"""Every command that writes a file refuses its name in the same words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from icnet_cli.pixels.files import write_picture
from tests.cli.conftest import Icnet
from tests.reports.runs import write_run

# A command line without its last word, the file that is written, and that file's suffix.
LINES = [
    ("segment street.jpg --weights WEIGHTS -o new.png --stats", ".csv"),
    ("bench --quick --plot", ".png"),
    ("export WEIGHTS --to pt2 -o", ".pt2"),
    ("weights import WEIGHTS -o", ".safetensors"),
    ("prune WEIGHTS --no-tune --keep 0.5 -o", ".safetensors"),
    ("report run -o", ".html"),
    ("compare WEIGHTS WEIGHTS pictures -o", ".html"),
]


@pytest.mark.parametrize(("line", "suffix"), LINES, ids=[line.split()[0] for line, _ in LINES])
def test_a_file_that_is_there_and_a_folder(
    refused, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("street.jpg", "pictures/street.jpg"):
        write_picture(Path(name), np.zeros((48, 64, 3), np.uint8))
    write_run(Path("run"))
    words = [str(weights) if word == "WEIGHTS" else word for word in line.split()]
    there, folder = Path(f"there{suffix}"), Path(f"folder{suffix}")
    there.write_text("mine")
    folder.mkdir()
    said = refused(2, *words, there)
    assert said == f"icnet: {there} exists; overwrite it with -y or name another output\n"
    assert there.read_text() == "mine"
    assert refused(2, *words, folder, "-y") == f"icnet: {folder} is a folder; name a file in it\n"
    lost = Path(f"none/new{suffix}")
    assert refused(5, *words, lost) == f"icnet: cannot write {lost}: its folder does not exist\n"
    assert not lost.parent.exists()


@pytest.mark.parametrize("weights_file", [True, False])
def test_an_output_that_is_a_folder_is_made_with_those_above(
    icnet: Icnet, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights_file: bool
) -> None:
    """Where there are no weights nothing is left of it."""
    monkeypatch.chdir(tmp_path)
    write_picture(Path("pictures/street.jpg"), np.zeros((48, 64, 3), np.uint8))
    named = weights if weights_file else "none.safetensors"
    outcome = icnet("segment", "pictures", "-o", "a/b/out", "--weights", named, "--device", "cpu")
    assert (outcome.code == 0) == weights_file, outcome.err
    assert Path("a/b/out/street.png").exists() == Path("a").exists() == weights_file


LONG = "x" * 300


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (2, "segment VIDEO -o LONG.mp4"),
        (2, "segment VIDEO -o LONG"),
        (2, "segment VIDEO VIDEO -o LONG"),
        (2, "segment VIDEO -o out.mp4 --stats LONG.csv"),
        (2, "segment VIDEO -o out.mp4 --palette LONG.yaml"),
        (2, "compare A B VIDEO -o LONG.mp4"),
        (2, "export A --to onnx -o LONG.onnx"),
        (2, "bench --plot LONG.png"),
        (3, "segment LONG.mp4 -o out.mp4"),
        (3, "segment LONG -o out"),
        (3, "segment VIDEO LONG.mp4 -o out"),
        (3, "paint LONG.mkv VIDEO -o out.mp4"),
        (3, "eval LONG"),
        (3, "data check LONG"),
        (3, "report LONG"),
        (4, "segment VIDEO -o out.mp4 --weights LONG.safetensors"),
        (4, "weights show LONG.safetensors"),
    ],
)
def test_a_name_that_no_file_can_have_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str], code: int, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "VIDEO").write_bytes(b"something")
    words = [word.replace("LONG", LONG) for word in line.split()]
    assert "the name is too long" in refused(code, *words)
    assert [path.name for path in tmp_path.iterdir() if path.name != "xdg"] == ["VIDEO"]


def test_a_long_address_is_no_file_name(refused: Callable[..., str]) -> None:
    assert "too long" not in refused(3, "segment", f"http://127.0.0.1:9/{LONG}", "-o", "out.mp4")

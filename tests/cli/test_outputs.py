"""Every command that writes a file refuses its name in the same words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icnet_cli.pixels.files import write_picture
from tests.reports.runs import write_run

# A command line without its last word, the file that is written, and that file's suffix.
LINES = [
    ("segment street.jpg --weights WEIGHTS -o new.png --stats", ".csv"),
    ("bench --quick --plot", ".png"),
    ("export WEIGHTS --to pt2 -o", ".pt2"),
    ("weights import WEIGHTS -o", ".safetensors"),
    ("prune WEIGHTS --no-tune --keep 0.5 -o", ".safetensors"),
    ("report run -o", ".html"),
]


@pytest.mark.parametrize(("line", "suffix"), LINES, ids=[line.split()[0] for line, _ in LINES])
def test_a_file_that_is_there_and_a_folder(
    refused, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_picture(Path("street.jpg"), np.zeros((48, 64, 3), np.uint8))
    write_run(Path("run"))
    words = [str(weights) if word == "WEIGHTS" else word for word in line.split()]
    there, folder = Path(f"there{suffix}"), Path(f"folder{suffix}")
    there.write_text("mine")
    folder.mkdir()
    said = refused(2, *words, there)
    assert said == f"icnet: {there} exists; overwrite it with -y or name another output\n"
    assert there.read_text() == "mine"
    assert refused(2, *words, folder, "-y") == f"icnet: {folder} is a folder; name a file in it\n"

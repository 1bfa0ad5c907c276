"""Files whose names are no UTF-8, or look like something else."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference.segmenter import Segmenter

from .conftest import run


@pytest.fixture
def odd(folder: Path) -> Path:
    """A picture that is called b, a byte that is no UTF-8, p; among others."""
    picture = os.path.join(folder, os.fsdecode(b"b\xffp.png"))
    try:
        os.rename(folder / "img2.png", picture)
    except OSError:
        pytest.skip("this file system takes no such name")
    return Path(picture)


@pytest.mark.parametrize("view", ["labels", "overlay"])
def test_a_folder_with_such_a_name(odd: Path, tmp_path: Path, segmenter: Segmenter, view: str) -> None:
    for name in ("s.csv", "s.jsonl"):
        _, report = run(
            segmenter, odd.parent, tmp_path / "out", view=view, stats=tmp_path / name, overwrite=True
        )
        assert report["frames"] == 3
    with open(tmp_path / "out" / "index.csv", encoding="utf-8", errors="surrogateescape") as file:
        named = [row["file"] for row in csv.DictReader(file)]
    assert f"{odd.stem}.png" in named
    assert all((tmp_path / "out" / name).is_file() for name in named)
    assert b",b\xffp," in (tmp_path / "s.csv").read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text("utf-8").splitlines()]
    assert odd.stem in [line["file"] for line in lines]
    again = run(segmenter, odd.parent, tmp_path / "out", view=view, resume=True)[1]
    assert (again["finished_before"], again["frames"]) == (True, 3)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_one_picture_of_such_a_name(odd: Path, tmp_path: Path, segmenter: Segmenter, suffix: str) -> None:
    stats = tmp_path / f"s{suffix}"
    run(segmenter, odd, tmp_path / "one.png", stats=stats)
    expected = b"b\xffp" if suffix == ".csv" else b'"b\\udcffp"'
    assert expected in stats.read_bytes()


@pytest.mark.parametrize("name", ["http:x.mp4", "camera:0.mp4"])
def test_a_file_that_is_called_like_an_address(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for there in (False, True):
        with pytest.raises(IcnetError) as caught:
            run(segmenter, name, tmp_path / "out.mp4")
        assert caught.value.code is ExitCode.USAGE
        notes = [f"./{name} names the file that is called so"] if there else []
        assert getattr(caught.value, "__notes__", []) == notes
        (tmp_path / name).touch()

"""`icnet weights` and `icnet export` as they are typed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import icnet_cli
from icnet_cli.checkpoints.digest import sha256
from icnet_cli.checkpoints.format import load_weights
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.pixels.cv import cv2
from tests.cli.conftest import Icnet
from tests.data import make

from .foreign_files import port_state, resnet_state

STREET = Path(__file__).resolve().parents[2] / "examples" / "street.mp4"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "icnet" / "weights"


@pytest.fixture
def port(tmp_path: Path) -> Path:
    path = tmp_path / "fast_scnn_citys.pth"
    torch.save(port_state(), path)
    return path


def test_import_by_name(icnet: Icnet, refused, port: Path, own_folder: Path) -> None:
    outcome = icnet("weights", "import", port, "--as", "mine", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.document["tensors_taken"] > 100
    assert "common PyTorch port" in outcome.err
    assert "took " in outcome.err
    assert icnet("weights", "path", "mine").out.strip() == str(own_folder / "mine.safetensors")
    rows = icnet("weights", "list", "--json").document["weights"]
    assert {"name": "mine", "origin": "local"}.items() <= next(r for r in rows if r["name"] == "mine").items()
    assert load_weights(own_folder / "mine.safetensors").meta.classes.name == "cityscapes"
    assert "-y" in refused(2, "weights", "import", port, "--as", "mine")
    assert icnet("weights", "import", port, "--as", "mine", "-y").code == 0
    assert icnet("weights", "import", port).code == 0
    assert (own_folder / "fast_scnn_citys.safetensors").is_file()


def test_import_to_a_file_and_refusals(icnet: Icnet, refused, port: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.safetensors"
    assert icnet("weights", "import", port, "-o", output).code == 0
    assert output.is_file()
    assert "give one" in refused(2, "weights", "import", port, "-o", output, "--as", "a")
    assert ".safetensors" in refused(2, "weights", "import", port, "-o", tmp_path / "out.pth")
    assert "plain name" in refused(2, "weights", "import", port, "--as", "../up")
    assert "nowhere" in refused(4, "weights", "import", tmp_path / "nowhere", "--as", "a")
    port.write_bytes(port.read_bytes()[:5000])
    refused(4, "weights", "import", port, "--as", "a")
    assert "icnet's own weights" in refused(4, "weights", "import", output, "--as", "a")


def test_an_imported_trunk_is_marked_and_labels_nothing(icnet: Icnet, refused, tmp_path: Path) -> None:
    torch.save(resnet_state(), tmp_path / "resnet50.pth")
    assert icnet("weights", "import", tmp_path / "resnet50.pth", "--as", "r50").code == 0
    listed = icnet("weights", "list").out.splitlines()
    assert [line.split(":")[0] for line in listed if "trunk only: for --pretrained" in line] == ["r50"]
    rows = icnet("weights", "list", "--json").document["weights"]
    assert [row["name"] for row in rows if row["trunk_only"]] == ["r50"]

    picture, folder = tmp_path / "a.png", tmp_path / "out"
    drives = tmp_path / "data" / "drives"
    drives.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(STREET, drives / name)
    cv2.imwrite(str(picture), np.zeros((64, 96, 3), np.uint8))
    for line in (
        ("segment", picture, "-o", tmp_path / "labels.png", "--weights", "r50"),
        ("segment", drives / "a.mp4", drives / "b.mp4", "-o", folder, "--weights", "r50"),
        ("eval", "--temporal", drives / "a.mp4", "--weights", "r50"),
        ("eval", make.cityscapes(tmp_path / "data" / "city"), "--weights", "r50", "--size", "64x96"),
        ("export", "r50", "--to", "pt2", "--size", "64x96", "-o", tmp_path / "r50.pt2"),
        ("compare", "r50", "fast-scnn-camvid", picture, "-o", folder),
    ):
        assert "--pretrained r50" in refused(4, *line)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "data") == [
        "a.png",
        "resnet50.pth",
    ]
    with pytest.raises(IcnetError, match="--pretrained r50") as caught:
        icnet_cli.load("r50")
    assert caught.value.code is ExitCode.WEIGHTS


def test_verify(icnet: Icnet, port: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.safetensors"
    assert icnet("weights", "import", port, "-o", output).code == 0
    assert "no published sha256" in icnet("weights", "verify", output).out
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  b.safetensors\n{sha256(output)}  a.safetensors\n")
    outcome = icnet("weights", "verify", output, "--json")
    assert outcome.code == 0
    assert outcome.document["weights"][0]["published"] == sha256(output)

    whole = output.read_bytes()
    output.write_bytes(whole[:-4] + bytes(4))  # can be read, and is not the file that was published
    outcome = icnet("weights", "verify", output)
    assert outcome.code == 7
    assert "SHA256SUMS" in outcome.err
    (tmp_path / "SHA256SUMS").unlink()
    (tmp_path / "a.md").write_text(f"# a\n\nsha256: `{'ab' * 32}`\n")
    assert icnet("weights", "verify", output).code == 7
    (tmp_path / "a.md").unlink()
    output.write_bytes(whole[: len(whole) // 2])
    outcome = icnet("weights", "verify", output)
    assert outcome.code == 7
    assert len(outcome.err.splitlines()) == 1


def test_verify_all(icnet: Icnet, port: Path, own_folder: Path) -> None:
    assert icnet("weights", "import", port, "--as", "mine").code == 0
    (own_folder / "mine.safetensors.sha256").write_text("0" * 64)
    outcome = icnet("weights", "verify", "--json")
    assert outcome.code == 7
    assert [
        row["good"] for row in outcome.document["weights"] if row["path"].endswith("mine.safetensors")
    ] == [False]
    (own_folder / "broken.safetensors").write_bytes(b"no")
    outcome = icnet("weights", "list")
    assert "mine: fast-scnn" in outcome.out
    assert "broken.safetensors" in outcome.err


def test_show_draws_channels(icnet: Icnet, port: Path, tmp_path: Path) -> None:
    assert icnet("weights", "import", port, "-o", tmp_path / "a.safetensors").code == 0
    outcome = icnet("weights", "show", tmp_path / "a.safetensors")
    assert f"sha256: {sha256(tmp_path / 'a.safetensors')}" in outcome.out
    assert "ltd1                        32 /    32 " + "█" * 24 + " 100%" in outcome.out
    assert "data: imported: Fast-SCNN" in outcome.out


def test_export(icnet: Icnet, refused, port: Path, tmp_path: Path) -> None:
    weights, output = tmp_path / "a.safetensors", tmp_path / "a.pt2"
    assert icnet("weights", "import", port, "-o", weights).code == 0
    line = ["export", weights, "--to", "pt2", "--size", "64x96", "--with-argmax", "-o", output]
    outcome = icnet(*line, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.document["agreement"] >= 0.999
    assert outcome.document["size"] == [64, 96]
    assert "it agrees with the network on 100.000% of pixels (1 drawn picture; --pictures" in outcome.err
    assert "-y" in refused(2, *line)
    assert "--to" in refused(2, "export", weights, "-o", output)
    assert "must end in .onnx" in refused(2, "export", weights, "--to", "onnx", "-o", output)
    refused(4, "export", tmp_path / "nowhere", "--to", "pt2", "-o", tmp_path / "b.pt2")

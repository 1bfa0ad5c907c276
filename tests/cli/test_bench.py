"""`icnet bench` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import icnet_cli.checkpoints.bundled as bundled
from tests.cli.conftest import Icnet

QUICK = ("--size", "32x64", "--quick", "--device", "cpu", "--progress", "none")


@pytest.fixture(autouse=True)
def no_bundled_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "bundled_folder", lambda: tmp_path / "none")


def test_the_help_says_what_each_plot_shows(icnet: Icnet) -> None:
    words = " ".join(icnet("bench", "--help").out.replace("│", " ").split())
    assert "the papers' points and ours; with --reuse: agreement and flicker" in words


def test_one_row_a_bundled_network(icnet: Icnet) -> None:
    outcome = icnet("bench", *QUICK, "--json")
    assert outcome.code == 0, outcome.err
    document = outcome.document
    assert [row["model"] for row in document["rows"]] == ["icnet", "fast-scnn"]
    assert {row["runs"] for row in document["rows"]} == {10}
    assert {
        "model", "variant", "resolution", "device", "precision", "backend", "batch", "runs", "ms_p50", "ms_p95",
        "ms_p99", "model_fps", "params_m", "gflops", "peak_memory_mb", "published",
    } <= set(document["rows"][0])  # fmt: skip
    assert document["environment"]["torch"]


def test_a_model_is_exactly_one_row_and_a_table_on_stdout(icnet: Icnet) -> None:
    outcome = icnet("bench", "--model", "fast-scnn", "--keep", "0.25", "--resolution", "32x64", *QUICK[2:])
    assert outcome.code == 0, outcome.err
    assert "32x64" in outcome.out
    assert outcome.out.count("fast-scnn") == outcome.out.count("network")
    assert "Measured on" in outcome.err


def test_markdown(icnet: Icnet) -> None:
    outcome = icnet("bench", "--model", "fast-scnn", "--keep", "0.25", *QUICK, "--markdown")
    table = [line for line in outcome.out.splitlines() if line.startswith("|")]
    assert len(table) == 3
    assert len({line.count("|") for line in table}) == 1
    assert outcome.err == ""


def test_stages(icnet: Icnet) -> None:
    outcome = icnet("bench", "--stages", "--model", "fast-scnn", "--keep", "0.25", *QUICK, "--json")
    sizes = [tuple(row["resolution"]) for row in outcome.document["rows"]]
    assert set(sizes) == {(32, 64), (32, 32)}


def test_a_table_of_others(icnet: Icnet) -> None:
    outcome = icnet("bench", "--table", "cityscapes-methods")
    assert outcome.code == 0
    assert "PIDNet-S" in outcome.out
    assert "78.6" in outcome.out
    assert outcome.err == ""


def test_compare(icnet: Icnet, tmp_path: Path, refused) -> None:
    files = []
    for name, ms in (("a", 30.0), ("b", 10.0)):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"rows": [{"model": "icnet", "ms_p50": ms}]}))
        files.append(path)
    assert icnet("bench", "--compare", *files, "--json").document["rows"][0]["speedup"] == 3
    assert "3.00" in icnet("bench", "--compare", *files).out
    assert "two files" in refused(2, "bench", "--compare", files[0])
    assert "two files" in refused(2, "bench", files[0])
    assert "nowhere" in refused(3, "bench", "--compare", files[0], tmp_path / "nowhere.json")


def test_a_plot_is_never_written_over(icnet: Icnet, tmp_path: Path, refused) -> None:
    plot = tmp_path / "plot.png"
    line = ["bench", "--model", "fast-scnn", "--keep", "0.25", *QUICK, "--plot", plot]
    assert icnet(*line).code == 0
    first = plot.read_bytes()
    assert "-y" in refused(2, *line)
    assert plot.read_bytes() == first
    assert icnet(*line, "-y").code == 0
    refused(5, *line[:-1], tmp_path / "none" / "plot.png")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--table icnet-ablation --stages", "give one"),
        ("--table nowhere", "--table"),
        ("--table icnet-ablation --keep 0.5", "leave out"),
        ("--weights icnet-camvid --branches sub4", "--branches"),
        ("--data somewhere", "--data"),
        ("--view labels", "--video"),
        ("--preset ultrafast", "--video"),
        ("--stages --frames 2", "--video"),
        ("--split test", "--data"),
        ("--stages --plain", "--plain"),
        ("--stages --batch 4", "--batch is not for --stages; leave it out"),
        ("--compare a.json b.json --device cpu --size 64x64", "--size is not for --compare"),
        ("--video v.mp4 --batch 4", "--batch is not for --video"),
        ("--video v.mp4 --reuse 1,2 --naive", "--naive is not for --reuse"),
        ("--video v.mp4 --keep 0.25", "say with --model whose --keep is meant"),
        ("--hwaccel cuda", "--hwaccel is not for networks on their own"),
        ("--table icnet-ablation --weights icnet-camvid", "--data"),
        ("--plot plot.jpg", ".png"),
        ("--stages --plot plot.png", "--plot"),
        ("--markdown --json", "--markdown"),
        ("--model fast-scnn --branches sub4", "fast-scnn"),
        ("--batch 0", "--batch"),
        ("--seconds 0", "--seconds"),
        ("--size 8x8", "--size"),
        ("--model resnet", "--model"),
    ],
)
def test_what_contradicts_itself_is_refused(refused, words: str, said: str) -> None:
    assert said in refused(2, "bench", *words.split())


def test_what_is_not_there(refused, tmp_path: Path) -> None:
    refused(3, "bench", "--video", tmp_path / "none.mp4")
    refused(4, "bench", "--weights", tmp_path / "none.safetensors")
    refused(6, "bench", "--device", "cuda:99")

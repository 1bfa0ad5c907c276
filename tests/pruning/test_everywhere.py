"""A pruned file in every command that takes its parent, by the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icnet_cli.checkpoints.format import WeightsMeta, load_weights, save_weights
from icnet_cli.cli.app import run
from icnet_cli.pixels.files import read_picture
from icnet_cli.pruning.surgery import prune_network
from tests.pruning.conftest import write_weights

Icnet = Callable[..., Any]


@pytest.fixture
def icnet(capfd: pytest.CaptureFixture[str]) -> Icnet:
    """Runs a command line that must succeed; returns its JSON document."""

    def call(*words: object) -> Any:
        capfd.readouterr()
        code = run([*map(str, words), "--json", *(() if "export" in words else ("--progress", "none"))])
        out, err = capfd.readouterr()
        assert code == 0, err
        return json.loads(out)

    return call


def unevenly_pruned(source: Path, target: Path) -> dict[str, int]:
    """As a latency target prunes: each group by another share, so that no --keep describes it."""
    loaded = load_weights(source)
    counts = {
        name: max(8, there - 8 * (index % 3)) if there > 8 else there
        for index, (name, there) in enumerate(loaded.network.config.channels.items())
    }
    network = prune_network(loaded.network, counts)
    save_weights(target, network, WeightsMeta.of(network, loaded.meta.classes, loaded.meta.train_size))
    return counts


# Half a minute each, most of it the export: the second network is for the gate.
@pytest.mark.parametrize(
    ("model", "keep"), [("fast-scnn", 0.5), pytest.param("icnet", 0.25, marks=pytest.mark.slow)]
)
def test_a_pruned_file_goes_wherever_its_parent_does(
    model: str, keep: float, icnet: Icnet, camvid: Path, recipe: Path
) -> None:
    parent = write_weights(Path("parent.safetensors"), model, keep)
    icnet("prune", parent, "--keep", keep / 2, "--no-tune", "--size", "64x96", "-o", "half.safetensors")
    counts = unevenly_pruned(Path("half.safetensors"), Path("uneven.safetensors"))
    assert (
        len({counts[name] / there for name, there in load_weights(parent).meta.config["channels"].items()})
        > 2
    )

    icnet(
        "segment",
        f"{camvid}/val/*.png",
        "-o",
        "labels",
        "--view",
        "labels",
        "--weights",
        "uneven.safetensors",
    )
    assert read_picture(Path("labels/val_00.png")).shape == (72, 96, 3)
    measured = icnet("eval", camvid, "--weights", "uneven.safetensors", "--size", "64x96")
    assert measured["images"] == 2
    timed = icnet(
        "bench", "--weights", "uneven.safetensors", "--size", "64x96", "--quick", "--seconds", "0.1"
    )
    row = next(row for row in timed["rows"] if row["model"] == model)
    assert row["params_m"] < 1

    trained = icnet(
        "train", camvid, "--model", model, "--pretrained", "uneven.safetensors",
        "--recipe", recipe, "--steps", "2", "--workers", "0", "-o", "run",
    )  # fmt: skip
    assert trained["step"] == 2
    assert load_weights(Path("run/last.safetensors")).meta.config["channels"] == counts

    exported = icnet("export", "run/last.safetensors", "--to", "pt2", "--size", "65x97", "-o", "net.pt2")
    assert exported["agreement"] >= 0.999
    again = icnet(
        "prune", "run/last.safetensors", "--data", camvid, "--recipe", recipe, "--keep", keep / 4,
        "--one-shot", "--tune-total", "2", "--workers", "0", "--size", "64x96", "-o", "quarter.safetensors",
    )  # fmt: skip
    (step,) = again["steps"]
    assert step["miou_tuned"] is not None
    left = load_weights(Path("quarter.safetensors"))
    assert sum(left.meta.config["channels"].values()) < sum(counts.values())
    assert [entry["keep"] for entry in left.meta.history] == [keep / 4]


def test_weights_to_start_from_give_their_shape_unless_it_is_asked_for(
    icnet: Icnet, camvid: Path, recipe: Path
) -> None:
    write_weights(Path("narrow.safetensors"), keep=0.25)
    train = ("train", camvid, "--model", "fast-scnn", "--recipe", recipe, "--steps", "1", "--workers", "0")
    icnet(*train, "--pretrained", "narrow.safetensors", "-o", "a")
    icnet(*train, "--pretrained", "narrow.safetensors", "--keep", "0.5", "-o", "b")
    icnet(*train, "-o", "c")
    keeps = [load_weights(Path(name) / "last.safetensors").meta.config["keep"] for name in "abc"]
    assert keeps == [0.25, 0.5, 1.0]

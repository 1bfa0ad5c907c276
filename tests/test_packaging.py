"""What a wheel carries: every package of ours, the class tables, the recipes and the bundled weights."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from icnet_cli import __version__
from icnet_cli.checkpoints.bundled import bundled_folder, bundled_weights
from icnet_cli.checkpoints.card import card_markdown
from icnet_cli.checkpoints.format import read_meta

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUP = PROJECT["tool"]["setuptools"]


def test_every_package_is_named() -> None:
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "icnet_cli").rglob("__init__.py")}
    names = {".".join(folder.parts) for folder in folders} | {"icnet_cli.weights"}
    assert set(SETUP["packages"]) == names
    assert SETUP["package-dir"]["icnet_cli.weights"] == "weights"


def test_every_data_file_is_named() -> None:
    given = {
        path
        for package, patterns in SETUP["package-data"].items()
        for pattern in patterns
        for path in (ROOT / SETUP["package-dir"].get(package, package.replace(".", "/"))).glob(pattern)
    }
    kinds = {".yaml", ".json", ".typed", ".html", ".css", ".js", ".csv"}
    data = {
        path for path in (ROOT / "icnet_cli").rglob("*") if path.suffix in kinds or path.name == "py.typed"
    }
    assert data - given == set()
    assert {path for path in given if path.suffix == ".safetensors"} == set(bundled_weights().values())


def test_one_version() -> None:
    assert PROJECT["project"]["version"] == __version__


def test_torch_is_pinned_below_the_next_untried_release() -> None:
    assert "torch>=2.10,<2.14" in PROJECT["project"]["dependencies"]


@pytest.mark.parametrize("name", bundled_weights())
def test_every_bundled_network_has_its_card(name: str) -> None:
    meta = read_meta(bundled_weights()[name])
    for field in ("data", "licence", "recipe", "command", "seed", "step", "hardware", "metrics"):
        assert meta.card.get(field) is not None, field
    assert meta.card["metrics"]["val_of_train_only_run"]["miou"] > 0.3
    text = (bundled_folder() / f"{name}.md").read_text(encoding="utf-8")
    assert text == card_markdown(name, meta)


def test_the_bundled_networks_are_the_documented_ones() -> None:
    assert set(bundled_weights()) >= {"icnet-camvid", "fast-scnn-camvid"}
    icnet = read_meta(bundled_weights()["icnet-camvid"])
    assert (icnet.model, icnet.config["keep"], icnet.config["head"]) == ("icnet", 0.5, "fused")
    assert sum(path.stat().st_size for path in bundled_weights().values()) < 40e6  # they stay in history

"""A command line that nothing of the machine it runs on speaks into."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from icnet_cli.cli.app import run


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        assert len(self.out.splitlines()) == 1, self.out
        return json.loads(self.out)


Icnet = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def quiet_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ICNET_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def icnet(capfd: pytest.CaptureFixture[str]) -> Icnet:
    """Runs a command line as the entry point does, in this process."""

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture
def refused(icnet: Icnet) -> Callable[..., str]:
    """Runs a command line that must be refused in one line with this code; returns the line."""

    def call(code: int, *arguments: object) -> str:
        outcome = icnet(*arguments)
        assert outcome.code == code, outcome.err
        assert outcome.out == ""
        assert outcome.err.startswith("icnet: ")
        assert len(outcome.err.splitlines()) == 1, outcome.err
        return outcome.err

    return call


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of an untrained Fast-SCNN for CamVid's classes."""
    from icnet_cli.checkpoints.format import WeightsMeta, save_weights
    from icnet_cli.classes import load_table
    from icnet_cli.models import build

    classes = load_table("camvid")
    network = build("fast-scnn", {"num_classes": classes.num_classes})
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, network, WeightsMeta.of(network, classes, (64, 96)))
    return path


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """A dataset of two pictures a split in CamVid's layout."""
    import numpy as np

    from icnet_cli.pixels.cv import cv2

    rng = np.random.default_rng(0)
    root = tmp_path / "camvid"
    for split in ("train", "val"):
        for index in range(2):
            for folder, picture in (
                (split, rng.integers(0, 256, (64, 96, 3), np.uint8)),
                # Every class is there, and what is unlabelled.
                (f"{split}annot", np.repeat(rng.permutation(64).astype(np.uint8)[:, None] % 12, 96, axis=1)),
            ):
                (root / folder).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / folder / f"{split}_{index}.png"), picture)
    return root

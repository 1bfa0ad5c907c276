from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from icnet_cli.doctor import examine as doctor
from icnet_cli.doctor.findings import Finding
from tests.cli.conftest import Icnet


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the only check finds."""
    findings: list[Finding] = []
    monkeypatch.setattr(doctor, "CHECKS", (("gpu", "gpu", lambda: findings),))
    return findings


def test_a_table_and_what_to_do(icnet: Icnet, found: list[Finding]) -> None:
    found += [
        Finding("gpu", "driver", "ok", "550"),
        Finding("gpu", "cuda", "warning", "not used", "install [it]"),
    ]
    outcome = icnet("doctor", "--no-parity", "--progress", "none")
    assert outcome.code == 0
    words = [line.split() for line in outcome.out.splitlines()]
    assert ["driver", "ok", "550"] in words
    assert ["cuda", "warning", "not", "used"] in words
    assert outcome.err == "cuda: install [it]\n"


def test_what_is_broken_is_exit_7(icnet: Icnet, found: list[Finding]) -> None:
    found.append(Finding("parity", "onnx cpu fp32", "bad", "93.000% of pixels agree"))
    outcome = icnet("doctor", "--no-parity", "--json", "--progress", "none")
    assert outcome.code == 7
    assert not outcome.document["ok"]
    assert outcome.document["findings"][0]["state"] == "bad"
    assert outcome.err == "icnet: parity, onnx cpu fp32: 93.000% of pixels agree (1 in all)\n"


def settings(icnet: Icnet) -> dict[str, dict[str, Any]]:
    document = icnet("doctor", "--no-parity", "--json").document
    return {row["name"]: row for row in document["findings"] if row["group"] == "settings"}


def test_settings_are_looked_through(
    icnet: Icnet, found: list[Finding], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert settings(icnet)["config file"]["state"] == "absent"
    monkeypatch.setenv("ICNET_DEVICE", "cpu")
    monkeypatch.setenv("ICNET_PRECISON", "fp16")
    rows = settings(icnet)
    assert rows["ICNET_DEVICE"]["state"] == "ok"
    assert (rows["ICNET_PRECISON"]["state"], rows["ICNET_PRECISON"]["cure"]) == (
        "warning",
        "is ICNET_PRECISION meant?",
    )
    path = tmp_path / "xdg" / "icnet" / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("device: cpu\n")
    assert settings(icnet)["config file"] | {"cure": None} == {
        "group": "settings", "name": "config file", "state": "ok", "detail": str(path), "cure": None,
    }  # fmt: skip

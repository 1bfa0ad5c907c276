"""The papers' tables rebuilt: which rows are timed, how often, and both speed-ups."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from icnet_cli.benchmark import tables as rebuilt
from icnet_cli.benchmark.published import PublishedRow, PublishedTable, find_table
from icnet_cli.benchmark.tables import Accuracies, size_of, table_rows, trained_here, with_speedups
from icnet_cli.config import PUBLISHED_TABLES, BenchConfig, EvalConfig
from tests.benchmark.conftest import SHORT, save


def finish(events: Generator[Any, None, list[dict]]) -> list[dict]:
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[int, int], str]]:
    """Stands in for timing: each new network takes a millisecond more. What was asked for."""
    asked: list[tuple[str, tuple[int, int], str]] = []

    def time_row(subject: Any, size: Any, protocol: Any, *, output: str, **_: Any) -> dict[str, Any]:
        asked.append((subject.variant, size, output))
        return {"model": subject.model, "variant": subject.variant, "ms_p50": float(len(asked))}

    monkeypatch.setattr(rebuilt, "time_row", time_row)
    return asked


def test_the_ablation_for_real() -> None:
    rows = finish(table_rows(BenchConfig(table="icnet-ablation", size=(32, 64), device="cpu"), SHORT))
    assert [row["name"] for row in rows] == ["baseline PSPNet50", "sub4", "sub24", "sub124"]
    assert [row["model"] for row in rows] == ["pspnet50", "icnet", "icnet", "icnet"]
    for row in rows:
        assert {"ms_p50", "runs", "params_m", "gflops", "published", "speedup", "speedup_published"} <= set(
            row
        )
        assert row["resolution"] == [32, 64]
        assert row["output"] == "logits"
    assert "published head" in rows[1]["variant"]
    assert [row["speedup_published"] for row in rows] == [1, 9.4, 6.8, 5.2]
    assert rows[1]["speedup"] == rows[0]["ms_p50"] / rows[1]["ms_p50"]
    assert rows[0]["speedup"] == 1
    assert [row["published"]["memory_gb"] for row in rows] == [9.2, 0.6, 1.1, 1.6]
    assert round(rows[3]["params_m"], 2) == 6.70


@pytest.mark.parametrize("name", PUBLISHED_TABLES)
def test_only_our_networks_are_timed_and_each_once(name: str, timed: list) -> None:
    table = find_table(name)
    rows = finish(table_rows(BenchConfig(table=name), SHORT))
    assert [row["name"] for row in rows] == [row.name for row in table.rows]
    assert len(timed) == len(set(timed))
    for row, published in zip(rows, table.rows, strict=True):
        assert ("ms_p50" in row) == (published.network is not None)
        assert row["published"]["miou"] == published.figures.get("miou")


def test_fast_scnn_is_timed_with_labels_and_probabilities_at_three_sizes(timed: list) -> None:
    finish(table_rows(BenchConfig(table="fast-scnn"), SHORT))
    assert [(size, output) for variant, size, output in timed if "head" not in variant] == [
        ((1024, 2048), "probabilities"), ((512, 1024), "probabilities"), ((256, 512), "probabilities"),
        ((1024, 2048), "labels"), ((512, 1024), "labels"), ((256, 512), "labels"),
    ]  # fmt: skip


def test_another_full_size_keeps_the_tables_proportions() -> None:
    table = find_table("fast-scnn")
    small = table.by_name["Fast-SCNN cls 256x512"]
    assert size_of(small, None, table.full_size) == (256, 512)
    assert size_of(small, (512, 1024), table.full_size) == (128, 256)
    assert size_of(small, (64, 64), table.full_size) == (32, 32)


def test_a_tables_full_size_is_its_own() -> None:
    table = find_table("icnet-camvid")
    (row,) = [row for row in table.rows if row.network is not None]
    assert row.resolution == table.full_size == (720, 960)
    assert size_of(row, (720, 960), table.full_size) == (720, 960)
    assert size_of(row, (96, 128), table.full_size) == (96, 128)


def test_speedups() -> None:
    base = PublishedRow("base", {"ms": 100})
    printed = PublishedRow("printed", {"ms": 20, "speedup": 5.2}, baseline="base")
    worked_out = PublishedRow("worked out", {"fps": 40}, baseline="base")
    other = PublishedRow("other", {"ms": 1})
    published = (base, printed, worked_out, other)
    table = PublishedTable("t", "", "", "", "", published, None, {row.name: row for row in published})
    rows: list[dict[str, Any]] = [
        {"name": row.name, "baseline": row.baseline, "published": row.to_dict(), "ms_p50": ms}
        for row, ms in zip(published, (90.0, 30.0, 45.0, None), strict=True)
    ]
    found = with_speedups(rows, table)
    assert [row["speedup_published"] for row in found] == [1.0, 5.2, 4.0, None]
    assert [row["speedup"] for row in found] == [1.0, 3.0, 2.0, None]


def test_miou_is_measured_for_the_rows_that_the_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[EvalConfig] = []

    def evaluate(config: EvalConfig) -> Generator[Any, None, Any]:
        asked.append(config)
        yield None
        return SimpleNamespace(confusion=SimpleNamespace(miou=0.25 * len(asked)))

    monkeypatch.setattr(rebuilt, "evaluate", evaluate)
    path = save(tmp_path, "half", "icnet", keep=0.25)
    accuracies = Accuracies(
        BenchConfig(table="icnet-ablation", data=tmp_path, weights=str(path), split="test")
    )
    row = {"model": "icnet", "keep": 0.25, "branches": "sub4", "head": "published"}
    size = (96, 128)
    assert accuracies.of(row, size) == 0.25
    assert accuracies.of(row, size) == 0.25  # measured once
    assert accuracies.of(row | {"branches": "sub124"}, size) == 0.5
    assert accuracies.of(row | {"keep": 0.5}, size) is None
    assert accuracies.of({"model": "pspnet50", "keep": 0.25}, size) is None
    assert accuracies.of(row, (192, 256)) == 0.75  # of what is timed there
    assert accuracies._subject is not None
    accuracies._subject = replace(
        accuracies._subject, fixed_size=(192, 256)
    )  # an exported file takes one size alone
    assert (accuracies.of(row, size), accuracies.of(row, (192, 256))) == (None, 0.75)
    assert [(one.branches, one.split, one.dataset, one.size) for one in asked] == [
        ("sub4", "test", tmp_path, size), ("sub124", "test", tmp_path, size), ("sub4", "test", tmp_path, (192, 256)),
    ]  # fmt: skip


def test_without_data_nothing_is_measured() -> None:
    assert (
        Accuracies(BenchConfig(table="icnet-ablation")).of({"model": "icnet", "keep": 0.5}, (32, 32)) is None
    )


def test_what_has_been_trained_here_stands_beside_the_training_table(bundle: Path, timed: list) -> None:
    assert trained_here({"model": "fast-scnn"}) == []
    save(bundle, "ours", "fast-scnn", keep=0.25)
    save(bundle, "another", "icnet", keep=0.25)
    rows = finish(table_rows(BenchConfig(table="fast-scnn-training"), SHORT))
    assert [len(row.get("trained", ())) for row in rows] == [0, 1, 0, 0, 0, 0]
    assert rows[1]["trained"][0]["weights"] == "ours"
    assert rows[1]["trained"][0]["miou"] == 0.5
    assert timed == []

"""The papers' tables rebuilt: their networks timed here by their protocol, their figures beside."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from typing import Any

from icnet_cli.checkpoints.bundled import bundled_weights
from icnet_cli.config import BenchConfig, EvalConfig
from icnet_cli.evaluation.evaluate import evaluate
from icnet_cli.inference.segmenter import SMALLEST

from .events import RowStarted
from .published import PublishedRow, PublishedTable, find_table
from .rows import time_row
from .subjects import Subject, of_weights, same_network
from .timing import Clock, Protocol

Row = dict[str, Any]


def table_rows(
    config: BenchConfig, protocol: Protocol, clock: Clock = time.perf_counter
) -> Generator[RowStarted, None, list[Row]]:
    """A row for each of the table's; only those that are networks of ours have figures of their own."""
    table = find_table(str(config.table))
    measured: dict[str, Row] = {}
    accuracies = Accuracies(config)
    rows = []
    for done, published in enumerate(table.rows):
        yield RowStarted(done, len(table.rows), published.name)
        row: Row = {"name": published.name, "baseline": published.baseline}
        if published.network is not None:
            size = size_of(published, config.size, table.full_size)
            row |= _measured(published, size, config, protocol, clock, measured)
            row["miou"] = accuracies.of(published.network, size)
        if published.trained is not None:
            row["trained"] = trained_here(published.trained)
        row["published"] = published.to_dict() | _printed_about(published)
        rows.append(row)
    return with_speedups(rows, table)


def _measured(
    published: PublishedRow,
    size: tuple[int, int],
    config: BenchConfig,
    protocol: Protocol,
    clock: Clock,
    measured: dict[str, Row],
) -> Row:
    """The network timed; once, however many rows of the table it stands in."""
    assert published.network is not None
    network = dict(published.network)
    model = network.pop("model")
    key = repr((model, sorted(network.items()), size, published.output))
    if key not in measured:
        measured[key] = time_row(
            Subject(model, network), size, protocol, device=config.device, precision=config.precision,
            batch=config.batch, output=published.output, clock=clock,
        )  # fmt: skip
    return dict(measured[key])


def size_of(
    published: PublishedRow, full: tuple[int, int] | None, table_full: tuple[int, int]
) -> tuple[int, int]:
    """What a row is run at: the paper's size, or as much of `full` as that is of the table's own full size."""
    if full is None:
        return published.resolution
    sides = (
        round(side * here / there)
        for side, here, there in zip(published.resolution, full, table_full, strict=True)
    )
    height, width = (max(SMALLEST, side) for side in sides)
    return height, width


def _printed_about(row: PublishedRow) -> Row:
    known = {"resolution": list(row.resolution), "input": row.input, "platform": row.platform}
    return {name: value for name, value in known.items() if value is not None}


def with_speedups(rows: list[Row], table: PublishedTable) -> list[Row]:
    """Each row with `speedup_published` and `speedup`, how many times faster it is than its baseline.

    The paper's own is as it prints it; where it prints none, the quotient of its times. A baseline's is 1; None in
    a table without any.
    """
    baselines = {row["baseline"] for row in rows}
    by_name = {row["name"]: row for row in rows}
    finished = []
    for row in rows:
        base = row if row["name"] in baselines else by_name.get(row["baseline"])
        published = table.by_name[row["name"]].figures.get("speedup")
        theirs = _times_faster(row["published"], base and base["published"], "ms")
        finished.append(
            {
                **row,
                "speedup_published": published or theirs,
                "speedup": _times_faster(row, base, "ms_p50"),
            }
        )
    return finished


def _times_faster(row: Mapping[str, Any] | None, base: Mapping[str, Any] | None, key: str) -> float | None:
    if not row or not base or not row.get(key) or not base.get(key):
        return None
    return float(base[key] / row[key])


class Accuracies:
    """The mIoU of the rows that `--weights` are the network of, measured on `--data`; each network and size once.

    It is measured at the size that is timed: at another one the two would be figures of two networks.
    """

    def __init__(self, config: BenchConfig) -> None:
        self._config = config
        self._known: dict[tuple[str | None, tuple[int, int]], float] = {}
        self._subject = of_weights(config.weights) if config.data and config.weights else None

    def of(self, network: Mapping[str, Any], size: tuple[int, int]) -> float | None:
        """0..1; None where the weights are another network's."""
        subject = self._subject
        if subject is None or subject.model != network["model"]:
            return None
        # The head is how the same network is written: one trained fused answers for the published row.
        config = {**network, "head": subject.config.get("head", "fused")}
        other_size = subject.fixed_size is not None and subject.fixed_size != size  # of an exported file
        if other_size or not same_network(subject.config, config):
            return None
        key = network.get("branches"), size
        if key not in self._known:
            self._known[key] = self._measure(*key)
        return self._known[key]

    def _measure(self, branches: str | None, size: tuple[int, int]) -> float:
        config = self._config
        assert config.data is not None
        assert config.weights is not None
        events = evaluate(
            EvalConfig(
                config.data, split=config.split, weights=config.weights, branches=branches, size=size,
                device=config.device, precision=config.precision,
            )
        )  # fmt: skip
        while True:
            try:
                next(events)
            except StopIteration as end:
                return float(end.value.confusion.miou)


def trained_here(network: Mapping[str, Any]) -> list[Row]:
    """What the bundled weights of this network say they reach, on their own data set."""
    found = []
    for name in bundled_weights():
        subject = of_weights(name)
        accuracy = subject.accuracy()
        if subject.model == network["model"] and accuracy:
            found.append({"weights": name, **accuracy})
    return found

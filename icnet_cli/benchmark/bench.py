"""`icnet bench`: what is asked for is measured, and told as one document."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from icnet_cli.checkpoints.bundled import bundled_weights
from icnet_cli.config import DEFAULT_WEIGHTS, BenchConfig
from icnet_cli.errors import usage_error
from icnet_cli.inference.backends.runtimes import installed_in
from icnet_cli.inference.choice import check_backend, device_for
from icnet_cli.inference.device import choose_device, choose_precision
from icnet_cli.inference.environment import describe
from icnet_cli.outputs import refuse_unwritable

from .compare import compare_files
from .events import RowStarted
from .plain import against_plain, apart
from .plot import plot_rows
from .published import FULL_SIZE, find_table
from .reuse import plot_reuse, reuse_report
from .rows import time_plain_row, time_row
from .stages import stage_rows
from .subjects import Subject, of_weights, subjects
from .tables import table_rows
from .timing import Clock, Protocol
from .video import video_report

Document = dict[str, Any]


def bench(config: BenchConfig, clock: Clock = time.perf_counter) -> Generator[Any, None, Document]:
    """Measure as `config` says; an event a row (a frame, of a video), and the document at the end.

    Returns:
        What `icnet bench --json` prints. `kind` is networks, table, stages, video, reuse or compare; `rows` figures,
        `environment` the machine and the versions they come from.

    Raises:
        IcnetError: before anything is measured: USAGE, DEVICE, WEIGHTS, INPUT, OUTPUT (a plot that is in the way).
    """
    config.check()
    if config.compare is not None:
        assert config.other is not None
        return {"kind": "compare", **compare_files(config.compare, config.other)}
    backend = "auto" if config.backend == "all" else config.backend
    check_backend(backend, config.device, config.precision)
    device = choose_device(device_for(backend, config.device))
    choose_precision(config.precision, device)
    if config.plot is not None:
        refuse_unwritable(config.plot, overwrite=config.overwrite)
    protocol = Protocol.of(config.seconds, config.quick)
    if config.table:
        document = yield from _table(config, protocol, clock)
    elif config.stages:
        document = yield from _stages(config, protocol, clock)
    elif config.video:
        document = yield from _video(config, protocol)
    else:
        document = yield from _networks(config, protocol, clock)
    document["environment"] = describe(device)
    if config.plot is not None and document["kind"] == "reuse":
        plot_reuse(document, config.plot)
    elif config.plot is not None:
        document["plot_left_out"] = plot_rows(document, config.plot)
    return document


def _networks(config: BenchConfig, protocol: Protocol, clock: Clock) -> Generator[RowStarted, None, Document]:
    wanted = subjects(config)
    size = config.size or wanted[0].fixed_size or FULL_SIZE
    names = [*(["plain"] if config.plain else []), *backends(config)]
    jobs = [(subject, name) for subject in wanted for name in names]
    rows = []
    for done, (subject, name) in enumerate(jobs):
        yield RowStarted(done, len(jobs), f"{subject.model}, {name}" if len(names) > 1 else subject.model)
        if name == "plain":
            rows.append(
                apart(
                    time_plain_row, subject, size, protocol,
                    device=config.device, batch=config.batch, **_clock_of(clock),
                )
            )  # fmt: skip
        else:
            rows.append(
                time_row(
                    subject, size, protocol, device=config.device, precision=config.precision,
                    backend=name, batch=config.batch, clock=clock,
                )
            )  # fmt: skip
    return {"kind": "networks", "rows": against_plain(rows)}


def backends(config: BenchConfig) -> list[str]:
    """What is to be timed: the one that was named; torch by itself; or all that are installed, torch first."""
    if config.backend != "all":
        return ["torch" if config.backend == "auto" else config.backend]
    device = choose_device(config.device)
    if device.type == "cuda":
        return ["torch", "compile"]
    return ["torch", *installed_in(choose_precision(config.precision, device))]


def _clock_of(clock: Clock) -> dict[str, Clock]:
    return {} if clock is time.perf_counter else {"clock": clock}


def _table(config: BenchConfig, protocol: Protocol, clock: Clock) -> Generator[RowStarted, None, Document]:
    table = find_table(str(config.table))
    rows = yield from table_rows(config, protocol, clock)
    about = {name: getattr(table, name) for name in ("name", "title", "source", "where", "dataset", "note")}
    return {"kind": "table", "table": about, "rows": rows}


def _stages(config: BenchConfig, protocol: Protocol, clock: Clock) -> Generator[RowStarted, None, Document]:
    wanted = subjects(config)
    if wanted[0].exported is not None:
        raise usage_error(f"--stages looks into a network, and {config.weights} is an exported file")
    full = config.size or FULL_SIZE
    sizes = (full, (max(32, full[0] // 2), max(32, full[1] // 2)))
    rows: list[dict[str, Any]] = []
    for done, (subject, size) in enumerate((subject, size) for subject in wanted for size in sizes):
        yield RowStarted(done, len(wanted) * len(sizes), f"{subject.model} {size[0]}x{size[1]}")
        rows += stage_rows(
            subject, size, protocol, device=config.device, precision=config.precision, clock=clock
        )
    return {"kind": "stages", "rows": rows}


def _video(config: BenchConfig, protocol: Protocol) -> Generator[Any, None, Document]:
    if config.reuse is not None:
        trade = yield from reuse_report(config, _video_subject(config), quick=config.quick)
        return {"kind": "reuse", **trade}
    report = yield from video_report(config, _video_subject(config), protocol)
    return {"kind": "video", **report}


def _video_subject(config: BenchConfig) -> Subject:
    """What `segment` would take: the weights named, else its default ones; random ones where none are bundled."""
    if config.weights is None and config.model == "all" and DEFAULT_WEIGHTS in bundled_weights():
        return of_weights(DEFAULT_WEIGHTS)
    return subjects(config)[0]

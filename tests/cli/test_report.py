"""`icnet report`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Icnet
from tests.reports.parsed import Page
from tests.reports.runs import write_run


def test_the_page_is_made_in_the_run_folder_again_and_again(icnet: Icnet, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for _ in range(2):
        outcome = icnet("report", run)
        assert (outcome.code, outcome.out, outcome.err) == (0, f"{run / 'report.html'}\n", "")
    Page((run / "report.html").read_text("utf-8")).check()


def test_elsewhere_it_does_not_replace_what_is_there(icnet: Icnet, refused, tmp_path: Path) -> None:
    run, out = write_run(tmp_path / "run"), tmp_path / "out.html"
    document = icnet("report", run, "-o", out, "--json").document
    assert document["output"] == str(out)
    assert document["best_miou"] == 0.7
    assert not (run / "report.html").exists()
    assert "exists" in refused(2, "report", run, "-o", out)
    assert icnet("report", run, "-o", out, "-y").code == 0


def test_what_is_no_run_is_refused(refused, tmp_path: Path) -> None:
    assert "metrics.csv" in refused(3, "report", tmp_path)
    assert "metrics.csv" in refused(3, "report", tmp_path / "none")
    assert ".html" in refused(2, "report", tmp_path, "-o", "x.pdf")

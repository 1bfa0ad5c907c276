from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.pixels.cv import cv2
from icnet_cli.reports.axes import COLOURS, Panel, draw_panels, nice_ticks, tick_labels
from icnet_cli.reports.plots import METRICS_COLUMNS, ScatterPoint, plot_scatter, plot_training

HEADER = ",".join(METRICS_COLUMNS)


def rgb(path: Path) -> np.ndarray:
    return cv2.imread(str(path))[..., ::-1]


def has_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=-1).any())


def where(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    return np.nonzero((picture == colour).all(axis=-1))


def write_metrics(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join([HEADER, *rows]))
    return path


@given(
    st.floats(-1e4, 1e4),
    st.floats(0, 1e9).map(lambda span: span if span > 1e-5 else 0.0),
    st.integers(2, 10),
)
def test_ticks_enclose_the_range_evenly_and_their_labels_differ(low, span, target):
    ticks = nice_ticks(low, low + span, target)
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-6 * step
    assert low + span <= ticks[-1] + 1e-6 * step
    assert 2 <= len(ticks) <= target + 3
    assert np.allclose(np.diff(ticks), step, rtol=1e-3)
    assert len(set(tick_labels(ticks))) == len(ticks)


@pytest.mark.parametrize("ends", [(1, 0), (math.nan, 1), (0, math.inf)])
def test_an_axis_that_cannot_be_is_refused(ends):
    with pytest.raises(ValueError, match="no axis"):
        nice_ticks(*ends)


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([0, 0.2, 0.4], ["0.0", "0.2", "0.4"]),
        ([0, 10000, 20000], ["0", "10k", "20k"]),
        ([0, 5e5, 1e6], ["0.0", "0.5M", "1.0M"]),
        ([0, 2e-5, 4e-5], ["0", "2e-5", "4e-5"]),
        ([1e-4, 1.1e-4], ["1.0e-4", "1.1e-4"]),
        ([-1, 0, 1], ["-1", "0", "1"]),
    ],
)
def test_labels_are_short(ticks, labels):
    assert tick_labels(ticks) == labels


def test_an_axis_of_counts_has_no_fractions():
    assert nice_ticks(1, 2, 8, smallest_step=1.0) == [1, 2]
    assert nice_ticks(1, 2, 8)[1] == pytest.approx(1.2)


def test_each_curve_is_drawn_in_its_own_colour_and_a_higher_value_stands_higher(tmp_path):
    path = tmp_path / "curves.png"
    draw_panels([Panel({"low": [(0, 1), (10, 1)], "high": [(0, 3), (10, 3)]}, "Title", "x", "y")], path)
    picture = rgb(path)
    low_rows, _ = where(picture[40:], COLOURS[0])
    high_rows, _ = where(picture[40:], COLOURS[1])
    assert high_rows.size
    assert high_rows.max() < low_rows.min()
    assert not has_colour(picture, COLOURS[2])


def test_a_value_that_is_no_number_interrupts_the_curve(tmp_path):
    def middle_is_drawn(y: float) -> bool:
        path = tmp_path / "plot.png"
        draw_panels([Panel({"a": [(x, y if 40 <= x <= 60 else 1.0) for x in range(101)]})], path)
        picture = rgb(path)
        return has_colour(picture[:, 490:530], COLOURS[0])

    assert middle_is_drawn(1.0)
    assert not middle_is_drawn(math.nan)
    assert not middle_is_drawn(math.inf)


@pytest.mark.parametrize(
    "series",
    [{}, {"a": []}, {"a": [(0, math.nan)]}, {"a": [(3, 7)]}, {"a": [(0, 0), (0, 1)]}, {"a": [(-5, -1e-9)]}],
)
def test_too_little_to_plot_still_gives_a_picture(tmp_path, series):
    draw_panels([Panel(series, "Title")], tmp_path / "plot.png")
    assert rgb(tmp_path / "plot.png").shape[2] == 3


def test_points_are_named_without_covering_one_another(tmp_path):
    crowd = [ScatterPoint(f"network {i}", 10 + i % 2, 60 + i / 50, "here") for i in range(4)]
    far = [ScatterPoint("far", 100, 90, "published"), ScatterPoint("none", math.nan, 1, "published")]
    plot_scatter([*crowd, *far], tmp_path / "scatter.png", "mIoU against speed", "fps", "mIoU, %")
    picture = rgb(tmp_path / "scatter.png")
    assert has_colour(picture[40:], COLOURS[0])
    assert has_colour(picture[40:], COLOURS[1])


def test_the_name_of_a_dot_on_the_axis_does_not_lie_on_the_curve(tmp_path):
    """A curve that falls from the corner of the panel: beside its first dot is where it runs."""
    curve = [(10.0, 1.0), (20.0, 0.99), (35.0, 0.977)]
    pictures = []
    for name, labels in (("bare", None), ("named", {curve[0]: "1"})):
        draw_panels([Panel({"with reuse": curve}, labels=labels)], tmp_path / f"{name}.png")
        pictures.append(cv2.imread(str(tmp_path / f"{name}.png"))[..., ::-1].astype(int))
    bare, named = pictures
    text = (bare != named).any(axis=2)
    assert text.any()
    assert not (text & (np.abs(bare - COLOURS[0]).sum(axis=2) < 60)).any()


def test_the_training_plot_shows_loss_miou_and_rate(tmp_path):
    rows = [
        f"{s},{s / 10},{2 / (1 + s)},{0.01 * (1 - s / 100)},{0.5 if s % 10 == 0 else ''},,9.5,{s}"
        for s in range(100)
    ]
    plot_training(write_metrics(tmp_path / "metrics.csv", rows), tmp_path / "curves.png")
    full = rgb(tmp_path / "curves.png")
    third = 250
    for panel in range(3):
        assert has_colour(full[panel * third : (panel + 1) * third], COLOURS[0])

    without_miou = [row.replace(",0.5,,", ",,,") for row in rows]
    plot_training(write_metrics(tmp_path / "metrics.csv", without_miou), tmp_path / "curves.png")
    assert not has_colour(rgb(tmp_path / "curves.png")[third : 2 * third], COLOURS[0])


def test_a_run_killed_while_writing_a_row_still_plots_and_a_bad_row_before_does_not(tmp_path):
    good = "1,0.1,2.5,0.01,,,9,1"
    for cut in ("2,0.2", "2,0.2,1.2e", "2,0.2,2.5,0."):
        plot_training(write_metrics(tmp_path / "metrics.csv", [good, cut]), tmp_path / "a.png")
    with pytest.raises(IcnetError, match="row 1 is not a row of metrics") as caught:
        plot_training(write_metrics(tmp_path / "metrics.csv", ["1,0.1", good]), tmp_path / "a.png")
    assert caught.value.code == ExitCode.INPUT


def test_a_step_that_was_run_again_after_a_resume_counts_once(tmp_path):
    once = ["1,0,2,0.1,,,1,1", "2,0,1,0.1,,,1,1", "3,0,0.5,0.1,,,1,1"]
    twice = [once[0], "2,0,9,0.1,,,1,1", "3,0,9,0.1,,,1,1", *once[1:]]
    for name, rows in (("once", once), ("twice", twice)):
        plot_training(write_metrics(tmp_path / "metrics.csv", rows), tmp_path / f"{name}.png")
    assert (tmp_path / "once.png").read_bytes() == (tmp_path / "twice.png").read_bytes()


def test_an_evaluation_in_a_row_of_its_own_leaves_the_step_its_loss(tmp_path):
    together = ["1,0,2,0.1,,,1,1", "2,0,1,0.1,0.4,0.9,1,1"]
    apart = [together[0], "2,0,1,0.1,,,1,1", "2,0,,,0.4,0.9,,1"]
    for name, rows in (("together", together), ("apart", apart)):
        plot_training(write_metrics(tmp_path / "metrics.csv", rows), tmp_path / f"{name}.png")
    assert (tmp_path / "together.png").read_bytes() == (tmp_path / "apart.png").read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", "no column loss, lr, miou, step"),
        (b"", "no column"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_file_that_is_no_metrics_is_an_input_error(tmp_path, content, message):
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(IcnetError, match=message) as caught:
        plot_training(tmp_path / "metrics.csv", tmp_path / "a.png")
    assert caught.value.code == ExitCode.INPUT


def test_missing_metrics_are_an_input_error(tmp_path):
    with pytest.raises(IcnetError, match=r"metrics\.csv") as caught:
        plot_training(tmp_path / "metrics.csv", tmp_path / "a.png")
    assert caught.value.code == ExitCode.INPUT


def test_a_plot_that_cannot_be_written_is_an_output_error_and_leaves_nothing(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(IcnetError, match=r"a\.png") as caught:
        draw_panels([Panel({"a": [(0, 1)]})], tmp_path / "file" / "a.png")
    assert caught.value.code == ExitCode.OUTPUT
    (tmp_path / "file").unlink()
    draw_panels([Panel({"a": [(0, 1)]})], tmp_path / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_faded_curves_lie_behind_and_pale(tmp_path):
    curve = [(x, 1.0) for x in range(100)]
    draw_panels([Panel({"raw": curve, "mean": curve}, faded=frozenset({"raw"}))], tmp_path / "a.png")
    covered = rgb(tmp_path / "a.png")[60:]
    assert has_colour(covered, COLOURS[0])
    assert not has_colour(covered, COLOURS[1])

"""The data file against figures copied from the papers a second time, and the look-up of a network's own."""

from __future__ import annotations

import pytest
import torch

from icnet_cli.benchmark.published import FIGURES, OUTPUTS, figures_for, find_table, tables
from icnet_cli.config import PUBLISHED_TABLES
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.models import build
from icnet_cli.models.count import parameters_m


def column(table: str, figure: str) -> list[float | None]:
    return [row.figures.get(figure) for row in tables()[table].rows]


def numbers(text: str) -> list[float]:
    return [float(word) for word in text.split()]


@pytest.mark.parametrize(
    ("table", "figure", "printed"),
    [
        ("icnet-downsampling", "miou", [71.7, 70.2, 67.1]),
        ("icnet-downsampling", "ms", [446, 177, 131]),
        ("icnet-compression", "miou", [71.7, 67.9, 59.4]),
        ("icnet-compression", "ms", [446, 170, 72]),
        ("icnet-ablation", "miou", [67.9, 59.6, 66.5, 67.7]),
        ("icnet-ablation", "ms", [170, 18, 25, 33]),
        ("icnet-ablation", "fps", [5.9, 55.6, 40, 30.3]),
        ("icnet-ablation", "speedup", [1, 9.4, 6.8, 5.2]),
        ("icnet-ablation", "memory_gb", [9.2, 0.6, 1.1, 1.6]),
        ("icnet-ablation", "memory_save", [1, 15.3, 8.4, 5.8]),
        (
            "icnet-supplement",
            "miou",
            [71.71, 66.70, 70.37, 71.40, 70.17, 61.59, 69.14, 70.48, 67.54, 59.45, 65.96, 66.95],
        ),
        ("icnet-supplement", "ms", [446, 64, 67, 92, 177, 41, 45, 68, 106, 22, 24, 32]),
        ("icnet-supplement", "fps", [2.2, 15.6, 14.9, 10.9, 5.6, 24.4, 22.2, 14.7, 9.4, 45.5, 41.7, 31.3]),
        ("icnet-supplement", "speedup", [1, 7.1, 6.8, 5.0, 1, 4.4, 4.0, 2.6, 1, 4.8, 4.4, 3.3]),
        ("deeplabv3", "miou", [72.88, 66.87, 70.06, 71.04]),
        ("deeplabv3", "ms", [800, 80, 83, 107]),
        ("deeplabv3", "fps", [1.3, 12.5, 12.0, 9.3]),
        ("deeplabv3", "speedup", [1, 9.6, 9.2, 7.2]),
        (
            "fast-scnn",
            "fps",
            numbers(
                "30.3 62.1 197.6 372.8 75.3 218.8 403.1 123.5 285.8 485.4 106.2 266.3 432.9"
                " 1.6 20.4 76.9 142.9 11.2 41.7 125.0 41.9 136.2 299.5 57.3 33.3"
            ),
        ),
        ("fast-scnn", "miou", [None] * 7 + [68.0, 62.8, 51.9] + [None] * 15),
        ("fast-scnn-training", "miou", [65.9, 68.62, 69.15, 69.22, 69.19, 64.30]),
        ("icnet-test", "miou", [57.0, 58.3, 59.8, 62.5, 63.1, 65.3, 66.4, 67.1, 69.5]),
        ("icnet-test", "ms", [60, 13, 60, 700, 400, 500, 35000, 4000, 33]),
        ("icnet-test", "fps", [16.7, 76.9, 16.7, 1.4, 0.25, 2, 0.03, 0.25, 30.3]),
        (
            "icnet-supplement-methods",
            "miou",
            [71.8, 73.6, 73.6, 80.1, 80.6, 81.2, 81.2, 81.2, 81.2, 70.6, 70.6],
        ),
        (
            "icnet-supplement-methods",
            "ms",
            [469, 2517, 1174, 879, 1150, 1288, 680, 51.0e3, 26.7e3, 33, 24],
        ),
        (
            "icnet-supplement-methods",
            "fps",
            [2.1, 0.40, 0.85, 1.14, 0.87, 0.78, 1.5, 0.02, 0.04, 30.3, 41.7],
        ),
        ("icnet-camvid", "miou", [67.1]),
        ("icnet-camvid", "fps", [27.8]),
        ("fast-scnn-methods", "miou", [70.4, 78.4, 56.1, 58.3, 69.5, 68.0, 71.4, 70.4, 66.1, 68.0]),
        (
            "fast-scnn-methods",
            "category_miou",
            [86.4, 90.6, 79.8, 80.4, None, 86.5, None, None, 82.7, 84.7],
        ),
        ("fast-scnn-methods", "params_m", [44, 65.7, 29.46, 0.37, 6.68, 2.1, 5.8, None, 0.85, 1.11]),
        ("cityscapes-methods", "miou", [78.6, 77.4, 72.0, 71.9, 72.6, 78.3]),
        ("cityscapes-methods", "fps", [93, 102, 274, 250, 156, 30]),
        ("camvid-methods", "miou", [65.6, 70.5, 66.4, 66.9]),
    ],
)
def test_figures_are_as_printed(table: str, figure: str, printed: list[float | None]) -> None:
    assert column(table, figure) == printed


def test_the_command_line_names_every_table_and_no_other() -> None:
    assert tuple(tables()) == PUBLISHED_TABLES
    with pytest.raises(IcnetError) as refused:
        find_table("icnet-abolition")
    assert refused.value.code == ExitCode.USAGE


@pytest.mark.parametrize("name", PUBLISHED_TABLES)
def test_a_table_holds_together(name: str) -> None:
    table = find_table(name)
    assert len(table.by_name) == len(table.rows), "two rows share a name"
    for row in table.rows:
        assert row.baseline is None or table.by_name[row.baseline].network is not None
        assert row.output in OUTPUTS
        assert row.figures
        assert set(row.figures) <= set(FIGURES)


@pytest.mark.parametrize("name", PUBLISHED_TABLES)
def test_our_rows_can_be_built(name: str) -> None:
    for row in find_table(name).rows:
        if row.network:
            config = dict(row.network)
            with torch.device("meta"):
                build(config.pop("model"), config)


def test_the_ablation_is_the_published_network() -> None:
    network = dict(tables()["icnet-ablation"].by_name["sub124"].network or {})
    with torch.device("meta"):
        assert round(parameters_m(build(network.pop("model"), network)), 2) == 6.70


@pytest.mark.parametrize(
    ("model", "config", "miou", "fps"),
    [
        ("icnet", {"keep": 0.5, "head": "fused"}, 67.7, 30.3),
        ("icnet", {"keep": 0.5, "branches": "sub4"}, 59.6, 55.6),
        ("icnet", {"keep": 1.0, "output_stride": 16, "branches": "sub24"}, 69.14, 22.2),
        ("icnet", {"keep": 1.0, "trunk": "deeplabv3"}, 71.04, 9.3),
        ("fast-scnn", {}, 68.0, 123.5),
        ("pspnet50", {"keep": 0.5}, 67.9, 5.9),
        ("deeplabv3", {}, 72.88, 1.3),
    ],
)
def test_a_network_finds_its_figures(model: str, config: dict, miou: float, fps: float) -> None:
    row = figures_for(model, config, (1024, 2048))
    assert row is not None
    assert (row.figures["miou"], row.figures["fps"]) == (miou, fps)
    assert row.to_dict()["hardware"]


def test_a_network_that_no_paper_has_finds_none() -> None:
    assert figures_for("icnet", {"keep": 0.25}, (1024, 2048)) is None
    assert figures_for("icnet", {"keep": 0.5}, (512, 1024)) is None


def test_what_is_not_printed_is_marked_as_worked_out() -> None:
    camvid = tables()["icnet-camvid"].rows[0].to_dict()
    assert camvid["derived"] == ["ms"]
    assert camvid["ms"] == pytest.approx(1000 / 27.8)
    assert "derived" not in tables()["icnet-ablation"].rows[0].to_dict()
    assert tables()["camvid-methods"].rows[0].to_dict()["fps"] is None

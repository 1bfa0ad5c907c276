from __future__ import annotations

import base64
import re

import numpy as np

from icnet_cli.pixels.cv import cv2
from icnet_cli.reports.eval_page import eval_page
from icnet_cli.reports.figures import MATRIX_CLASSES
from icnet_cli.reports.pictures import (
    MOST_BYTES,
    fitted,
    hits_and_misses,
    indexed_png,
    jpeg_uri,
    labels_uri,
    marked,
    small_labels,
)
from icnet_cli.reports.svg import Chart, line_chart, thinned
from tests.reports.examples import HARM, NAMES, PALETTE, crop_sets, eval_document, labels, picture, shot
from tests.reports.parsed import Page


def read(**changes) -> Page:
    return Page(
        eval_page(eval_document(**changes), PALETTE, [shot(), shot("second", 5)], crop_sets())
    ).check()


def decoded(uri: str) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(uri.split(",", 1)[1]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)


def test_the_figures_are_those_of_the_json() -> None:
    page, document = read(), eval_document()
    assert page.data["report"] == document
    tiles = page.texts("strong")
    assert tiles[:3] == ["0.4321", "0.8276", "0.5500"]
    assert page.row("road")[2:] == ["0.8000", "87.8 %", "90.0 %", "68.97 %"]
    assert page.row(HARM)[2] == "0.6316"
    assert page.row(NAMES[2])[2] == "–"  # it occurs, and its IoU is not known: no zero


def test_the_matrix_is_in_percent_of_its_rows() -> None:
    page = read()
    (head,) = [one for one in page.all("th") if "".join(one.text) == "truth \\ prediction"]
    start = page.elements.index(head)
    cells = ["".join(one.text) for one in page.elements[start:] if one.name == "td"][:9]
    assert cells == ["90.0", "5.0", "5.0", "25.0", "75.0", "", "50.0", "50.0", ""]
    assert page.row(f"{HARM} taken for road")[2:] == ["40.0 %", "25.0 %"]


def test_names_from_data_are_text() -> None:
    page = read()
    assert f"1. {HARM}" in page.texts("h3")
    assert HARM not in page.source
    assert any(HARM in (one.attributes["alt"] or "") for one in page.all("img"))


def test_each_frame_has_its_four_pictures_with_words() -> None:
    page = read()
    words = [one.attributes["alt"] or "" for one in page.all("img")][:4]
    assert words[0] == f"Input: {HARM}"
    assert words[1].startswith("Truth: ")
    assert re.search(r"road \d+%", words[1])
    assert words[2].startswith("Prediction: ")
    assert words[3].startswith(f"Errors: 12.3 % of the pixels are wrong. road taken for {HARM} 5.0 %")
    assert page.texts("h2")[4] == "The 2 worst frames"


def test_sections_without_anything_to_show_are_left_out() -> None:
    document = eval_document()
    del document["regions"], document["reproduces"]
    page = Page(eval_page(document, PALETTE)).check()
    assert page.texts("h2") == [
        "Headline figures",
        "Classes",
        "What is taken for what",
        "How this was measured",
    ]


def test_hardest_classes_come_first_and_those_without_a_figure_not_at_all() -> None:
    page = read()
    headings = page.texts("h3")[2:]
    assert headings == [HARM, "road"]


def test_a_matrix_of_many_classes_is_not_written_out() -> None:
    k = MATRIX_CLASSES + 1
    names = [f"class {i}" for i in range(k)]
    confusion = np.eye(k, dtype=int)
    confusion[3, 7] = 9
    changes = {"per_class": dict.fromkeys(names, 0.5), "confusion": confusion.tolist()}
    palette = np.arange(3 * k, dtype=np.uint8).reshape(k, 3)
    page = Page(eval_page(eval_document(**changes), palette)).check()
    assert len(page.all("td")) < 500
    assert page.row("class 3 taken for class 7")[2:] == ["100.0 %", "90.0 %"]


def test_no_picture_is_larger_than_its_bound() -> None:
    noise = picture(0, (480, 480))
    assert len(base64.b64decode(jpeg_uri(noise).split(",")[1])) <= MOST_BYTES
    many = np.random.default_rng(0).integers(0, 200, (480, 480), np.uint8)
    small = labels_uri(many, np.zeros((200, 3), np.uint8))
    assert len(base64.b64decode(small.split(",")[1])) <= MOST_BYTES


def test_labels_keep_their_exact_colours_and_the_ignored_are_transparent() -> None:
    map_ = np.array([[0, 1], [2, 255]], np.uint8)
    png = cv2.imdecode(np.frombuffer(indexed_png(map_, PALETTE), np.uint8), cv2.IMREAD_UNCHANGED)
    assert png.shape == (2, 2, 4)
    assert (png[..., :3][..., ::-1].reshape(4, 3)[:3] == PALETTE).all()
    assert png[..., 3].tolist() == [[255, 255], [255, 0]]


def test_small_labels_hold_no_new_class() -> None:
    map_ = np.where(labels(0, (700, 900)) == 1, 10, 0).astype(np.uint8)
    small = small_labels(map_)
    assert small.shape == fitted((700, 900)) == (373, 480)
    assert set(np.unique(small)) == {0, 10}


def test_errors_are_told_apart_without_colour() -> None:
    grey = np.full((48, 48, 3), 200, np.uint8)
    wrong = np.zeros((48, 48), bool)
    wrong[:24] = True
    shown = cv2.cvtColor(marked(grey, wrong), cv2.COLOR_RGB2GRAY)
    assert shown[:24].min() > shown[24:].max() + 20
    truth, found = np.zeros((48, 48), bool), np.zeros((48, 48), bool)
    truth[:32], found[16:] = True, True
    marks = cv2.cvtColor(hits_and_misses(grey, truth, found), cv2.COLOR_RGB2GRAY)
    missed, hit, invented = marks[:16], marks[16:32], marks[32:]
    assert len(np.unique(hit)) == 1  # solid
    assert (missed[0] != missed[1]).any()  # slanted stripes differ from row to row
    assert len(np.unique(invented)) == 2
    assert 0.2 < (invented == invented[0, 0]).mean() < 0.3  # dots: a quarter of it


def test_a_chart_says_what_it_shows_and_breaks_where_it_must() -> None:
    nan = float("nan")
    drawing = line_chart(Chart({"a": [(0, 0), (1, 1), (2, nan), (3, 1)], "b": [(0, 1)]}, "words", "x", "y"))
    assert 'aria-label="words"' in drawing
    assert drawing.count("<li>") == 2
    path = re.search(r'<path d="([^"]*)" class="line s0">', drawing.split("</ul>")[1])
    assert path is not None
    assert path[1].count("M") == 2
    assert "no values yet" in line_chart(Chart({"a": []}, "words"))


def test_long_curves_are_thinned_to_their_ends() -> None:
    points = [(float(i), 0.0) for i in range(10_000)]
    few = thinned(points, 100)
    assert len(few) == 100
    assert (few[0], few[-1]) == (points[0], points[-1])
    assert thinned(points[:5], 100) == points[:5]

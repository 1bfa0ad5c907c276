"""Pages in a real browser: they render, light and dark, on a telephone, and say nothing on the console."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from icnet_cli.reports.compare_page import compare_page
from icnet_cli.reports.eval_page import eval_page
from icnet_cli.reports.train_page import read_run, train_page
from tests.reports.browser import Browser
from tests.reports.examples import (
    HARM,
    NAMES,
    PALETTE,
    compare_document,
    crop_sets,
    eval_document,
    picture,
    shot,
    versus,
)
from tests.reports.runs import write_run


def train() -> str:
    with TemporaryDirectory() as folder:
        return train_page(read_run(write_run(Path(folder) / "run")))


PAGES: dict[str, Callable[[], str]] = {
    "train": train,
    "eval": lambda: eval_page(eval_document(), PALETTE, [shot(), shot("second", 5)], crop_sets()),
    "compare": lambda: compare_page(
        compare_document(), PALETTE, [versus()], [0.1, 0.2, 0.1], (np.ones((12, 16)), picture())
    ),
}
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
LIGHT, DARK = "rgb(255, 255, 255)", "rgb(20, 23, 26)"


@pytest.fixture(params=sorted(PAGES))
def page(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    path.write_text(PAGES[request.param](), encoding="utf-8")
    return path


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
def test_it_renders(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width=width, dark=dark)
    assert browser.run("document.querySelectorAll('h2').length") >= 3
    # Pictures below the fold load lazily.
    browser.run("Promise.all([...document.images].map(i => { i.loading = 'eager'; return i.decode() }))")
    assert browser.run("[...document.images].every(i => i.naturalWidth > 0)")
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(BACKGROUND) == (DARK if dark else LIGHT)
    assert browser.problems == []


def open_where_things_are_kept(browser: Browser, page: Path) -> None:
    """A browser that has only just begun loses what a page stores: wait until something outlives a reload."""
    browser.open(page)
    until = time.monotonic() + 60.0
    while browser.run("localStorage.getItem('kept')") is None and time.monotonic() < until:
        browser.run("localStorage.setItem('kept', 'yes')")
        time.sleep(0.2)
        browser.open(page)


def test_the_switch_works_by_keyboard_and_is_remembered(browser: Browser, page: Path) -> None:
    open_where_things_are_kept(browser, page)
    browser.press("Tab")  # to the link that skips
    browser.press("Tab")
    assert browser.run("document.activeElement.id") == "theme"
    assert browser.run("document.activeElement.textContent") == "Dark"
    browser.press("Enter")
    assert browser.run(BACKGROUND) == DARK
    assert browser.run("document.activeElement.getAttribute('aria-label')") == "Show this page light"
    browser.press("Enter")
    assert browser.run(BACKGROUND) == LIGHT
    browser.open(page, dark=True)
    until = time.monotonic() + 60.0
    while browser.run(BACKGROUND) != LIGHT and time.monotonic() < until:
        time.sleep(0.2)  # the browser puts its storage away when it has the time
        browser.open(page, dark=True)
    assert browser.run(BACKGROUND) == LIGHT
    assert browser.problems == []


def test_text_can_be_read(browser: Browser, page: Path) -> None:
    """Contrast of 4.5 between every text and what it stands on, light and dark (WCAG 2.2, 1.4.3)."""
    for dark in (False, True):
        browser.open(page, dark=dark)
        assert browser.run(CONTRAST) == []


def test_everything_to_press_is_reached_by_tab(browser: Browser, page: Path) -> None:
    browser.open(page)
    buttons = browser.run("document.querySelectorAll('button, a[href], summary, [tabindex]').length")
    seen = set()
    for _ in range(buttons + 2):
        browser.press("Tab")
        seen.add(browser.run("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    assert len(seen - {-1}) >= buttons


def test_nothing_from_the_data_runs(browser: Browser, tmp_path: Path) -> None:
    """Twice: names are text, and where one were not, the page's policy would stop it."""
    path = tmp_path / "page.html"
    text = PAGES["eval"]()
    path.write_text(text, encoding="utf-8")
    browser.open(path)
    assert browser.run("document.title") == "icnet on folder val"
    assert browser.run("document.querySelector('h3').textContent") == f"1. {HARM}"
    assert browser.problems == []
    path.write_text(text.replace("<main", f'{HARM}<img src="x.png" alt="x"><main'), encoding="utf-8")
    browser.open(path)
    assert browser.run("document.title") == "icnet on folder val"
    assert any("Content Security Policy" in problem for problem in browser.problems)


def test_the_browser_tells_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    """A twin that the checks above must fail on."""
    path = tmp_path / "bad.html"
    path.write_text(
        "<!DOCTYPE html><body style='margin:0;background:#fff'><p style='width:2000px;color:#ccc'>pale</p>"
        "<script>console.error('x'); undefined_()</script><img src='gone.png' alt=''>"
    )
    browser.open(path, width=390)
    assert browser.run("document.documentElement.scrollWidth") > 390
    assert browser.run(CONTRAST) == ["pale 1.6"]
    assert len(browser.problems) >= 3


def test_a_table_sorts_by_the_column_that_is_pressed(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(PAGES["eval"](), encoding="utf-8")
    browser.open(path)
    column = "[...document.querySelectorAll('table.sortable tbody tr')].map(r => r.cells[2].textContent)"
    assert browser.run(column) == ["0.8000", "0.6316", "–"]
    press = (
        "[...document.querySelectorAll('table.sortable th button')].find(b => b.textContent == 'IoU').click()"
    )
    browser.run(press)
    assert browser.run(column) == ["0.8000", "0.6316", "–"]
    browser.run(press)
    assert browser.run(column) == ["–", "0.6316", "0.8000"]
    sorted_by = "[...document.querySelectorAll('th[aria-sort]')].map(h => h.ariaSort)"
    assert browser.run(sorted_by) == ["ascending"]


def under_pointer(browser: Browser, path: Path, html: str, *down: float) -> list[str]:
    """What the pointer is told at these heights (0..1) of the first picture of classes."""
    path.write_text(html, encoding="utf-8")
    browser.open(path)
    browser.run("document.querySelector('img.labels').scrollIntoView({block: 'center', behavior: 'instant'})")
    browser.run("document.querySelector('img.labels').decode()")
    box = browser.run(
        "(b => [b.x, b.y, b.width, b.height])(document.querySelector('img.labels').getBoundingClientRect())"
    )
    x, y, width, height = box
    said = []
    for share in down:
        browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + width / 2, y=y + height * share)
        said.append(browser.run("document.querySelector('.under').textContent"))
    return said


def test_the_class_under_the_pointer_is_named(browser: Browser, tmp_path: Path) -> None:
    # The top of the truth is not labelled.
    said = under_pointer(browser, tmp_path / "page.html", PAGES["eval"](), 0.05, 0.6)
    assert said[0] == "not labelled"
    assert said[1] in ("road", HARM, 'a"b&c')
    assert not re.search("<", browser.run("document.querySelector('.under').innerHTML"))
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    assert browser.run("document.querySelector('.under').hidden")


def test_classes_of_one_colour_are_all_named_under_the_pointer(browser: Browser, tmp_path: Path) -> None:
    html = eval_page(eval_document(), np.full_like(PALETTE, 90), [shot()], crop_sets())
    assert under_pointer(browser, tmp_path / "page.html", html, 0.6) == [" or ".join(NAMES)]


CONTRAST = """
(() => {
  const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1});
  const pen = canvas.getContext('2d', {willReadFrequently: true});
  const over = (colour, under) => {
    pen.fillStyle = `rgb(${under.join()})`; pen.fillRect(0, 0, 1, 1);
    pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const back = (element) => element
    ? over(getComputedStyle(element).backgroundColor, back(element.parentElement)) : [255, 255, 255];
  const light = (rgb) => rgb.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const parent = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
    if (!text || parent.closest('script, style, .under') || !parent.checkVisibility()) continue;
    const under = back(parent), style = getComputedStyle(parent);
    const inSvg = parent instanceof SVGElement;
    const pair = [light(over(inSvg ? style.fill : style.color, under)), light(under)].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) found.push(`${text.slice(0, 30)} ${ratio.toFixed(1)}`);
  }
  return found;
})()
"""

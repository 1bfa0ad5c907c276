from __future__ import annotations

import base64
import hashlib
import re

import pytest

from icnet_cli.reports.html import (
    Column,
    Section,
    bar,
    data_uri,
    el,
    page,
    paragraph,
    picture,
    table,
)
from tests.reports.examples import HARM
from tests.reports.parsed import Page


def test_every_string_is_escaped_and_elements_are_not() -> None:
    inner = el("b", "1 < 2 & 3")
    assert inner == "<b>1 &lt; 2 &amp; 3</b>"
    assert el("p", "x", inner, ["y", None, 5]) == "<p>x<b>1 &lt; 2 &amp; 3</b>y5</p>"
    assert el("p", str(inner)) == "<p>&lt;b&gt;1 &amp;lt; 2 &amp;amp; 3&lt;/b&gt;</p>"


def test_attributes_are_escaped_too() -> None:
    assert el("a", "x", title='"><script>', hidden=True, id=None, class_="k") == (
        '<a title="&quot;&gt;&lt;script&gt;" hidden class="k">x</a>'
    )
    assert el("img", src="data:,", alt="'") == '<img src="data:," alt="&#x27;">'


@pytest.mark.parametrize("name", ["\x00", "\udcff", "\x1b[31m", "\u202e"])
def test_what_a_file_name_may_hold_and_a_page_may_not(name: str) -> None:
    text = el("p", f"a{name}b", title=name)
    text.encode("utf-8")
    assert name not in text


def test_a_picture_from_elsewhere_is_refused() -> None:
    with pytest.raises(ValueError, match="data:"):
        picture("https://example.org/x.png", "x")
    assert data_uri(b"\x00", "image/png") == "data:image/png;base64,AA=="


def whole() -> str:
    rows = [[HARM, bar(0.25), "0.2500"], ["b", bar(None), "–"]]
    body = [paragraph("words"), table("Caption", [Column("Name", False), Column(""), Column("N")], rows)]
    document = {"name": HARM, "end": "</script><script>1</script>", "figure": 0.1}
    return page(HARM, "lead", [Section("one", HARM, body)], document, {HARM: (1, 2, 3)})


def test_a_page_holds_together() -> None:
    read = Page(whole()).check()
    assert read.texts("h1") == [HARM]
    assert read.texts("title") == [HARM]
    assert read.row(HARM)[2] == "0.2500"
    assert read.data["report"] == {"name": HARM, "end": "</script><script>1</script>", "figure": 0.1}
    assert read.data["palette"] == {HARM: [1, 2, 3]}


def test_the_policy_lets_this_script_run_and_nothing_else() -> None:
    read = Page(whole())
    (policy,) = [
        one.attributes["content"]
        for one in read.all("meta")
        if one.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    script = "".join(read.all("script")[1].text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy.split("script-src")[1]


def test_the_check_sees_what_it_is_for() -> None:
    good = whole()
    for bad in (
        good.replace('src="data:', 'src="x:').replace("<main", '<img src="a.png" alt="x"><main'),
        good.replace("<main", '<img src="data:," alt=""><main'),
        good.replace("<main", '<a href="https://example.org">x</a><main'),
        good.replace("<main", '<p onclick="x()"></p><main'),
        good.replace("<main", '<p id="main"></p><main'),
        re.sub("&lt;script&gt;(.*?)&lt;/script&gt;", r"<script>\1</script>", good, count=1),
    ):
        assert bad != good
        with pytest.raises(AssertionError):
            Page(bad).check()


def test_numbers_that_are_none_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        page("t", "l", [], {"x": float("nan")})

"""A report as one HTML file that needs nothing else: no network, no second file, no template engine.

Elements are built by `el`, which escapes every string that is not `Html` already, so a name from a data set cannot
become markup. The page also forbids itself (Content-Security-Policy) every script but its own and every address.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from icnet_cli import __version__

_VOID = {"img", "meta", "br", "input"}


class Html(str):
    """Text that is HTML already; `el` escapes all other."""

    __slots__ = ()


Child = str | int | None | Iterable["Child"]


def _render(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str | int):
        return html.escape(printable(str(child)))
    return "".join(_render(part) for part in child)


def printable(text: str) -> str:
    """The text without control characters and lone surrogates, which file names may hold and HTML may not."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def el(name: str, /, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """One element. `class_` gives class, `aria_label` gives aria-label; None and False leave an attribute out."""
    parts = [name]
    for key, value in attributes.items():
        word = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(word)
        elif value is not None and value is not False:
            parts.append(f'{word}="{html.escape(printable(str(value)))}"')
    start = f"<{' '.join(parts)}>"
    return Html(start if name in _VOID else f"{start}{_render(children)}</{name}>")


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading. `id` is its address within the page, `short` its word in the contents."""

    id: str
    title: str
    body: Sequence[Html]
    short: str = ""


@dataclass(frozen=True)
class Column:
    """A table's column; numbers stand right and sort by value."""

    title: str
    number: bool = True


def table(
    caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Child]], *, sortable: bool = False
) -> Html:
    """A table whose first cell of each row is its heading. It scrolls by itself where the page is too narrow."""
    heads = [
        el("th", column.title, scope="col", class_="number" if column.number else None) for column in columns
    ]
    body = [
        el(
            "tr",
            el("th", row[0], scope="row"),
            [
                el("td", cell, class_="number" if column.number else None)
                for cell, column in zip(row[1:], columns[1:], strict=True)
            ],
        )
        for row in rows
    ]
    whole = el(
        "table",
        el("thead", el("tr", heads)),
        el("tbody", body),
        class_="sortable" if sortable else None,
    )
    return scroller(whole, caption)


def scroller(content: Html, label: str) -> Html:
    """A table in a box that scrolls sideways by itself, by keyboard too; what it shows stands above and stays."""
    box = el("div", content, class_="scroll", tabindex=0, role="region", aria_label=label)
    return el("div", el("p", label, class_="note"), box)


def tiles(figures: Iterable[tuple[str, str, str]]) -> Html:
    """The headline: (name, figure, what it is of) a tile."""
    return el(
        "dl",
        [
            el("div", el("dt", name), el("dd", el("strong", figure), el("span", note, class_="note")))
            for name, figure, note in figures
        ],
        class_="tiles",
    )


def facts(pairs: Iterable[tuple[str, Child]]) -> Html:
    """Names and values, one a line."""
    return el("dl", [el("div", el("dt", name), el("dd", value)) for name, value in pairs], class_="facts")


def paragraph(*text: Child) -> Html:
    return el("p", *text)


def bar(share: float | None, colour: str = "var(--c0)") -> Html:
    """A bar of 0..1 of its cell; the number belongs beside it, so readers aloud pass over the bar."""
    width = 0.0 if share is None else max(0.0, min(1.0, share)) * 100
    mark = el("span", style=f"width:{width:.2f}%;background:{colour}")
    return el("span", mark, class_="bar", aria_hidden="true")


def swatch(colour: Sequence[int]) -> Html:
    red, green, blue = (int(part) for part in colour)
    return el("span", class_="swatch", style=f"background:rgb({red},{green},{blue})", aria_hidden="true")


def picture(uri: str, alt: str, caption: Child = None, class_: str | None = None) -> Html:
    """A picture (a data: address) with what it shows in words."""
    if not uri.startswith("data:"):
        raise ValueError("a page that needs nothing else holds its pictures itself: data: addresses")
    image = el("img", src=uri, alt=alt, loading="lazy", decoding="async", class_=class_)
    return el("figure", image, el("figcaption", caption) if caption is not None else None)


def data_uri(data: bytes, kind: str) -> str:
    """`kind` is image/png, image/jpeg, ..."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def page(
    title: str,
    lead: str,
    sections: Sequence[Section],
    document: Mapping[str, Any],
    palette: Mapping[str, Sequence[int]] | None = None,
) -> str:
    """The whole file.

    Args:
        lead: one line below the title.
        document: the JSON report that the figures come from; the page carries it along.
        palette: colours by class name, for naming the class under the pointer.
    """
    script = _asset("page.js")
    contents = el(
        "nav",
        el("ul", [el("li", el("a", s.short or s.title, href=f"#{s.id}")) for s in sections]),
        aria_label="Contents",
    )
    switch = el("button", "Dark", id="theme", type="button", hidden=True)
    top = el("header", el("div", el("h1", title), el("p", lead, class_="lead")), switch)
    body = [
        el("section", el("h2", s.title, id=f"{s.id}-h"), s.body, id=s.id, aria_labelledby=f"{s.id}-h")
        for s in sections
    ]
    foot = el("footer", el("p", f"Written by icnet {__version__}. This page needs no network."))
    data = {"report": document, "palette": {name: list(map(int, c)) for name, c in (palette or {}).items()}}
    whole = el(
        "html",
        _head(title, script),
        el(
            "body",
            el("a", "Skip to the figures", href="#main", class_="skip"),
            top,
            contents,
            el("main", body, id="main"),
            foot,
            _embedded(data),
            Html(f"<script>{script}</script>"),
        ),
        lang="en",
    )
    return f"<!DOCTYPE html>\n{whole}\n"


def _head(title: str, script: str) -> Html:
    """The page's head, whose policy lets this one script run and nothing be fetched."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return el(
        "head",
        el("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="generator", content=f"icnet {__version__}"),
        # An empty icon: browsers otherwise ask the folder for one.
        Html('<link rel="icon" href="data:,">'),
        el("title", title),
        Html(f"<style>{_asset('page.css')}</style>"),
    )


def _embedded(data: Mapping[str, Any]) -> Html:
    """The data as a script element that is not run. No `<` stands in it, so nothing in it can end it."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Html(f'<script type="application/json" id="data">{text}</script>')


@cache
def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")

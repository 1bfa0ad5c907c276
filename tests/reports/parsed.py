"""A report's HTML taken apart, and what holds for every page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any, NamedTuple

VOID = {"img", "meta", "br", "input", "link"}


class Element(NamedTuple):
    name: str
    attributes: dict[str, str | None]
    text: list[str]  # all text inside


class Page(HTMLParser):
    """`elements` in their order; raises AssertionError where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source = text
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(text)
        self.close()
        assert not self._open, [one.name for one in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice"
        element = Element(tag, dict(attrs), [])
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> ends nothing"
        assert self._open[-1].name == tag, f"</{tag}> ends <{self._open[-1].name}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text.append(data)

    def all(self, name: str, **attributes: str) -> list[Element]:
        return [
            one
            for one in self.elements
            if one.name == name
            and attributes.items() <= {k: v or "" for k, v in one.attributes.items()}.items()
        ]

    def texts(self, name: str) -> list[str]:
        """The text of every element of this name, spaces joined."""
        return [" ".join("".join(one.text).split()) for one in self.all(name)]

    def row(self, heading: str) -> list[str]:
        """The cells of the first table row that begins with this heading."""
        for one in self.all("tr"):
            if "".join(one.text).startswith(heading):
                start = self.elements.index(one) + 1
                cells = []
                for part in self.elements[start:]:
                    if part.name == "tr":
                        break
                    if part.name in ("th", "td"):
                        cells.append("".join(part.text))
                return cells
        raise AssertionError(f"no row {heading}")

    @property
    def data(self) -> Any:
        """What the page carries along."""
        (element,) = self.all("script", id="data")
        return json.loads("".join(element.text))

    def check(self) -> Page:
        """What every page keeps: nothing from outside, words for each picture, addresses that lead somewhere."""
        ids = [one.attributes["id"] for one in self.elements if "id" in one.attributes]
        assert len(ids) == len(set(ids))
        for one in self.elements:
            for key in ("src", "srcset", "poster", "action", "background", "data"):
                value = one.attributes.get(key)
                assert value is None or value.startswith("data:"), (one.name, value)
            href = one.attributes.get("href")
            assert href is None or href == "data:," or (href[0] == "#" and href[1:] in ids), href
            labelled = one.attributes.get("aria-labelledby")
            assert labelled is None or labelled in ids
            assert not any(key.startswith("on") for key in one.attributes), one.name
        assert all(one.attributes.get("alt") for one in self.all("img"))
        for one in self.all("svg"):
            named = one.attributes.get("role") == "img" and one.attributes.get("aria-label")
            assert named or one.attributes.get("aria-hidden") == "true"
        assert len(self.all("script")) == 2
        assert len(self.all("h1")) == 1
        assert "http://" not in self.source
        assert "https://" not in self.source
        return self

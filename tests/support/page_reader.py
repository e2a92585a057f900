"""Parses an HTML page: its elements, its words, and every way in which it could load something external."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"br", "hr", "img", "meta"}


class Reader(HTMLParser):
    """A strict parser: every element that opens must close, in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        """All words of the page, one piece of text per line."""
        return "\n".join(word.strip() for word in self.words if word.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def check_page(text: str) -> Reader:
    """Checks that a page is well-formed, self-contained, without scripts, and has a dark colour scheme."""
    reader = Reader(text)
    assert not reader.all("script")
    for name, attributes in reader.elements:
        assert not any(key.startswith("on") for key in attributes), f"{name} runs a script"
        for key in ("src", "href", "srcset", "action", "data"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:image/", "#")), f"{name} reaches for {value[:60]}"
    assert not re.search(r"url\(|@import|https?://", text)
    assert "prefers-color-scheme: dark" in text
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in reader.all("meta")
    anchors = {attributes.get("id") for attributes in reader.all("section")}
    assert all(link["href"][1:] in anchors for link in reader.all("a"))
    for image in reader.all("img"):
        assert image["alt"]
    for drawing in reader.all("svg"):
        assert drawing.get("aria-label") or drawing.get("aria-hidden") == "true"
        assert "viewbox" in drawing
    for name, attributes in reader.elements:
        if name in ("path", "line", "circle", "text"):
            for key in ("d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy"):
                value = attributes.get(key) or ""
                assert not re.search(r"nan|inf", value, re.IGNORECASE), f"{name} {key}={value[:60]}"
    return reader

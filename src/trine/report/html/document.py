"""A page in one file that opens from disk without scripts or external resources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from trine.report.html.markup import Markup, element, join


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Attributes:
        anchor: Its fragment in the URL, such as `"roc"`.
        title: Its heading.
        lead: One or two sentences on how to read it.
        body: The content.
    """

    anchor: str
    title: str
    lead: str
    body: Markup


@dataclass(frozen=True)
class Stat:
    """A value in large type.

    Attributes:
        name: Its name.
        value: The formatted value.
        notes: Short notes below it, one line each.
    """

    name: str
    value: str
    notes: tuple[str, ...] = ()


def document(
    title: str,
    sections: Sequence[Section],
    *,
    lead: str = "",
    stats: Sequence[Stat] = (),
    notes: Sequence[str] = (),
    foot: str = "",
) -> str:
    """Builds a complete page.

    Args:
        title: The heading and the title in the browser.
        sections: The sections, in order.
        lead: The line below the heading.
        stats: The values in large type.
        notes: Warnings.
        foot: The footer.

    Returns:
        HTML with embedded style sheet and images.
    """
    inside = join(
        element("header", element("h1", title), element("p", lead, class_="lead") if lead else None),
        element("div", *map(_stat, stats), class_="stats") if stats else None,
        *(element("p", note, class_="notice") for note in notes),
        element("nav", *(element("a", part.title, href=f"#{part.anchor}") for part in sections)),
        *map(_section, sections),
        element("footer", foot) if foot else None,
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(style())),
    )
    body = element("body", element("main", inside))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


@cache
def style() -> str:
    """The style sheet of every page."""
    return files("trine.report.html").joinpath("style.css").read_text(encoding="utf-8")


def side_by_side(*parts: Markup) -> Markup:
    """Puts parts side by side if the page is wide enough, else below each other."""
    return element("div", *(element("div", part, class_="card") for part in parts), class_="beside")


def _stat(stat: Stat) -> Markup:
    return element(
        "div",
        element("div", stat.name, class_="what"),
        element("div", stat.value, class_="value"),
        *(element("div", note, class_="note") for note in stat.notes),
        class_="stat",
    )


def _section(part: Section) -> Markup:
    return element(
        "section",
        element("h2", part.title),
        element("p", part.lead) if part.lead else None,
        part.body,
        id=part.anchor,
    )

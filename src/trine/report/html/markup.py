"""HTML as values: any other text is escaped, so a name cannot inject markup."""

from __future__ import annotations

import html
import math

from trine.display import printable

VOID = frozenset({"br", "hr", "img", "meta"})
SHAPES = frozenset({"circle", "line", "path", "rect"})


class Markup(str):
    """Text that is already HTML."""

    __slots__ = ()


Child = str | Markup | None
"""The content of an element: HTML as it is, other text escaped, None left out."""


def join(*children: Child) -> Markup:
    """Concatenates pieces.

    Args:
        children: HTML, or text to escape.

    Example:
        >>> join("a < b", Markup("<br>"))
        'a &lt; b<br>'
    """
    return Markup("".join(_escaped(child) for child in children if child is not None))


def element(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """Builds an element.

    Args:
        name: The tag, such as `"p"`.
        children: The content: HTML as it is, other text escaped.
        attributes: By name; a trailing underscore is dropped and others become hyphens. None and False are
            left out; True makes an attribute without a value.

    Returns:
        The element as HTML.

    Example:
        >>> element("td", "<script>", class_="name")
        '<td class="name">&lt;script&gt;</td>'
        >>> element("path", d="M0 0h9", stroke_width=1.50)
        '<path d="M0 0h9" stroke-width="1.5"/>'
    """
    words = [name, *(_attribute(key, value) for key, value in attributes.items() if _given(value))]
    start = " ".join(words)
    if name in VOID or (name in SHAPES and not children):
        return Markup(f"<{start}/>" if name in SHAPES else f"<{start}>")
    return Markup(f"<{start}>{join(*children)}</{name}>")


def number(value: float) -> str:
    """Formats a coordinate with at most two decimals.

    Raises:
        ValueError: It is not finite.

    Example:
        >>> number(3.0), number(0.126), number(-0.001)
        ('3', '0.13', '0')
    """
    if not math.isfinite(value):
        raise ValueError(f"a coordinate must be finite, given {value}")
    return f"{round(float(value), 2) + 0.0:.2f}".rstrip("0").rstrip(".")


def _given(value: str | float | bool | None) -> bool:
    return value is not None and value is not False


def _attribute(key: str, value: str | float | bool | None) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return name
    return f'{name}="{_shown(value if isinstance(value, str) else number(float(value or 0)))}"'


def _escaped(child: str | Markup) -> str:
    return child if isinstance(child, Markup) else _shown(child)


def _shown(text: str) -> str:
    """Escapes what is HTML, and all but line breaks of what acts on the text around it."""
    return html.escape("\n".join(map(printable, text.split("\n"))))

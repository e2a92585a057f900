"""The 2-D map as inline SVG: one path per identity keeps thousands of points small."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trine.report.html.markup import Markup, element, number
from trine.shapes import Float, Int64

WIDTH, HEIGHT, EDGE = 720, 520, 14
COLOURS, FORMS = 12, 4
"""Identities differ by colour, then by shape: dots, squares, rings, square rings."""
LONGEST_NAME = 18


def map_chart(
    points: Float[np.ndarray, "n 2"],
    kinds: Int64[np.ndarray, " n"],
    names: Sequence[str],
    *,
    about: str,
    one_scale: bool = False,
) -> Markup:
    """Draws points by identity; names are shown as tooltips, and also as labels if there are few.

    Args:
        points: The positions of the items; any scale, finite.
        kinds: For each item the position of its identity in `names`.
        names: The names of the identities.
        about: The alternative text.
        one_scale: Whether both axes have the same scale; else each fills the frame.

    Returns:
        The map.
    """
    at = _fitted(points, one_scale=one_scale)
    size = float(np.clip(np.sqrt(28000 / max(len(points), 1)), 4, 11))
    groups = [
        _group(at[kinds == kind], kind, name, size)
        for kind, name in enumerate(names)
        if (kinds == kind).any()
    ]
    named = []
    if len(names) <= COLOURS:
        for kind, name in enumerate(names):
            own = at[kinds == kind]
            if len(own):
                # The medoid: the mean of two groups of one identity would be between them.
                x, y = own[np.linalg.norm(own[:, None] - own, axis=2).sum(axis=1).argmin()]
                named.append(
                    element(
                        "text", name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…",
                        x=float(np.clip(x, 40, WIDTH - 40)), y=float(np.clip(y + 6, 20, HEIGHT - 10)),
                        text_anchor="middle", class_=f"place c{kind % COLOURS}",
                    )
                )  # fmt: skip
    return element(
        "svg", *groups, *named,
        viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="chart map", role="img", aria_label=about,
    )  # fmt: skip


def _fitted(points: np.ndarray, *, one_scale: bool) -> Float[np.ndarray, "n 2"]:
    """The points scaled to the frame."""
    low, high = points.min(axis=0), points.max(axis=0)
    frame = np.array([WIDTH, HEIGHT]) - 2 * EDGE
    # Do not stretch an axis on which all points coincide.
    factor = frame / np.where(high > low, high - low, frame)
    factor = np.minimum(factor, factor.min()) if one_scale else factor
    fitted: np.ndarray = EDGE + frame / 2 + (points - (low + high) / 2) * factor
    return fitted


def _group(at: np.ndarray, kind: int, name: str, size: float) -> Markup:
    # A line of zero length with a round or square cap is a dot or a square.
    d = "".join(f"M{number(x)} {number(y)}h.01" for x, y in at.round(1))
    form = kind // COLOURS % FORMS
    cap = "square" if form % 2 else "round"
    width = size * (0.86 if form % 2 else 1.0)
    hollow = None
    if form >= 2:
        hollow = element("path", d=d, stroke_width=0.42 * width, stroke_linecap=cap, class_="hole")
    return element(
        "g",
        element("title", name),
        element("path", d=d, stroke_width=width, stroke_linecap=cap, class_="dots"),
        hollow,
        class_=f"c{kind % COLOURS}",
    )

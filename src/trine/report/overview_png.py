"""Draws an overview of an evaluation in one image: neighbours, a 2-D map, the distances of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trine.data import Dataset
from trine.distances import Distance
from trine.errors import InputError, require
from trine.evaluation.triplet_accuracy import TripletAccuracy
from trine.evaluation.verification import verification
from trine.neighbours import as_rows
from trine.report.drawing import (
    INK,
    QUIET,
    RIGHT,
    WRONG,
    bare,
    new_figure,
    save_figure,
    short,
    small_enough,
    title,
)
from trine.report.projection import draw_embedding, draw_map
from trine.report.selection import View, view
from trine.shapes import Float


def picture(
    dataset: Dataset,
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    *,
    path: str | Path,
    distance: Distance = "euclidean",
    threshold: float | None = None,
    look: View | None = None,
    judged: TripletAccuracy | None = None,
) -> Path:
    """Draws nearest-neighbour rows (of images), the 2-D map and the distances of pairs into one PNG.

    Two-dimensional embeddings are drawn directly, with some of the images at their positions. A neighbour of
    the query's identity has a tick and a green frame, any other a cross and a red frame. `view` chooses the
    items; the histogram is of the items on the map. Without identities, nothing is marked right or wrong, and
    the histogram shows the margins of triplet judgements, if there are any.

    Args:
        dataset: The items; images are shown, other items are only placed on the map.
        embeddings: One row per item of the data set.
        path: The PNG to write; its folder must exist.
        distance: The distance that ranks the neighbours.
        threshold: A distance to mark in the histogram.
        look: The items to show; by default chosen by `view`.
        judged: The accuracy on triplet judgements.

    Returns:
        The path.

    Raises:
        InputError: There are fewer than two items, or not one embedding per item.
        MissingDependencyError: matplotlib or scikit-learn is not installed.
    """
    x = as_rows(embeddings, name="embeddings").cpu()
    if len(x) != len(dataset) or len(x) < 2:
        raise InputError(
            f"picture needs at least two items and one embedding for each, given {len(x)} embeddings of "
            f"{len(dataset)} items"
        )
    look = view(x, dataset.labels, distance=distance) if look is None else look
    images = dataset.kind == "images"
    figure = new_figure(16, 9) if images else new_figure(15, 7)
    if images:
        left = figure.add_axes((0.02, 0.03, 0.49, 0.89))
        plane = figure.add_axes((0.54, 0.37, 0.44, 0.55))
        histogram = figure.add_axes((0.54, 0.075, 0.44, 0.2))
        _draw_rows(left, dataset, look)
    else:
        plane = figure.add_axes((0.02, 0.04, 0.54, 0.85))
        histogram = figure.add_axes((0.6, 0.1, 0.375, 0.79))
    labels = dataset.labels[look.shown]
    # Without identities, thumbnails are more informative than dots of one colour.
    looked_at = images and not dataset.identities
    draw = draw_map if look.projected and not looked_at else draw_embedding
    draw(plane, look.points, look.shown, dataset)
    identities = len(np.unique(labels)) if dataset.identities else 0
    title(plane, *_plane_words(look, len(dataset), identities))
    if judged is not None:
        _draw_margins(histogram, judged)
    else:
        _draw_histogram(histogram, x[torch.from_numpy(look.shown)], labels, distance, threshold)
    save_figure(figure, path)
    return Path(path)


def _plane_words(look: View, items: int, identities: int) -> tuple[str, str]:
    count = f"{len(look.points):,}" + (f" of {items:,}" if len(look.points) < items else "")
    coloured = f", coloured by identity ({identities})" if identities else ""
    if look.projected:
        return "Map", f"t-SNE of {count} items{coloured}"
    return "Embedding", f"{count} items, two-dimensional{coloured}"


def _draw_rows(axes: Any, dataset: Dataset, look: View) -> None:
    neighbours = look.neighbours
    rows, columns = neighbours.indices.shape
    failing = rows - look.failing
    step, gap = 1.29, 0.35
    for r, query in enumerate(look.queries.tolist()):
        top = r * step + (0.3 if r >= failing else 0)
        _tile(axes, dataset.items[query], 0, top, INK)
        name = dataset.identity(query) or dataset.names[query]
        _say(axes, 0.5, top + 1.13, short(name, 9), INK, size=7.5, weight="bold")
        for c, (at, d) in enumerate(
            zip(neighbours.indices[r].tolist(), neighbours.distances[r], strict=True)
        ):
            left, note, frame, quiet = 1 + gap + c * 1.12, f"{d:#.3g}".rstrip("."), QUIET, QUIET
            if dataset.identities:
                right = dataset.labels[at] == dataset.labels[query]
                frame, quiet = (RIGHT, QUIET) if right else (WRONG, WRONG)
                note = note if right else f"{note} · {short(dataset.identity(at), 6)}"
                _badge(axes, left + 0.93, top + 0.07, right)
            _tile(axes, dataset.items[at], left, top, frame)
            _say(axes, left + 0.5, top + 1.13, note, quiet, size=7)
    if 0 < failing < rows:
        y = failing * step + 0.1
        axes.plot([0, 1 + gap + columns * 1.12 - 0.12], [y, y], color="#d9dce2", lw=0.8)
    axes.set_xlim(-0.1, 1 + gap + columns * 1.12)
    axes.set_ylim(rows * step + (0.3 if look.failing else 0), -0.1)
    axes.set_aspect("equal", anchor="NW")
    axes.axis("off")
    last = "; last rows: the nearest neighbour is wrong" if look.failing else ""
    title(axes, "Nearest neighbours", f"each query, then its neighbours with their distances{last}")


def _tile(axes: Any, item: np.ndarray, left: float, top: float, colour: str) -> None:
    patches = require("matplotlib.patches", extra="train")
    height, width = item.shape[:2]
    w, h = width / max(height, width), height / max(height, width)
    x, y = left + (1 - w) / 2, top + (1 - h) / 2
    axes.add_patch(patches.Rectangle((left, top), 1, 1, facecolor="#f1f2f5", edgecolor="none", zorder=1))
    axes.imshow(
        small_enough(item),
        extent=(x, x + w, y + h, y),
        interpolation="nearest" if max(height, width) < 64 else "antialiased",
        zorder=2,
    )
    axes.add_patch(patches.Rectangle((left, top), 1, 1, fill=False, edgecolor=colour, lw=2, zorder=3))


def _badge(axes: Any, x: float, y: float, right: bool) -> None:
    colour = RIGHT if right else WRONG
    axes.scatter([x], [y], s=95, color=colour, edgecolors="white", linewidths=1, zorder=4)
    axes.text(
        x, y, "✓" if right else "✗", color="white", size=7, weight="bold", ha="center", va="center", zorder=5
    )  # fmt: skip


def _draw_histogram(
    axes: Any, x: Tensor, labels: np.ndarray, distance: Distance, threshold: float | None
) -> None:
    try:
        report = verification(x, labels, distance=distance)
    except InputError:  # there are no pairs of one kind
        axes.axis("off")
        return
    edges = np.linspace(0, float(max(report.genuine[-1], report.impostor[-1])) * 1.02 or 1.0, 71)
    kinds = []
    for values, colour, name in (
        (report.genuine, RIGHT, "same identity"),
        (report.impostor, WRONG, "different"),
    ):
        share = np.histogram(values, edges)[0] / len(values)
        kinds.append((share, colour, f"{name} ({len(values):,} pairs)"))
    subtitle = "each kind of pair at its own scale"
    if threshold is not None:
        accepted = report.tar_at(threshold), report.far_at(threshold)
        subtitle = "the threshold accepts {:.1%} of the same, {:.2%} of the different".format(*accepted)
    _histogram(axes, edges, kinds, f"{distance.replace('_', ' ')} distance", threshold)
    title(axes, "Distances of pairs", subtitle)


def _draw_margins(axes: Any, judged: TripletAccuracy) -> None:
    counted = judged.histogram(70)
    kinds = [
        (counts, colour, f"{name} ({int(counts.sum()):,} judgements)")
        for counts, colour, name in (
            (counted.agree, RIGHT, "agrees"),
            (counted.disagree, WRONG, "disagrees"),
        )
    ]
    words = f"d(anchor, negative) − d(anchor, positive), {judged.distance.replace('_', ' ')}"
    _histogram(axes, counted.edges, kinds, words)
    title(axes, "Judgements", f"the embeddings agree with {judged.accuracy:.1%}")


def _histogram(
    axes: Any,
    edges: np.ndarray,
    kinds: Sequence[tuple[np.ndarray, str, str]],
    words: str,
    threshold: float | None = None,
) -> None:
    """Draws one histogram per kind, with its colour and its name."""
    for heights, colour, name in kinds:
        axes.stairs(heights, edges, fill=True, color=colour, alpha=0.25)
        axes.stairs(heights, edges, color=colour, lw=1.6, label=name)
    # Leave room for the legend above the curves.
    top: float = axes.get_ylim()[1]
    axes.set_ylim(0, top * (1 + 0.045 / axes.get_position().height))
    if threshold is not None:
        axes.vlines(threshold, 0, top, color=INK, lw=1.4, ls="--", label=f"threshold {threshold:.3g}")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_yticks([])
    bare(axes)
    axes.set_xlabel(words, color=QUIET, size=9)
    axes.legend(
        frameon=False, fontsize=9, labelcolor=INK, loc="upper left", ncols=3, borderaxespad=0,
        handlelength=1.4, columnspacing=1.4,
    )  # fmt: skip


def _say(
    axes: Any, x: float, y: float, text: str, colour: str, *, size: float, weight: str = "normal"
) -> None:
    axes.text(
        x, y, short(text, 16), color=colour, size=size, weight=weight,
        ha="center", va="center", parse_math=False,
    )  # fmt: skip

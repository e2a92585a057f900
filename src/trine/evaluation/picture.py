"""One picture of what an encoder has learned: neighbour rows, a 2-D map, the distances of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trine.data import Dataset
from trine.distances import Distance
from trine.errors import InputError, require
from trine.evaluation.agreement import TripletAgreement
from trine.evaluation.verification import verification
from trine.evaluation.view import View, view
from trine.neighbours import as_rows
from trine.shapes import Float

INK, QUIET, RIGHT, WRONG = "#1f2430", "#70778a", "#12807a", "#d23c32"
PALETTE = (
    "#3b6fb6", "#e08a1e", "#2f9e6e", "#c8423b", "#8257b5", "#8a5a3c",
    "#d667a8", "#6b7280", "#a3a51f", "#1fa3b8", "#17427a", "#7f1d3f",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D")
TILE_PIXELS = 256
NAMED_IDENTITIES = len(PALETTE)
MAPPED_PICTURES, MAPPED_PIXELS = 200, 40


def picture(
    dataset: Dataset,
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    *,
    path: str | Path,
    distance: Distance = "euclidean",
    threshold: float | None = None,
    look: View | None = None,
    judged: TripletAgreement | None = None,
) -> Path:
    """Draws nearest-neighbour rows (of pictures), the 2-D map and the distances of pairs into one PNG.

    A neighbour of the query's identity carries a tick and a green frame, any other a cross and a red one.
    What is shown is chosen by `view`; the histogram is of the items on the map. Where no identities are
    known, nothing is right or wrong, and the histogram is of the judgements, where these are given.

    Args:
        dataset: The items; pictures are shown, vectors only mapped.
        embeddings: One row per item of the data set.
        path: The PNG to write; its folder must exist.
        distance: What ranks the neighbours.
        threshold: A distance to mark in the histogram: the calibrated one.
        look: What to show, where it is known already; by `view` where left out.
        judged: Triplets that people judged, measured.

    Returns:
        The path.

    Raises:
        InputError: There are fewer than two items, or not one embedding per item.
        MissingDependencyError: matplotlib or scikit-learn is not installed.
    """
    agg = require("matplotlib.backends.backend_agg", extra="train")
    figures = require("matplotlib.figure", extra="train")
    x = as_rows(embeddings, name="embeddings").cpu()
    if len(x) != len(dataset) or len(x) < 2:
        raise InputError(
            f"a picture needs at least two items and one embedding for each, "
            f"given {len(x)} embeddings of {len(dataset)} items"
        )
    look = view(x, dataset.labels, distance=distance) if look is None else look
    images = dataset.kind == "images"
    figure = figures.Figure(figsize=(16, 9) if images else (15, 7), dpi=110, facecolor="white")
    agg.FigureCanvasAgg(figure)
    if images:
        left = figure.add_axes((0.02, 0.03, 0.49, 0.89))
        plane = figure.add_axes((0.54, 0.37, 0.44, 0.55))
        histogram = figure.add_axes((0.54, 0.075, 0.44, 0.2))
        _draw_rows(left, dataset, look)
    else:
        plane = figure.add_axes((0.02, 0.04, 0.54, 0.85))
        histogram = figure.add_axes((0.6, 0.1, 0.375, 0.79))
    labels = dataset.labels[look.shown]
    _draw_map(plane, look.points, labels, dataset)
    if images and not dataset.identities and len(look.shown) <= MAPPED_PICTURES:
        _draw_pictures(plane, look, dataset)
    if judged is not None:
        _draw_margins(histogram, judged)
    else:
        _draw_histogram(histogram, x[torch.from_numpy(look.shown)], labels, distance, threshold)
    figure.savefig(path, format="png", facecolor="white")
    return Path(path)


def _draw_rows(axes: Any, dataset: Dataset, look: View) -> None:
    found = look.neighbours
    rows, columns = found.indices.shape
    failing = rows - look.failing
    step, gap = 1.29, 0.35
    for r, query in enumerate(look.queries.tolist()):
        top = r * step + (0.3 if r >= failing else 0)
        _tile(axes, dataset.items[query], 0, top, INK)
        _say(
            axes,
            0.5,
            top + 1.13,
            _short(dataset.identity(query) or dataset.names[query], 9),
            INK,
            size=7.5,
            weight="bold",
        )
        for c, (at, d) in enumerate(zip(found.indices[r], found.distances[r], strict=True)):
            left = 1 + gap + c * 1.12
            note = f"{d:#.3g}".rstrip(".")
            if not dataset.identities:
                _tile(axes, dataset.items[int(at)], left, top, QUIET)
                _say(axes, left + 0.5, top + 1.13, note, QUIET, size=7)
                continue
            right = dataset.labels[at] == dataset.labels[query]
            _tile(axes, dataset.items[int(at)], left, top, RIGHT if right else WRONG)
            _badge(axes, left + 0.93, top + 0.07, right)
            note = note if right else f"{note} · {_short(dataset.identity(int(at)), 6)}"
            _say(axes, left + 0.5, top + 1.13, note, QUIET if right else WRONG, size=7)
    if 0 < failing < rows:
        y = failing * step + 0.1
        axes.plot([0, 1 + gap + columns * 1.12 - 0.12], [y, y], color="#d9dce2", lw=0.8)
    axes.set_xlim(-0.1, 1 + gap + columns * 1.12)
    axes.set_ylim(rows * step + (0.3 if look.failing else 0), -0.1)
    axes.set_aspect("equal", anchor="NW")
    axes.axis("off")
    last = "; the last rows are ones whose nearest is wrong" if look.failing else ""
    _title(axes, "Nearest neighbours", f"the query, then its neighbours with their distance{last}")


def _tile(axes: Any, item: np.ndarray, left: float, top: float, colour: str) -> None:
    patches = require("matplotlib.patches", extra="train")
    height, width = item.shape[:2]
    shown = np.repeat(item, 3, axis=2) if item.shape[2] == 1 else item
    if max(height, width) > TILE_PIXELS:  # dozens of photographs at full size would fill the memory
        photograph = require("PIL.Image", extra="images").fromarray(shown)
        photograph.thumbnail((TILE_PIXELS, TILE_PIXELS))
        shown = np.asarray(photograph)
    w, h = width / max(height, width), height / max(height, width)
    x, y = left + (1 - w) / 2, top + (1 - h) / 2
    axes.add_patch(patches.Rectangle((left, top), 1, 1, facecolor="#f1f2f5", edgecolor="none", zorder=1))
    axes.imshow(
        shown,
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


def _draw_map(axes: Any, points: np.ndarray, labels: np.ndarray, dataset: Dataset) -> None:
    effects = require("matplotlib.patheffects", extra="train")
    present = np.unique(labels)
    colours = np.array([PALETTE[i % len(PALETTE)] for i in range(len(present))])
    kind = np.searchsorted(present, labels)
    for m, marker in enumerate(MARKERS):
        chosen = kind // len(PALETTE) % len(MARKERS) == m
        axes.scatter(
            points[chosen, 0],
            points[chosen, 1],
            c=colours[kind[chosen]],
            marker=marker,
            s=float(np.clip(30000 / len(points), 12, 60)),
            alpha=0.8,
            linewidths=0.3,
            edgecolors="white",
        )
    if len(present) <= NAMED_IDENTITIES and dataset.identities:
        for label, colour in zip(present, colours, strict=True):
            x, y = np.median(points[labels == label], axis=0)
            halo = [effects.withStroke(linewidth=3.5, foreground="white")]
            axes.text(
                x, y, _short(dataset.identities[label], 16), color=colour, size=13, weight="bold",
                ha="center", va="center", parse_math=False, path_effects=halo,
            )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#e3e5ea")
    count = f"{len(points):,}" + (f" of {len(dataset):,}" if len(points) < len(dataset) else "")
    coloured = f", coloured by identity ({len(present)})" if dataset.identities else ""
    _title(axes, "Map", f"t-SNE of {count} items{coloured}")


def _draw_pictures(axes: Any, look: View, dataset: Dataset) -> None:
    """Few items without identities say more by their looks than as points."""
    boxes = require("matplotlib.offsetbox", extra="train")
    photographs = require("PIL.Image", extra="images")
    for at, point in zip(look.shown.tolist(), look.points, strict=True):
        item = dataset.items[at]
        shown = photographs.fromarray(np.repeat(item, 3, axis=2) if item.shape[2] == 1 else item)
        shown.thumbnail((MAPPED_PIXELS, MAPPED_PIXELS))
        axes.add_artist(boxes.AnnotationBbox(boxes.OffsetImage(np.asarray(shown)), point, frameon=False))
    axes.margins(0.08)


def _draw_histogram(
    axes: Any, x: Tensor, labels: np.ndarray, distance: Distance, threshold: float | None
) -> None:
    try:
        report = verification(x, labels, distance=distance)
    except InputError:  # no pair of one kind: there is nothing to tell apart
        axes.axis("off")
        return
    edges = np.linspace(0, float(max(report.genuine[-1], report.impostor[-1])) * 1.02 or 1.0, 71)
    for values, colour, name in (
        (report.genuine, RIGHT, "same identity"),
        (report.impostor, WRONG, "different"),
    ):
        share = np.histogram(values, edges)[0] / len(values)
        axes.stairs(share, edges, fill=True, color=colour, alpha=0.25)
        axes.stairs(share, edges, color=colour, lw=1.6, label=f"{name} ({len(values):,} pairs)")
    subtitle = "each kind of pair on its own scale"
    top = _with_room(axes)
    if threshold is not None:
        axes.vlines(threshold, 0, top, color=INK, lw=1.4, ls="--", label=f"threshold {threshold:.3g}")
        accepted = (
            f"{report.tar_at(threshold):.1%} of the same, {report.far_at(threshold):.2%} of the different"
        )
        subtitle = f"the threshold accepts {accepted}"
    _finish(axes, edges, f"{distance.replace('_', ' ')} distance")
    _title(axes, "Distances of pairs", subtitle)


def _draw_margins(axes: Any, judged: TripletAgreement) -> None:
    counted = judged.histogram(70)
    for counts, colour, name in (
        (counted.agree, RIGHT, "agrees"),
        (counted.disagree, WRONG, "disagrees"),
    ):
        axes.stairs(counts, counted.edges, fill=True, color=colour, alpha=0.25)
        axes.stairs(
            counts, counted.edges, color=colour, lw=1.6, label=f"{name} ({int(counts.sum()):,} judgements)"
        )
    _with_room(axes)
    _finish(
        axes, counted.edges, f"d(anchor, negative) − d(anchor, positive), {judged.distance.replace('_', ' ')}"
    )
    _title(axes, "Judgements", f"the embeddings agree with {judged.agreement:.1%}")


def _with_room(axes: Any) -> float:
    """Leaves the legend the room above the curves, and says where that begins."""
    top: float = axes.get_ylim()[1]
    axes.set_ylim(0, top * (1 + 0.045 / axes.get_position().height))
    return top


def _finish(axes: Any, edges: np.ndarray, title: str) -> None:
    axes.set_xlim(edges[0], edges[-1])
    axes.set_yticks([])
    axes.tick_params(colors=QUIET, labelsize=9, length=3)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#c9ccd4")
    axes.set_xlabel(title, color=QUIET, size=9)
    axes.legend(
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        loc="upper left",
        ncols=3,
        borderaxespad=0,
        handlelength=1.4,
        columnspacing=1.4,
    )


def _title(axes: Any, title: str, subtitle: str) -> None:
    for text, size, weight, colour, up in ((title, 13, "bold", INK, 22), (subtitle, 9, "normal", QUIET, 8)):
        axes.annotate(
            text, (0, 1), xycoords="axes fraction", xytext=(0, up), textcoords="offset points", size=size,
            weight=weight, color=colour, va="bottom", annotation_clip=False,
        )  # fmt: skip


def _say(
    axes: Any, x: float, y: float, text: str, colour: str, *, size: float, weight: str = "normal"
) -> None:
    axes.text(
        x, y, _short(text, 16), color=colour, size=size, weight=weight,
        ha="center", va="center", parse_math=False,
    )  # fmt: skip


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"

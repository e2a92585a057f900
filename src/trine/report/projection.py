"""Draws items on a plane: a t-SNE map, or two-dimensional embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from trine.data import Dataset
from trine.errors import InputError, require
from trine.neighbours import as_rows
from trine.report.drawing import PALETTE, new_figure, save_figure, short, small_enough, title
from trine.shapes import Float, Int64, UInt8

MARKERS = ("o", "s", "^", "D")
NAMED_IDENTITIES = len(PALETTE)
THUMBNAILS = 60
SIDE = 0.4
"""The size of a thumbnail in inches."""

APART = 1.3
"""The smallest distance between two thumbnails, in thumbnail sizes."""


def plane_picture(
    dataset: Dataset,
    embeddings: Float[np.ndarray, "n 2"] | Float[Tensor, "n 2"],
    *,
    path: str | Path,
    heading: str = "Embedding",
    subheading: str | None = None,
) -> Path:
    """Draws two-dimensional embeddings with some of the items (Hadsell, Chopra, LeCun 2006).

    Both axes have the same scale, so distances in the image are those of the embedding. The items shown
    are chosen at random, as many as fit.

    Args:
        dataset: The items; images are shown, vectors are only placed.
        embeddings: One row of two numbers per item of the data set.
        path: The PNG to write; its folder must exist.
        heading: The title.
        subheading: The line below it; by default the number of items and identities.

    Returns:
        The path.

    Raises:
        InputError: There are no items, or not one two-dimensional embedding for each.
        MissingDependencyError: matplotlib is not installed.
    """
    x = as_rows(embeddings, name="embeddings").cpu().double().numpy()
    if len(x) != len(dataset) or not len(x) or x.shape[1] != 2:
        raise InputError(
            f"plane_picture needs one two-dimensional embedding per item, given shape {x.shape} for "
            f"{len(dataset)} items; train with encoder.dimension=2, or use picture()"
        )
    figure = new_figure(9, 8, dpi=100)
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.89))
    draw_embedding(axes, x, np.arange(len(x)), dataset)
    present = len(np.unique(dataset.labels))
    title(axes, heading, subheading or f"{len(x):,} items, coloured by identity ({present})")
    save_figure(figure, path)
    return Path(path)


def draw_map(
    axes: Any, points: Float[np.ndarray, "n 2"], shown: Int64[np.ndarray, " n"], dataset: Dataset
) -> None:
    """Draws a t-SNE map.

    Args:
        axes: The axes to draw on.
        points: The positions of the items.
        shown: Which items these are.
        dataset: The items.
    """
    labels = dataset.labels[shown]
    _dots(axes, points, labels, alpha=0.8)
    _names(axes, points, labels, dataset)
    _frame(axes)


def draw_embedding(
    axes: Any, points: Float[np.ndarray, "n 2"], shown: Int64[np.ndarray, " n"], dataset: Dataset
) -> None:
    """Draws two-dimensional embeddings at one scale, and some of the items at their positions.

    Args:
        axes: The axes to draw on.
        points: The embeddings.
        shown: Which items these are.
        dataset: The items.
    """
    labels = dataset.labels[shown]
    inch = _one_scale(axes, points)
    _dots(axes, points, labels, alpha=0.55)
    if dataset.kind == "images":
        colours = _colours(labels)
        for at in _with_room(points, APART * SIDE * inch):
            _thumbnail(axes, dataset.items[int(shown[at])], points[at], SIDE * inch, colours[at])
    _names(axes, points, labels, dataset)
    _frame(axes)


def _one_scale(axes: Any, points: np.ndarray) -> float:
    """Gives both axes the same scale; returns the length of an inch."""
    box = axes.get_position()
    width, height = (box.width, box.height) * axes.figure.get_size_inches()
    low, high = points.min(axis=0), points.max(axis=0)
    inch = float(np.max((high - low) / (np.array([width, height]) - 1.5 * SIDE))) or 1.0
    middle = (low + high) / 2
    axes.set_xlim(middle[0] - inch * width / 2, middle[0] + inch * width / 2)
    axes.set_ylim(middle[1] - inch * height / 2, middle[1] + inch * height / 2)
    axes.set_autoscale_on(False)
    return inch


def _with_room(points: np.ndarray, apart: float) -> list[int]:
    """Random items whose thumbnails do not overlap."""
    chosen: list[int] = []
    for at in np.random.default_rng(0).permutation(len(points)).tolist():
        if all(np.abs(points[at] - points[other]).max() >= apart for other in chosen):
            chosen.append(at)
        if len(chosen) == THUMBNAILS:
            break
    return chosen


def _thumbnail(axes: Any, item: UInt8[np.ndarray, "h w c"], at: np.ndarray, side: float, colour: str) -> None:
    patches = require("matplotlib.patches", extra="train")
    height, width = item.shape[:2]
    w, h = side * width / max(height, width), side * height / max(height, width)
    x, y = at
    extent = (x - w / 2, x + w / 2, y - h / 2, y + h / 2)
    pad = 0.08 * side
    axes.add_patch(
        patches.FancyBboxPatch(
            (extent[0], extent[2]), w, h, boxstyle=f"round,pad={pad},rounding_size={2 * pad}",
            facecolor="white", edgecolor=colour, lw=1.1, alpha=0.92, zorder=3,
        )
    )  # fmt: skip
    axes.imshow(_inked(item, colour), extent=extent, interpolation="bicubic", zorder=4, aspect="auto")


def _inked(item: UInt8[np.ndarray, "h w c"], colour: str) -> UInt8[np.ndarray, "h w k"]:
    """The image; bright strokes on black, such as digits, become coloured on a transparent background."""
    if item.shape[2] == 1:
        edge = np.concatenate([item[0], item[-1], item[:, 0], item[:, -1]])
        if np.median(edge) < 26:
            ink = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
            return np.concatenate(
                [np.broadcast_to(np.array(ink, dtype=np.uint8), (*item.shape[:2], 3)), item], axis=2
            )
    return small_enough(item)


def _colours(labels: Int64[np.ndarray, " n"]) -> list[str]:
    kinds = np.unique(labels, return_inverse=True)[1]
    return [PALETTE[kind % len(PALETTE)] for kind in kinds.tolist()]


def _dots(axes: Any, points: np.ndarray, labels: Int64[np.ndarray, " n"], *, alpha: float) -> None:
    colours, kind = np.array(_colours(labels)), np.unique(labels, return_inverse=True)[1]
    for m, marker in enumerate(MARKERS):
        chosen = kind // len(PALETTE) % len(MARKERS) == m
        axes.scatter(
            *points[chosen].T, c=colours[chosen], marker=marker, alpha=alpha, linewidths=0.3,
            edgecolors="white", s=float(np.clip(30000 / len(points), 12, 60)),
        )  # fmt: skip


def _names(axes: Any, points: np.ndarray, labels: Int64[np.ndarray, " n"], dataset: Dataset) -> None:
    effects = require("matplotlib.patheffects", extra="train")
    present = np.unique(labels)
    if len(present) > NAMED_IDENTITIES or not dataset.identities:
        return
    for label, colour in zip(present, _colours(present), strict=True):
        x, y = np.median(points[labels == label], axis=0)
        halo = [effects.withStroke(linewidth=3.5, foreground="white")]
        axes.text(
            x, y, short(dataset.identities[label], 16), color=colour, size=13, weight="bold",
            ha="center", va="center", parse_math=False, path_effects=halo, zorder=5,
        )  # fmt: skip


def _frame(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#e3e5ea")

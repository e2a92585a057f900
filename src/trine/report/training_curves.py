"""Draws the training log as curves in one image."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from trine.report.drawing import INK, QUIET, RIGHT, WRONG, bare, new_figure, save_figure, title
from trine.training import NO_PROBLEMS, Diagnosis, LoggedBatch

BLUE, PALE = "#3b6fb6", "#e3e5ea"
SMALLEST_SHARE = 1e-6

Curve = tuple[str, str, Callable[[LoggedBatch], float]]
"""The name of a curve, its colour, and its value at a logged batch."""

PANELS: tuple[tuple[str, str, str, tuple[Curve, ...]], ...] = (
    ("Loss", "dashed: loss of a collapsed batch", "linear", (("loss", INK, lambda batch: batch.loss),)),
    (
        "Distances",
        "means over the pairs of a batch",
        "linear",
        (
            ("d_an", WRONG, lambda batch: batch.negative_distance),
            ("d_ap", RIGHT, lambda batch: batch.positive_distance),
            ("gap", QUIET, lambda batch: batch.gap),
        ),
    ),
    (
        "Active triplets",
        "as a share of all valid triplets",
        "log",
        (("active", BLUE, lambda batch: max(batch.active, SMALLEST_SHARE)),),
    ),
    (
        "Embedding norms",
        "1 if they are normalised",
        "linear",
        (("largest", QUIET, lambda batch: batch.norm_max), ("mean", BLUE, lambda batch: batch.norm_mean)),
    ),
    ("Effective rank", "of a batch", "linear", (("rank", BLUE, lambda batch: batch.effective_rank),)),
    ("Largest identity", "as a share", "share", (("largest", BLUE, lambda batch: batch.largest_identity),)),
)


def draw_curves(
    log: Sequence[LoggedBatch], diagnoses: Sequence[Diagnosis], *, steps: int, name: str, path: Path
) -> Path:
    """Draws a training log, and marks changes of the mining rule and diagnosed problems.

    Args:
        log: The log.
        diagnoses: The problems of the run.
        steps: The number of steps of the whole run.
        name: The name of the run.
        path: The PNG to write; its folder must exist.

    Returns:
        The path.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    words = [line for diagnosis in diagnoses for line in textwrap.wrap(str(diagnosis), 175)]
    words = words or [NO_PROBLEMS]
    height = 7.2 + 0.2 * len(words)
    figure = new_figure(14, height)
    style = {"va": "center", "parse_math": False}
    figure.text(0.045, 1 - 0.3 / height, name, size=15, weight="bold", color=INK, **style)
    for line, text in enumerate(words):
        up = 1 - (0.62 + 0.2 * line) / height
        figure.text(0.045, up, text, size=9.5, color=WRONG if diagnoses else RIGHT, **style)
    top = 1 - (1.35 + 0.2 * len(words)) / height
    axes = figure.subplots(2, 3, gridspec_kw={"hspace": 0.62, "wspace": 0.2})
    figure.subplots_adjust(left=0.045, right=0.985, bottom=0.5 / height, top=top)
    for panel, (heading, subtitle, scale, curves) in zip(axes.flat, PANELS, strict=True):
        _draw_panel(panel, log, curves, scale=scale, steps=steps)
        _mark(panel, log, diagnoses)
        title(panel, heading, subtitle, sizes=(12, 8.5))
    save_figure(figure, path)
    return path


def _draw_panel(
    axes: Any, log: Sequence[LoggedBatch], curves: Sequence[Curve], *, scale: str, steps: int
) -> None:
    at = [batch.step for batch in log]
    units = [batch.unit for batch in log] if curves[0][0] == "loss" else []
    if units:
        axes.plot(at, units, color=QUIET, lw=1, ls=(0, (4, 3)))
    lowest, highest = 0.0, max(units, default=0.0)
    for name, colour, value in curves:
        values = [value(batch) for batch in log]
        known = [each for each in values if math.isfinite(each)]
        lowest, highest = min([lowest, *known]), max([highest, *known])
        axes.plot(at, values, color=colour, lw=1.8, label=name, marker="o" if len(at) < 15 else None, ms=3)
    if scale == "log":
        axes.set_yscale("log")
        axes.set_ylim(SMALLEST_SHARE * 0.7, 8)
        axes.set_yticks([1, 1e-2, 1e-4, 1e-6], ["100 %", "1 %", "0.01 %", "none"])
        axes.minorticks_off()
    elif scale == "share":
        axes.set_ylim(0, 1.1)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    else:
        # Leave room for the text of the marks.
        axes.set_ylim(1.1 * lowest, 1.2 * highest or 1.0)
    axes.set_xlim(0, max(steps, 1))
    axes.grid(axis="y", color=PALE, lw=0.8)
    axes.set_axisbelow(True)
    bare(axes, size=8.5)
    if len(curves) > 1:
        axes.legend(
            frameon=False, fontsize=8.5, labelcolor=INK, loc="lower right", bbox_to_anchor=(1, 1),
            ncols=len(curves), borderaxespad=0.2, handlelength=1.2, columnspacing=1.2,
        )  # fmt: skip


def _mark(axes: Any, log: Sequence[LoggedBatch], diagnoses: Sequence[Diagnosis]) -> None:
    """Marks changes of the rule in grey, and diagnoses in red."""
    changes = [(after.step, after.mining) for before, after in pairwise(log) if after.mining != before.mining]
    marks = sorted([(*change, QUIET) for change in changes] + [(f.step, f.name, WRONG) for f in diagnoses])
    width, taken, level = axes.get_xlim()[1], -math.inf, 0
    for step, name, colour in marks:
        # Stagger labels that would overlap.
        level = (level + 1) % 3 if step - taken < 0.2 * width else 0
        taken = step
        axes.axvline(step, color=colour, lw=0.9, ls=":")
        axes.annotate(
            name, (step, 0.97 - 0.1 * level), xycoords=("data", "axes fraction"), xytext=(3, 0),
            textcoords="offset points", size=8, color=colour, va="top",
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8},
        )  # fmt: skip

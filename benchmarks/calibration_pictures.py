"""Draws the pictures of docs/calibration.md from the embeddings and the results of promises.py.

python benchmarks/promises.py && python benchmarks/calibration_pictures.py
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import numpy as np

from promises import Embedded, Trial, embedded, own_rates, trials
from results import FOLDER
from trine.rates import RateCurve, stranger_rates

matplotlib.use("svg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).resolve().parents[1] / "docs"
SIZES = (5, 10, 20, 50, 100, 200)
BLUE, ORANGE, GREY = "#2563eb", "#ea580c", "#94a3b8"


def strangers_of(found: Embedded, trial: Trial) -> RateCurve:
    near = found.distances[np.ix_(trial.strangers, trial.enrolled)].min(1).astype(np.float64)
    return stranger_rates(near, found.labels[trial.strangers])


def by_size(found: Embedded) -> None:
    """A threshold for pairs, and what it does in galleries of growing size."""
    labels = found.labels
    pairs = np.sort(found.distances[labels[:, None] < labels])
    figure, axes = plt.subplots(figsize=(6, 3.2))
    for rate, colour in ((0.01, ORANGE), (0.001, BLUE)):
        threshold = pairs[int(rate * len(pairs))]
        shares = []
        for size in SIZES:
            named = [strangers_of(found, trial).at(threshold)[0] for trial in trials(labels, size, 10)]
            shares.append(100 * np.mean(named))
        axes.plot(
            SIZES, shares, "o-", color=colour, label=f"threshold that accepts {100 * rate:g} % of pairs"
        )
    axes.set(xscale="log", xlabel="people in the gallery", ylabel="strangers named, %", ylim=(0, 100))
    axes.set_xticks(SIZES, [str(size) for size in SIZES])
    axes.legend(frameon=False)
    saved(figure, "calibration-size")


def own_and_real(found: Embedded) -> None:
    """What a gallery's own people foretell, and what happens."""
    (trial,) = trials(found.labels, 100, 1)
    own, real = own_rates(found, trial).table(), strangers_of(found, trial).table()
    figure, axes = plt.subplots(figsize=(6, 3.2))
    axes.fill_between(own[:, 0], 100 * own[:, 2], 100 * own[:, 3], color=BLUE, alpha=0.15, lw=0)
    axes.plot(own[:, 0], 100 * own[:, 1], color=BLUE, label="the gallery's own people (with bounds)")
    axes.plot(real[:, 0], 100 * real[:, 1], color=ORANGE, label="real strangers")
    upto = np.interp(0.6, own[:, 1], own[:, 0])
    axes.set(xlabel="threshold", ylabel="strangers named, %", xlim=(own[0, 0], upto), ylim=(0, 60))
    axes.legend(frameon=False, loc="upper left")
    saved(figure, "calibration-own")


def promised_and_measured() -> None:
    """The mean measured rate of every cell of promises.py."""
    rows = json.loads((FOLDER / "promises.json").read_text("utf-8"))["rows"]
    figure, axes = plt.subplots(figsize=(6, 3.2))
    for state, colour in (("firm", BLUE), ("provisional", ORANGE)):
        cells = [row for row in rows if row["state"] == state]
        asked = np.array([100 * row["rate"] for row in cells])
        measured = [100 * row["realised"] for row in cells]
        spread = np.linspace(0.94, 1.06, len(cells)) if len(cells) > 1 else 1
        axes.scatter(asked * spread, measured, color=colour, alpha=0.8, label=f"{state}: mean of a set", lw=0)
    line = np.array([0.7, 14])
    axes.plot(line, line, color=GREY, lw=1, label="as promised")
    axes.set(xscale="log", yscale="log", xlabel="promised, %", ylabel="strangers named, %")
    axes.set_xticks([1, 5, 10], ["1", "5", "10"])
    axes.set_yticks([0.2, 0.5, 1, 2, 5, 10], ["0.2", "0.5", "1", "2", "5", "10"])
    axes.minorticks_off()
    axes.legend(frameon=False, loc="lower right")
    saved(figure, "calibration-promises")


def saved(figure: plt.Figure, name: str) -> None:
    for side in ("top", "right"):
        figure.axes[0].spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(DOCS / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    matplotlib.rcParams.update({"svg.hashsalt": "trine", "font.size": 9, "svg.fonttype": "path"})
    found = embedded("reid_cuhk01")
    by_size(found)
    own_and_real(found)
    promised_and_measured()


if __name__ == "__main__":
    main()

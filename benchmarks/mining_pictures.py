"""Draws what each mining rule selects among points of a plane, and both forms of the loss, into docs/images.

    python benchmarks/mining_pictures.py

The triplets are those of `trine.mine`; docs/play/mining.html shows the same to play with. The rule `weighted`
is left out: it is defined between unit rows.
"""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image

from trine import mine
from trine.triplets import PRESETS

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Annulus

OUT = Path(__file__).resolve().parents[1] / "docs/images"
MARGIN = 0.5
RIGHT, WRONG, QUIET = "#0f766e", "#c2332a", "#5d6578"
SHAPES = (("o", "#3b6fb6"), ("s", "#d97f12"), ("^", "#8257b5"))


def main() -> None:
    OUT.mkdir(exist_ok=True)
    saved(rules(), OUT / "mining.webp")
    saved(losses(), OUT / "loss.webp")


def points() -> tuple[np.ndarray, np.ndarray]:
    """Three identities of five points each; the first point is the anchor of the pictures."""
    at = [
        *((0, 0), (-0.4, 0.15), (-0.6, -0.5), (0.1, 0.75), (-0.9, 0.5)),
        *((0.5, 0.3), (0.95, 0.45), (1.2, -0.15), (0.7, 1.0), (1.5, 0.75)),
        *((0.3, -0.6), (0.7, -0.9), (-0.2, -1.15), (0.2, -1.5), (-0.8, -1.3)),
    ]
    return np.array(at, dtype=np.float32), np.repeat(np.arange(3), 5)


def rules() -> Figure:
    """A picture for each rule, of the triplets of one anchor."""
    at, labels = points()
    figure, axes = plt.subplots(3, 4, figsize=(11, 8.6), layout="constrained")
    axes.flat[-1].set_axis_off()
    names = [name for name in PRESETS if name != "weighted"]
    for name, axis in zip(names, axes.flat, strict=False):
        found = mine(torch.tensor(at), torch.tensor(labels), mining=name, margin=MARGIN, seed=3)
        own = found.anchor == 0
        positives, negatives = found.positive[own].unique(), found.negative[own].unique()
        farthest = np.linalg.norm(at[labels == 0] - at[0], axis=1).max()
        axis.add_patch(Annulus(at[0], farthest + MARGIN, MARGIN, color=QUIET, alpha=0.12, lw=0))
        for ends, colour, style in ((negatives, WRONG, (0, (3, 2))), (positives, RIGHT, "-")):
            for end in ends:
                axis.plot(*zip(at[0], at[end], strict=True), color=colour, ls=style, lw=1.8, zorder=1)
        for identity, (shape, colour) in enumerate(SHAPES):
            own_points = at[labels == identity]
            axis.scatter(*own_points.T, marker=shape, c=colour, s=42, edgecolors="white", lw=0.8, zorder=2)
        axis.scatter(*at[0], marker="o", c=SHAPES[0][1], s=80, edgecolors="black", lw=2, zorder=3)
        axis.set_title(f"{name}: {int(own.sum())}", fontsize=11)
        axis.set(xlim=(-1.8, 1.9), ylim=(-1.75, 1.6), aspect="equal", xticks=[], yticks=[])
        axis.spines[:].set_color("#d5d9e2")
    return figure


def losses() -> Figure:
    """The hinge and the soft margin, and their gradients, over d_ap - d_an."""
    x = torch.linspace(-1.5, 1.5, 301, requires_grad=True)
    figure, (value, gradient) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    forms = {
        f"hinge, margin {MARGIN}": (torch.relu(x + MARGIN), "#3b6fb6"),
        "soft margin": (torch.nn.functional.softplus(x), "#d97f12"),
    }
    for name, (loss, colour) in forms.items():
        (slope,) = torch.autograd.grad(loss.sum(), x)
        value.plot(x.detach(), loss.detach(), color=colour, lw=2, label=name)
        gradient.plot(x.detach(), slope, color=colour, lw=2)
    for axis, title in ((value, "loss of a triplet"), (gradient, "weight of its gradient")):
        for left, right, shade, name in (
            (-1.5, -MARGIN, 0.0, "easy"),
            (-MARGIN, 0, 0.08, "semi-hard"),
            (0, 1.5, 0.16, "hard"),
        ):
            axis.axvspan(left, right, color=QUIET, alpha=shade, lw=0)
            place = axis.get_xaxis_transform()
            axis.text((left + right) / 2, 0.97, name, transform=place, ha="center", va="top")
        axis.set(xlabel="$d_{ap} - d_{an}$", title=title, xlim=(-1.5, 1.5))
        axis.margins(y=0.18)
        axis.spines[["top", "right"]].set_visible(False)
    value.legend(frameon=False, loc="center left")
    return figure


def saved(figure: Figure, path: Path) -> None:
    """Writes a figure as WebP."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100)
    plt.close(figure)
    Image.open(buffer).convert("RGB").save(path, "WEBP", quality=82, method=6)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

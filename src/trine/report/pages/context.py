"""What a page is about: an encoder, the items it was measured on, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trine.data import Dataset
from trine.encoders import Encoder
from trine.report.evaluation_report import Report
from trine.report.html import Thumbnails, Tile
from trine.report.selection import View, view
from trine.shapes import Bool, Float32


@dataclass(frozen=True, eq=False)
class Subject:
    """An encoder on its page.

    Attributes:
        name: What it is called: the name of its run folder.
        run: That folder.
        report: What was found.
        dataset: The items it was measured on.
        embeddings: One row per item.
        encoder: What embedded them.
        trained_on: What it was trained on, in words; empty where that is not known.
        view: What to show of the items.
    """

    name: str
    run: Path
    report: Report
    dataset: Dataset
    embeddings: Float32[np.ndarray, "n d"]
    encoder: Encoder
    trained_on: str
    view: View


def subject_of(
    encoder: Encoder,
    dataset: Dataset,
    embeddings: Float32[np.ndarray, "n d"],
    report: Report,
    *,
    run: Path,
    trained_on: str,
    name: str | None = None,
) -> Subject:
    """Chooses what to show of the items, and puts all together.

    Args:
        encoder: What embedded the items.
        dataset: The items.
        embeddings: One row per item.
        report: What was found.
        run: The run folder.
        trained_on: What the encoder was trained on, in words.
        name: What to call it; the name of the folder where left out.
    """
    chosen = view(
        embeddings,
        dataset.labels,
        distance=encoder.distance,
        nearest_is_wrong=nearest_is_wrong(report, len(dataset)),
    )
    return Subject(name or run.resolve().name, run, report, dataset, embeddings, encoder, trained_on, chosen)


def nearest_is_wrong(report: Report, items: int) -> Bool[np.ndarray, " n"]:
    """For each item whether its nearest neighbour is of another identity; false where it asked for nobody."""
    retrieval = report.after.retrieval
    wrong = np.zeros(items, dtype=bool)
    wrong[retrieval.queries] = retrieval.first_ranks > 1
    return wrong


class Shelf:
    """Makes tiles of items, with a picture as long as the page has room for one.

    Args:
        dataset: The items.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._thumbnails = Thumbnails()

    def tile(self, at: int, *, note: str = "", mark: str | None = None) -> Tile:
        """Makes the tile of one item.

        Args:
            at: Which item.
            note: What is said below it.
            mark: `"right"`, `"wrong"` or None.
        """
        data = self._dataset
        item = data.names[at]
        name = data.identity(at) or item
        about = item if name == item else f"{name}: {item}"
        shown = self._thumbnails.show(data.items[at], about=about) if data.kind == "images" else None
        said = data.items[at] if data.kind == "texts" else item
        return Tile(name, said, shown, note, mark)


def distance_note(distance: float) -> str:
    """Writes a distance in three digits."""
    return f"{distance:#.3g}".rstrip(".")

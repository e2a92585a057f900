"""What a page shows besides the metrics: the model, and the items it was evaluated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trine.data import Dataset
from trine.distances import Distance
from trine.encoders import Encoder, TwoTower
from trine.report.html.thumbnails import Thumbnails
from trine.report.html.tiles import Tile
from trine.report.report import Report
from trine.report.selection import View, view
from trine.shapes import Float32


@dataclass(frozen=True, eq=False)
class ShownItems:
    """The evaluated items.

    Attributes:
        dataset: The items.
        embeddings: One row per item.
        distance: How embeddings are compared.
        view: The queries, neighbours and map to show.
    """

    dataset: Dataset
    embeddings: Float32[np.ndarray, "n d"]
    distance: Distance
    view: View


@dataclass(frozen=True, eq=False)
class PageContext:
    """A report with the model and the items that its page and its image show.

    Attributes:
        name: The name of the run.
        run: The run folder.
        report: The report.
        model: The evaluated model.
        trained_on: Describes the training data; empty if unknown.
        items: The evaluated items; None for recommendations.
    """

    name: str
    run: Path
    report: Report
    model: Encoder | TwoTower
    trained_on: str
    items: ShownItems | None = None


def shown_items(
    dataset: Dataset, embeddings: Float32[np.ndarray, "n d"], report: Report, *, distance: Distance
) -> ShownItems:
    """Chooses which of the evaluated items to show.

    Args:
        dataset: The items.
        embeddings: One row per item.
        report: The report.
        distance: How embeddings are compared.
    """
    wrong = None
    if (retrieval := report.after.retrieval) is not None:
        wrong = np.zeros(len(dataset), dtype=bool)
        wrong[retrieval.queries] = retrieval.first_ranks > 1
    chosen = view(embeddings, dataset.labels, distance=distance, nearest_is_wrong=wrong)
    return ShownItems(dataset, embeddings, distance, chosen)


class TileFactory:
    """Builds tiles of items, with thumbnails until the page is full.

    Args:
        dataset: The items.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._thumbnails = Thumbnails(dataset.items)

    def tile(self, at: int, *, note: str = "", mark: str | None = None) -> Tile:
        """Builds the tile of one item.

        Args:
            at: The position of the item.
            note: The text below it.
            mark: `"right"`, `"wrong"` or None.
        """
        data = self._dataset
        item = data.names[at]
        name = data.identity(at) or item
        about = item if name == item else f"{name}: {item}"
        shown = self._thumbnails.show(at, about=about) if data.kind == "images" else None
        text = data.items[at] if data.kind == "texts" else item
        return Tile(name, text, shown, note, mark)

    def neighbours(self, query: int, positions: Sequence[int], distances: Sequence[float]) -> list[Tile]:
        """Builds the tiles of the neighbours of an item, marked right or wrong if identities are known."""
        data = self._dataset
        right = data.labels[list(positions)] == data.labels[query]
        marks = ["right" if each else "wrong" for each in right] if data.identities else [None] * len(right)
        return [
            self.tile(at, note=distance_note(d), mark=mark)
            for at, d, mark in zip(positions, distances, marks, strict=True)
        ]


def distance_note(distance: float) -> str:
    """Formats a distance with three digits."""
    return f"{distance:#.3g}".rstrip(".")

"""LanceDB's index of a large gallery: inverted lists of embeddings with one byte for each number.

Its lists are learned from a sample of the rows. From a table in which one row was replaced, LanceDB takes
that sample in minutes instead of seconds, and every write replaces the row of the state. So the index is
built on a new table, before that takes the place of the one in use.
"""

from __future__ import annotations

from typing import Any

from trine.distances import PROPERTIES
from trine.errors import require
from trine.gallery.lance.settings import LanceSettings
from trine.gallery.store import Binding

INDEX = "embedding_idx"
"""LanceDB's name of the index of embeddings."""

LENGTHS = 4096
"""The longest embeddings that are indexed."""

ROUNDS, SAMPLES = 10, 64
"""How often the lists are moved while they are learned, and from how many embeddings for each of them."""


def kind(binding: Binding) -> str:
    """Returns LanceDB's name of a distance that orders as that of a gallery does."""
    return "cosine" if PROPERTIES[binding.distance].of_directions else "l2"


def is_due(items: int, binding: Binding, settings: LanceSettings) -> bool:
    """Returns whether a gallery of a size is searched through an index."""
    return items > settings.large and binding.dimension <= LENGTHS


def is_indexed(table: Any) -> bool:
    """Returns whether a table has an index of embeddings."""
    return any(index.name == INDEX for index in table.list_indices())


def build_index(table: Any, binding: Binding, settings: LanceSettings, *, items: int) -> None:
    """Builds the index of a table."""
    config = require("lancedb.index", extra="lancedb").IvfSq(
        distance_type=kind(binding),
        num_partitions=max(1, items // settings.lists),
        max_iterations=ROUNDS,
        sample_rate=SAMPLES,
    )
    table.create_index("embedding", config=config, replace=True)

"""Keeps the in-memory index in sync with a SQLite file.

The index is never saved. It follows the file through a counter that every write advances, so that it also
sees the writes of other processes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from trine.gallery.entries import Hit, metadata_of
from trine.gallery.errors import REPAIR, check_column, damaged, unreadable
from trine.gallery.index import Changes, Index, IndexSettings
from trine.gallery.quantization import unpack
from trine.gallery.sql_store import AT_ONCE
from trine.gallery.sqlite.database import Database
from trine.gallery.store import Binding, Scope
from trine.shapes import Float32, Int64


class IndexSync:
    """The records of one file, indexed in memory.

    Args:
        database: The file.
        binding: Its binding.
        settings: How the index is merged and searched.
    """

    def __init__(self, database: Database, binding: Binding, settings: IndexSettings) -> None:
        """Starts without reading the file."""
        self._database = database
        self._binding = binding
        self._index = Index(dimension=binding.dimension, distance=binding.distance, settings=settings)
        self._seen = 0

    def follow(self, stamp: int) -> None:
        """Updates the index; call within a read transaction, with its stamp."""
        if stamp != self._seen:
            self._index.apply(self._changes())
            self._seen = stamp

    def search(
        self, queries: Float32[np.ndarray, "q d"], *, k: int, offset: int, scope: Scope, metadata: bool
    ) -> list[list[Hit]]:
        """Searches the index; call within the same read transaction if metadata is needed."""
        return self._index.search(
            queries, k=k, offset=offset, scope=scope, read=self._metadata, metadata=metadata
        )

    def rows(self, packed: Sequence[bytes]) -> Float32[np.ndarray, "n d"]:
        """Decodes embeddings of the file.

        Raises:
            GalleryError: An embedding cannot be read.
        """
        try:
            return unpack(packed, dtype=self._binding.dtype, dimension=self._binding.dimension)
        except (TypeError, ValueError) as error:
            raise unreadable(self._database.path, error) from error

    def _metadata(self, keys: Int64[np.ndarray, " n"]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields the metadata of the given records."""
        wanted = set(keys.tolist())
        for key, text in self._texts(keys):
            if key in wanted:
                yield key, metadata_of(text, self._database.path)

    def _texts(self, keys: Int64[np.ndarray, " n"]) -> Iterator[tuple[int, str]]:
        """Yields the metadata of the given records as text; all if a full scan is faster."""
        if len(keys) > max(AT_ONCE, len(self._index) // 4):
            yield from self._database.run("SELECT id, metadata FROM items")
            return
        query = "SELECT id, metadata FROM items WHERE id IN (SELECT value FROM json_each(?))"
        for start in range(0, len(keys), AT_ONCE):
            part = json.dumps(keys[start : start + AT_ONCE].tolist())
            yield from self._database.run(query, (part,))

    def _name(self, names: dict[int, str], identity: int) -> str:
        if identity not in names:
            raise damaged(self._database.path, "an item belongs to a missing identity", advice=REPAIR)
        return names[identity]

    def _changes(self) -> Changes:
        # The first read scans the tables; later ones use the index on `changed`.
        which = "changed > ?" if self._seen else "changed != ?"
        run = self._database.run
        removed = run("SELECT id FROM removed WHERE changed > ?", (self._seen,)).fetchall()
        names = dict(
            run(
                f"SELECT id, name FROM identities WHERE id IN (SELECT identity FROM items WHERE {which})",
                (self._seen,),
            )
        )
        cursor = run(f"SELECT id, item, identity, embedding FROM items WHERE {which}", (self._seen,))
        keys: list[int] = []
        items: list[str] = []
        identities: list[str] = []
        parts = [np.empty((0, self._binding.dimension), dtype=np.float32)]
        while rows := cursor.fetchmany(AT_ONCE):
            keys += [row[0] for row in rows]
            items += [row[1] for row in rows]
            identities += [self._name(names, row[2]) for row in rows]
            parts.append(self.rows([row[3] for row in rows]))
        for texts, what in ((items, "items"), (identities, "identities")):
            check_column(texts, str, what, self._database.path)
        return Changes(
            np.array([key for (key,) in removed], dtype=np.int64),
            np.array(keys, dtype=np.int64),
            items,
            identities,
            np.concatenate(parts),
        )

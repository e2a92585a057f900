"""The index in memory over a SQLite file, and how it keeps up with what any process writes there.

The index is never saved. It follows the file through a counter that every write advances, so that it also
sees what other processes wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np

from trine.errors import GalleryError
from trine.gallery.index import Changes, Index, Match
from trine.gallery.quantization import unpack
from trine.gallery.sqlite.database import Database
from trine.gallery.store import Binding, Scope
from trine.shapes import Float32, Int64

AT_ONCE = 4096
"""How many rows are read or named in one statement."""


class IndexSync:
    """The records of one file, in memory.

    Args:
        database: The file.
        binding: What its embeddings are.
    """

    def __init__(self, database: Database, binding: Binding) -> None:
        """Has read nothing yet."""
        self._database = database
        self._binding = binding
        self._index = Index(dimension=binding.dimension, distance=binding.distance)
        self._seen = 0

    def follow(self, stamp: int) -> None:
        """Brings the index up to date; to be called within one reading of the file, with its stamp."""
        if stamp != self._seen:
            self._index.apply(self._changes())
            self._seen = stamp

    def search(self, queries: Float32[np.ndarray, "q d"], *, k: int, scope: Scope) -> list[list[Match]]:
        """Searches the index; within the same reading of the file where the scope has a filter."""
        return self._index.search(queries, k=k, scope=scope, metadata=self._values)

    def metadata(self, keys: Sequence[int]) -> dict[int, str]:
        """Returns the metadata of records by their keys."""
        texts: dict[int, str] = {}
        for start in range(0, len(keys), AT_ONCE):
            query = "SELECT id, metadata FROM items WHERE id IN (SELECT value FROM json_each(?))"
            texts |= self._database.run(query, (json.dumps(keys[start : start + AT_ONCE]),)).fetchall()
        return texts

    def rows(self, packed: Sequence[bytes]) -> Float32[np.ndarray, "n d"]:
        """Reads embeddings as the file keeps them.

        Raises:
            GalleryError: One cannot be read.
        """
        try:
            return unpack(packed, dtype=self._binding.dtype, dimension=self._binding.dimension)
        except (TypeError, ValueError) as error:
            raise GalleryError(
                f"the gallery {self._database.path} is damaged: an embedding cannot be read ({error}): "
                f"repair it, or restore it from a backup"
            ) from error

    def _values(self, keys: Int64[np.ndarray, " n"]) -> Iterable[tuple[int, str]]:
        """The metadata of records, and of others where that is faster."""
        if len(keys) > AT_ONCE:
            return self._database.run("SELECT id, metadata FROM items")
        return self.metadata(keys.tolist()).items()

    def _changes(self) -> Changes:
        # A first reading takes the tables as they lie; a later one goes by the index of what changed.
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
            identities += [names[row[2]] for row in rows]
            parts.append(self.rows([row[3] for row in rows]))
        return Changes(
            np.array([key for (key,) in removed], dtype=np.int64),
            np.array(keys, dtype=np.int64),
            items,
            identities,
            np.concatenate(parts),
        )

"""What benchmarks/gallery.py compares: a gallery in any store, bare FAISS as the limit, and LanceDB.

LanceDB is measured where Python finds it (the other things it needs are installed with trine):

    pip install --no-deps --target peers lancedb==0.40.0 lance-namespace lance-namespace-urllib3-client
    pip install --no-deps --target peers deprecation overrides urllib3
    PYTHONPATH=peers python benchmarks/gallery.py
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np

from trine.gallery import Entry, Gallery

K = 10
GROUPS = 100
"""Every item is of one of so many groups; a filtered search asks for one."""

Rows = np.ndarray[Any, np.dtype[np.float32]]


class Contender(Protocol):
    """Something that keeps rows under numbers and finds the nearest."""

    name: str
    durable: bool
    """Whether a row that was added has reached the disk when the call returns."""

    def add(self, rows: Rows, first: int) -> None:
        """Adds many rows, numbered from `first`."""

    def add_one(self, row: Rows, number: int) -> None:
        """Adds one row."""

    def ready(self) -> None:
        """Does once what it takes to search fast, after many rows were added."""

    def search(self, query: Rows) -> list[int]:
        """The numbers of the ten nearest."""

    def search_many(self, queries: Rows) -> None:
        """Asks for all queries in one call."""

    def search_group(self, query: Rows, group: int) -> list[int]:
        """The numbers of the ten nearest of one group."""

    def reopen(self) -> None:
        """Opens again what was closed, as another process would."""

    def close(self) -> None:
        """Lets go."""

    def size(self) -> int:
        """Bytes where it is kept."""


@dataclass
class Kept:
    """A gallery, in the store that its address names."""

    name: str
    address: str
    dtype: Any = None
    durable: bool = True

    def __post_init__(self) -> None:
        self._gallery = Gallery.open(
            self.address, dimension=128, fingerprint="benchmark", threshold=1.0, dtype=self.dtype
        )

    def add(self, rows: Rows, first: int) -> None:
        self._gallery.enrol_many(self._entries(rows, first))

    def _entries(self, rows: Rows, first: int) -> Iterator[Entry]:
        for i, row in enumerate(rows, start=first):
            yield Entry(f"person {i // 20}", f"item {i}", row, metadata={"group": i % GROUPS})

    def add_one(self, row: Rows, number: int) -> None:
        self._gallery.enrol("person new", f"item {number}", embedding=row, metadata={"group": 0})

    def ready(self) -> None:
        # From a million rows on a gallery answers exactly at first, and learns lists when asked often.
        queries = np.random.default_rng(0).standard_normal((1001, 128), dtype=np.float32)
        self._gallery.identify_many(embeddings=queries)

    def search(self, query: Rows) -> list[int]:
        return [int(hit.item[5:]) for hit in self._gallery.search(embedding=query, k=K)]

    def search_many(self, queries: Rows) -> None:
        self._gallery.identify_many(embeddings=queries)

    def search_group(self, query: Rows, group: int) -> list[int]:
        hits = self._gallery.search(embedding=query, k=K, where={"group": group})
        return [int(hit.item[5:]) for hit in hits]

    def reopen(self) -> None:
        self._gallery = Gallery.open(self.address)

    def close(self) -> None:
        self._gallery.close()

    def size(self) -> int:
        with Gallery.open(self.address) as gallery:
            return gallery._store.size()


class Flat:
    """FAISS alone: numbers in memory, no names, nothing kept. What no gallery can be faster than."""

    name = "FAISS flat"
    durable = False

    def __init__(self) -> None:
        self._index = faiss.IndexFlatL2(128)

    def add(self, rows: Rows, first: int) -> None:
        self._index.add(rows)

    def add_one(self, row: Rows, number: int) -> None:
        self._index.add(row[None])

    def ready(self) -> None:
        pass

    def search(self, query: Rows) -> list[int]:
        return self._index.search(query[None], K)[1][0].tolist()

    def search_many(self, queries: Rows) -> None:
        self._index.search(queries, K)

    def search_group(self, query: Rows, group: int) -> list[int]:
        numbers = np.arange(group, self._index.ntotal, GROUPS)
        chosen = faiss.SearchParameters(sel=faiss.IDSelectorBatch(numbers))
        return self._index.search(query[None], K, params=chosen)[1][0].tolist()

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        pass

    def size(self) -> int:
        return 4 * 128 * self._index.ntotal


class Lance:
    """LanceDB; with `lists`, after its index of inverted lists was built, at its own settings."""

    durable = False  # strace sees no fsync

    def __init__(self, folder: Path, *, lists: bool = False) -> None:
        self.name = "LanceDB, inverted lists" if lists else "LanceDB"
        self._folder, self._lists = folder, lists
        self._table: Any = None

    def _rows(self, rows: Rows, first: int) -> Any:
        import pyarrow as pa

        numbers = np.arange(first, first + len(rows))
        return pa.table(
            {
                "item": [f"item {i}" for i in numbers],
                "identity": [f"person {i // 20}" for i in numbers],
                "group": numbers % GROUPS,
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 128),
            }
        )

    def add(self, rows: Rows, first: int) -> None:
        import lancedb

        if self._table is None:
            self._table = lancedb.connect(self._folder).create_table(
                "t", schema=self._rows(rows[:1], 0).schema
            )
        for start in range(0, len(rows), 1 << 16):
            self._table.add(self._rows(rows[start : start + (1 << 16)], first + start))

    def add_one(self, row: Rows, number: int) -> None:
        self._table.add(self._rows(row[None], number))

    def ready(self) -> None:
        if self._lists:
            from lancedb.index import IvfFlat

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._table.create_index("vector", config=IvfFlat(distance_type="l2"))

    def search(self, query: Rows) -> list[int]:
        return self._found(self._table.search(query))

    def _found(self, query: Any) -> list[int]:
        found = query.limit(K).select(["item", "identity", "group", "_distance"]).to_list()
        return [int(row["item"][5:]) for row in found]

    def search_many(self, queries: Rows) -> None:
        self._found(self._table.search(queries))

    def search_group(self, query: Rows, group: int) -> list[int]:
        return self._found(self._table.search(query).where(f"`group` = {group}", prefilter=True))

    def reopen(self) -> None:
        import lancedb

        self._table = lancedb.connect(self._folder).open_table("t")

    def close(self) -> None:
        self._table = None

    def size(self) -> int:
        return sum(file.stat().st_size for file in self._folder.rglob("*") if file.is_file())


def contenders(folder: Path, addresses: list[str]) -> list[Contender]:
    """All that can be compared here: FAISS first, then galleries, then what else Python finds."""
    galleries = [
        Kept("trine", str(folder / "float32.db")),
        Kept("trine, int8", str(folder / "int8.db"), "int8"),
        *(Kept(f"trine, {address.split('://')[0]}", address) for address in addresses),
    ]
    found: list[Contender] = [Flat(), *galleries]
    if importlib.util.find_spec("lancedb") is not None:
        found += [Lance(folder / "lance"), Lance(folder / "lance lists", lists=True)]
    return found

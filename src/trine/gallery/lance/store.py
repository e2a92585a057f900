"""Stores a gallery in LanceDB's tables, in a folder or a bucket that many machines share."""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trine.errors import GalleryError, TrineError, require
from trine.gallery.entries import Enrolment, Hit, Record
from trine.gallery.errors import REPAIR, check_column, damaged, unreadable
from trine.gallery.index import IndexSettings
from trine.gallery.lance import maintenance
from trine.gallery.lance.address import Address
from trine.gallery.lance.database import Change, Database, Snapshot
from trine.gallery.lance.errors import FAILURES
from trine.gallery.lance.rows import (
    AT_ONCE,
    ITEMS,
    NOTES,
    among,
    item_rows,
    numbers,
    quoted,
    schema,
    special_rows,
    staged_schema,
    stored,
    vectors,
)
from trine.gallery.lance.search import MemoryIndex, approximately
from trine.gallery.lance.settings import LanceSettings
from trine.gallery.sql_store import counted
from trine.gallery.sqlite import SqliteStore
from trine.gallery.sqlite.backup import finish, written_backup
from trine.gallery.sqlite.file import fill
from trine.gallery.store import EVERYBODY, UNREACHED, Binding, Scope, Store
from trine.interruption import check_interruption
from trine.shapes import Float32

FEW = 512
"""As many names are asked for at once; the time for a question grows faster than their number."""

RECORD = ("identity", "item", "embedding", "metadata", "source")


class LanceStore(Store):
    """Stores one gallery in LanceDB's tables; satisfies `trine.gallery.Store`.

    Safe to share between threads, and to open in several processes and on several machines. Do not use an
    open store after a fork.

    Each call that writes is one commit, and all commits happen one after another, as transactions of a
    database do: a call whose commit another one preceded is computed again from what is there then. Several
    calls cannot be joined in a transaction. Every read first asks the folder or the bucket for the latest
    version, so it sees all that was acknowledged, at the price of that question. `backup`, `scan` and
    `assign` of very many items are long; they read one version, and start again where they were if its files
    were deleted meanwhile.

    Up to `LanceSettings.large` items, `search` is exact, in memory. Above that it is approximate, by an index
    of LanceDB, with exact scores; with `?search=exact` in the address it is always exact. `forget` and
    `repair` rewrite the table and delete the old one with all its files.

    What was acknowledged survives the death of any process. It is not promised that it survives the loss
    of power of the machine that holds a folder, because LanceDB does not synchronise its files.

    Args:
        address: `lance:///folder` or `s3://bucket/name`; see `Address`.
        binding: What a new gallery is bound to; `None` opens an existing one.
        settings: When to compact, and when to search by an index of LanceDB.
        index: How the items of a gallery that is not large are indexed in memory.

    Raises:
        GalleryError: The gallery is missing or damaged, or its place cannot be used.
        InputError: The address is malformed.
        MissingDependencyError: lancedb is not installed.
    """

    def __init__(
        self,
        address: str,
        *,
        binding: Binding | None = None,
        settings: LanceSettings | None = None,
        index: IndexSettings | None = None,
    ) -> None:
        """Opens the gallery, or creates a missing one if a binding is given."""
        self._address = Address.parse(address)
        self._settings = settings or LanceSettings()
        self._index_settings = index or IndexSettings()
        self._database = Database(self._address, binding=binding, settings=self._settings)
        self.created = self._database.created
        self._offered: dict[str, int] = {}
        self._bind()

    @classmethod
    def restore_binding(cls, address: str) -> str:
        """Restores what a gallery is bound to from its copy; see `Gallery.repair_binding`."""
        return maintenance.restore_binding(Address.parse(address))

    def _bind(self) -> None:
        self._database.bound = None
        snapshot = self._database.current()
        self._binding = Binding.from_texts(snapshot.texts, self.address)
        wanted = schema(self._binding).field("embedding").type
        if snapshot.table.schema.field("embedding").type != wanted:
            raise damaged(self.address, "its embeddings have another size than its binding says")
        self._database.bound = snapshot.state.bound
        self._index = MemoryIndex(self.address, self._binding, self._index_settings)

    @property
    def address(self) -> str:
        return self._address.shown

    @property
    def binding(self) -> Binding:
        return self._binding

    def put(self, records: Sequence[Record]) -> Enrolment:
        latest = {record.item: record for record in records}
        if not latest:
            return Enrolment()
        packed = self._packed(list(latest.values()))
        done = self._database.write(lambda snapshot: self._put(snapshot, packed))
        self._index_if_large()
        return done

    def _packed(self, records: Sequence[Record], binding: Binding | None = None) -> list[Record]:
        """Returns records with the embeddings that the store holds."""
        rows = np.stack([record.embedding for record in records])
        kept = stored(rows, binding or self._binding, [record.item for record in records])
        return [replace(record, embedding=row) for record, row in zip(records, kept, strict=True)]

    def _put(self, snapshot: Snapshot, records: Sequence[Record]) -> Change[Enrolment]:
        there = self._there(snapshot, [record.item for record in records])
        changed: list[Record] = []
        clusters: list[int | None] = []
        keys: list[int] = []
        state = snapshot.state
        largest = state.numbers
        for record in records:
            known = there.get(record.item)
            if known is None:
                largest += 1
                keys.append(largest)
                clusters.append(None)
                changed.append(record)
                continue
            before, cluster, number = known
            same = np.array_equal(before.embedding, record.embedding)
            if same and before == record:
                continue
            changed.append(record)
            clusters.append(cluster if same else None)
            keys.append(number)
        done = counted(records, there, len(changed))
        if not changed:
            return Change(done)
        stamps = [state.stamp + 1] * len(changed)
        rows = item_rows(
            changed, self._binding, cluster=clusters, number=keys, written=stamps, changed=stamps
        )
        return Change(done, (rows,), state=replace(state, numbers=largest, items=state.items + done.new))

    def _there(self, snapshot: Snapshot, items: Sequence[str]) -> dict[str, tuple[Record, int | None, int]]:
        """Returns those of the named items that exist, each with its cluster and its number."""
        found = {}
        if len(items) > FEW:  # most are new: one look at all names is faster than questions for each
            all_names = snapshot.rows(ITEMS, ["item"])["item"]
            wanted = self._database.arrow.array(list(items), all_names.type)
            is_in = require("pyarrow.compute", extra="lancedb").is_in
            items = all_names.filter(is_in(all_names, wanted)).unique().to_pylist()
        for start in range(0, len(items), FEW):
            rows = snapshot.rows(
                f"{ITEMS} AND {among('item', items[start : start + FEW])}",
                [*RECORD, "cluster", "number"],
            )
            for record, cluster, number in zip(
                self._records(rows), rows["cluster"].to_pylist(), rows["number"].to_pylist(), strict=True
            ):
                found[record.item] = record, cluster, number
        return found

    def _records(self, rows: Any) -> list[Record]:
        """Reads records from rows with the columns `RECORD`."""
        names = ("identity", "item", "metadata", "source")
        columns = {name: rows.column(name).to_pylist() for name in names}
        for name, what in zip(names, ("identities", "items", "metadata", "sources"), strict=True):
            check_column(columns[name], str, what, self.address, optional=name == "source")
        try:
            embeddings = numbers(rows.column("embedding"), self._binding.dimension)
        except ValueError as error:
            raise unreadable(self.address, error) from error
        return [
            Record(identity, item, row, metadata, source)
            for identity, item, metadata, source, row in zip(*columns.values(), embeddings, strict=True)
        ]

    def validate(self, records: Sequence[Record]) -> None:
        if records:
            self._packed(records)

    def remove(self, items: Sequence[str]) -> int:
        names = list(dict.fromkeys(items))
        return sum(
            self._delete(among("item", names[start : start + AT_ONCE]))
            for start in range(0, len(names), AT_ONCE)
        )

    def _delete(self, condition: str, **state: Any) -> int:
        def body(snapshot: Snapshot) -> Change[int]:
            where = f"{ITEMS} AND {condition}"
            before = snapshot.state
            count = snapshot.table.count_rows(where)
            if not count and not state:
                return Change(0)
            after = replace(before, items=before.items - count, removed=before.stamp + 1, **state)
            return Change(count, delete=where, state=after)

        return self._database.write(body)

    def forget(self, identity: str) -> int:
        count = self._delete(f"identity = {quoted(identity)}", traces=True)
        maintenance.purge(self._database)
        return count

    def relabel(self, items: Sequence[str], identity: str) -> int:
        names = list(dict.fromkeys(items))
        return sum(
            self._move(
                f"{among('item', names[start : start + AT_ONCE])} AND identity <> {quoted(identity)}",
                identity,
            )
            for start in range(0, len(names), AT_ONCE)
        )

    def rename(self, identity: str, to: str) -> int:
        return self._move(f"identity = {quoted(identity)}", to)

    def _move(self, condition: str, identity: str) -> int:
        def body(snapshot: Snapshot) -> Change[int]:
            rows = snapshot.rows(f"{ITEMS} AND {condition}")
            if not rows.num_rows:
                return Change(0)
            return self._changed(snapshot, rows, rows.num_rows, identity=[identity] * rows.num_rows)

        return self._database.write(body)

    def _changed(self, snapshot: Snapshot, rows: Any, answer: Any, **columns: Sequence[Any]) -> Change[Any]:
        """Replaces columns of rows."""
        columns = {**columns, "changed": [snapshot.state.stamp + 1] * rows.num_rows}
        for name, values in columns.items():
            at = rows.schema.get_field_index(name)
            kind = rows.schema.field(name)
            rows = rows.set_column(at, kind, self._database.arrow.array(values, kind.type))
        return Change(answer, (rows,), state=snapshot.state)

    def get(self, items: Sequence[str]) -> dict[str, Record]:
        names = list(dict.fromkeys(items))
        there = self._database.read(lambda snapshot: self._there(snapshot, names))
        return {item: record for item, (record, *_) in there.items()}

    def scan(self) -> Iterator[Record]:
        yield from self._scanned({})

    def _scanned(self, staged: Mapping[str, int]) -> Iterator[Record]:
        """Yields every record, but for those that are staged as they were written; keeps when they were."""
        self._offered.clear()
        seen: list[Any] = []
        while True:
            snapshot = self._database.current()
            known = {item for part in seen for item in part.to_pylist()}
            try:
                for batch in snapshot.batches(ITEMS, [*RECORD, "written"]):
                    check_interruption()
                    seen.append(batch.column("item"))
                    stamps = batch.column("written").to_pylist()
                    for record, written in zip(self._records(batch), stamps, strict=True):
                        if record.item in known or staged.get(record.item) == written:
                            continue
                        self._offered[record.item] = written
                        yield record
                return
            except FAILURES as error:
                if isinstance(error, TrineError) or self._database.current() is snapshot:
                    raise

    def names(
        self, *, identity: str | None = None, cluster: int | None = None, after: str = "", limit: int
    ) -> list[str]:
        conditions = [ITEMS]
        if identity is not None:
            conditions.append(f"identity = {quoted(identity)}")
        if cluster is not None:
            conditions.append(f"cluster = {int(cluster)}")
        if after:
            conditions.append(f"item > {quoted(after)}")
        where = " AND ".join(conditions)
        rows = self._database.read(lambda snapshot: snapshot.rows(where, ["item"]))
        names = rows["item"].to_pylist()
        check_column(names, str, "items", self.address)
        return heapq.nsmallest(limit, names) if limit < len(names) else sorted(names)

    def search(
        self,
        queries: Float32[np.ndarray, "q d"],
        *,
        k: int,
        offset: int = 0,
        scope: Scope = EVERYBODY,
        metadata: bool = False,
    ) -> list[list[Hit]]:
        def body(snapshot: Snapshot) -> list[list[Hit]]:
            if not self._is_large(snapshot):
                return self._index.search(
                    snapshot, queries, k=k, offset=offset, scope=scope, metadata=metadata
                )
            found = [
                approximately(
                    snapshot,
                    self._binding,
                    query,
                    k=offset + k,
                    scope=scope,
                    settings=self._settings,
                    address=self.address,
                )[offset:]
                for query in queries
            ]
            return found if metadata else [[replace(hit, metadata={}) for hit in hits] for hits in found]

        return self._database.read(body)

    def _is_large(self, snapshot: Snapshot) -> bool:
        return not self._address.exact and snapshot.state.items > self._settings.large

    def _index_if_large(self) -> None:
        """Builds a missing index of a large gallery; without one, every search compares all items."""
        if not self._address.exact:
            with suppress(*FAILURES, GalleryError):  # the next write tries again
                maintenance.index(self._database)

    def identities(self) -> dict[str, int]:
        counts: Counter[str] = Counter()

        def body(snapshot: Snapshot) -> None:
            counts.clear()
            for batch in snapshot.batches(ITEMS, ["identity"]):
                for pair in batch.column("identity").value_counts().to_pylist():
                    counts[pair["values"]] += pair["counts"]

        self._database.read(body)
        check_column(counts, str, "identities", self.address)
        return dict(sorted(counts.items()))

    def __len__(self) -> int:
        return self._database.current().state.items

    def check_usable(self) -> None:
        len(self)

    def revision(self) -> str:
        return str(self._database.current().state.stamp)

    def size(self) -> int:
        folder = self._address.folder
        if folder is None:
            return int(self._database.read(lambda snapshot: snapshot.table.stats()["total_bytes"]))
        total = 0
        for file in folder.rglob("*"):
            with suppress(FileNotFoundError):  # compacted meanwhile
                total += file.stat().st_size if file.is_file() else 0
        return total

    def clusters(self) -> dict[str, int]:
        where = f"{ITEMS} AND cluster IS NOT NULL"
        rows = self._database.read(lambda snapshot: snapshot.rows(where, ["item", "cluster"]))
        found = dict(zip(rows["item"].to_pylist(), rows["cluster"].to_pylist(), strict=True))
        if not all(0 <= number < UNREACHED for number in found.values()):
            raise damaged(self.address, "some clusters have numbers that none can have", advice=REPAIR)
        return found

    def new_clusters(self, count: int) -> list[int]:
        def body(snapshot: Snapshot) -> Change[int]:
            last = snapshot.state.clusters + count
            return Change(last, state=replace(snapshot.state, clusters=last) if count else None)

        last = self._database.write(body)
        return list(range(last - count + 1, last + 1))

    def assign(self, clusters: Mapping[str, int]) -> None:
        names, largest = list(clusters), max(clusters.values(), default=0)
        for start in range(0, len(names), AT_ONCE):
            where = f"{ITEMS} AND {among('item', names[start : start + AT_ONCE])}"

            def body(snapshot: Snapshot, where: str = where) -> Change[None]:
                rows = snapshot.rows(where)
                numbers = [clusters[item] for item in rows["item"].to_pylist()]
                change: Change[None] = self._changed(snapshot, rows, None, cluster=numbers)
                used = max(largest, snapshot.state.clusters)
                return replace(change, state=replace(snapshot.state, clusters=used))

            self._database.write(body)

    def notes(self) -> dict[str, str]:
        specials = self._database.current().specials
        return {key[len(NOTES) :]: text for key, text in specials.items() if key.startswith(NOTES)}

    def note(self, name: str, text: str | None) -> None:
        key = NOTES + name

        def body(snapshot: Snapshot) -> Change[None]:
            stamp = snapshot.state.stamp + 1
            if text is None:
                if key not in snapshot.specials:
                    return Change(None)
                after = replace(snapshot.state, removed=stamp)
                return Change(None, delete=f"item = {quoted(key)}", state=after)
            rows = special_rows({key: text}, self._binding, changed=stamp)
            return Change(None, (rows,), state=snapshot.state)

        self._database.write(body)

    def check(self) -> list[str]:
        return maintenance.check(self._database, self._binding)

    def repair(self, *, drop_damaged: bool = False) -> list[str]:
        done = maintenance.repair(self._database, self._binding, drop_damaged=drop_damaged)
        self._index_if_large()
        return done

    def backup(self, path: Path, *, overwrite: bool = False) -> int:
        with written_backup(path, overwrite=overwrite) as unfinished:

            def body(snapshot: Snapshot) -> int:
                unfinished.write_bytes(b"")  # again, if the files of an earlier moment were deleted
                with closing(sqlite3.connect(unfinished)) as connection:
                    fill(connection, self._binding)
                with closing(SqliteStore(unfinished)) as copy:
                    self._copy(snapshot, copy)
                    return len(copy)

            count = self._database.read(body)
            with closing(sqlite3.connect(unfinished)) as connection:
                finish(connection)
            return count

    def _copy(self, snapshot: Snapshot, copy: SqliteStore) -> None:
        """Copies everything but staged embeddings, as of one moment."""
        for batch in snapshot.batches(ITEMS, [*RECORD, "cluster"]):
            records = self._records(batch)
            copy.put(records)
            clusters = zip(records, batch.column("cluster").to_pylist(), strict=True)
            copy.assign({record.item: number for record, number in clusters if number is not None})
        for key, text in snapshot.specials.items():
            if key.startswith(NOTES):
                copy.note(key[len(NOTES) :], text)
        copy.use_clusters(snapshot.state.clusters)
        if len(copy) != snapshot.state.items:
            raise GalleryError(f"the backup of {self.address} lacks items: check the gallery")

    def unstaged(self, binding: Binding) -> Iterator[Record]:
        text = json.dumps(binding.to_texts(), sort_keys=True)
        before: list[str] = []

        def begin(snapshot: Snapshot) -> Change[str]:
            staged = snapshot.state.staged
            if staged is not None and staged[0] == text:
                return Change(staged[1])
            before[:] = [] if staged is None else [staged[1]]
            name = self._database.new_staged_name()
            return Change(name, state=replace(snapshot.state, staged=(text, name)))

        name = self._database.write(begin)
        for old in before:
            self._database.drop(old)
        yield from self._scanned(self._staged(name))

    def _staged(self, name: str) -> dict[str, int]:
        """Returns when the items with a staged embedding had been written."""
        table = self._database.staged_table(name)
        if table is None:
            return {}
        rows = table.search().select(["item", "written"]).to_arrow()
        return dict(zip(rows["item"].to_pylist(), rows["written"].to_pylist(), strict=True))

    def stage(self, binding: Binding, records: Sequence[Record]) -> None:
        if not records:
            return
        staged = self._database.current().state.staged
        if staged is None or staged[0] != json.dumps(binding.to_texts(), sort_keys=True):
            what = "is being rebuilt with another encoder by another process"
            raise GalleryError(f"the gallery {self.address} {what}")
        kept = {record.item: record for record in self._packed(records, binding)}
        stamps = {item: self._offered.pop(item, None) for item in kept}
        chosen = [record for item, record in kept.items() if stamps[item] is not None]
        if not chosen:
            return
        pa, columns = self._database.arrow, staged_schema(binding)
        rows = pa.Table.from_arrays(
            [
                pa.array([record.item for record in chosen]),
                pa.array([stamps[record.item] for record in chosen], pa.int64()),
                vectors(np.stack([record.embedding for record in chosen]), binding),
            ],
            schema=columns,
        )
        table = self._database.staged_table(staged[1], columns)
        merge = table.merge_insert("item").when_matched_update_all().when_not_matched_insert_all()
        merge.use_index(False).execute(rows)

    def staged(self, binding: Binding) -> Iterator[tuple[str, Float32[np.ndarray, " d"]]]:
        snapshot = self._database.current()
        staged = snapshot.state.staged
        if staged is None or staged[0] != json.dumps(binding.to_texts(), sort_keys=True):
            return
        table = self._database.staged_table(staged[1])
        if table is None:
            return
        rows = table.search().select(["item", "written", "embedding"]).to_arrow()
        embeddings = numbers(rows.column("embedding"), binding.dimension)
        stamps, names = rows.column("written").to_pylist(), rows.column("item").to_pylist()
        found = {name: (written, row) for name, written, row in zip(names, stamps, embeddings, strict=True)}
        for batch in snapshot.batches(ITEMS, ["item", "written"]):
            for name, written in zip(
                batch.column("item").to_pylist(), batch.column("written").to_pylist(), strict=True
            ):
                if name in found and found[name][0] == written:
                    yield name, found[name][1]

    def switch(self, binding: Binding, *, drop: Collection[str] = ()) -> bool:
        text = json.dumps(binding.to_texts(), sort_keys=True)
        dropped: list[int] = []

        def rows(snapshot: Snapshot) -> Iterable[Any] | None:
            staged = snapshot.state.staged
            if staged is None or staged[0] != text:
                return None
            written = self._staged(staged[1])
            bare: set[str] = set()
            for batch in snapshot.batches(ITEMS, ["item", "written"]):
                columns = (batch.column(name).to_pylist() for name in ("item", "written"))
                bare |= {item for item, stamp in zip(*columns, strict=True) if written.get(item) != stamp}
            if not bare <= set(drop):
                return None
            dropped[:] = [len(bare)]
            table = self._database.staged_table(staged[1])
            return self._switched(snapshot, table, binding, bare)

        done = self._database.rewrite(
            rows,
            state=lambda before: replace(
                before,
                bound=before.bound + 1,
                staged=None,
                items=before.items - dropped[0],
                removed=before.stamp,
            ),
            binding=binding,
        )
        if done:
            self._bind()
        return done

    def _switched(
        self, snapshot: Snapshot, staged: Any, binding: Binding, bare: Collection[str]
    ) -> Iterator[Any]:
        """Yields the rows with their staged embeddings, without those that have none."""
        pa, columns = self._database.arrow, schema(binding)
        special = {key: text for key, text in snapshot.specials.items() if key.startswith(NOTES)}
        yield special_rows(special, binding, changed=snapshot.state.stamp)
        for batch in snapshot.batches(ITEMS):
            rows = pa.Table.from_batches([batch])
            if bare:
                rows = rows.filter(pa.array([item not in bare for item in batch.column("item").to_pylist()]))
            items = rows["item"].to_pylist()
            if not items:
                continue
            found = staged.search().where(among("item", items)).select(["item", "embedding"]).to_arrow()
            place = {item: at for at, item in enumerate(found["item"].to_pylist())}
            fresh = numbers(found["embedding"], binding.dimension)[[place[item] for item in items]]
            stamps = pa.array([snapshot.state.stamp] * len(items), pa.int64())
            arrays = [
                vectors(fresh, binding)
                if name == "embedding"
                else stamps
                if name in ("changed", "written")
                else rows[name].combine_chunks()
                for name in columns.names
            ]
            yield pa.Table.from_arrays(arrays, schema=columns)

    def close(self) -> None:
        self._database.close()

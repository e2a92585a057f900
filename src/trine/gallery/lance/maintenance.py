"""Checks and repairs a gallery in LanceDB's tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from trine.errors import Argument, GalleryError, require
from trine.gallery.errors import missing, traces_left
from trine.gallery.lance.address import Address
from trine.gallery.lance.database import Change, Database, Snapshot
from trine.gallery.lance.errors import FAILURES
from trine.gallery.lance.index import is_due, is_indexed
from trine.gallery.lance.rows import AT_ONCE, BINDING, ITEMS, STATE, State, among, quoted, special_rows
from trine.gallery.sqlite.damaged import isolated
from trine.gallery.store import UNREACHED, Binding, unsealed
from trine.plain_json import parse_json

SHOWN = 100
"""How many damaged items `check` names for each fault; it counts the rest."""


def check(database: Database, binding: Binding) -> list[str]:
    """Returns one sentence for each problem."""
    return database.read(lambda snapshot: _problems(snapshot, binding))


def _problems(snapshot: Snapshot, binding: Binding) -> list[str]:
    problems: list[str] = []
    faults: dict[str, list[str]] = {}
    counts: Counter[str] = Counter()
    for item, fault in _faults(snapshot, binding):
        counts[item] += 1
        if fault is not None:
            faults.setdefault(fault, []).append(item)
    for fault, items in faults.items():
        problems += [f"the item {item[:80]!r} {fault}" for item in items[:SHOWN]]
        if len(items) > SHOWN:
            problems.append(f"{len(items) - SHOWN:,} more items: {fault}")
    twice = sorted(item for item, count in counts.items() if count > 1)
    problems += [f"the item {item[:80]!r} is there {counts[item]} times" for item in twice[:SHOWN]]
    if len(twice) > SHOWN:
        problems.append(f"{len(twice) - SHOWN:,} more items are there more than once")
    if counts.total() != snapshot.state.items:
        problems.append(
            f"the gallery has {counts.total():,} items, but its state says {snapshot.state.items:,}"
        )
    if snapshot.state.traces:
        problems.append("traces of forgotten items may remain in the files")
    if unsealed(snapshot.specials.get(BINDING, "")) is None:
        problems.append("the copy of what the gallery is bound to is damaged")
    return problems


def _faults(snapshot: Snapshot, binding: Binding) -> Iterator[tuple[str, str | None]]:
    """Yields every item, and what is wrong with it."""
    names = ["item", "identity", "embedding", "metadata", "cluster"]
    for batch in snapshot.batches(ITEMS, names):
        vectors = batch.column("embedding")
        # Rows that are missing count as not finite.
        numbers = np.full((len(vectors), binding.dimension), np.nan, dtype=np.float32)
        there = np.asarray(vectors.is_valid())
        numbers[there] = vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, binding.dimension)
        finite = np.logical_and.reduce(np.isfinite(numbers), axis=1).tolist()
        columns = [batch.column(name).to_pylist() for name in ("item", "identity", "metadata", "cluster")]
        for sound, item, identity, metadata, cluster in zip(finite, *columns, strict=True):
            yield str(item), _fault(sound, item, identity, metadata, cluster)


def _fault(sound: bool, item: str | None, identity: str | None, metadata: Any, cluster: Any) -> str | None:
    if not item or not identity:
        return "has no name or no identity"
    if not sound:
        return "has an embedding that is missing or not finite"
    if cluster is not None and not 0 <= cluster < UNREACHED:
        return "has a cluster that is not the number of one"
    try:
        if isinstance(parse_json(metadata), dict):
            return None
    except (TypeError, ValueError):
        pass
    return "has metadata that is not a JSON object"


def repair(database: Database, binding: Binding, *, drop_damaged: bool) -> list[str]:
    """Fixes what `check` finds, and returns one sentence for each fix.

    Raises:
        GalleryError: More than isolated items cannot be read.
    """
    done = _drop_damaged(database, binding, any_number=drop_damaged)
    done += _drop_duplicates(database)
    done += _count(database)
    if unsealed(database.current().specials.get(BINDING, "")) is None:
        database.write(lambda now: Change(None, state=now.state, texts=now.texts))
        done.append("a copy of what the gallery is bound to was written")
    if database.current().state.traces:
        purge(database)
        done.append("traces of forgotten items were wiped")
    left = database.tidy_up()
    if left:
        done.append(f"tables that interrupted calls had left were deleted: {left}")
    return done


def index(database: Database) -> None:
    """Puts a new table with an index in the place of the current one, if that is due.

    Raises:
        GalleryError: It could not.
    """
    settings = database.settings

    def rows(snapshot: Snapshot) -> Iterator[Any] | None:
        state, binding = snapshot.state, Binding.from_texts(snapshot.texts, database.address.shown)
        if not is_due(state.items, binding, settings):
            return None
        grown = state.items > settings.regrown * state.indexed
        return _all_rows(snapshot) if grown or not is_indexed(snapshot.table) else None

    database.rewrite(rows, state=lambda state: state, follow=True)


def purge(database: Database) -> None:
    """Puts a new table without traces of deleted items in the place of the current one.

    Raises:
        GalleryError: It could not; the items are deleted.
    """
    try:
        database.rewrite(_all_rows, state=lambda state: replace(state, traces=False), follow=True)
    except (GalleryError, *FAILURES) as error:
        why = f" ({error}): repair the gallery"
        raise traces_left(database.address.shown, why) from error


def _all_rows(snapshot: Snapshot) -> Iterator[Any]:
    return snapshot.batches(f"item NOT IN ({_keys()})")


def _keys() -> str:
    return f"{quoted(STATE)}, {quoted(BINDING)}"


def _drop_damaged(database: Database, binding: Binding, *, any_number: bool) -> list[str]:
    names: list[str] = []

    def body(snapshot: Snapshot) -> Change[list[str]]:
        wrong = {item: fault for item, fault in _faults(snapshot, binding) if fault is not None}
        if not wrong:
            return Change([])
        total = snapshot.state.items
        if not (any_number or isolated(len(wrong), total)):
            raise GalleryError(
                f"{len(wrong):,} of the {total:,} items of the gallery {database.address.shown} cannot be "
                "read, so something else may be damaged than they: nothing was deleted; restore a backup, or "
                "delete them with ",
                Argument("drop_damaged", True),
            )
        where = f"{ITEMS} AND {among('item', sorted(wrong))}"
        rows = snapshot.rows(where)
        if not names:
            names.append(database.keep_aside(rows))
        item, fault = next(iter(wrong.items()))
        example = f"the item {item[:80]!r} {fault}"
        where_to = f"the table {names[0]} of {database.address.shown}"
        text = (
            f"items were deleted after they were set aside in {where_to}: {rows.num_rows}, such as {example}"
        )
        stamp = snapshot.state.stamp + 1
        state = replace(snapshot.state, removed=stamp, items=max(total - rows.num_rows, 0))
        return Change([text], delete=where, state=state)

    return database.write(body)


def _drop_duplicates(database: Database) -> list[str]:
    """Keeps of each item the row that was written last, in a new table."""
    found: list[str] = []

    def rows(snapshot: Snapshot) -> Iterator[Any] | None:
        query = snapshot.table.search().where(ITEMS).select(["item", "changed"]).with_row_id(True)
        columns = query.to_arrow()
        counts = Counter(columns["item"].to_pylist())
        twice = {item for item, count in counts.items() if count > 1}
        found[:] = sorted(twice)
        if not twice:
            return None
        order = zip(*(columns[name].to_pylist() for name in ("changed", "_rowid", "item")), strict=True)
        theirs = sorted(row for row in order if row[2] in twice)
        kept = {item: row for _, row, item in theirs}
        over = [row for _, row, item in theirs if kept[item] != row]
        items[0] = len(counts)
        return _without(database, snapshot, over)

    items = [0]

    def state(before: State) -> State:
        return replace(before, items=items[0], removed=before.stamp)

    database.rewrite(rows, state=state)
    return [f"items that were there more than once are there once: {len(found)}"] if found else []


def _without(database: Database, snapshot: Snapshot, over: list[int]) -> Iterator[Any]:
    compute = require("pyarrow.compute", extra="lancedb")
    dropped = database.arrow.array(over, "uint64")
    query = snapshot.table.search().where(f"item NOT IN ({_keys()})").with_row_id(True)
    for batch in query.to_batches(AT_ONCE):
        kept = batch.filter(compute.invert(compute.is_in(batch.column("_rowid"), dropped)))
        yield kept.select([name for name in kept.schema.names if name != "_rowid"])


def _count(database: Database) -> list[str]:
    def body(snapshot: Snapshot) -> Change[list[str]]:
        items = snapshot.table.count_rows(ITEMS)
        if items == snapshot.state.items:
            return Change([])
        return Change(["the items were counted again"], state=replace(snapshot.state, items=items))

    return database.write(body)


def restore_binding(address: Address) -> str:
    """Restores what a gallery is bound to, and its state, from the copy; see `Gallery.repair_binding`.

    Raises:
        GalleryError: There is no sound copy, or nothing to restore.
    """
    connection = require("lancedb", extra="lancedb").connect(address.place)
    names = sorted((name for name in connection.list_tables().tables if name.startswith("g")), reverse=True)
    if not names:
        raise missing(address.shown)
    for name in names:
        table = connection.open_table(name)
        rows = table.search().where("state IS NOT NULL").select(["item", "state"]).to_arrow()
        specials = dict(zip(rows["item"].to_pylist(), rows["state"].to_pylist(), strict=True))
        read = State.from_text(specials.get(STATE, ""))
        if read is None or read[0].live:
            break  # the others are not complete, or were given up
    copy = unsealed(specials.get(BINDING, ""))
    if copy is None or read is not None:
        raise GalleryError(
            f"what the gallery {address.shown} is bound to cannot be restored, because it has no sound copy "
            "of that: restore the gallery from a backup"
        )
    columns = table.search().where(ITEMS).select(["cluster", "number", "changed"]).to_arrow()
    largest = require("pyarrow.compute", extra="lancedb").max
    cluster, number, stamp = (
        largest(columns[name]).as_py() or 0 for name in ("cluster", "number", "changed")
    )
    # Others have it open as of an earlier moment: they must open it again.
    state = State(
        stamp=stamp + 1, bound=stamp + 1, items=columns.num_rows, clusters=cluster, numbers=number,
        removed=stamp + 1,
    )  # fmt: skip
    binding = Binding.from_texts(copy, address.shown)
    row = special_rows({STATE: state.to_text(copy)}, binding, changed=state.stamp)
    merge = table.merge_insert("item").when_matched_update_all().when_not_matched_insert_all()
    merge.execute(row, on_bad_vectors="null")
    return "what the gallery is bound to was restored from its copy, with its state"

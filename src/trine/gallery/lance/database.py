"""The tables of a gallery in LanceDB: finds the current one, reads it as of one moment, and writes to it.

The rows are in a table `g00000001-...`. What rewrites all of them (forgetting, a rebuild with another
encoder, a restoration) makes a new table, and then names it in the state of the old one, in a commit like
any other. So no write is lost between the two, and the old table can be deleted with all its files.

A new gallery begins with a table, too, that is not in use until all who create one have agreed on it: two
that create a table of one name at once would both succeed, and the later would replace the earlier.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Generic

from trine.errors import GalleryError, TrineError, require
from trine.gallery.errors import damaged_binding, missing, rebuilt_since
from trine.gallery.lance.address import Address
from trine.gallery.lance.errors import FAILURES, explain
from trine.gallery.lance.index import build_index, is_due
from trine.gallery.lance.rows import (
    AT_ONCE,
    BINDING,
    GUARD,
    ITEMS,
    STATE,
    State,
    among,
    quoted,
    schema,
    special_rows,
)
from trine.gallery.lance.settings import LanceSettings
from trine.gallery.sql_session import Answer
from trine.gallery.store import Binding, sealed, unsealed

TOKENS = 64
"""How many of the last writes a state names."""

_TABLE, _STAGED = "g", "s"

_FIRST = f"{_TABLE}{1:08}"


@dataclass(frozen=True)
class Snapshot:
    """A gallery as of one moment.

    Attributes:
        table: LanceDB's table, at one version.
        name: The name of the table.
        version: Its version.
        state: The state.
        texts: What the gallery is bound to, as texts.
        specials: The other rows that are no items, by key.
    """

    table: Any
    name: str
    version: int
    state: State
    texts: dict[str, str]
    specials: dict[str, str]

    def rows(self, where: str = ITEMS, columns: Sequence[str] | None = None) -> Any:
        """Returns the rows that meet a condition."""
        query = self.table.search().where(where)
        return (query if columns is None else query.select(list(columns))).to_arrow()

    def batches(self, where: str = ITEMS, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """Yields the rows that meet a condition, in batches."""
        query = self.table.search().where(where)
        query = query if columns is None else query.select(list(columns))
        for batch in query.to_batches(AT_ONCE):
            if batch.num_rows:
                yield batch


@dataclass(frozen=True)
class Change(Generic[Answer]):
    """What one write changes.

    Attributes:
        answer: What the call returns.
        rows: Rows to add or to replace.
        delete: The condition for rows to delete.
        state: The new state; its stamp and its tokens are set by the write.
        texts: What the gallery is bound to from now on, if that changes.
    """

    answer: Answer
    rows: Sequence[Any] = field(default=())
    delete: str | None = None
    state: State | None = None
    texts: dict[str, str] | None = None


class Database:
    """The tables of one gallery.

    Args:
        address: The gallery.
        binding: What a new gallery is bound to; `None` opens an existing one.
        settings: See `LanceSettings`.
        content: The state and the rows of a new gallery; by default it is empty.

    Raises:
        GalleryError: The gallery is missing or damaged, or its place cannot be used.
        MissingDependencyError: lancedb is not installed.
    """

    def __init__(
        self,
        address: Address,
        *,
        binding: Binding | None,
        settings: LanceSettings,
        content: tuple[State, Callable[[], Iterable[Any]]] | None = None,
    ) -> None:
        """Opens the gallery, or creates a missing one if a binding is given."""
        self.address = address
        self.settings = settings
        self.bound: int | None = None
        self.created = False
        self._lock = threading.RLock()
        self._closed = False
        self._content = content or (State(), tuple)
        # Its warnings, about empty lists of the index, help no user of a gallery.
        os.environ.setdefault("LANCEDB_LOG", "error")
        lancedb = require("lancedb", extra="lancedb")
        self.arrow = require("pyarrow", extra="lancedb")
        folder = address.folder
        if folder is not None and folder.exists() and not folder.is_dir():
            raise GalleryError(
                f"the gallery {address.shown} is a file, expected a folder: name another place"
            )
        if binding is None and folder is not None and not folder.is_dir():
            raise missing(address.shown)
        with self._errors():
            self._connection = lancedb.connect(address.place)
            self._snapshot = self._found(binding)
        self._live = self._connection.open_table(self._snapshot.name)

    def close(self) -> None:
        """Lets go of the tables; safe to call twice."""
        self._closed = True

    def current(self) -> Snapshot:
        """Returns the gallery as it is now.

        Raises:
            GalleryError: It was rebuilt with another encoder, or restored, since it was opened.
        """
        if self._closed:
            raise GalleryError(f"the gallery {self.address.shown} was closed: open it again")
        with self._lock, self._errors():
            known = self._snapshot
            try:
                self._live.checkout_latest()
                version = self._live.version
                if version != known.version:
                    known = self._opened(known.name)
            except FAILURES as error:
                if isinstance(error, TrineError):
                    raise
                known = self._found(None)
            if known.state.moved is not None:
                known = self._found(None)
            if known.name != self._snapshot.name:
                self._live = self._connection.open_table(known.name)
            self._snapshot = known
        if self.bound is not None and known.state.bound != self.bound:
            raise rebuilt_since(self.address.shown)
        return known

    def read(self, body: Callable[[Snapshot], Answer]) -> Answer:
        """Reads the gallery as of one moment, and again if its files were deleted meanwhile."""
        snapshot = self.current()
        while True:
            try:
                return body(snapshot)
            except FAILURES as error:
                if isinstance(error, TrineError):
                    raise
                before, snapshot = snapshot, self.current()
                if snapshot is before:
                    raise explain(error, self.address.shown) from error

    def write(self, body: Callable[[Snapshot], Change[Answer]]) -> Answer:
        """Writes what `body` makes of the gallery; calls it again if others wrote meanwhile.

        Raises:
            GalleryError: Nothing was written.
        """
        deadline, pause, failed = time.monotonic() + self.settings.wait, 0.005, 0
        while True:
            seen: list[Snapshot] = []

            def change_of(snapshot: Snapshot, seen: list[Snapshot] = seen) -> Change[Answer]:
                seen.append(snapshot)
                return body(snapshot)

            change = self.read(change_of)
            if not change.rows and change.delete is None and change.state is None:
                return change.answer
            before, token = seen[-1], uuid.uuid4().hex[:10]
            error: Exception | None = None
            try:
                self._commit(before, change, token)
            except FAILURES as failure:
                error = failure
            if self._holds(before, token, failed=error is not None):
                self._tidy()
                return change.answer
            now = self.current()
            # Without another write there was no conflict; LanceDB may have given up to a compaction.
            failed = failed + 1 if now.state.stamp == before.state.stamp else 0
            if error is not None and (failed > 5 or _fatal(error)):
                raise explain(error, self.address.shown, wrote=True) from error
            if time.monotonic() > deadline:
                raise GalleryError(
                    f"others wrote to the gallery {self.address.shown} without pause for "
                    f"{self.settings.wait:g} s: nothing of this call was written; try again"
                )
            time.sleep(random.uniform(0, pause))
            pause = min(2 * pause, 0.5)

    def rewrite(
        self,
        rows: Callable[[Snapshot], Iterable[Any] | None],
        *,
        state: Callable[[State], State],
        binding: Binding | None = None,
        follow: bool = False,
    ) -> bool:
        """Puts a new table in the place of the current one, and deletes that and all that is left over.

        The new table is indexed before, if it is large. Others read and write the old one meanwhile.

        Args:
            rows: Yields the rows of the new table, but for its state and its binding; `None` to give up.
            state: Makes the new state of the old one.
            binding: What the gallery is bound to from now on; as before if it is `None`.
            follow: Whether what is written meanwhile is copied to the new table; otherwise it is made again.

        Returns:
            Whether it was put in place.
        """
        deadline = time.monotonic() + 10 * self.settings.wait
        while True:
            before = self.current()
            name = f"{_TABLE}{int(before.name[1:9]) + 1:08}-{uuid.uuid4().hex[:8]}"
            texts = before.texts if binding is None else binding.to_texts()
            bound = Binding.from_texts(texts, self.address.shown)
            try:
                content = rows(before)
                if content is None:
                    return False
                renewed = self._renewing(state, before, bound)
                fresh = renewed(before.state)
                self._create(name, bound, texts, fresh, content)
                if fresh.indexed:
                    with contextlib.suppress(*FAILURES):  # it is searched exactly until the next write tries
                        built = self._connection.open_table(name)
                        build_index(built, bound, self.settings, items=fresh.indexed)
                moved = self._move(before, name, bound, renewed, follow=follow)
            except FAILURES as error:
                self.drop(name)
                if isinstance(error, TrineError):
                    raise
                if self.current() is before:
                    raise explain(error, self.address.shown, wrote=True) from error
                moved = False
            except BaseException:
                self.drop(name)
                raise
            if moved:
                break
            self.drop(name)
            if time.monotonic() > deadline:
                raise GalleryError(
                    f"others wrote to the gallery {self.address.shown} without pause: its table could not be "
                    "replaced; try again"
                )
        self.bound = None if self.bound is None else fresh.bound
        self.tidy_up()
        return True

    def _renewing(
        self, state: Callable[[State], State], before: Snapshot, bound: Binding
    ) -> Callable[[State], State]:
        """Returns what makes the state of a new table, which is not complete, of that of the old one."""
        fresh = state(before.state)
        searched = not self.address.exact or before.state.indexed > 0
        indexed = fresh.items if searched and is_due(fresh.items, bound, self.settings) else 0
        return lambda old: replace(state(old), live=False, moved=None, indexed=indexed)

    def tidy_up(self) -> int:
        """Deletes every table that is not in use, and returns how many.

        Raises:
            OSError: A table cannot be deleted.
            RuntimeError: A table cannot be deleted.
        """
        now = self.current()
        if not now.state.live:
            raise GalleryError(f"the new table of {self.address.shown} cannot be written: repair the gallery")
        kept = {now.name, *(() if now.state.staged is None else (now.state.staged[1],))}
        over = [name for name in self._names() if name[:1] in (_TABLE, _STAGED) and name not in kept]
        for name in over:
            self.drop(name, quietly=False)
        return len(over)

    def drop(self, name: str, *, quietly: bool = True) -> None:
        """Deletes a table, if it exists."""
        try:
            self._connection.drop_table(name, ignore_missing=True)
        except FAILURES as error:
            if not quietly and name in self._names():
                raise GalleryError(
                    f"a table of the gallery {self.address.shown} cannot be deleted: repair the gallery"
                ) from error

    def staged_table(self, name: str, columns: Any = None) -> Any:
        """Returns the table of staged embeddings; if columns are given, a missing one is created."""
        if name in self._names():
            return self._connection.open_table(name)
        if columns is None:
            return None
        with contextlib.suppress(ValueError):  # another process was faster
            return self._connection.create_table(name, schema=columns)
        return self._connection.open_table(name)

    def new_staged_name(self) -> str:
        """Returns an unused name for a table of staged embeddings."""
        return f"{_STAGED}{uuid.uuid4().hex[:16]}"

    def keep_aside(self, rows: Any) -> str:
        """Writes rows to a table of their own, and returns its name."""
        name = f"damaged-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
        self._connection.create_table(name, data=rows, on_bad_vectors="null")
        return name

    def latest(self) -> Any:
        """Returns LanceDB's table, to work on it."""
        return self._connection.open_table(self.current().name)

    def compact(self) -> None:
        """Merges small files, adds new rows to the index, and deletes old versions."""
        self.latest().optimize(cleanup_older_than=timedelta(seconds=max(self.settings.keep, 0.001)))

    def _tidy(self) -> None:
        """Compacts after every so many writes; a failure leaves that to the next one."""
        with self._lock:
            state = self._snapshot.state
        if state.stamp % (self.settings.compact + state.items // 10_000) == 0:
            with contextlib.suppress(*FAILURES, GalleryError):
                self.compact()

    def _commit(self, before: Snapshot, change: Change[Any], token: str) -> None:
        """Writes rows and a new state in one commit, if the state is still the one before.

        Raises:
            RuntimeError: It is another by now, or LanceDB could not write.
        """
        texts = change.texts or before.texts
        binding = Binding.from_texts(before.texts, self.address.shown)
        state, stamp = change.state or before.state, before.state.stamp + 1
        tokens = (*before.state.tokens, token)[-TOKENS:]
        state = replace(state, stamp=stamp, tokens=tokens, live=True)
        specials = {STATE: state.to_text(texts)}
        if change.texts is not None:
            specials[BINDING] = sealed(texts)
        own = special_rows(specials, binding, changed=stamp, was=before.state.stamp)
        with self._lock:
            table = self._live
        merge = table.merge_insert("item").when_matched_update_all(where=GUARD).when_not_matched_insert_all()
        if change.delete is not None:
            merge = merge.when_not_matched_by_source_delete(change.delete)
        merge.use_index(False).execute(self.arrow.concat_tables([own, *change.rows]), on_bad_vectors="null")

    def _holds(self, before: Snapshot, token: str, *, failed: bool) -> bool:
        """Returns whether a write is in the current table.

        An error may come after the commit. And a table that another process put another one in the place of,
        and deleted, might be made again by a write that was late.
        """
        with self._errors(wrote=True):
            if failed or any(name[:9] > before.name[:9] for name in self._names() if name.startswith(_TABLE)):
                with self._lock:
                    self._snapshot = self._found(None)
                    self._live = self._connection.open_table(self._snapshot.name)
        return token in self.current().state.tokens

    def _found(self, binding: Binding | None) -> Snapshot:
        """Finds the current table, or creates the first one if a binding is given."""
        error: Exception | None = None
        own: str | None = None
        for _ in range(10):
            names = sorted((n for n in self._names() if n.startswith(_TABLE)), reverse=True)
            for name in names:
                try:
                    found = self._opened(name)
                    if not found.state.live:
                        continue  # not complete, or named by an older one
                    while found.state.moved is not None:
                        found = self._opened(found.state.moved, finish=True)
                except FAILURES as failure:
                    if isinstance(failure, TrineError):
                        raise
                    error = failure  # half made, or just deleted
                    continue
                self.created = found.name == own
                return found
            if names and error is not None:
                time.sleep(0.02)
                continue
            if binding is None:
                raise missing(self.address.shown)
            if own is None:
                own = _first_name()
                state, rows = self._content
                self._create(own, binding, binding.to_texts(), replace(state, live=False), rows())
            try:
                self._agree()
            except FAILURES as failure:
                if isinstance(failure, TrineError):
                    raise
                error = failure
        raise explain(error or OSError("no table can be opened"), self.address.shown) from error

    def _agree(self) -> None:
        """Puts one of the first tables in use, if several processes create the gallery at once.

        That is the smallest by name, after all larger ones were given up; whoever has not seen it must not
        put a larger one in use by then. Both are commits that replace the state of the larger one, so only
        one of them happens. The others stay: if one was deleted, a commit that is late would make it again.
        """
        first: Snapshot | None = None
        for name in sorted(name for name in self._names() if name.startswith(_FIRST)):
            found = self._opened(name)
            if found.state.live:
                return
            if found.state.moved is not None:
                continue
            if first is None:
                first = found
            elif not self._mark(found, moved=first.name):
                return  # begin again
        if first is not None:
            self._mark(first, live=True)

    def _opened(self, name: str, *, finish: bool = False) -> Snapshot:
        table = self._connection.open_table(name)
        version = table.version
        rows = table.search().where("state IS NOT NULL").select(["item", "state"]).to_arrow()
        specials = dict(zip(rows["item"].to_pylist(), rows["state"].to_pylist(), strict=True))
        read = State.from_text(specials.pop(STATE, ""))
        if read is None:
            raise damaged_binding(
                self.address.shown, "its state cannot be read", restorable=BINDING in specials
            )
        state, texts = read
        copy = unsealed(specials.get(BINDING, ""))
        if copy is not None and copy != texts:
            raise damaged_binding(
                self.address.shown, "its state and the copy of its binding differ", restorable=False
            )
        found = Snapshot(table, name, version, state, texts, specials)
        if finish and not state.live:
            self._mark(found, live=True)  # nothing happens if another process did so
            return self._opened(name)
        return found

    def _create(
        self, name: str, binding: Binding, texts: dict[str, str], state: State, rows: Iterable[Any]
    ) -> None:
        specials = {STATE: state.to_text(texts), BINDING: sealed(texts)}

        def batches() -> Iterator[Any]:
            yield from special_rows(specials, binding, changed=state.stamp).to_batches()
            for table in rows:
                yield from (table.to_batches() if hasattr(table, "to_batches") else [table])

        columns = schema(binding)
        reader = self.arrow.RecordBatchReader.from_batches(columns, batches())
        self._connection.create_table(name, data=reader, schema=columns, on_bad_vectors="null")

    def _move(
        self,
        before: Snapshot,
        name: str,
        binding: Binding,
        state: Callable[[State], State],
        *,
        follow: bool,
    ) -> bool:
        """Names a complete table in the state of the current one; returns whether it could."""
        built = self._connection.open_table(name)
        texts = binding.to_texts()
        while True:
            fresh = state(before.state)
            token = uuid.uuid4().hex[:10]
            with contextlib.suppress(*FAILURES):  # what it did is read below
                self._commit(before, Change(None, state=replace(before.state, moved=name)), token)
            latest = self._connection.open_table(before.name)
            rows = latest.search().where("state IS NOT NULL").select(["item", "state"]).to_arrow()
            found = dict(zip(rows["item"].to_pylist(), rows["state"].to_pylist(), strict=True))
            read = State.from_text(found[STATE])
            assert read is not None
            if read[0].moved == name:
                break
            if read[0].moved is not None or not follow:
                return False
            now = self.current()
            if now.name != before.name:
                return False
            self._catch_up(built, now, since=before.state.stamp)
            fresh = state(now.state)
            own = special_rows(
                {STATE: fresh.to_text(texts)}, binding, changed=fresh.stamp, was=before.state.stamp
            )
            _upsert(built, own)
            before = now
        snapshot = Snapshot(built, name, 0, fresh, texts, {})
        self._mark(snapshot, live=True)
        return True

    def _mark(self, found: Snapshot, **changes: Any) -> bool:
        """Changes the state of a table that is not in use; returns whether it still was as it was found."""
        state = replace(found.state, stamp=found.state.stamp + 1, **changes)
        bound = Binding.from_texts(found.texts, self.address.shown)
        own = special_rows(
            {STATE: state.to_text(found.texts)}, bound, changed=state.stamp, was=found.state.stamp
        )
        merge = self._connection.open_table(found.name).merge_insert("item")
        try:
            merge.when_matched_update_all(where=GUARD).use_index(False).execute(own, on_bad_vectors="null")
        except RuntimeError:
            return False
        return True

    def _catch_up(self, built: Any, now: Snapshot, *, since: int) -> None:
        """Copies what was written since a stamp."""
        newer = now.rows(f"changed > {since} AND item <> {quoted(STATE)}")
        if newer.num_rows:
            _upsert(built, newer)
        if now.state.removed > since:
            built.checkout_latest()
            there = set(built.search().select(["item"]).to_arrow()["item"].to_pylist())
            gone = sorted(there - set(now.rows("item IS NOT NULL", ["item"])["item"].to_pylist()))
            for start in range(0, len(gone), AT_ONCE):
                built.delete(among("item", gone[start : start + AT_ONCE]))

    def _names(self) -> list[str]:
        names: list[str] = []
        token = None
        while True:
            page = self._connection.list_tables(page_token=token)
            names += page.tables
            token = page.page_token
            if not token:
                return names

    @contextlib.contextmanager
    def _errors(self, *, wrote: bool = False) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                yield
        except FAILURES as error:
            if isinstance(error, TrineError):
                raise
            raise explain(error, self.address.shown, wrote=wrote) from error


def _first_name() -> str:
    """A name for the first table of a gallery: smaller than what a process that died had named."""
    before_long = (1 << 42) - time.time_ns() // 1_000_000
    return f"{_FIRST}-{before_long:011x}-{uuid.uuid4().hex[:8]}"


def _upsert(table: Any, rows: Any) -> None:
    table.checkout_latest()
    merge = table.merge_insert("item").when_matched_update_all().when_not_matched_insert_all()
    merge.use_index(False).execute(rows, on_bad_vectors="null")


def _fatal(error: Exception) -> bool:
    """Whether trying again is of no use."""
    return any(sign in str(error) for sign in ("No space left", "os error 28", "Permission denied"))

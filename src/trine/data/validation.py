"""From what a source found to a data set that training can rely on.

Everything that could fail later is checked here, before training starts: every picture is decoded once,
on all cores. Items that cannot be used are an error or are skipped, as the policy says, and are listed.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trine.data.dataset import Dataset, ImageArray, ImageFiles, Items, Texts, Vectors
from trine.data.image_decoding import decode_stream, reason
from trine.data.load_report import NOUNS, LoadPolicy, LoadReport, count, some
from trine.data.parallel import in_threads
from trine.data.table import Table
from trine.errors import Argument, DataError, require


@dataclass(frozen=True)
class Found:
    """What a source found, before anything is checked.

    Args:
        items: The items.
        names: The name of each item; the check makes repeated names unique.
        labels: The identity of each item, empty where there is none; None if identities are not wanted.
        columns: Further columns, with a value for each item.
        unreadable: Items that the source itself could not read, with the reason.
        missing: Items with a missing value, with the reason.
        notes: What else to tell the user.
        unlabelled: What is wrong with an item without an identity.
    """

    items: Items
    names: Sequence[str]
    labels: Sequence[str] | None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    unreadable: Mapping[int, str] = field(default_factory=dict)
    missing: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unlabelled: str = "without an identity"


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Returns a key that sorts numbers by value: "s2" before "s10", and -1 before 0.

    Args:
        name: The name to sort by.

    Returns:
        A key for `sorted`.

    Example:
        >>> sorted(["s10", "s2", "s1"], key=natural_key)
        ['s1', 's2', 's10']
    """
    if re.fullmatch(r"-?[0-9]{1,18}", name):
        return ((0, int(name), name),)
    return tuple(
        (0, int(part), part) if part.isdecimal() else (1, 0, part)
        for part in re.split(r"([0-9]{1,18})", name)
        if part
    )


def check(found: Found, *, source: str, policy: LoadPolicy) -> tuple[Dataset, LoadReport]:
    """Checks every item, and keeps those that can be used.

    Args:
        found: What the source found.
        source: What the user named.
        policy: What to do with items that cannot be used.

    Returns:
        The data set, and the report of what was found.

    Raises:
        DataError: The policy does not allow something that was found, or nothing is left.
    """
    checks = _Checks(found, source, policy)
    unlabelled = checks.unlabelled()
    duplicates = checks.duplicates()
    unreadable, digests = checks.unreadable()
    missing = checks.missing()
    repeated = checks.repeated(digests)
    singletons = checks.singletons()
    if not checks.keep.any():
        raise checks.nothing_left(unreadable)
    if policy.repeated == "keep":
        repeated = _repeated(found, digests, checks.keep)  # among the items that are left
    names = checks.names
    data = _assemble(found, names, checks.keep, source)
    sizes = np.bincount(data.labels) if data.identities else np.zeros(1, dtype=np.int64)
    return data, LoadReport(
        source=source,
        kind=data.kind,
        items=len(data),
        identities=len(data.identities),
        fewest=int(sizes.min()),
        most=int(sizes.max()),
        unreadable=tuple(unreadable),
        missing=tuple(missing),
        duplicates=tuple(names[i] for i in duplicates),
        unlabelled=tuple(names[i] for i in unlabelled),
        singletons=tuple(singletons),
        repeated=tuple((names[later], names[first]) for later, first, _ in repeated),
        conflicting=tuple((names[later], names[first]) for later, first, crosses in repeated if crosses),
        policy=policy,
        notes=found.notes,
    )


class _Checks:
    """The checks of one load; each sees only the items that the ones before it kept.

    Attributes:
        names: A unique name of each item.
        keep: Whether each item is kept.
    """

    def __init__(self, found: Found, source: str, policy: LoadPolicy) -> None:
        self._found, self._source, self._policy = found, source, policy
        self._nouns = NOUNS[found.items.kind]
        self.names = _unique(found.names)
        self.keep = np.ones(len(found.items), dtype=np.bool_)

    def unlabelled(self) -> list[int]:
        unlabelled = [i for i, label in enumerate(self._found.labels or ()) if not label]
        if unlabelled and len(unlabelled) == len(self.keep):
            raise DataError(
                f"{self._source}: none of the {len(self.keep):,} {self._nouns[1]} has an identity, expected "
                "a label for each, or one folder for each identity"
            )
        self._obey("unlabelled", unlabelled, self._found.unlabelled)
        return unlabelled

    def duplicates(self) -> list[int]:
        duplicates, ambiguous = _duplicates(self._found, self.keep)
        named = [self.names[i] for i in duplicates]
        self._obey("duplicates", duplicates + ambiguous, "listed more than once", named=named)
        return sorted(duplicates + ambiguous)

    def unreadable(self) -> tuple[list[str], list[bytes | None]]:
        reasons, digests = _read(self._found, self.keep, self._policy.max_pixels)
        return self._with_reasons("unreadable", reasons, "that cannot be read"), digests

    def missing(self) -> list[str]:
        reasons = {i: why for i, why in self._found.missing.items() if self.keep[i]}
        return self._with_reasons("missing", reasons, "with missing values")

    def repeated(self, digests: Sequence[bytes | None]) -> list[tuple[int, int, bool]]:
        repeated = _repeated(self._found, digests, self.keep)
        later = [later for later, _, _ in repeated]
        contradicted = [first for _, first, crosses in repeated if crosses]
        named = [self.names[i] for i in later]
        self._obey("repeated", later + contradicted, "with the same content as another", named=named)
        return repeated

    def singletons(self) -> list[str]:
        singletons = _singletons(self._found, self.keep)
        what, nouns = f"with only one {self._nouns[0]}", ("identity", "identities")
        self._obey("singletons", [*singletons.values()], what, named=[*singletons], nouns=nouns)
        return [*singletons]

    def nothing_left(self, unreadable: Sequence[str]) -> DataError:
        all_items = count(len(self.keep), *self._nouns)
        why = f": {all_items} skipped" if len(self.keep) else ""
        first = f"; cannot be read: {some(unreadable)}" if unreadable else ""
        return DataError(f"{self._source} holds nothing that can be used{why}{first}")

    def _with_reasons(self, setting: str, reasons: Mapping[int, str], what: str) -> list[str]:
        named = [f"{self.names[i]} ({why})" for i, why in sorted(reasons.items())]
        self._obey(setting, list(reasons), what, named=named)
        return named

    def _obey(
        self,
        setting: str,
        positions: Sequence[int],
        what: str,
        *,
        named: Sequence[str] | None = None,
        nouns: tuple[str, str] | None = None,
    ) -> None:
        """Stops at items that cannot be used, or skips them, or keeps them, as the policy says."""
        chosen = getattr(self._policy, setting)
        named = [self.names[i] for i in positions] if named is None else named
        if named and chosen == "error":
            one, many = nouns or self._nouns
            kept = (", or keep them with ", Argument(setting, "keep")) if setting == "missing" else ()
            raise DataError(
                f"{self._source}: {count(len(named), one, many)} {what}: {some(named)}; fix the data, or "
                f"skip such {many} with ",
                Argument(setting, "skip"),
                *kept,
            )
        if chosen == "skip":
            self.keep[list(positions)] = False


def _unique(names: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    return [name if seen[name] == 1 else f"{name} (item {place})" for place, name in enumerate(names)]


def _duplicates(found: Found, keep: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """Finds the later listings of a file, and the first ones that a later one contradicts."""
    if not isinstance(found.items, ImageFiles):
        return [], []
    first: dict[str, int] = {}
    duplicates: list[int] = []
    ambiguous: set[int] = set()
    for index in np.flatnonzero(keep).tolist():
        if index in found.unreadable:
            continue
        before = first.setdefault(os.path.realpath(found.items.paths[index]), index)
        if before == index:
            continue
        duplicates.append(index)
        if found.labels is not None and found.labels[before] != found.labels[index]:
            ambiguous.add(before)
    return duplicates, sorted(ambiguous)


def _singletons(found: Found, keep: NDArray[np.bool_]) -> dict[str, int]:
    """Finds the identities with only one item, and that item."""
    if found.labels is None:
        return {}
    held: dict[str, list[int]] = {}
    for index in np.flatnonzero(keep).tolist():
        held.setdefault(found.labels[index], []).append(index)
    return {name: held[name][0] for name in sorted(held, key=natural_key) if len(held[name]) == 1}


def _read(
    found: Found, keep: NDArray[np.bool_], max_pixels: int
) -> tuple[dict[int, str], list[bytes | None]]:
    """Reads every item once: why some cannot be read, and a digest of the others."""
    unreadable = {i: why for i, why in found.unreadable.items() if keep[i]}
    digests: list[bytes | None] = [None] * len(keep)
    wanted = [int(i) for i in np.flatnonzero(keep) if i not in unreadable]
    if isinstance(found.items, ImageFiles):
        for index, (digest, why) in zip(
            wanted, _read_files(found.items.subset(wanted), max_pixels), strict=True
        ):
            digests[index] = digest
            if why:
                unreadable[index] = why
    elif isinstance(found.items, Table):
        for index, digest in zip(wanted, _row_digests(found.items.subset(wanted)), strict=True):
            digests[index] = digest
    elif isinstance(found.items, ImageArray | Vectors):
        rows = found.items.rows if isinstance(found.items, Vectors) else found.items.pixels
        if rows[:1].size:
            for index in wanted:
                digests[index] = _digest(np.ascontiguousarray(rows[index]).data)
    elif isinstance(found.items, Texts):
        for index in wanted:
            digests[index] = _digest(memoryview(found.items[index].encode()))
    return unreadable, digests


def _read_files(files: ImageFiles, max_pixels: int) -> list[tuple[bytes | None, str]]:
    """Decodes every picture into the cache: a digest of each file, or why it cannot be used."""
    image_module = require("PIL.Image", extra="images")

    def read(index: int) -> tuple[bytes | None, str]:
        path = files.paths[index]
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size == 0:
                    return None, "an empty file"
                files.cache.keep(path, decode_stream(file, max_pixels=max_pixels))
                file.seek(0)
                return hashlib.file_digest(file, _hash).digest(), ""
        except Exception as error:
            return None, reason(error, max_pixels=max_pixels)

    # Warning filters are global to the process, so they are set around the threads, not in them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", image_module.DecompressionBombWarning)
        return in_threads(read, len(files))


def _hash() -> Any:
    return hashlib.blake2b(digest_size=16)


def _digest(content: memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _row_digests(table: Table) -> Iterator[bytes]:
    """Digests of the features only: rows may differ in columns that are not features."""
    numbers = [table.columns[name] for name in table.features if name not in table.categories]
    texts = [table.columns[name] for name in table.categories]
    # Adding 0 turns -0.0 into 0.0.
    rows = np.stack(numbers, axis=1) + 0.0 if numbers else np.empty((len(table), 0))
    for row, *words in zip(np.ascontiguousarray(rows), *texts, strict=True):
        yield _digest(memoryview(row.tobytes() + "\0".join(words).encode()))


def _repeated(
    found: Found, digests: Sequence[bytes | None], keep: NDArray[np.bool_]
) -> list[tuple[int, int, bool]]:
    """Pairs each kept item with the first kept one of the same content; true where identities differ."""
    first: dict[bytes, int] = {}
    pairs = []
    for index in np.flatnonzero(keep).tolist():
        digest = digests[index]
        before = index if digest is None else first.setdefault(digest, index)
        if before != index:
            labels = found.labels
            pairs.append((index, before, labels is not None and labels[before] != labels[index]))
    return pairs


def _assemble(found: Found, names: Sequence[str], keep: NDArray[np.bool_], source: str) -> Dataset:
    kept = np.flatnonzero(keep)
    if found.labels is None:
        identities: list[str] = []
        labels = np.full(len(kept), -1, dtype=np.int64)
    else:
        given = [found.labels[index] for index in kept.tolist()]
        identities = sorted(set(given), key=natural_key)
        number = {name: place for place, name in enumerate(identities)}
        labels = np.array([number[name] for name in given], dtype=np.int64)
    return Dataset(
        items=found.items if keep.all() else found.items.subset(kept),
        labels=labels,
        identities=tuple(identities),
        names=tuple(names[index] for index in kept.tolist()),
        columns={name: np.asarray(column)[kept] for name, column in found.columns.items()},
        root=source,
    )

"""Turns what a source found into a data set that training can rely on.

Everything that could fail later is checked here, before training starts: every image is decoded once,
on all cores. Items that cannot be used are an error or are skipped, as the policy says, and are listed.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trine.data.content import blake, picture_digest
from trine.data.dataset import Dataset, ImageArray, ImageFiles, ImageObjects, Items, Texts, Vectors
from trine.data.image_cache import PASS_SHARE
from trine.data.image_decoding import decode_stream, reason
from trine.data.load_report import NOUNS, LoadPolicy, LoadReport, count, some
from trine.data.parallel import in_threads
from trine.data.table import Table
from trine.display import printable
from trine.errors import Argument, DataError, require
from trine.io import open_regular


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
        label: Where the identities come from, such as "column 'class'".
    """

    items: Items
    names: Sequence[str]
    labels: Sequence[str] | None = None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    unreadable: Mapping[int, str] = field(default_factory=dict)
    missing: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unlabelled: str = "without an identity"
    label: str = ""


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


def check(
    found: Found, *, source: str, policy: LoadPolicy, advise: bool = True
) -> tuple[Dataset, LoadReport]:
    """Checks every item, and keeps those that can be used.

    Args:
        found: What the source found.
        source: What the user named.
        policy: What to do with items that cannot be used.
        advise: Whether an error names the policies that allow what was found.

    Returns:
        The data set, and the report of what was found.

    Raises:
        DataError: The policy does not allow something that was found, of which the error names all; or no
            items are left.
    """
    source = printable(source)
    checks = _Checks(found, source, policy)
    unlabelled = checks.unlabelled()
    duplicates = checks.copies("duplicates", checks.files(), "listed more than once")
    unreadable, digests, remarks = checks.unreadable()
    missing = checks.with_reasons("missing", found.missing, "with missing values")
    repeated = checks.copies("repeated", digests, "with the same content as another")
    singletons = checks.singletons()
    names, keep = checks.names, checks.keep
    checks.raise_problems(advise=advise)
    if not keep.any():
        why = f": {count(len(keep), *NOUNS[found.items.kind])} skipped" if len(keep) else ""
        first = f"; cannot be read: {some(unreadable)}" if unreadable else ""
        raise DataError(f"{source} holds nothing that can be used{why}{first}")
    if policy.repeated == "keep":
        repeated = _copies(found, digests, keep)  # among the items that are left
    data = _assemble(found, names, keep, source)
    sizes = np.bincount(data.labels) if data.identities else np.zeros(1, dtype=np.int64)
    listed_twice = {later for later, _, _ in duplicates} | {
        first for _, first, crosses in duplicates if crosses
    }
    return data, LoadReport(
        source=source,
        kind=data.kind,
        items=len(data),
        identities=len(data.identities),
        fewest=int(sizes.min()),
        most=int(sizes.max()),
        unreadable=tuple(unreadable),
        missing=tuple(missing),
        duplicates=tuple(names[i] for i in sorted(listed_twice)),
        unlabelled=tuple(names[i] for i in unlabelled),
        skipped=tuple(name for name, kept in zip(names, keep, strict=True) if not kept),
        singletons=tuple(singletons),
        repeated=tuple((names[later], names[first]) for later, first, _ in repeated),
        conflicting=tuple((names[later], names[first]) for later, first, crosses in repeated if crosses),
        policy=policy,
        notes=(*found.notes, *_notes(remarks, names, keep, NOUNS[data.kind])),
        label=found.label,
    )


Copy = tuple[int, int, bool]
"""An item, the first item that it is a copy of, and whether the two have different identities."""


@dataclass(frozen=True)
class _Problem:
    """What the policy does not allow: the setting, what was found, and how several of it are called."""

    setting: str
    found: str
    many: str


class _Checks:
    """The checks of one load; each sees only the items in which the ones before it found nothing.

    Attributes:
        names: A unique name of each item.
        keep: Whether each item is kept.
    """

    def __init__(self, found: Found, source: str, policy: LoadPolicy) -> None:
        self._found, self._source, self._policy = found, source, policy
        self._nouns = NOUNS[found.items.kind]
        times = Counter(found.names)
        self.names = [f"{name} (item {i})" if times[name] > 1 else name for i, name in enumerate(found.names)]
        self.keep = np.ones(len(found.items), dtype=np.bool_)
        self._problems: list[_Problem] = []

    def unlabelled(self) -> list[int]:
        unreadable = self._found.unreadable
        labels = enumerate(self._found.labels or ())
        unlabelled = [i for i, label in labels if not label and i not in unreadable]
        if unlabelled and len(unlabelled) == len(self.keep):
            raise DataError(
                f"{self._source}: {count(len(self.keep), *self._nouns)} but no identity: expected "
                "a label for each, or one folder for each identity"
            )
        self._obey("unlabelled", unlabelled, [self.names[i] for i in unlabelled], self._found.unlabelled)
        return unlabelled

    def files(self) -> list[str | None]:
        """The file of each item; None for an item without one."""
        items, unreadable = self._found.items, self._found.unreadable
        if not isinstance(items, ImageFiles):
            return [None] * len(self.keep)
        return [None if i in unreadable else _real(path) for i, path in enumerate(items.paths)]

    def copies(self, setting: str, keys: Sequence[Any], what: str) -> list[Copy]:
        """Checks for items with the key of another one; where identities differ, both are wrong."""
        copies = _copies(self._found, keys, self.keep)
        later = [later for later, _, _ in copies]
        contradicted = [first for _, first, crosses in copies if crosses]
        self._obey(setting, later + contradicted, [self.names[i] for i in later], what)
        return copies

    def unreadable(self) -> tuple[list[str], list[bytes | None], dict[int, str]]:
        """Reads every item once: those that cannot be read; a digest of each of the others; and remarks."""
        reasons = {i: why for i, why in self._found.unreadable.items() if self.keep[i]}
        digests: list[bytes | None] = [None] * len(self.keep)
        remarks = {}
        wanted = [i for i in np.flatnonzero(self.keep).tolist() if i not in reasons]
        items = self._found.items
        read = _contents(
            items if len(wanted) == len(items) else items.subset(wanted), self._policy.max_pixels
        )
        for i, each in zip(wanted, read, strict=True):
            digests[i] = each.digest
            if each.failed:
                reasons[i] = each.failed
            if each.remark:
                remarks[i] = each.remark
        return self.with_reasons("unreadable", reasons, "that cannot be read"), digests, remarks

    def with_reasons(self, setting: str, reasons: Mapping[int, str], what: str) -> list[str]:
        reasons = {i: why for i, why in sorted(reasons.items()) if self.keep[i]}
        named = [f"{self.names[i]} ({why})" for i, why in reasons.items()]
        self._obey(setting, list(reasons), named, what)
        return named

    def singletons(self) -> list[str]:
        labels = self._found.labels or ()
        kept = np.flatnonzero(self.keep).tolist() if labels else []
        sizes = Counter(labels[i] for i in kept)
        items = {labels[i]: i for i in kept if sizes[labels[i]] == 1}
        what = f"with only one {self._nouns[0]}"
        names = sorted(items, key=natural_key)
        self._obey("singletons", [*items.values()], names, what, ("identity", "identities"))
        return names

    def _obey(
        self,
        setting: str,
        positions: Sequence[int],
        named: Sequence[str],
        what: str,
        nouns: tuple[str, str] | None = None,
    ) -> None:
        """Skips or keeps items that cannot be used, as the policy says; notes what it does not allow."""
        chosen = getattr(self._policy, setting)
        if not named or chosen == "keep":
            return
        self.keep[list(positions)] = False
        if chosen == "error":
            one, many = nouns or self._nouns
            found = f"{count(len(named), one, many)} {what}: {some(named)}"
            self._problems.append(_Problem(setting, found, many))

    def raise_problems(self, *, advise: bool) -> None:
        """Raises one error with all that the policy does not allow."""
        if not self._problems:
            return
        source = "" if self.names == [self._source] else f"{self._source}: "
        parts: list[str | Argument] = [source + "; ".join(each.found for each in self._problems)]
        if advise:
            many = f"such {self._problems[0].many}" if len(self._problems) == 1 else "them"
            parts.append(f"; fix the data, or skip {many} with ")
            for at, each in enumerate(self._problems):
                parts += [", " if at else "", Argument(each.setting, "skip")]
            if any(each.setting == "missing" for each in self._problems):
                what = "them" if len(self._problems) == 1 else "missing values"
                parts += [f", or keep {what} with ", Argument("missing", "keep")]
        raise DataError(*parts)


def _real(path: Path) -> str | None:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # reading it will say why
        return None


def _copies(found: Found, keys: Sequence[Any], keep: NDArray[np.bool_]) -> list[Copy]:
    """Pairs each kept item with the first kept one of the same key; the key None has no copies."""
    first: dict[Any, int] = {}
    labels = found.labels
    pairs = []
    for index in np.flatnonzero(keep).tolist():
        before = index if keys[index] is None else first.setdefault(keys[index], index)
        if before != index:
            pairs.append((index, before, labels is not None and labels[before] != labels[index]))
    return pairs


class _Read(NamedTuple):
    """What reading an item found: a digest, or why it cannot be read; and a remark on how it was read."""

    digest: bytes | None
    failed: str = ""
    remark: str = ""


def _contents(items: Items, max_pixels: int) -> list[_Read]:
    """Reads each item."""
    if isinstance(items, ImageFiles):
        return _file_contents(items, max_pixels)
    if isinstance(items, Table):
        return [_Read(digest) for digest in _row_digests(items)]
    if isinstance(items, Texts):
        return [_Read(blake(text.encode("utf-8", "surrogatepass")).digest()) for text in items.texts]
    if isinstance(items, ImageObjects):
        return [_Read(blake(np.ascontiguousarray(items[at]).data).digest()) for at in range(len(items))]
    assert isinstance(items, ImageArray | Vectors)
    rows = items.rows if isinstance(items, Vectors) else items.pixels
    return [_Read(blake(np.ascontiguousarray(row).data).digest() if row.size else None) for row in rows]


def _file_contents(files: ImageFiles, max_pixels: int) -> list[_Read]:
    """Decodes every image into the cache."""
    require("PIL.Image", extra="images")

    def read(index: int) -> _Read:
        path = files.paths[index]
        try:
            with open_regular(path) as file:
                pixels, remark = decode_stream(file, max_pixels=max_pixels)
                files.cache.keep(path, pixels, share=PASS_SHARE)
                files.cache.digests[path] = picture_digest(pixels)
                file.seek(0)
                return _Read(hashlib.file_digest(file, blake).digest(), remark=remark)
        except Exception as error:
            return _Read(None, reason(error))

    # Warning filters are global to the process, so they are set around the threads, not in them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return in_threads(read, len(files))


def _notes(
    remarks: Mapping[int, str], names: Sequence[str], keep: NDArray[np.bool_], nouns: tuple[str, str]
) -> list[str]:
    """One line for each remark, with the items that it is about."""
    about: dict[str, list[str]] = {}
    for i, remark in sorted(remarks.items()):
        if keep[i]:
            about.setdefault(remark, []).append(names[i])
    return [f"{count(len(items), *nouns)} {remark} ({some(items)})" for remark, items in about.items()]


def _row_digests(table: Table) -> Iterator[bytes]:
    """Digests of the features only: rows may differ in columns that are not features."""
    categories = set(table.categories)
    texts = [table.columns[name] for name in table.categories]
    # Whole numbers that float64 does not hold stay apart. Adding 0 turns -0.0 into 0.0.
    numbers: dict[np.dtype[Any], list[NDArray[Any]]] = {}
    for name in table.features:
        if name in categories:
            continue
        column = table.columns[name]
        if column.dtype.kind == "O":
            texts.append(np.array([str(number) for number in column.tolist()], dtype=object))
        else:
            numbers.setdefault(column.dtype, []).append(column + 0)
    rows = [np.ascontiguousarray(np.stack(alike, axis=1)).view(np.uint8) for alike in numbers.values()]
    joined = np.concatenate(rows, axis=1) if rows else np.empty((len(table), 0), dtype=np.uint8)
    for row, *words in zip(joined, *texts, strict=True):
        yield blake(row.tobytes() + "\0".join(words).encode("utf-8", "surrogatepass")).digest()


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

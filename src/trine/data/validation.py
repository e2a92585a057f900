"""From what a source found to a data set that training can rely on.

Everything that could fail later is looked for here, before training starts: every picture is decoded
once, in a few threads. What is found is an error or is left out, as the policy says, and is named.
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
        names: The name of each item; names that come twice get their place behind them later.
        labels: The identity of each item, empty where there is none; None where none is asked for.
        columns: What else is known about each item.
        unreadable: Items that the source itself could not read, with the reason.
        missing: Items with a missing value, with the reason.
        notes: What a user should know besides.
        unlabelled: What is wrong with an item that has no identity.
    """

    items: Items
    names: Sequence[str]
    labels: Sequence[str] | None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    unreadable: Mapping[int, str] = field(default_factory=dict)
    missing: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unlabelled: str = "without an identity"


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Gives a sorting key that counts: "s2" stands before "s10", and -1 before 0.

    Args:
        name: The name to sort by.

    Returns:
        A key for `sorted`.

    Example:
        >>> sorted(["s10", "s2", "s1"], key=natural)
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
    """Checks every item, and keeps the good ones.

    Args:
        found: What the source found.
        source: What the user named.
        policy: What to do with items that cannot be used.

    Returns:
        The data set, and the report of what was found.

    Raises:
        DataError: Something was found that the policy does not allow, or nothing is left.
    """
    names = _unique(found.names)
    keep = np.ones(len(found.items), dtype=np.bool_)
    nouns = NOUNS[found.items.kind]

    def obey(setting: str, what: str, named: Sequence[str], nouns: tuple[str, str] = nouns) -> None:
        if named and getattr(policy, setting) == "error":
            kept = (", or keep them with ", Argument(setting, "keep")) if setting == "missing" else ()
            raise DataError(
                f"{source}: {count(len(named), *nouns)} {what}: {some(named)}; fix the data, "
                f"or leave such {nouns[1]} out with ",
                Argument(setting, "skip"),
                *kept,
            )

    unlabelled = [i for i, label in enumerate(found.labels or ()) if not label]
    if unlabelled and len(unlabelled) == len(keep):
        raise DataError(
            f"{source}: none of the {len(keep):,} {nouns[1]} has an identity, expected a label for each, "
            "or one folder for each identity"
        )
    obey("unlabelled", found.unlabelled, [names[i] for i in unlabelled])
    keep[unlabelled] = False

    duplicates, ambiguous = _duplicates(found, keep)
    obey("duplicates", "listed before", [names[i] for i in duplicates])
    if policy.duplicates == "skip":
        keep[duplicates + ambiguous] = False

    unreadable, digests = _read(found, keep, policy.max_pixels)
    failures = [f"{names[i]} ({why})" for i, why in sorted(unreadable.items())]
    obey("unreadable", "that cannot be read", failures)
    keep[list(unreadable)] = False

    gaps = {i: why for i, why in sorted(found.missing.items()) if keep[i]}
    incomplete = [f"{names[i]} ({why})" for i, why in gaps.items()]
    obey("missing", "with missing values", incomplete)
    if policy.missing == "skip":
        keep[list(gaps)] = False

    repeated = _repeated(found, digests, keep)
    obey("repeated", "with the same content as another", [names[later] for later, _, _ in repeated])
    if policy.repeated == "skip":
        keep[[later for later, _, _ in repeated]] = False
        keep[[first for _, first, crosses in repeated if crosses]] = False

    singletons = _singletons(found, keep)
    obey("singletons", f"with one {nouns[0]} only", list(singletons), ("identity", "identities"))
    if policy.singletons == "skip":
        keep[list(singletons.values())] = False

    if not keep.any():
        why = f": all {len(keep):,} {nouns[1]} were left out" if len(keep) else ""
        first = f"; the first: {some(failures)}" if failures else ""
        raise DataError(f"{source} holds nothing that can be used{why}{first}")
    data = _assemble(found, names, keep, source)
    if policy.repeated == "keep":
        repeated = _repeated(found, digests, keep)  # Among what the last policy left.
    sizes = np.bincount(data.labels) if data.identities else np.zeros(1, dtype=np.int64)
    return data, LoadReport(
        source=source,
        kind=data.kind,
        items=len(data),
        identities=len(data.identities),
        fewest=int(sizes.min()),
        most=int(sizes.max()),
        unreadable=tuple(failures),
        missing=tuple(incomplete),
        duplicates=tuple(names[i] for i in sorted(duplicates + ambiguous)),
        unlabelled=tuple(names[i] for i in unlabelled),
        singletons=tuple(singletons),
        repeated=tuple((names[later], names[first]) for later, first, _ in repeated),
        conflicting=tuple((names[later], names[first]) for later, first, crosses in repeated if crosses),
        policy=policy,
        notes=found.notes,
    )


def _unique(names: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    return [name if seen[name] == 1 else f"{name} (item {place})" for place, name in enumerate(names)]


def _duplicates(found: Found, keep: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """Finds the later listings of a file, and for `skip` the first ones that a later one contradicts."""
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
    """Finds the identities with one item, and that item."""
    if found.labels is None:
        return {}
    held: dict[str, list[int]] = {}
    for index in np.flatnonzero(keep).tolist():
        held.setdefault(found.labels[index], []).append(index)
    return {name: held[name][0] for name in sorted(held, key=natural) if len(held[name]) == 1}


def _read(
    found: Found, keep: NDArray[np.bool_], max_pixels: int
) -> tuple[dict[int, str], list[bytes | None]]:
    """Reads every item once: those that cannot be read, and a digest of the others."""
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

    # Filters of warnings belong to the whole process, so they are set around the threads, not in them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", image_module.DecompressionBombWarning)
        return in_threads(read, len(files))


def _hash() -> Any:
    return hashlib.blake2b(digest_size=16)


def _digest(content: memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _row_digests(table: Table) -> Iterator[bytes]:
    """Digests of the features alone: rows may differ in what nothing is learned from."""
    numbers = [table.columns[name] for name in table.features if name not in table.categories]
    texts = [table.columns[name] for name in table.categories]
    # Adding 0 makes one zero of the two that there are.
    rows = np.stack(numbers, axis=1) + 0.0 if numbers else np.empty((len(table), 0))
    for row, *words in zip(np.ascontiguousarray(rows), *texts, strict=True):
        yield _digest(memoryview(row.tobytes() + "\0".join(words).encode()))


def _repeated(
    found: Found, digests: Sequence[bytes | None], keep: NDArray[np.bool_]
) -> list[tuple[int, int, bool]]:
    """Pairs each kept item with the first kept one of the same content; true if identities differ."""
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
        identities = sorted(set(given), key=natural)
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

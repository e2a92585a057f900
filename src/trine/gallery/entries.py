"""The inputs and outputs of a gallery: entries, records, hits, and the counts of an enrolment."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from trine.errors import GalleryError, InputError, SettingError, check_count
from trine.gallery.errors import REPAIR, UnknownNameError, damaged
from trine.gallery.provenance import Provenance
from trine.plain_json import check_depth, parse_json
from trine.shapes import Float32

MOST_DIGITS = 4300
"""How many digits a whole number in metadata may have: as many as Python reads."""

Vector = np.ndarray[Any, Any] | Tensor | Sequence[float]
"""One embedding, in any form that callers may pass."""

Vectors = np.ndarray[Any, Any] | Tensor | Sequence[Any]
"""Several embeddings, one row per item, in any form that callers may pass."""


@dataclass(frozen=True)
class Entry:
    """One item to enrol: its identity, its name, and its embedding or the content to embed.

    Args:
        identity: The identity the item belongs to; a non-empty string.
        item: The item's name, unique in the gallery; enrolling the same name again replaces it.
        embedding: (D,) finite numbers, if the embedding was computed elsewhere.
        content: What the gallery's encoder embeds: an image, a vector, a path. If this is missing too, the
            item's name is taken as a path.
        metadata: Stored with the item: string keys, JSON values.
        source: The file that a rebuild reads the item from, if known. Not needed if `content` is a path.
        provenance: Where the item came from, if a data set holds it; see `Gallery.sync`.
    """

    identity: str
    item: str
    embedding: Vector | None = field(default=None, compare=False)
    content: Any = field(default=None, compare=False)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    provenance: Provenance | None = None


@dataclass(frozen=True)
class Record:
    """One enrolled item, checked, as a store holds it.

    Attributes:
        identity: The identity the item belongs to.
        item: The item's name, unique in the gallery.
        embedding: (D,) float32, finite.
        metadata: A JSON object as a string, with sorted keys.
        source: The file of its content and its provenance, if known; see `trine.gallery.provenance`.
    """

    identity: str
    item: str
    embedding: Float32[np.ndarray, " d"] = field(compare=False)
    metadata: str = "{}"
    source: str | None = None


@dataclass(frozen=True)
class Enrolment:
    """What an enrolment changed.

    Example:
        >>> print(Enrolment(new=3, replaced=1, unchanged=2))
        3 new, 1 replaced, 2 already there
        >>> Enrolment(new=1) + Enrolment(new=2, replaced=1)
        Enrolment(new=3, replaced=1, unchanged=0)
    """

    new: int = 0
    replaced: int = 0
    unchanged: int = 0

    def __add__(self, other: Enrolment) -> Enrolment:
        return Enrolment(
            self.new + other.new, self.replaced + other.replaced, self.unchanged + other.unchanged
        )

    def __len__(self) -> int:
        return self.new + self.replaced + self.unchanged

    def __str__(self) -> str:
        return f"{self.new} new, {self.replaced} replaced, {self.unchanged} already there"


@dataclass(frozen=True)
class Hit:
    """One search result.

    Attributes:
        item: The item's name.
        identity: The identity it belongs to.
        score: Its distance from the probe; smaller is closer.
        metadata: The metadata it was enrolled with.
    """

    item: str
    identity: str
    score: float
    metadata: Mapping[str, Any] = field(default_factory=dict)


def unknown_identity(identity: str, known: Collection[str], address: str) -> UnknownNameError:
    """Returns the error for an identity that is not in a gallery; suggests a similar name.

    Example:
        >>> print(unknown_identity("anne", ["ann", "bob"], "people.db"))
        identity 'anne' is not in the gallery people.db: did you mean 'ann'?
    """
    same = [name for name in known if name.casefold() == identity.casefold()]
    close = same or get_close_matches(identity, known, n=1)
    hint = f"did you mean {close[0][:80]!r}?" if close else "list its identities, or enrol this one first"
    return UnknownNameError(f"identity {identity[:80]!r} is not in the gallery {address}: {hint}")


def unknown_item(item: str, address: str) -> UnknownNameError:
    """Returns the error for an item that is not in a gallery.

    Example:
        >>> print(unknown_item("a.png", "people.db"))
        item 'a.png' is not in the gallery people.db: list its items, or enrol it
    """
    return UnknownNameError(
        f"item {item[:80]!r} is not in the gallery {address}: list its items, or enrol it"
    )


def check_at_least(minimum: int, **numbers: int) -> None:
    """Raises a `SettingError` if a number is too small, or not whole."""
    for name, number in numbers.items():
        check_count(name, number, at_least=minimum, error=SettingError)


def check_items(items: Iterable[str], argument: str) -> list[str]:
    """Returns item names as a list; rejects a single string, whose characters would count as names.

    Example:
        >>> check_items("a.png", "like")
        Traceback (most recent call last):
        trine.errors.InputError: like takes a list of item names, given the string 'a.png': write ['a.png']
    """
    if isinstance(items, str):
        raise InputError(
            f"{argument} takes a list of item names, given the string {items[:80]!r}: write [{items[:80]!r}]"
        )
    return [check_name(item, "item") for item in items]


def check_name(name: str, kind: str) -> str:
    """Returns the name of an identity or item; rejects one that a store cannot hold."""
    if not isinstance(name, str) or not name:
        raise InputError(f"the {kind} must be a non-empty string, given {name!r}")
    if "\0" in name:
        raise InputError(f"the {kind} {name[:40]!r} contains a NUL character: remove it")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"the {kind} {name[:40]!r} is not valid Unicode: rename it") from None
    return name


def stored_path(path: str | Path, *, part: str = "") -> str | None:
    """Returns the absolute path of a file as a store can hold it; None if it is not valid Unicode.

    A part of the file follows "#", as in an address of the web: so it is not read as the whole file.
    """
    absolute = str(Path(path).absolute()) + (f"#{part}" if part else "")
    return absolute if absolute == absolute.encode(errors="ignore").decode() else None


def metadata_text(metadata: Mapping[str, Any], item: str) -> str:
    """Writes metadata as a JSON object with sorted keys; NumPy scalars become plain numbers.

    Raises:
        InputError: A key is not a string, or a value is not valid JSON (NaN and infinity are not).
    """
    if not metadata:
        return "{}"
    wrong = next((key for key in metadata if not isinstance(key, str)), None)
    if wrong is not None:
        raise InputError(f"the metadata of {item[:80]!r} has the key {wrong!r}: keys must be strings")
    try:
        text = json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False, sort_keys=True, default=_plain)
        text.encode()
        check_depth(text)
    except (TypeError, ValueError, RecursionError) as error:
        hint = "use strings, finite numbers, booleans, lists and mappings"
        raise InputError(f"the metadata of {item[:80]!r} cannot be stored ({error}): {hint}") from None
    return text


def metadata_of(text: object, gallery: object) -> dict[str, Any]:
    """Reads metadata that a store holds.

    Args:
        text: What `metadata_text` wrote, if it is not damaged.
        gallery: The address of the gallery, for the error.

    Raises:
        GalleryError: It is not a JSON object.
    """
    if text == "{}":
        return {}
    try:
        metadata = parse_json(text, digits=MOST_DIGITS)  # type: ignore[arg-type]
    except ValueError as error:
        raise damaged(gallery, f"metadata of an item cannot be read ({error})", advice=REPAIR) from error
    if not isinstance(metadata, dict):
        raise damaged(gallery, "metadata of an item is not a JSON object", advice=REPAIR)
    return metadata


def as_rows(vectors: Vectors, *, dimension: int, names: Sequence[str]) -> Float32[np.ndarray, "n d"]:
    """Returns embeddings as finite float32 rows of the gallery's dimension.

    Args:
        vectors: (N, D) numbers, as an array, a tensor or a sequence of vectors.
        dimension: The D that the gallery holds.
        names: The names of the rows for messages; "row 17" if empty.

    Returns:
        The rows; the array itself if it already is one, else a copy.

    Raises:
        GalleryError: The dimension is wrong, or a value is not finite in float32.
        InputError: The values are not numbers.

    Example:
        >>> as_rows([[3.0, 4.0]], dimension=2, names=["ann/1.png"])
        array([[3., 4.]], dtype=float32)
    """
    arrays = [_as_array(vector) for vector in vectors]
    for row, array in enumerate(arrays):
        name = repr(names[row][:80]) if names else f"row {row}"
        if array.dtype.kind not in "fiub":
            raise InputError(f"the embedding of {name} must be {dimension} numbers, given {array.dtype}")
        if array.shape != (dimension,):
            shape = "x".join(map(str, array.shape)) or "a single number"
            raise GalleryError(
                f"the embedding of {name} must have dimension {dimension}, given {shape}: use its encoder"
            )
    rows = np.empty((len(arrays), dimension), dtype=np.float32)
    with np.errstate(over="ignore"):
        for row, array in enumerate(arrays):
            rows[row] = array
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        name = repr(names[row][:80]) if names else f"row {row}"
        raise GalleryError(f"the embedding of {name} is not finite: check the item and its encoder")
    return rows


def _plain(value: Any) -> Any:
    if isinstance(value, np.bool_ | np.integer | np.floating):
        return value.item()
    raise TypeError(f"a {type(value).__name__} is not a JSON value")


def _as_array(vector: Any) -> np.ndarray[Any, Any]:
    if isinstance(vector, np.ndarray):
        return vector
    if isinstance(vector, Tensor):
        return vector.detach().to("cpu", copy=False).float().numpy()
    try:
        return np.asarray(vector, dtype=np.float64)
    except (TypeError, ValueError):
        return np.asarray(vector, dtype=object)

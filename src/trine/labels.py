"""Labels as users give them: integers or strings, in an array, a tensor, a list or a pandas column."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor, bfloat16

from trine.errors import InputError, shown
from trine.shapes import Bool, Int64, Shaped

MISSING = frozenset({"nan", "NaN", "-nan", "NaT", "<NA>"})
"""Texts that only a conversion of a missing value spells."""

LISTED = 3
"""How many items an error names."""


@runtime_checkable
class Column(Protocol):
    """A column of a data frame, such as a Series of pandas or polars."""

    def __array__(self, *args: Any, **options: Any) -> np.ndarray: ...

    def __len__(self) -> int: ...


Labels = Shaped[np.ndarray, " n"] | Shaped[Tensor, " n"] | Sequence[str] | Sequence[int] | Column
"""One label per item; equal labels are one identity."""


def codes(labels: Labels, *, items: int | None = None, name: str = "labels") -> Int64[np.ndarray, " n"]:
    """Numbers the identities from 0, in the order of their labels.

    Integers are compared as 64-bit integers and never pass through a float, which would merge ids above 2^24
    or 2^53.

    Args:
        labels: One label per item.
        items: How many there must be; None takes any number.
        name: What the error calls them.

    Returns:
        For each item the number of its identity.

    Raises:
        InputError: There are too few or too many labels, one is missing, or they are floats.

    Example:
        >>> codes(["ann", "bob", "ann"]).tolist()
        [0, 1, 0]
        >>> codes(["ann", None, "ann"])
        Traceback (most recent call last):
        trine.errors.InputError: labels must name every item, given None at item 1; expected an integer or \
a string for each: fill in the missing 1 of 3, or remove these items
    """
    return np.unique(checked(labels, items=items, name=name), return_inverse=True)[1].astype(np.int64)


def joint_codes(
    first: Shaped[np.ndarray, " n"], second: Shaped[np.ndarray, " m"], *, names: tuple[str, str]
) -> tuple[Shaped[np.ndarray, " c"], Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
    """Numbers the identities of two sets of items from 0, as one.

    Args:
        first: Labels from `checked`.
        second: As many as there are items in the other set.
        names: What an error calls both.

    Returns:
        The labels in the order of their numbers, and the number of each item of both sets.

    Raises:
        InputError: One set has integers and the other strings, or ids that are not signed 64-bit integers.
    """
    kinds = ["integers" if side.dtype.kind in "iu" else "strings" for side in (first, second)]
    if len(first) and len(second) and kinds[0] != kinds[1]:
        raise InputError(
            f"{names[0]} and {names[1]} must be labels of one kind, given {kinds[0]} and {kinds[1]}"
        )
    sides = [_wide(side, name) for side, name in zip((first, second), names, strict=True)]
    # Joined as they are, signed and unsigned integers would become floats.
    joined = np.concatenate([side for side in sides if len(side)] or sides)
    labels, numbers = np.unique(joined, return_inverse=True)
    return labels, numbers[: len(first)], numbers[len(first) :]


def checked(labels: Labels, *, items: int | None = None, name: str = "labels") -> Shaped[np.ndarray, " n"]:
    """Returns labels as an array of integers or of strings, never of objects.

    Args:
        labels: One label per item; bytes are read as UTF-8.
        items: How many there must be; None takes any number.
        name: What the error calls them.

    Raises:
        InputError: There are too few or too many labels, one is missing, or they are neither all integers nor
            all strings.
    """
    given = as_array(labels)
    if given.ndim != 1 or items not in (None, len(given)):
        wanted = "item" if items is None else f"of the {items} items"
        what = given.shape if given.ndim else f"a {type(labels).__name__}"
        raise InputError(f"{name} must hold one label for each {wanted}, given {what}")
    refuse_missing(given, name=name)
    if given.dtype.kind == "O":
        given = _of_objects(given, name)
    if given.dtype.kind == "S":
        given = np.array([_text(one, name, item) for item, one in enumerate(given.tolist())], dtype=np.str_)
    if given.dtype.kind not in "iuU" and len(given):
        advice = {"f": "round floats to integers", "M": "convert with .astype(str)"}.get(
            given.dtype.kind, 'convert with .astype("int64")'
        )
        raise InputError(f"{name} must be integers or strings, given {given.dtype}; {advice} first")
    return given


def as_array(labels: object) -> Shaped[np.ndarray, "..."]:
    """Returns labels as an array in which no missing one has turned into a number or a text.

    NumPy alone makes the text "nan" of a NaN in a list of strings, floats of integers beside a None, and
    drops the mask of a masked array.
    """
    if isinstance(labels, Tensor):
        given = labels.detach().cpu()
        return (given.float() if given.dtype == bfloat16 else given).numpy()
    if isinstance(labels, np.ma.MaskedArray):
        objects: np.ndarray = labels.data.astype(object)
        objects[np.ma.getmaskarray(labels)] = None
        return objects
    if getattr(labels, "null_count", 0) and hasattr(labels, "to_list"):  # polars
        labels = labels.to_list()
    if isinstance(labels, list | tuple):
        labels = [label.item() if isinstance(label, Tensor | np.generic) else label for label in labels]
        kinds = {type(label) for label in labels}
        array = np.asarray(labels) if kinds in ({int}, {float}, {str}) else None
        if array is None or (kinds == {int} and array.dtype.kind == "f"):
            array = np.fromiter(labels, dtype=object, count=len(labels))
    else:
        array = np.asarray(labels)
    return array.astype(object) if array.dtype.kind == "T" else array


def is_missing(labels: Shaped[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Returns which labels are missing: None, NaN, NaT, pandas.NA, blank, or a text that spells these.

    Example:
        >>> is_missing(np.array(["ann", " ", None, float("nan"), "nan", 0], dtype=object)).tolist()
        [False, True, True, True, True, False]
    """
    kind = labels.dtype.kind
    if kind in "fcmM":
        found: np.ndarray = labels != labels
        return found
    if kind not in "OSU":
        return np.zeros(len(labels), dtype=np.bool_)
    return np.fromiter(map(is_missing_value, labels.tolist()), dtype=np.bool_, count=len(labels))


def refuse_missing(labels: Shaped[np.ndarray, " n"], *, name: str) -> None:
    """Raises an `InputError` that names the items whose labels are missing, if there are any."""
    missing = np.flatnonzero(is_missing(labels)).tolist()
    if missing:
        first = ", ".join(f"{labels[item]!r} at item {item}" for item in missing[:LISTED])
        more = f" and {len(missing) - LISTED:,} more" if len(missing) > LISTED else ""
        raise InputError(
            f"{name} must name every item, given {first}{more}; expected an integer or a string for each: "
            f"fill in the missing {len(missing):,} of {len(labels):,}, or remove these items"
        )


def matching(
    labels: Shaped[np.ndarray, " n"], special: int | str | None, *, name: str, labels_name: str
) -> Bool[np.ndarray, " n"]:
    """Returns which labels equal a special one, such as the label of junk.

    Args:
        labels: Labels from `checked`.
        special: The special label; None matches nothing. Strings never match an integer.
        name: What an error calls the special label.
        labels_name: What an error calls the labels.

    Raises:
        InputError: The special label is neither an integer nor a string, it is a string and the labels are
            integers, or it is a negative integer and the labels are strings that spell it.
    """
    none = np.zeros(len(labels), bool)
    if special is None:
        return none
    whole = isinstance(special, numbers.Real) and not isinstance(special, bool) and special % 1 == 0
    if not isinstance(special, str) and not whole:
        raise InputError(f"{name} must be one label, an integer or a string, or None, given {shown(special)}")
    if not len(labels):
        return none
    integers = labels.dtype.kind in "iu"
    if isinstance(special, str) and integers:
        raise InputError(
            f"{name} must be an integer as the labels are, given {special!r}; give a number or None"
        )
    if isinstance(special, str) == (not integers):
        found: np.ndarray = labels == special
        return found
    # A string such as "-1" is hardly an identity: ranking it as one would drop the rule silently.
    if int(special) < 0 and (labels.astype(str) == str(int(special))).any():
        raise InputError(
            f"{labels_name} are strings and hold '{special}', given {name}={special}; "
            f"give {name}='{special}' to match them, or {name}=None if it is an identity"
        )
    return none


def is_missing_value(label: object) -> bool:
    """Whether one value is missing; see `is_missing`."""
    if isinstance(label, str | bytes):
        text = label if isinstance(label, str) else label.decode("utf-8", "replace")
        return text in MISSING or not text.strip()
    try:
        return label is None or bool(label != label)
    except (TypeError, ValueError):  # neither pandas.NA nor an array is true or false
        return type(label).__name__ == "NAType"
    except ArithmeticError:  # a signalling NaN among decimals
        return True


def _of_objects(given: np.ndarray, name: str) -> Shaped[np.ndarray, " n"]:
    """Converts objects, as pandas stores strings, to integers or strings."""
    for item, one in enumerate(given):
        if isinstance(one, bool) or not isinstance(one, (int, np.integer, str, bytes)):
            raise InputError(
                f"{name} must name every item, given {one!r} at item {item}; expected an integer or a string"
            )
    strings = sum(isinstance(one, str | bytes) for one in given)
    if strings == len(given):
        return np.array([_text(one, name, item) for item, one in enumerate(given)], dtype=np.str_)
    if strings:
        raise InputError(f"{name} mix types that cannot be compared; give all of them as strings")
    try:
        return given.astype(np.int64)
    except OverflowError as error:
        raise InputError(f"{name} must be signed 64-bit integers; give larger ones as strings") from error


def _text(label: str | bytes, name: str, item: int) -> str:
    try:
        return label if isinstance(label, str) else label.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} must be UTF-8 where they are bytes, given {label!r} at item {item}; decode them first"
        ) from error


def _wide(labels: np.ndarray, name: str) -> np.ndarray:
    if labels.dtype.kind == "u" and len(labels) and int(labels.max()) > np.iinfo(np.int64).max:
        raise InputError(f"{name} must be signed 64-bit integers, given {int(labels.max())}")
    return labels.astype(np.int64) if labels.dtype.kind in "iu" else labels

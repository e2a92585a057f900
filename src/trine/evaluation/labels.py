"""Labels as users give them: integers or strings, in an array, a tensor, a list or a pandas column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from trine.errors import InputError
from trine.shapes import Bool, Int64, Shaped

Labels = Shaped[np.ndarray, " n"] | Shaped[Tensor, " n"] | Sequence[str] | Sequence[int]
"""One label per item; equal labels are one identity."""


def codes(labels: Labels, *, items: int, name: str = "labels") -> Int64[np.ndarray, " n"]:
    """Numbers the identities from 0, in the order of their labels.

    Integers are compared as 64-bit integers and never pass through a float, which would merge ids above 2^24
    or 2^53.

    Args:
        labels: One label per item.
        items: How many there must be.
        name: What the error calls them.

    Returns:
        For each item the number of its identity.

    Raises:
        InputError: There are too few or too many labels, or they are floats.
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


def checked(labels: Labels, *, items: int, name: str) -> Shaped[np.ndarray, " n"]:
    """Returns labels as an array of integers or of strings, never of objects.

    Raises:
        InputError: There are too few or too many labels, or they are neither all integers nor all strings.
    """
    given = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if given.shape != (items,):
        raise InputError(f"{name} must hold one label for each of the {items} items, given {given.shape}")
    if given.dtype.kind == "O":
        given = _of_objects(given, name)
    if given.dtype.kind not in "iuUS" and items:
        advice = "round floats to integers" if given.dtype.kind == "f" else 'convert with .astype("int64")'
        raise InputError(f"{name} must be integers or strings, given {given.dtype}; {advice} first")
    return given


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
        InputError: The special label is a string and the labels are integers, or it is a negative integer
            and the labels are strings that spell it.
    """
    none = np.zeros(len(labels), bool)
    if special is None or not len(labels):
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
    if special < 0 and (labels.astype(str) == str(int(special))).any():  # type: ignore[operator]
        raise InputError(
            f"{labels_name} are strings and hold '{special}', given {name}={special}; "
            f"give {name}='{special}' to match them, or {name}=None if it is an identity"
        )
    return none


def _of_objects(given: np.ndarray, name: str) -> Shaped[np.ndarray, " n"]:
    """Converts objects, as pandas stores strings, to integers or strings."""
    for item, one in enumerate(given):
        if isinstance(one, bool) or not isinstance(one, (int, np.integer, str)):
            raise InputError(
                f"{name} must name every item, given {one!r} at item {item}; expected an integer or a string"
            )
    strings = sum(isinstance(one, str) for one in given)
    if strings == len(given):
        return given.astype(str)
    if strings:
        raise InputError(f"{name} mix types that cannot be compared; give all of them as strings")
    try:
        return given.astype(np.int64)
    except OverflowError as error:
        raise InputError(f"{name} must be signed 64-bit integers") from error


def _wide(labels: np.ndarray, name: str) -> np.ndarray:
    if labels.dtype.kind == "u" and len(labels) and int(labels.max()) > np.iinfo(np.int64).max:
        raise InputError(f"{name} must be signed 64-bit integers, got {int(labels.max())}")
    return labels.astype(np.int64) if labels.dtype.kind in "iu" else labels

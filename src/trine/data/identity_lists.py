"""Splits that list identities by name, as protocols do: 1 to 385 for training."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trine.data.dataset import Dataset
from trine.errors import DataError, nearest
from trine.shapes import Int64

Name = str | int
"""The name of an identity, or a range of whole numbers such as "1-385"."""


@dataclass(frozen=True)
class IdentityLists:
    """The identities of each part.

    An entry is the name of an identity or, if no identity has that name, a range: "1-385" is all identities
    whose names are whole numbers from 1 to 385. Leading zeros do not matter: 7 is also the identity "0007".

    Args:
        train: Identities for training.
        validation: Identities to choose settings and epochs by.
        test: Identities for the final metrics only.
    """

    train: tuple[Name, ...] = ()
    validation: tuple[Name, ...] = ()
    test: tuple[Name, ...] = ()

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def parts(self) -> dict[str, tuple[Name, ...]]:
        """The entries of each part, by the name of its setting."""
        return {f"{part}_identities": entries for part, entries in vars(self).items()}


def split_by_lists(dataset: Dataset, lists: IdentityLists) -> list[Int64[np.ndarray, " _"]]:
    """Finds the items of the identities that are listed for each part.

    Args:
        dataset: The labelled items.
        lists: The identities of each part; the others are in no part.

    Returns:
        The positions of the items for training, validation and test.

    Raises:
        DataError: An entry matches no identity of the data, or two parts share one.
    """
    present = np.unique(dataset.labels).tolist()
    names = {dataset.identities[label]: label for label in present}
    owners: dict[int, str] = {}
    for part, entries in lists.parts().items():
        for entry in entries:
            for label in _labels(entry, names, part=part, root=dataset.root):
                before = owners.setdefault(label, part)
                if before != part:
                    raise DataError(
                        f"identity {dataset.identities[label]!r} is in {before} and, by {str(entry)!r}, "
                        f"in {part}: remove it from one of the two"
                    )
    members = {part: [label for label, owner in owners.items() if owner == part] for part in lists.parts()}
    return [np.flatnonzero(np.isin(dataset.labels, chosen)).astype(np.int64) for chosen in members.values()]


def _labels(entry: Name, names: Mapping[str, int], *, part: str, root: str) -> Sequence[int]:
    """The identities that an entry matches; at least one."""
    text = str(entry)
    if text in names:
        return [names[text]]
    ends = re.fullmatch(r"(\d+)-(\d+)|(\d+)", text)
    if ends is None:
        raise DataError(
            f"{part} lists {text!r}, which is not an identity in {root or 'the data'}: "
            f"{nearest(text, names, most=10)}"
        )
    low, high = (int(ends[3]),) * 2 if ends[3] else (int(ends[1]), int(ends[2]))
    if low > high:
        raise DataError(f"{part} has the range {text!r}, which ends before it starts: write '{high}-{low}'")
    in_range = [label for name, label in names.items() if name.isdecimal() and low <= int(name) <= high]
    if not in_range:
        raise DataError(
            f"{part} lists {text!r}, and {root or 'the data'} has no identity in that range: its identities "
            f"are {', '.join(list(names)[:5])}{', ...' if len(names) > 5 else ''}"
        )
    return in_range

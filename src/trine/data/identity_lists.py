"""A division of the identities by their names, as protocols give it: 1 to 385 for training."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trine.data.dataset import Dataset
from trine.errors import DataError, nearest
from trine.shapes import Int64

Name = str | int
"""The name of an identity, or a range of whole numbers such as "1-385"; leading zeros do not matter."""


@dataclass(frozen=True)
class NamedIdentities:
    """Which identities are in which part.

    An entry is the name of an identity or, where nobody is called so, a range: "1-385" is all identities
    whose names are whole numbers from 1 to 385. Leading zeros do not matter: 7 is also the identity "0007".

    Args:
        train: Those to learn from.
        validation: Those to choose settings and epochs by.
        test: Those that only the final figures see.
    """

    train: tuple[Name, ...] = ()
    validation: tuple[Name, ...] = ()
    test: tuple[Name, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.train or self.validation or self.test)

    def parts(self) -> dict[str, tuple[Name, ...]]:
        """Each part, by the name of its setting."""
        return {
            "train_identities": self.train,
            "validation_identities": self.validation,
            "test_identities": self.test,
        }


def divided_by_names(dataset: Dataset, named: NamedIdentities) -> list[Int64[np.ndarray, " _"]]:
    """Finds the items of the identities that each part names.

    Args:
        dataset: The labelled items.
        named: The parts; identities in none are in no part.

    Returns:
        The positions of the items for training, validation and test.

    Raises:
        DataError: An entry names no identity of the data, or two parts share one.
    """
    present = np.unique(dataset.labels).tolist()
    names = {dataset.identities[label]: label for label in present}
    owners: dict[int, str] = {}
    for part, entries in named.parts().items():
        for entry in entries:
            for label in _labels(entry, names, part=part, root=dataset.root):
                before = owners.setdefault(label, part)
                if before != part:
                    raise DataError(
                        f"the identity {dataset.identities[label]!r} is in {before} and, by {str(entry)!r}, "
                        f"in {part}: leave it in one of the two"
                    )
    members = {part: [label for label, owner in owners.items() if owner == part] for part in named.parts()}
    return [np.flatnonzero(np.isin(dataset.labels, chosen)).astype(np.int64) for chosen in members.values()]


def _labels(entry: Name, names: Mapping[str, int], *, part: str, root: str) -> Sequence[int]:
    """The identities that an entry names; at least one."""
    text = str(entry)
    if text in names:
        return [names[text]]
    ends = re.fullmatch(r"(\d+)-(\d+)|(\d+)", text)
    if ends is None:
        raise DataError(
            f"{part} names {text!r}, and {root or 'the data'} has no such identity: "
            f"{nearest(text, names, most=10)}"
        )
    low, high = (int(ends[3]),) * 2 if ends[3] else (int(ends[1]), int(ends[2]))
    if low > high:
        raise DataError(f"{part} has the range {text!r}, which ends before it begins: write '{high}-{low}'")
    found = [label for name, label in names.items() if name.isdecimal() and low <= int(name) <= high]
    if not found:
        raise DataError(
            f"{part} names {text!r}, and {root or 'the data'} has no identity of that number: its identities "
            f"are {', '.join(list(names)[:5])}{', ...' if len(names) > 5 else ''}"
        )
    return found

"""A part of a data set by the names of its identities."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from trine.data.dataset import Dataset
from trine.errors import DataError, nearest

NAMED = 20


def of_identities(dataset: Dataset, identities: Iterable[str | int]) -> Dataset:
    """Takes the items of some identities.

    Args:
        dataset: Labelled items.
        identities: The names of those to take; a number is taken for its digits.

    Returns:
        Their items, in the order of the data; identities keep their numbers.

    Raises:
        DataError: The data has no such identity.

    Example:
        >>> from trine.data import load
        >>> data, _ = load("digits")
        >>> len(of_identities(data, ["4", "9"]))
        361
    """
    wanted = [str(name) for name in identities]
    there = (
        {dataset.identities[label] for label in np.unique(dataset.labels)} if dataset.identities else set()
    )
    for name in wanted:
        if name not in there:
            known = sorted(there)
            phrase = nearest(name, known)
            if len(known) > NAMED:
                phrase = f"{phrase.partition('known: ')[0]}it has {len(known):,} others".strip()
            raise DataError(f"{dataset.root or 'the data'} has no identity {name!r}; {phrase}")
    numbers = [number for number, name in enumerate(dataset.identities) if name in set(wanted)]
    return dataset.subset(np.flatnonzero(np.isin(dataset.labels, numbers)))

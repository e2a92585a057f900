"""Subsets of a data set: some identities, or a few items of each."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from trine.data.dataset import Dataset
from trine.errors import DataError, SettingError, check_count, check_list, check_type, nearest
from trine.labels import Labels, codes
from trine.shapes import Int64

LISTED = 20


def of_identities(dataset: Dataset, identities: Iterable[str | int]) -> Dataset:
    """Takes the items of some identities.

    Args:
        dataset: Labelled items.
        identities: Their names; numbers are allowed for names that are numbers.

    Returns:
        Their items, in the order of the data; identities keep their numbers.

    Raises:
        DataError: An identity is not in the data.

    Example:
        >>> from trine.data import load
        >>> data, _ = load("digits")
        >>> len(of_identities(data, ["4", "9"]))
        361
    """
    check_type("dataset", dataset, Dataset, "a Dataset, as load returns it")
    wanted = [str(name) for name in check_list("identities", identities, "names of identities")]
    there = {dataset.identity(at) for at in np.unique(dataset.labels, return_index=True)[1]} - {""}
    for name in wanted:
        if name not in there:
            known = sorted(there)
            phrase = nearest(name, known)
            if len(known) > LISTED:
                phrase = f"{phrase.partition('known: ')[0]}it has {len(known):,} others".strip()
            raise DataError(f"identity {name!r} is not in {dataset.root or 'the data'}; {phrase}")
    numbers = [number for number, name in enumerate(dataset.identities) if name in set(wanted)]
    return dataset.subset(np.flatnonzero(np.isin(dataset.labels, numbers)))


def few_of_each(labels: Labels, *, most: int, seed: int = 0) -> Int64[np.ndarray, " m"]:
    """Draws a few items of each identity, for few-shot learning.

    Args:
        labels: The identity of each item.
        most: The most items of an identity; smaller identities keep all of theirs.
        seed: The same seed draws the same items.

    Returns:
        Their positions, ascending.

    Raises:
        SettingError: `most` is below 1.
        InputError: A label is missing.

    Example:
        >>> few_of_each(np.array([0, 0, 0, 1]), most=2, seed=0).tolist()
        [0, 2, 3]
    """
    check_count("most", most, error=SettingError)
    check_count("seed", seed, at_least=0, error=SettingError)
    identity = codes(labels)
    order = np.random.default_rng([seed, 13]).permutation(len(identity))
    drawn = order[np.argsort(identity[order], kind="stable")]
    sizes = np.bincount(identity)
    rank = np.arange(len(identity)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(drawn[rank < most])

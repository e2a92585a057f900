"""Splits by the folds of a list of pairs, so that no identity is in two parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trine.data.dataset import Dataset
from trine.data.sources.pairs import PairTable
from trine.data.splits import PART_NAMES, Split
from trine.errors import DataError, SettingError, nearest
from trine.shapes import Int64


def split_by_folds(
    dataset: Dataset,
    pairs: PairTable,
    *,
    test: Sequence[int | str],
    validation: Sequence[int | str] = (),
) -> Split:
    """Splits a data set by the folds of a list of pairs: no identity is in two parts.

    Identities in pairs of a test fold are for the test, those in pairs of a validation fold for validation,
    and all others for training, also those that are in no pair.

    Args:
        dataset: The labelled items.
        pairs: The list.
        test: The names of the test folds; at least one.
        validation: The names of the validation folds.

    Returns:
        The positions of the items of each part.

    Raises:
        SettingError: No fold is for the test, one is for both parts, or it is not in the list.
        DataError: The list has no folds, names an unknown item, or has an identity in folds of two parts; or
            fewer than two identities are left for training.

    Example:
        >>> from trine.data import Vectors
        >>> names = ("ann/1", "ann/2", "bob/1", "cem/1", "dee/1")
        >>> people = ("ann", "bob", "cem", "dee")
        >>> data = Dataset(Vectors(np.eye(5, dtype=np.float32)), np.array([0, 0, 1, 2, 3]), people, names)
        >>> pairs = PairTable(
        ...     "pairs.csv",
        ...     ("ann/1", "ann/1", "cem/1"),
        ...     ("ann/2", "bob/1", "dee/1"),
        ...     np.array([True, False, False]),
        ...     np.array([1, 1, 0]),
        ...     fold_names=("1", "2"),
        ... )
        >>> parts = split_by_folds(data, pairs, test=[2])
        >>> parts.train.tolist(), parts.test.tolist()
        ([3, 4], [0, 1, 2])
    """
    part_of_fold = _part_of_fold(pairs, test=test, validation=validation)
    assert pairs.fold is not None
    part_of_pair = part_of_fold[pairs.fold]
    owners = dataset.labels[pairs.positions(dataset.names)]
    part_of_identity = np.zeros(len(dataset.identities), dtype=np.int64)
    for part in (1, 2):
        part_of_identity[owners[part_of_pair == part]] = part
    _check_apart(dataset, pairs, owners, part_of_pair, part_of_identity)
    parts = part_of_identity[dataset.labels]
    train, held_out, tested = (np.flatnonzero(parts == part) for part in range(3))
    left = len(np.unique(dataset.labels[train]))
    if left < 2:
        raise DataError(
            f"the folds of {pairs.source} leave {left} of {len(dataset.identities):,} identities for "
            "training, expected at least two: use fewer folds for test and validation"
        )
    return Split(train, held_out, tested, "folds")


def _part_of_fold(
    pairs: PairTable, *, test: Sequence[int | str], validation: Sequence[int | str]
) -> Int64[np.ndarray, " f"]:
    if pairs.fold is None:
        raise DataError(f"{pairs.source} has no folds to split by: add a column fold, or use another split")
    if not test:
        raise SettingError("the split has no test fold; name at least one")
    parts = np.zeros(len(pairs.fold_names), dtype=np.int64)
    for part, folds in ((1, validation), (2, test)):
        for fold in map(str, folds):
            if fold not in pairs.fold_names:
                known = nearest(fold, pairs.fold_names)
                raise SettingError(f"{pairs.source} has no fold {fold} for {PART_NAMES[part]}: {known}")
            at = pairs.fold_names.index(fold)
            if parts[at] not in (0, part):
                raise SettingError(f"fold {fold} is used for validation and for the test; use it for one")
            parts[at] = part
    return parts


def _check_apart(
    dataset: Dataset,
    pairs: PairTable,
    owners: Int64[np.ndarray, "p 2"],
    part_of_pair: Int64[np.ndarray, " p"],
    part_of_identity: Int64[np.ndarray, " i"],
) -> None:
    wrong = part_of_identity[owners] != part_of_pair[:, None]
    if not wrong.any():
        return
    row, column = np.argwhere(wrong)[0].tolist()
    label = owners[row, column]
    here, there = PART_NAMES[part_of_pair[row]], PART_NAMES[part_of_identity[label]]
    raise DataError(
        f"{pairs.where(row)}: {dataset.identities[label]!r} is in a fold for {here} and in one for {there}; "
        "put all pairs of an identity into folds of one part"
    )

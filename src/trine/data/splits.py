"""Splits of labelled items into training, validation and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from trine.data.dataset import Dataset
from trine.data.frames import Tabular
from trine.data.identity_lists import IdentityLists, split_by_lists
from trine.data.load import as_dataset
from trine.data.load_report import count
from trine.data.sources.folder import PARTS
from trine.errors import DataError, SettingError, check_choice, check_count, nearest, shown
from trine.settings import INNER_RATE, Range, check_number
from trine.shapes import Int64

Method = Literal["auto", "identity", "stratified", "column", "named", "open"]
"""How to split; see `split`."""

JudgementMethod = Literal["triplets", "items"]
"""How to split judgements; see `split_triplets`."""

PART_NAMES = ("training", "validation", "test")
"""What errors call the parts of a split, in the order of their numbers."""

NO_LISTS = IdentityLists()

KEPT_OUT = 0.2
"""The share of identities to keep out of training for the threshold, by default."""

ENOUGH_TO_KEEP_OUT = 50
"""With at least this many training identities some are kept out by default."""

ENOUGH_IDENTITIES = 20
"""With at least this many identities, "auto" puts no identity into two parts."""


@dataclass(frozen=True, eq=False)
class Split:
    """What is in each part: positions of items, ascending; or judgements, as `split_triplets` makes them.

    Args:
        train: For training.
        validation: To choose settings and epochs by; may be empty.
        test: For the final metrics only.
        method: How they were split: "identity", "stratified", "column", "named", "open", "folds" (see
            `split_by_folds`), or "triplets" or "items" (see `split_triplets`).
        left_out: How many judgements are in no part, because their items are in several.
        calibration: For the threshold: items of identities that are in no other part; may be empty.
    """

    train: Int64[np.ndarray, "a ..."]
    validation: Int64[np.ndarray, "b ..."]
    test: Int64[np.ndarray, "c ..."]
    method: Method | Literal["folds"] | JudgementMethod
    left_out: int = 0
    calibration: Int64[np.ndarray, " d"] = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def parts(self) -> dict[str, Int64[np.ndarray, "..."]]:
        """What is in each part, by its name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {**parts, "calibration": self.calibration} if len(self.calibration) else parts


def split(
    dataset: Dataset | Tabular,
    *,
    method: Method = "auto",
    test: float = 0.25,
    validation: float = 0.0,
    seed: int = 0,
    unknown: int | Sequence[str | int] | None = None,
    named: IdentityLists = NO_LISTS,
) -> Split:
    """Splits a data set into training, validation and test.

    - "identity": no identity is in two parts; the fractions are of the identities, and each part
      gets at least two. The metrics then hold for people, animals or products never seen in training.
    - "stratified": every identity is split by the fractions, to within one item, and has an item in
      training. Items with the same value in the column "group" (one film, one visit) stay together, and
      the fractions are met as closely as that allows.
    - "column": the column "split" holds train, validation or test. If it has no validation and
      `validation` is not 0, that fraction of its training items becomes the validation part: by identity if
      the
      identities of the test are not in training, else stratified.
    - "open": some identities are `unknown`: all their items are in the test. The others are split as by
      "stratified". The metrics then also show how well unknown identities are rejected.
    - "named": `named` lists the identities of each part; items of others are in none. If it lists none
      for validation and `validation` is not 0, that fraction of its training identities is set apart.
    - "auto": "column" if there is one, else "identity" with at least 20 identities, else "stratified".

    Args:
        dataset: The labelled items.
        method: How to split.
        test: The fraction for the test, in (0, 1); not used by "column" and "named".
        validation: The fraction for validation, in [0, 1).
        seed: The same seed gives the same split.
        unknown: For "open", the names of the identities that only the test has, or how many to draw.
        named: The identities of each part, for "named" only.

    Returns:
        The positions of the items of each part.

    Raises:
        DataError: The data does not allow such a split.
        SettingError: An argument is unknown or out of range, or does not belong to the method.

    Example:
        >>> from trine.data import load
        >>> data, _ = load("digits")
        >>> parts = split(data, test=0.2)
        >>> parts.method, len(parts.train), len(parts.test)
        ('stratified', 1437, 360)
    """
    dataset = as_dataset(dataset, "split")
    _check_arguments(method, test, validation, seed, unknown, named)
    present = np.unique(dataset.labels)
    if len(present) < 2 or not dataset.identities:
        only = f" ({dataset.identity(0)!r})" if len(present) == 1 else ""
        raise DataError(
            f"{dataset.root or 'the data'} has only {count(len(present), 'identity', 'identities')}{only}: "
            "expected at least two to tell apart"
        )
    if method == "auto":
        many = len(present) >= ENOUGH_IDENTITIES
        method = "column" if "split" in dataset.columns else "identity" if many else "stratified"
    everything = np.arange(len(dataset), dtype=np.int64)
    fractions = np.array([1 - test - validation, validation, test])
    if method == "column":
        parts = _by_column(dataset, validation, seed)
    elif method == "named":
        parts = split_by_lists(dataset, named)
        if validation > 0 and not len(parts[1]):
            parts[:2] = _by_identity(dataset, parts[0], np.array([1 - validation, validation, 0.0]), seed)[:2]
    elif method == "identity":
        parts = _by_identity(dataset, everything, fractions, seed)
    elif unknown is not None:
        parts = _open(dataset, everything, fractions, seed, unknown)
    else:
        parts = _stratified(dataset, everything, fractions, seed)
    for part, name, wanted in zip(parts, PART_NAMES, fractions, strict=True):
        if not len(part) and wanted > 0 and not (name == "validation" and method in ("column", "named")):
            raise DataError(
                f"the {method} split leaves no items for {name}: expected identities with more items, "
                "or another method"
            )
    return Split(parts[0], parts[1], parts[2], method)


def keep_out(parts: Split, labels: Int64[np.ndarray, " n"], *, share: float | None, seed: int) -> Split:
    """Keeps identities out of all parts of a split, to calibrate a threshold on, if no part has unseen ones.

    Args:
        parts: The split.
        labels: The identity of each item.
        share: The share of the training identities, in [0, 1); None keeps out a fifth of 50 identities or
            more, and none of fewer.
        seed: The same seed keeps out the same identities.

    Returns:
        The split, with those items in its part for calibration; as it was where two identities of the
        validation part, or of the test part, are not in training.

    Raises:
        DataError: Fewer than two identities would be left to train on.

    Example:
        >>> labels = np.repeat(np.arange(50), 4)
        >>> even, odd = np.arange(0, 200, 2), np.arange(1, 200, 2)
        >>> parts = keep_out(Split(even, odd[:0], odd, "stratified"), labels, share=None, seed=0)
        >>> len(parts.train), len(parts.test), len(parts.calibration)
        (80, 80, 40)
    """
    trained = np.unique(labels[parts.train])
    for part in (parts.validation, parts.test):
        if len(np.setdiff1d(labels[part], trained)) >= 2:
            return parts
    if share is None:
        share = KEPT_OUT if len(trained) >= ENOUGH_TO_KEEP_OUT else 0.0
    if share == 0:
        return parts
    count = max(2, round(share * len(trained)))
    if len(trained) - count < 2:
        raise DataError(
            f"data.calibration {share:g} keeps {count} of {len(trained)} identities out of training, and at "
            "least two must be left: set it to a smaller share, or to 0"
        )
    kept = np.random.default_rng([seed, 14]).permutation(trained)[:count]
    out = np.flatnonzero(np.isin(labels, kept)).astype(np.int64)
    rest = (np.setdiff1d(part, out) for part in (parts.train, parts.validation, parts.test))
    train, validation, test = rest
    return replace(parts, train=train, validation=validation, test=test, calibration=out)


def check_fractions(test: float, validation: float, seed: int) -> None:
    """Raises a `SettingError` where fractions or the seed of a split are out of range."""
    check_number("test", test, INNER_RATE)
    check_number("validation", validation, Range(at_least=0, below=1))
    check_count("seed", seed, at_least=0, error=SettingError)
    if test + validation >= 1:
        raise SettingError(f"test + validation must be below 1, given {test} + {validation}")


def _check_arguments(
    method: str,
    test: float,
    validation: float,
    seed: int,
    unknown: int | Sequence[str | int] | None,
    named: IdentityLists,
) -> None:
    check_choice("split", method, get_args(Method), error=SettingError)
    check_fractions(test, validation, seed)
    if (unknown is None) == (method == "open"):
        raise SettingError(
            f"the {method} split does not go with unknown={shown(unknown)}: give unknown identities, or "
            "how many to draw, with the open split only"
        )
    if bool(named) != (method == "named") or bool(named.train) != bool(named.test):
        raise SettingError(
            f"method={method!r} with {len(named.train)} names of training identities and {len(named.test)} "
            "of test identities: expected some of each with 'named', and none with another method"
        )


def _by_identity(
    dataset: Dataset, indices: NDArray[np.int64], fractions: NDArray[np.float64], seed: int
) -> list[NDArray[np.int64]]:
    labels = dataset.labels[indices]
    present = np.random.default_rng([seed, 11]).permutation(np.unique(labels))
    shares = [max(2, round(f * len(present))) if f > 0 else 0 for f in fractions[1:].tolist()]
    if len(present) - sum(shares) < 2:
        parts = 1 + sum(share > 0 for share in shares)
        raise DataError(
            f"{len(present)} identities are too few for an identity-disjoint split into {parts} parts: "
            f"expected at least {2 * parts}, and a remainder for training; use method='stratified' or "
            "smaller fractions"
        )
    validation, test, train = np.split(present, np.cumsum(shares))
    return [indices[np.isin(labels, chosen)] for chosen in (train, validation, test)]


def _stratified(
    dataset: Dataset, indices: NDArray[np.int64], fractions: NDArray[np.float64], seed: int
) -> list[NDArray[np.int64]]:
    """Assigns each group to the part that lacks most of what the group holds.

    An item without a group forms its own group. Each part is then within one item of its share of every
    identity, because it only gets an item while it lacks items of that identity.
    """
    labels = dataset.labels[indices].tolist()
    column = dataset.columns.get("group")
    names = range(len(indices)) if column is None else column[indices].tolist()
    groups: dict[object, list[int]] = {}
    for place in np.random.default_rng([seed, 12]).permutation(len(indices)).tolist():
        # An empty group means unknown, not that such items belong together.
        name = (place,) if names[place] in ("", None) else names[place]
        groups.setdefault(name, []).append(place)
    lack = {label: fractions * number for label, number in Counter(labels).items()}
    lack_of_all = fractions * len(labels)
    trained: set[int] = set()
    parts: list[list[int]] = [[], [], []]
    for places in sorted(groups.values(), key=len, reverse=True):
        held = Counter(labels[place] for place in places)
        if held.keys() <= trained:
            need = np.sum([number * lack[label] for label, number in held.items()], axis=0)
            # Parts within one such group of the largest lack are compared by their total lack: else a
            # small fraction of many small identities would always be rounded to nothing.
            close = (need > 0) & (need > need.max() - sum(number**2 for number in held.values()))
            part = int(np.argmax(np.where(close, lack_of_all / np.maximum(fractions, 1e-9), -np.inf)))
        else:
            part = 0
            trained |= held.keys()
        parts[part] += places
        lack_of_all[part] -= len(places)
        for label, number in held.items():
            lack[label][part] -= number
    return [indices[sorted(places)] for places in parts]


def _open(
    dataset: Dataset,
    indices: NDArray[np.int64],
    fractions: NDArray[np.float64],
    seed: int,
    unknown: int | Sequence[str | int],
) -> list[NDArray[np.int64]]:
    present = np.unique(dataset.labels[indices])
    names = [dataset.identities[label] for label in present.tolist()]
    if isinstance(unknown, int):
        wanted = np.random.default_rng([seed, 13]).permutation(present)[: max(unknown, 0)].tolist()
    else:
        asked = [str(name) for name in unknown]
        for name in asked:
            if name not in names:
                raise DataError(f"unknown identity {name!r} is not in the data: {nearest(name, names)}")
        wanted = [dataset.identities.index(name) for name in asked]
    is_unknown = np.isin(dataset.labels[indices], wanted)
    if not wanted or len(present) - len(set(wanted)) < 2:
        raise DataError(
            f"{count(len(set(wanted)), 'unknown identity', 'unknown identities')} of {len(present)} cannot "
            "be set apart: expected at least one unknown identity and two known ones"
        )
    train, validation, test = _stratified(dataset, indices[~is_unknown], fractions, seed)
    return [train, validation, np.sort(np.concatenate([test, indices[is_unknown]]))]


def _by_column(dataset: Dataset, validation: float, seed: int) -> list[NDArray[np.int64]]:
    column = dataset.columns.get("split")
    if column is None:
        has = ", ".join(dataset.columns) or "none"
        raise DataError(f"the data has no column 'split' (its columns: {has}): use another method")
    written = [str(value).strip().lower() for value in column.tolist()]
    for place, value in enumerate(written):
        if value not in PARTS:
            raise DataError(
                f"{dataset.names[place]} has {value!r} in the column 'split', expected one of "
                f"{', '.join(PARTS)}"
            )
    named = np.array([PARTS[value] for value in written])
    train, held, test = (np.flatnonzero(named == p) for p in ("train", "validation", "test"))
    if validation == 0 or len(held) or not len(train):
        return [train, held, test]
    unseen = not np.isin(dataset.labels[test], dataset.labels[train]).any()
    fractions = np.array([1 - validation, validation, 0.0])
    divide = _by_identity if unseen else _stratified
    train, held, _ = divide(dataset, train, fractions, seed)
    return [train, held, test]

"""Dividing judgements: which triplets are for training, for choosing settings, and for the final figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from trine.errors import DataError, SettingError, nearest
from trine.shapes import Int64

JudgementMethod = Literal["triplets", "items"]
"""How to divide; see `split_triplets`."""


@dataclass(frozen=True, eq=False)
class TripletSplit:
    """Rows of anchor, positive and negative of each part, in the order they came.

    Args:
        train: The judgements to learn from.
        validation: The judgements to choose settings and epochs by; may be empty.
        test: The judgements that only the final figures see.
        method: How they were divided: "triplets" or "items".
        left_out: How many are in no part, because their items are of several.
    """

    train: Int64[np.ndarray, "a 3"]
    validation: Int64[np.ndarray, "b 3"]
    test: Int64[np.ndarray, "c 3"]
    method: JudgementMethod
    left_out: int

    @property
    def parts(self) -> dict[str, Int64[np.ndarray, "t 3"]]:
        """The judgements by the name of their part."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def split_triplets(
    triplets: Int64[np.ndarray, "t 3"],
    *,
    items: int,
    method: JudgementMethod = "triplets",
    test: float = 0.2,
    validation: float = 0.0,
    seed: int = 0,
) -> TripletSplit:
    """Divides judgements into training, validation and test.

    - "triplets": the fractions are of the questions "is a more like b or c?"; the figures then speak of
      answers not seen about items that are known. All answers to one question are in one part, so that
      neither a copy of a judgement nor its opposite is on the other side.
    - "items": the fractions are of the items; a judgement is in a part if all its items are, and left out
      if they are of several. The figures then speak of items never seen. Of few items the test has few
      judgements: a fifth of the items holds not quite a hundredth of them.

    Args:
        triplets: Positions of anchor, positive and negative.
        items: How many items there are.
        method: How to divide.
        test: The fraction for the test, in (0, 1).
        validation: The fraction for validation, in [0, 1).
        seed: Another seed gives another division, the same seed the same one.

    Returns:
        The judgements of each part.

    Raises:
        DataError: The judgements do not allow such a division.
        SettingError: An argument is unknown or out of range.

    Example:
        >>> listed = np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0], [2, 0, 1], [3, 1, 2]])
        >>> parts = split_triplets(listed, items=4, test=0.25)
        >>> len(parts.train), len(parts.test), parts.left_out
        (4, 1, 0)
    """
    if method not in get_args(JudgementMethod):
        known = get_args(JudgementMethod)
        raise SettingError(f"method={method!r} is no split of judgements: {nearest(method, known)}")
    if not (0 < test < 1 and 0 <= validation < 1 and test + validation < 1) or seed < 0:
        raise SettingError(
            f"test={test}, validation={validation}, seed={seed} cannot be used: expected test above "
            "0, validation and seed not below 0, and something left for training"
        )
    if len(triplets) and not 0 <= triplets.min() <= triplets.max() < items:
        raise DataError(
            f"triplets hold positions from {triplets.min()} to {triplets.max()}, expected those of the "
            f"{items} items"
        )
    drawn = np.random.default_rng([seed, 13])
    if method == "triplets":
        asked = questions(triplets)
        shares = _drawn(int(asked.max(initial=-1)) + 1, test, validation, drawn)
        part = shares[asked]
    else:
        corners = _drawn(items, test, validation, drawn)[triplets]
        part = np.where((corners == corners[:, :1]).all(axis=1), corners[:, 0], -1)
    train, held, tested = (triplets[part == number] for number in range(3))
    for rows, name, wanted in (
        (train, "training", 1.0),
        (held, "validation", validation),
        (tested, "test", test),
    ):
        if not len(rows) and wanted > 0:
            raise DataError(
                f"dividing {len(triplets):,} judgements by {method} leaves none for {name}: expected more "
                f"of them, larger fractions{', or the split triplets' if method == 'items' else ''}"
            )
    return TripletSplit(train, held, tested, method, int((part < 0).sum()))


def questions(triplets: Int64[np.ndarray, "t 3"]) -> Int64[np.ndarray, " t"]:
    """Numbers what was asked: triplets with one anchor and the same two others have the same number.

    Args:
        triplets: Rows of anchor, positive and negative.

    Returns:
        A number from 0 for each triplet.

    Example:
        >>> questions(np.array([[0, 1, 2], [0, 2, 1], [1, 0, 2]])).tolist()
        [0, 0, 1]
    """
    asked = np.concatenate([triplets[:, :1], np.sort(triplets[:, 1:], axis=1)], axis=1)
    numbers: Int64[np.ndarray, " t"] = (
        np.unique(asked, axis=0, return_inverse=True)[1].ravel().astype(np.int64)
    )
    return numbers


def _drawn(count: int, test: float, validation: float, random: np.random.Generator) -> NDArray[np.int64]:
    """The part of each of so many things: 0 for training, 1 for validation, 2 for the test."""
    part = np.zeros(count, dtype=np.int64)
    order = random.permutation(count)
    tested, held = round(test * count), round(validation * count)
    part[order[:tested]], part[order[tested : tested + held]] = 2, 1
    return part

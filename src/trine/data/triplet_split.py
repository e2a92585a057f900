"""Splits of triplet judgements into training, validation and test."""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import NDArray

from trine.data.splits import PART_NAMES, JudgementMethod, Split, check_fractions
from trine.errors import DataError, SettingError, check_choice, check_count, shown
from trine.labels import as_array
from trine.shapes import Int64


def split_triplets(
    triplets: Int64[np.ndarray, "t 3"],
    *,
    items: int,
    method: JudgementMethod = "triplets",
    test: float = 0.2,
    validation: float = 0.0,
    seed: int = 0,
) -> Split:
    """Splits triplet judgements into training, validation and test.

    - "triplets": the fractions are of the queries "is a more like b or c?"; the metrics then hold for unseen
      judgements of known items. All answers to one query are in one part, so that neither a copy
      of a judgement nor its opposite is in another part.
    - "items": the fractions are of the items; a judgement is in a part if all its items are, and left out
      if they are in several. The metrics then hold for items never seen in training. The test is then small:
      a fifth of the items holds less than a hundredth of the judgements.

    Args:
        triplets: Positions of anchor, positive and negative.
        items: How many items there are.
        method: How to split.
        test: The fraction for the test, in (0, 1).
        validation: The fraction for validation, in [0, 1).
        seed: The same seed gives the same split.

    Returns:
        Rows of anchor, positive and negative of each part, in their original order.

    Raises:
        DataError: The judgements do not allow such a split.
        SettingError: An argument is unknown or out of range.

    Example:
        >>> listed = np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0], [2, 0, 1], [3, 1, 2]])
        >>> parts = split_triplets(listed, items=4, test=0.25)
        >>> len(parts.train), len(parts.test), parts.left_out
        (4, 1, 0)
    """
    check_choice("split of judgements", method, get_args(JudgementMethod), error=SettingError)
    check_fractions(test, validation, seed)
    triplets = _checked(triplets)
    check_count("items", items, at_least=0)
    if len(triplets) and not 0 <= triplets.min() <= triplets.max() < items:
        raise DataError(
            f"triplets hold positions from {triplets.min()} to {triplets.max()}, expected those of the "
            f"{items} items"
        )
    generator = np.random.default_rng([seed, 13])
    if method == "triplets":
        asked = query_numbers(triplets)
        part = _random_parts(int(asked.max(initial=-1)) + 1, test, validation, generator)[asked]
    else:
        corners = _random_parts(items, test, validation, generator)[triplets]
        part = np.where((corners == corners[:, :1]).all(axis=1), corners[:, 0], -1)
    parts = [triplets[part == number] for number in range(3)]
    for rows, name, wanted in zip(parts, PART_NAMES, (1.0, validation, test), strict=True):
        if not len(rows) and wanted > 0:
            raise DataError(
                f"splitting {len(triplets):,} judgements by {method} leaves none for {name}: expected more "
                f"judgements, larger fractions{', or the split triplets' if method == 'items' else ''}"
            )
    return Split(parts[0], parts[1], parts[2], method, int((part < 0).sum()))


def query_numbers(triplets: Int64[np.ndarray, "t 3"]) -> Int64[np.ndarray, " t"]:
    """Numbers the queries: triplets with the same anchor and the same two other items share a number.

    Args:
        triplets: Rows of anchor, positive and negative.

    Returns:
        A number from 0 for each triplet.

    Example:
        >>> query_numbers(np.array([[0, 1, 2], [0, 2, 1], [1, 0, 2]])).tolist()
        [0, 0, 1]
    """
    triplets = _checked(triplets)
    asked = np.concatenate([triplets[:, :1], np.sort(triplets[:, 1:], axis=1)], axis=1)
    numbers: NDArray[np.int64] = np.unique(asked, axis=0, return_inverse=True)[1]
    return numbers.ravel().astype(np.int64)


def _checked(triplets: object) -> Int64[np.ndarray, "t 3"]:
    rows: Int64[np.ndarray, "t 3"] = as_array(triplets)
    if rows.ndim != 2 or rows.shape[1] != 3 or rows.dtype.kind not in "iu":
        raise DataError(
            f"triplets must be a matrix of whole numbers, three in a row, given {shown(triplets)}"
        )
    return rows


def _random_parts(
    count: int, test: float, validation: float, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Draws parts: 0 for training, 1 for validation, 2 for the test."""
    part = np.zeros(count, dtype=np.int64)
    order = generator.permutation(count)
    tested, held = round(test * count), round(validation * count)
    part[order[:tested]], part[order[tested : tested + held]] = 2, 1
    return part

"""The pairs of a list whose items are evaluated, and a threshold chosen on other pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trine.data import Dataset, PairTable
from trine.distances import Distance
from trine.errors import DataError, check_choice
from trine.evaluation import Verification, verification
from trine.evaluation.intervals import Interval
from trine.evaluation.metric_report import Asked, MetricReport
from trine.shapes import Bool, Float, Float32, Int64


@dataclass(frozen=True, eq=False)
class ListedPairs:
    """The pairs of a list whose items are both evaluated.

    Attributes:
        pairs: Rows of the two items of each.
        same: Whether they are of one identity.
        fold: The fold of each; None with fewer than two folds.
        left_out: How many pairs of the list have an item that is not evaluated.
    """

    pairs: Int64[np.ndarray, "p 2"]
    same: Bool[np.ndarray, " p"]
    fold: Int64[np.ndarray, " p"] | None
    left_out: int

    @property
    def both_kinds(self) -> bool:
        """Whether there are genuine and impostor pairs."""
        return bool(self.same.any()) and not self.same.all()

    def notes(self) -> tuple[str, ...]:
        """Notes for the report."""
        if not self.left_out:
            return ()
        return (f"{self.left_out:,} pairs of the list were left out: they name items outside the part",)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Items outside the training and test parts, and the listed pairs among them, which choose a threshold.

    Attributes:
        dataset: The items.
        listed: The pairs.
    """

    dataset: Dataset
    listed: ListedPairs

    def threshold(self, rows: Float32[np.ndarray, "n d"], *, distance: Distance) -> float | None:
        """The threshold with the highest accuracy; None without pairs of both kinds.

        Args:
            rows: One for each item: its embedding, or its raw values.
            distance: How they are compared.
        """
        if not self.listed.both_kinds:
            return None
        pairs, same = self.listed.pairs, self.listed.same
        return verification(rows, pairs=pairs, same=same, distance=distance, resamples=0).best_threshold()


@dataclass(frozen=True, eq=False)
class AtThreshold(MetricReport):
    """The accuracy on listed pairs at a threshold that was chosen on other pairs.

    Attributes:
        pairs: The verification report of the listed pairs.
        threshold: The threshold, the same for every sample of identities.
    """

    pairs: Verification
    threshold: float

    @property
    def accuracy(self) -> float:
        """The share of pairs that the threshold classifies correctly."""
        return self.pairs.accuracy_at(self.threshold)

    def _facts(self) -> dict[str, object]:
        return {"protocol": "the threshold of the validation pairs", "threshold": self.threshold}

    def _listed(self) -> list[Asked]:
        return [("accuracy", ())]

    def _check(self, metric: str, arguments: tuple[float, ...]) -> None:
        check_choice("metric", metric, ("accuracy",))

    def _interval(self, metric: str, arguments: tuple[float, ...]) -> Interval:
        return self.pairs.interval("accuracy_at", self.threshold)

    def _resampled(self, asked: Sequence[Asked]) -> Sequence[Float[np.ndarray, " r"]]:
        return [self.pairs.resampled("accuracy_at", self.threshold) for _ in asked]


def listed_pairs(table: PairTable, dataset: Dataset, part: Int64[np.ndarray, " n"]) -> ListedPairs:
    """Finds the pairs of a list whose items are both in a part of the data.

    Args:
        table: The list.
        dataset: All the data.
        part: Positions of the part's items.

    Raises:
        DataError: A name is not an item of the data, or no pair of each kind lies within the part.
    """
    found = pairs_within(table, dataset, part)
    if not found.both_kinds:
        genuine = int(found.same.sum())
        raise DataError(
            f"of the {len(table):,} pairs of {table.source}, {genuine:,} of one identity and "
            f"{len(found.same) - genuine:,} of two have both items in the part, expected some of each; name "
            "another part, or train with data.split folds, which tests on whole folds"
        )
    return found


def pairs_within(table: PairTable, dataset: Dataset, part: Int64[np.ndarray, " n"]) -> ListedPairs:
    """As `listed_pairs`, but may return no pairs.

    Args:
        table: The list.
        dataset: All the data.
        part: Positions of the part's items.

    Raises:
        DataError: A name is not an item of the data.
    """
    place = np.full(len(dataset), -1, dtype=np.int64)
    place[part] = np.arange(len(part))
    within = place[table.positions(dataset.names)]
    kept = (within >= 0).all(axis=1)
    # With one fold, there is no other to choose its threshold on.
    fold = None if table.fold is None or len(np.unique(table.fold[kept])) < 2 else table.fold[kept]
    return ListedPairs(within[kept], table.same[kept], fold, int((~kept).sum()))

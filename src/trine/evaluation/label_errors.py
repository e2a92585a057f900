"""Label errors: which items probably have a wrong label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from trine.distances import PROPERTIES, Distance
from trine.errors import InputError, check_count, check_list
from trine.evaluation.label_scores import LabelScores, label_scores
from trine.labels import Labels, checked, codes
from trine.neighbours import Backend, Neighbours, as_rows, nearest_neighbours
from trine.shapes import Float, Int64

__all__ = ["LabelErrors", "SuspectLabel", "find_label_errors"]

TWIN = 0.5
"""Two items are nearly identical if their distance is below this share of the usual one."""

SHOWN = 5
"""How many neighbours a suspect is shown with."""

LISTED = 50
"""How many suspects `to_json` lists."""


@dataclass(frozen=True)
class SuspectLabel:
    """An item that probably has a wrong label.

    Attributes:
        row: The item.
        item: Its name.
        label: Its label.
        looks_like: The label of the items that it is most like.
        score: How strong the evidence is, in [0, 1]; from 0.5 on, the label is more likely wrong than right.
        evidence: The reasons, in words.
        neighbours: The rows of the items nearest to it, nearest first.
    """

    row: int
    item: str
    label: str
    looks_like: str
    score: float
    evidence: str
    neighbours: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.item}: {self.label}, looks like {self.looks_like} ({self.score:.2f}): {self.evidence}"


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """The result of `find_label_errors`: the evidence about every label.

    Attributes:
        labels: The identity of each item, numbered from 0.
        identities: The name of each identity.
        names: The name of each item.
        neighbours: The nearest other items of each.
        votes: Their votes on its label.
        twins: Of each item, the nearest one under another identity that is nearly identical; -1 without one.
        twin_distances: The distance to it; infinite without one.
        usual_distance: The median distance of an item to its nearest other item.
        distance: The distance that was compared.
    """

    labels: Int64[np.ndarray, " n"]
    identities: tuple[str, ...]
    names: tuple[str, ...]
    neighbours: Neighbours
    votes: LabelScores
    twins: Int64[np.ndarray, " n"]
    twin_distances: Float[np.ndarray, " n"]
    usual_distance: float
    distance: Distance

    protocol = "audit: the nearest neighbours of each item but itself, and nearly identical pairs"

    @cached_property
    def twin_scores(self) -> Float[np.ndarray, " n"]:
        """How near to identical the twin of each item is: 1 at distance 0, 0 from half the usual one on."""
        near: Float[np.ndarray, " n"] = np.zeros(len(self.labels))
        found = self.twins >= 0
        lengths = _lengths(self.twin_distances[found], self.distance)
        near[found] = 1 - lengths / (TWIN * _lengths(np.array([self.usual_distance]), self.distance))
        return near

    @cached_property
    def scores(self) -> Float[np.ndarray, " n"]:
        """The stronger of the two kinds of evidence against each label, in [0, 1]."""
        stronger: Float[np.ndarray, " n"] = np.maximum(self.votes.score, self.twin_scores)
        return stronger

    @property
    def ranking(self) -> Int64[np.ndarray, " n"]:
        """All items, the most suspicious first; equal ones by their other evidence, then by row."""
        scores = self.votes.score, self.twin_scores
        return np.lexsort((-np.minimum(*scores), -np.maximum(*scores)))

    @property
    def likely(self) -> int:
        """How many labels are probably wrong."""
        return int((self.scores >= 0.5).sum())

    def suspects(self, top: int | None = None) -> tuple[SuspectLabel, ...]:
        """The items that probably have a wrong label, the most suspicious first.

        Args:
            top: How many; by default all whose label is probably wrong.

        Returns:
            At most this many: items without any evidence are never listed.

        Raises:
            InputError: `top` is negative.
        """
        if top is not None:
            top = check_count("top", top, at_least=0)
        scores = self.scores
        listed = self.ranking[: self.likely if top is None else top].tolist()
        return tuple(self._suspect(row, float(scores[row])) for row in listed if scores[row] > 0)

    def to_json(self) -> dict[str, object]:
        """Returns the counts and the first suspects as JSON values."""
        return {
            "protocol": self.protocol,
            "distance": self.distance,
            "items": len(self.labels),
            "identities": len(self.identities),
            "neighbours": self.neighbours.indices.shape[1],
            "likely_wrong": self.likely,
            "suspects": [asdict(one) for one in self.suspects(LISTED)],
        }

    def _suspect(self, row: int, score: float) -> SuspectLabel:
        twin = self.twin_scores[row]
        other = self.labels[self.twins[row]] if twin >= self.votes.score[row] else self.votes.looks_like[row]
        return SuspectLabel(
            row,
            self.names[row],
            self.identities[self.labels[row]],
            self.identities[other],
            score,
            "; ".join(self._evidence(row)),
            tuple(at for at in self.neighbours.indices[row, :SHOWN].tolist() if at >= 0),
        )

    def _evidence(self, row: int) -> list[str]:
        words = []
        if self.twin_scores[row] > 0:
            twin, away = int(self.twins[row]), self.twin_distances[row]
            words.append(
                f"nearly identical to {self.names[twin]} of {self.identities[self.labels[twin]]} "
                f"(distance {away:.3g}, the nearest is usually {self.usual_distance:.3g} away)"
            )
        votes, other = self.votes, int(self.votes.looks_like[row])
        if other >= 0:
            words.append(
                f"nearest {votes.asked[row]}: {votes.for_other[row]} of {self.identities[other]}, "
                f"{votes.for_own[row] or 'none'} of {self.identities[self.labels[row]]}"
            )
        return words


def find_label_errors(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    labels: Labels,
    *,
    names: Sequence[str] | None = None,
    distance: Distance = "euclidean",
    neighbours: int = 30,
    backend: Backend = "auto",
) -> LabelErrors:
    """Ranks items by how likely their label is wrong.

    Two kinds of evidence count, the stronger of them for each item. Its neighbours disagree: without the
    item itself, those nearest to it have another label, and items of its label do not usually look like
    that one (see `label_scores`). Or it has a twin: an item under another identity at less than half the
    distance that the nearest item usually has, such as one image under two names. Both items of such a pair
    are listed; a person must decide which label is wrong, if either is.

    An encoder trained on these very labels has moved mislabelled items towards their wrong identity and hides
    those that it memorised: the audit works best on items it was not trained on.

    Args:
        embeddings: One row per item.
        labels: The identity of each item: integers of up to 64 bits, or strings.
        names: What the report calls each item; `"row 17"` where left out.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        neighbours: How many neighbours vote at most.
        backend: As for `nearest_neighbours`.

    Returns:
        Every item's score, and the suspects. The same input gives the same answer.

    Raises:
        InputError: There are fewer than two identities, a row is not finite, or an argument does not fit.

    Example:
        >>> rows = np.concatenate([np.linspace(0, 1, 20), np.linspace(5, 6, 20), [-0.05]])[:, None]
        >>> found = find_label_errors(rows, ["a"] * 20 + ["b"] * 21, neighbours=10)
        >>> print(found.suspects(1)[0])
        row 40: b, looks like a (0.92): nearest 10: 10 of a, none of b
    """
    check_count("neighbours", neighbours)
    rows = as_rows(embeddings, name="embeddings")
    given = checked(labels, items=len(rows), name="labels")
    identity = codes(given, items=len(rows))
    _, first = np.unique(identity, return_index=True)
    if len(first) < 2:
        raise InputError(f"finding label errors needs at least two identities, given {len(first)}")
    called = tuple(f"row {row}" for row in range(len(identity)))
    if names is not None:
        called = check_list("names", names, "a name for each item")
    if len(called) != len(identity):
        raise InputError(
            f"names must have one entry for each of the {len(identity)} items, given {len(called)}"
        )
    found = nearest_neighbours(rows, k=neighbours, distance=distance, backend=backend)
    usual = _usual(found)
    twins, away = _twins(found, identity, usual, distance)
    return LabelErrors(
        identity,
        tuple(str(given[at]) for at in first),
        called,
        found,
        label_scores(found.indices, identity),
        twins,
        away,
        usual,
        distance,
    )


def _usual(found: Neighbours) -> float:
    """The median distance to the nearest other item, ignoring exact copies."""
    nearest = found.distances[:, 0].astype(np.float64)
    apart = nearest[nearest > 0]
    return float(np.median(apart)) if len(apart) else 0.0


def _twins(
    found: Neighbours, identity: Int64[np.ndarray, " n"], usual: float, distance: Distance
) -> tuple[Int64[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    near = _lengths(found.distances.astype(np.float64), distance)
    limit = TWIN * _lengths(np.array([usual]), distance)
    twin = (identity[found.indices] != identity[:, None]) & (near < limit)
    rows, at = np.arange(len(identity)), twin.argmax(axis=1)
    known = twin[rows, at]
    twins = np.where(known, found.indices[rows, at], -1)
    return twins, np.where(known, found.distances[rows, at].astype(np.float64), np.inf)


def _lengths(distances: Float[np.ndarray, "..."], distance: Distance) -> Float[np.ndarray, "..."]:
    # Half of a square is not half of the length.
    lengths: Float[np.ndarray, "..."] = np.sqrt(distances) if PROPERTIES[distance].squared else distances
    return lengths

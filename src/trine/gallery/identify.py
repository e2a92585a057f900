"""Finds the identities nearest to a probe, where an identity may have many embeddings.

An identity is scored by its nearest embedding, by the mean distance of its nearest few, or by the distance of
its centroid. All three are exact: no identity with a better score is missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np

from trine.distances import PROPERTIES
from trine.errors import Argument, GalleryError, SettingError, check_choice
from trine.gallery.decision import Candidate, Identification, Threshold
from trine.gallery.entries import Hit, check_at_least, metadata_of
from trine.gallery.store import Scope, Store
from trine.neighbours import ExactSearch
from trine.shapes import Float, Float32

Scoring = Literal["best", "mean", "centroid"]
"""How an identity is scored: by its nearest embedding, its nearest few, or its centroid."""

UNIT = 1e-3
"""The tolerance within which the length of an embedding counts as 1."""


WIDTH = 16
"""The number of hits of the first search per requested identity; usually enough."""


@dataclass(frozen=True)
class Ranking:
    """How identities are ranked.

    Args:
        scoring: `"best"`, `"mean"` of the nearest `top` embeddings, or `"centroid"`.
        top: How many embeddings the mean is taken over, at least 1; all of them if there are fewer.
        quality: The metadata key of an item's quality in [0, 1], which weights its distance in a mean, or
            its embedding in a centroid.
        candidates: How many identities to return, at least 1.

    Raises:
        SettingError: A number is below 1, or `quality` is passed with `"best"`.
        InputError: The scoring is unknown.
    """

    scoring: Scoring = "best"
    top: int = 3
    quality: str | None = None
    candidates: int = 3

    def __post_init__(self) -> None:
        check_choice("scoring", self.scoring, get_args(Scoring))
        check_at_least(1, top=self.top, candidates=self.candidates)
        if self.quality is not None and self.scoring == "best":
            raise SettingError(
                *(Argument("quality"), " weights the embeddings of a mean or a centroid: pass "),
                *(Argument("scoring", "mean"), " or ", Argument("scoring", "centroid")),
            )


class Identifier:
    """Ranks the identities of a store; caches the centroids until the next write."""

    def __init__(self, store: Store) -> None:
        """Takes the store whose identities are ranked."""
        self._store = store
        self._centroids: dict[str | None, Centroids] = {}

    def identify(
        self, probes: Float32[np.ndarray, "n d"], limit: Threshold | None, ranking: Ranking
    ) -> list[Identification]:
        """Decides for each probe whether the nearest identity is a match; see `Gallery.identify`."""
        # The margin needs the runner-up, even if one candidate is requested.
        two = replace(ranking, candidates=max(ranking.candidates, 2))
        return [Identification.among(ranked, limit, ranking.candidates) for ranked in self.rank(probes, two)]

    def rank(self, probes: Float32[np.ndarray, "n d"], ranking: Ranking) -> list[list[Candidate]]:
        """Returns the nearest identities of each probe, nearest first, ties by item or name.

        Raises:
            GalleryError: An item lacks the requested quality.
        """
        if ranking.scoring == "centroid":
            return self._of_centroids(ranking.quality).rank(probes, ranking.candidates)
        score = self._best if ranking.scoring == "best" else self._mean
        results = self._store.search(probes, k=WIDTH * ranking.candidates)
        return [score(probe, hits, ranking) for probe, hits in zip(probes, results, strict=True)]

    def _best(self, probe: Float32[np.ndarray, " d"], hits: list[Hit], ranking: Ranking) -> list[Candidate]:
        firsts = islice(self._by_nearest(probe, hits, WIDTH * ranking.candidates), ranking.candidates)
        return [Candidate(hit.identity, hit.score, hit.item) for hit in firsts]

    def _mean(self, probe: Float32[np.ndarray, " d"], hits: list[Hit], ranking: Ranking) -> list[Candidate]:
        """A mean is at least its smallest distance, so skips identities whose nearest item is too far."""
        candidates: list[Candidate] = []
        for first in self._by_nearest(probe, hits, WIDTH * ranking.candidates):
            candidates.sort(key=lambda candidate: (candidate.score, candidate.item))
            if (
                len(candidates) >= ranking.candidates
                and candidates[ranking.candidates - 1].score < first.score
            ):
                break
            scope = Scope(only=frozenset([first.identity]))
            weighed = ranking.quality is not None
            (theirs,) = self._store.search(probe[None], k=ranking.top, scope=scope, metadata=weighed)
            if theirs:  # another process may just have removed them
                score = mean_score(theirs, quality=ranking.quality)
                candidates.append(Candidate(first.identity, score, theirs[0].item))
        candidates.sort(key=lambda candidate: (candidate.score, candidate.item))
        return candidates[: ranking.candidates]

    def _by_nearest(self, probe: Float32[np.ndarray, " d"], hits: list[Hit], asked: int) -> Iterator[Hit]:
        """Yields the nearest item of each identity, nearest first; searches further only as needed."""
        seen: set[str] = set()
        while True:
            for hit in hits:
                if hit.identity not in seen:
                    seen.add(hit.identity)
                    yield hit
            if len(hits) < asked:
                return
            asked *= 2
            (hits,) = self._store.search(probe[None], k=asked, scope=Scope(without=frozenset(seen)))

    def _of_centroids(self, quality: str | None) -> Centroids:
        revision = self._store.revision()
        known = self._centroids.get(quality)
        if known is None or known.revision != revision:
            known = Centroids.of(self._store, revision, quality)
            self._centroids[quality] = known
        return known


@dataclass(frozen=True, eq=False)
class Centroids:
    """The mean embedding of every identity.

    Attributes:
        revision: The revision of the store that they were computed from.
        names: The identities, sorted.
        search: Their centroids, in the same order; `None` for an empty store.
    """

    revision: str
    names: Sequence[str]
    search: ExactSearch | None

    @classmethod
    def of(cls, store: Store, revision: str, quality: str | None) -> Centroids:
        """Computes the centroids of all records; see `Sum.centroid`."""
        distance = store.binding.distance
        sums: dict[str, Sum] = {}
        for record in store.scan():
            total = sums.setdefault(record.identity, Sum())
            known = {} if quality is None else metadata_of(record.metadata, store.address)
            weight = 1.0 if quality is None else quality_of(known, quality, record.item)
            total.add(record.embedding, weight, directions=PROPERTIES[distance].of_directions)
        names = sorted(sums)
        rows = np.array([sums[name].centroid() for name in names], dtype=np.float32)
        return cls(revision, names, ExactSearch(rows, distance=distance) if names else None)

    def rank(self, probes: Float32[np.ndarray, "n d"], count: int) -> list[list[Candidate]]:
        """Returns the nearest identities of each probe, nearest first, ties by name."""
        if self.search is None:
            return [[] for _ in probes]
        nearest = self.search.nearest(probes, k=count)
        return [
            [Candidate(self.names[i], float(score)) for score, i in zip(scores, indices, strict=True)]
            for scores, indices in zip(nearest.distances.tolist(), nearest.indices.tolist(), strict=True)
        ]


@dataclass
class Sum:
    """Adds up the embeddings of one identity."""

    weighted: Any = 0.0
    plain: Any = 0.0
    weight: float = 0.0
    count: int = 0
    unit: bool = True

    def add(self, row: Float32[np.ndarray, " d"], weight: float, *, directions: bool) -> None:
        """Adds an embedding, or only its direction."""
        wide = row.astype(np.float64)
        length = float(np.sqrt(wide @ wide))
        self.unit &= abs(length - 1) <= UNIT
        if directions and length > 0:
            wide /= length
        self.weighted, self.plain = self.weighted + weight * wide, self.plain + wide
        self.weight, self.count = self.weight + weight, self.count + 1

    def centroid(self) -> Float[np.ndarray, " d"]:
        """The mean, normalised if all rows have length 1.

        If every weight is 0, all rows have equal weight.
        """
        mean = self.weighted / self.weight if self.weight > 0 else self.plain / self.count
        length = float(np.sqrt(mean @ mean))
        centroid: Float[np.ndarray, " d"] = mean / length if self.unit and length > 0 else mean
        return centroid


def mean_score(hits: Sequence[Hit], *, quality: str | None = None) -> float:
    """Returns the mean distance of hits, weighted by their quality if its key is given.

    If every quality is 0, all hits have equal weight.

    Raises:
        GalleryError: A hit lacks the quality.

    Example:
        >>> hits = [Hit("1", "ann", 0.2, {"sharpness": 1.0}), Hit("2", "ann", 0.8, {"sharpness": 0.5})]
        >>> mean_score(hits), round(mean_score(hits, quality="sharpness"), 6)
        (0.5, 0.4)
    """
    weights = [1.0 if quality is None else quality_of(hit.metadata, quality, hit.item) for hit in hits]
    if not any(weights):
        weights = [1.0] * len(hits)
    total = sum(weight * hit.score for weight, hit in zip(weights, hits, strict=True))
    # Rounding must not bring a mean below the smallest distance in it.
    return max(total / sum(weights), hits[0].score)


def quality_of(metadata: object, key: str, item: str) -> float:
    """Returns the quality of an item.

    Raises:
        GalleryError: It is missing, or not a number in [0, 1].
    """
    value = metadata.get(key) if isinstance(metadata, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        where = f"under {key!r} in its metadata, given {value!r}"
        raise GalleryError(f"the item {item[:80]!r} has no quality between 0 and 1 {where}")
    return float(value)

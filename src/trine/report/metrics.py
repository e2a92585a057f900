"""The measurements of embeddings: one optional typed result per protocol."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from trine.evaluation import (
    Clustering,
    Identification,
    KnnClassification,
    OpenSet,
    Recommendation,
    Retrieval,
    TripletAccuracy,
    Verification,
)
from trine.evaluation.listed_pairs import AtThreshold
from trine.triplets import Census


@dataclass(frozen=True)
class Metrics:
    """The results of an evaluation; None where a protocol does not apply.

    Attributes:
        retrieval: Every item is a query for the other items of its identity.
        verification: All pairs of items, genuine or impostor.
        clustering: The items, clustered by the model's cluster threshold.
        pairs: The pairs of a list.
        pairs_at_threshold: The same pairs at a threshold chosen on other pairs.
        identification: Every item is a probe for its identity on other cameras.
        open_set: Every item is a probe for a gallery of the training items, which lacks some identities.
        knn_classification: The nearest training items of every item vote on its identity.
        triplet_accuracy: Agreement with the triplet judgements of people.
        recommendation: The held-out item of every user, ranked among all items.
        left_out: Every item is a probe for the others, once with its identity enrolled and once without.
    """

    retrieval: Retrieval | None = None
    verification: Verification | None = None
    clustering: Clustering | None = None
    pairs: Verification | None = None
    pairs_at_threshold: AtThreshold | None = None
    identification: Identification | None = None
    open_set: OpenSet | None = None
    knn_classification: KnnClassification | None = None
    triplet_accuracy: TripletAccuracy | None = None
    recommendation: Recommendation | None = None
    left_out: OpenSet | None = None

    def to_json(self) -> dict[str, object]:
        """The available results as JSON values."""
        results = {name: result for name, result in vars(self).items() if result is not None}
        return {name: result.to_json() for name, result in results.items()}


@dataclass(frozen=True)
class TripletCensus:
    """The triplets among the evaluated items, counted by how hard they are.

    Attributes:
        census: The number of triplets of each kind.
        margin: The margin α that separates the kinds.
        items: The number of items that form the triplets.
        sampled: Whether these are a random sample of the evaluated items.
    """

    census: Census
    margin: float
    items: int
    sampled: bool

    def to_json(self) -> dict[str, object]:
        """Everything as JSON values."""
        counts = asdict(self.census).items()
        known = {name: None if math.isnan(count) else count for name, count in counts}
        return {"margin": self.margin, "items": self.items, "sampled": self.sampled, **known}

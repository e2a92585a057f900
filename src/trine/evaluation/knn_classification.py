"""kNN classification: the nearest rows of a gallery vote on the identity of each probe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trine.distances import Distance
from trine.errors import InputError, check_count
from trine.evaluation.intervals import RESAMPLES
from trine.evaluation.metric_report import Columns, PerQueryReport, check_bootstrap
from trine.labels import Labels, checked, joint_codes
from trine.neighbours import as_rows, nearest_neighbours
from trine.shapes import Float, Int64, Shaped

__all__ = ["KnnClassification", "knn_classification"]


@dataclass(frozen=True, eq=False)
class KnnClassification(PerQueryReport):
    """The result of `knn_classification`: one entry for each probe that counts, and their means.

    Attributes:
        probes: The rows of the probes.
        labels: The identity of each probe, numbered from 0.
        predicted: The identity that its neighbours vote for.
        identities: The label of each number.
        unmatched: How many probes were left out because their identity is not in the gallery.
        gallery: How many rows the gallery has.
        k: How many neighbours vote.
        distance: The distance that ranked the gallery.
    """

    probes: Int64[np.ndarray, " q"]
    labels: Int64[np.ndarray, " q"]
    predicted: Int64[np.ndarray, " q"]
    identities: Shaped[np.ndarray, " c"]
    unmatched: int
    gallery: int
    k: int
    distance: Distance

    @property
    def protocol(self) -> str:
        """The rules, in words."""
        voters = "the nearest decides" if self.k == 1 else f"vote of the {self.k} nearest"
        tie = "" if self.k == 1 else ", a tie goes to the one with the nearest"
        return f"kNN classification: closed set, {voters}{tie}"

    @property
    def accuracy(self) -> float:
        """The share of probes whose identity was predicted: the kNN accuracy."""
        return self._mean("accuracy")

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the accuracies of the identities, which all count alike."""
        return float(np.mean(list(self.by_identity().values())))

    def by_identity(self) -> dict[str, float]:
        """Returns the accuracy over the probes of each identity, by its label."""
        own, shares = self._identity_means("accuracy")
        return {str(self.identities[i]): share for i, share in zip(own, shares.tolist(), strict=True)}

    def _columns(self) -> Columns:
        return {"accuracy": (self.predicted == self.labels).astype(float)}

    def _facts(self) -> dict[str, object]:
        return {
            "protocol": self.protocol,
            "distance": self.distance,
            "k": self.k,
            "probes": len(self.probes),
            "probes_without_match": self.unmatched,
            "identities": len(np.unique(self.labels)),
            "gallery": self.gallery,
            "balanced_accuracy": self.balanced_accuracy,
            "by_identity": self.by_identity(),
        }


def knn_classification(
    probes: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    probe_labels: Labels,
    gallery: Float[np.ndarray, "m d"] | Float[Tensor, "m d"],
    gallery_labels: Labels,
    *,
    k: int = 5,
    distance: Distance = "euclidean",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> KnnClassification:
    """Predicts the identity of every probe by a vote of its `k` nearest gallery rows (Cover, Hart 1967).

    Each neighbour has one vote. Of identities with equally many votes, the one with the nearest neighbour
    wins; equal distances rank by index. The search is exact and runs in tiles. Use `open_set` where a probe
    may be of an identity outside the gallery.

    Args:
        probes: One row per probe.
        probe_labels: The identity of each: integers of up to 64 bits, or strings. A probe whose
            identity is not in the gallery is left out and counted.
        gallery: One row per known item; no probe is among them.
        gallery_labels: The identity of each.
        k: How many neighbours vote, at least 1; all of a smaller gallery.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        resamples: The number of bootstrap samples; 0 for no interval.
        seed: The seed of the bootstrap.

    Returns:
        The accuracy of the vote, of all probes and of each identity.

    Raises:
        InputError: No probe's identity is in the gallery, a row is not finite, or the arguments do not fit.

    Example:
        >>> gallery = np.array([[0.0], [1.0], [1.2], [5.0], [5.1]])
        >>> names = ["ann", "bob", "bob", "cleo", "cleo"]
        >>> report = knn_classification(np.array([[0.4], [4.9]]), ["ann", "cleo"], gallery, names, k=3)
        >>> report.accuracy, report.by_identity()
        (0.5, {'ann': 0.0, 'cleo': 1.0})
    """
    k = check_count("k", k)
    check_bootstrap(resamples, seed)
    x, y = as_rows(probes, name="probes"), as_rows(gallery, name="gallery")
    own = checked(probe_labels, items=len(x), name="probe_labels")
    theirs = checked(gallery_labels, items=len(y), name="gallery_labels")
    identities, labels, known = joint_codes(own, theirs, names=("probe_labels", "gallery_labels"))
    rows = np.flatnonzero(np.isin(labels, known))
    if not len(rows):
        raise InputError(
            f"kNN classification needs a probe whose identity is in the gallery, given {len(x)} probes and "
            f"{len(y)} gallery rows that share none; give a gallery of the probes' identities"
        )
    neighbours = nearest_neighbours(x[torch.from_numpy(rows)], y, k=k, distance=distance).indices
    return KnnClassification(
        rows,
        labels[rows],
        majority_vote(known[neighbours]),
        identities,
        len(x) - len(rows),
        len(y),
        neighbours.shape[1],
        distance,
        resamples=resamples,
        seed=seed,
    )


def majority_vote(votes: Int64[np.ndarray, "q k"]) -> Int64[np.ndarray, " q"]:
    """Returns the label with the most votes in each row; a tie goes to the nearest vote.

    Args:
        votes: The labels of the neighbours of each query, nearest first.

    Returns:
        A label for each query.

    Example:
        >>> majority_vote(np.array([[3, 1, 1], [3, 1, 2]])).tolist()
        [1, 3]
    """
    counts = np.zeros(votes.shape, dtype=np.int64)
    for voter in range(votes.shape[1]):
        counts += votes == votes[:, [voter]]
    winner: Int64[np.ndarray, " q"] = votes[np.arange(len(votes)), counts.argmax(axis=1)]
    return winner

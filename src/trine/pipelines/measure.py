"""Turns embeddings into a report: the measurements of every evaluation, comparison and training run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from trine.cluster_threshold import ClusterThreshold
from trine.clustering import LARGEST_ALL_PAIRS
from trine.clustering import Method as Linkage
from trine.data import Dataset
from trine.distances import Distance
from trine.encoders import Encoder
from trine.errors import CalibrationError, DataError
from trine.evaluation import (
    Identification,
    TripletConsistency,
    Verification,
    choose_cluster_threshold,
    clustering,
    identification,
    knn_classification,
    leave_one_out,
    open_set,
    retrieval,
    triplet_accuracy,
    verification,
)
from trine.evaluation.listed_pairs import AtThreshold, HeldOut, ListedPairs
from trine.mining import census
from trine.pipelines.baseline import Rows, baseline_of, best_baseline_on_triplets
from trine.pipelines.split_record import has_pair, name_of
from trine.report import Baseline, EvaluatedPart, Metrics, Report, TripletCensus
from trine.report.metrics_table import FPIR, NEIGHBOURS
from trine.shapes import Int64
from trine.training import Diagnosis, LossRecipe, Recipe

CENSUS_ITEMS = 2000

Embed = Callable[[Dataset], Rows | None]
"""Returns one row per item; None if they are too many numbers."""


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """The data that a model is evaluated on.

    Attributes:
        items: The items; without identities, only triplet judgements are measured.
        part: Which items these are.
        far: A false-accept rate to report in addition to the usual ones.
        gallery: Training items, if some of them share an identity with `items`.
        listed: Pairs of a list to measure as well.
        held_out: Pairs to choose a threshold for `listed` on; None for no threshold.
        triplets: Triplet judgements, as positions among the items.
        judgements: How consistent all judgements are.
        notes: Further notes for the reader.
    """

    items: Dataset
    part: EvaluatedPart
    far: float = 0.01
    gallery: Dataset | None = None
    listed: ListedPairs | None = None
    held_out: HeldOut | None = None
    triplets: Int64[np.ndarray, "t 3"] | None = None
    judgements: TripletConsistency | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cut:
    """How to cluster items.

    Attributes:
        linkage: As for `trine.clustering.cluster`.
        threshold: The largest distance that joins.
    """

    linkage: Linkage
    threshold: float


def gallery_for(items: Dataset, trained: Dataset) -> Dataset | None:
    """The training items as a gallery for `items`; None if they share no identity."""
    return trained if np.isin(items.labels, trained.labels).any() else None


def measure(
    encoder: Encoder,
    evaluated: EvaluationSet,
    *,
    folder: Path,
    recipe: Recipe | None,
    embed: Embed | None = None,
    doctor: tuple[Diagnosis, ...] = (),
    largest_all_pairs: int = LARGEST_ALL_PAIRS,
) -> Report:
    """Measures an encoder and its baseline.

    Args:
        encoder: The encoder.
        evaluated: What to evaluate it on.
        folder: Where the report will be written.
        recipe: The run's recipe, for the baseline, the clustering and the margin of the census; None if it
            is not known.
        embed: Embeds items, perhaps from a cache; `encoder.embed` by default.
        doctor: The problems of the training.
        largest_all_pairs: The largest number of items to cluster by average or complete linkage.

    Raises:
        DataError: The items have identities, but no two share one, or all do.
    """
    items = evaluated.items
    if items.identities and not has_pair(items):
        raise DataError(
            f"{name_of(items)}, {evaluated.part}: metrics need two items of one identity and a second "
            "identity; evaluate more items"
        )
    embed = cache(encoder.embed) if embed is None else embed
    known, said = encoder.calibration, Recipe() if recipe is None else recipe
    threshold = None if known is None or not items.identities else known.threshold
    cut, notes = _cut(encoder, said, items, largest_all_pairs)
    after = measured(evaluated, embed, distance=encoder.distance, cut=cut)
    assert after is not None, "an encoder embeds all items"
    before, baseline = _before(encoder, evaluated, recipe)
    pairs = after.verification
    return Report(
        folder,
        name_of(items),
        evaluated.part,
        after,
        before,
        baseline,
        evaluated.far,
        calibration=None if threshold is None else known,
        cluster_threshold=encoder.cluster_threshold if items.identities else None,
        realised_far=None if threshold is None or pairs is None else pairs.far_at(threshold),
        judgements=evaluated.judgements,
        census=_census(embed, items, said.loss, distance=encoder.distance),
        doctor=doctor,
        notes=(*(() if evaluated.listed is None else evaluated.listed.notes()), *notes, *evaluated.notes),
    )


def measured(
    evaluated: EvaluationSet,
    embed: Embed,
    *,
    distance: Distance,
    cut: Cut | None = None,
) -> Metrics | None:
    """Measures everything that applies to an evaluation set.

    Args:
        evaluated: The data to evaluate.
        embed: Embeds items.
        distance: How embeddings are compared.
        cut: How to cluster the items; None for no clustering.

    Returns:
        The metrics; None if `embed` has no rows for the items.
    """
    items, labels, judged = evaluated.items, evaluated.items.labels, evaluated.triplets
    rows = embed(items)
    if rows is None:
        return None
    triplets = None if judged is None else triplet_accuracy(rows, judged, distance=distance)
    if not items.identities:
        return Metrics(triplet_accuracy=triplets)
    at = tuple(sorted({0.001, 0.01, 0.1, evaluated.far}))
    pairs, pairs_at_threshold = _listed_pairs(rows, evaluated, embed, distance=distance, at=at)
    clusters = None
    if cut is not None:
        clusters = clustering(rows, labels, threshold=cut.threshold, method=cut.linkage, distance=distance)
    unknowns = recognised = None
    known = None if evaluated.gallery is None else embed(evaluated.gallery)
    if evaluated.gallery is not None and known is not None:
        gallery = (known, evaluated.gallery.labels)
        recognised = knn_classification(rows, labels, *gallery, k=NEIGHBOURS, distance=distance)
        if not np.isin(labels, evaluated.gallery.labels).all():
            unknowns = open_set(rows, labels, *gallery, distance=distance, at=FPIR)
    left_out = leave_one_out(rows, labels, distance=distance, at=FPIR) if unknowns is None else None
    return Metrics(
        retrieval(rows, labels, distance=distance),
        verification(rows, labels, distance=distance, at=at),
        clusters,
        pairs,
        pairs_at_threshold,
        _across_cameras(rows, items, distance),
        unknowns,
        recognised,
        triplets,
        left_out=left_out,
    )


def _listed_pairs(
    rows: Rows, evaluated: EvaluationSet, embed: Embed, *, distance: Distance, at: tuple[float, ...]
) -> tuple[Verification | None, AtThreshold | None]:
    """The listed pairs, and the same pairs at the threshold of the held-out pairs."""
    listed, held_out = evaluated.listed, evaluated.held_out
    if listed is None:
        return None, None
    pairs = verification(
        rows,
        evaluated.items.labels,
        pairs=listed.pairs,
        same=listed.same,
        fold=listed.fold,
        distance=distance,
        at=at,
    )
    others = None if held_out is None else embed(held_out.dataset)
    if held_out is None or others is None:
        return pairs, None
    threshold = held_out.threshold(others, distance=distance)
    return pairs, None if threshold is None else AtThreshold(pairs, threshold, resamples=pairs.resamples)


def _across_cameras(rows: Rows, items: Dataset, distance: Distance) -> Identification | None:
    """Identification with every item as probe and gallery; None if no identity is on two cameras."""
    cameras = items.columns.get("camera")
    if cameras is None:
        return None
    _, numbers = np.unique(cameras, return_inverse=True)
    seen = np.unique(np.stack([items.labels, numbers]), axis=1)[0]
    if len(np.unique(seen)) == len(seen):
        return None
    return identification(
        rows,
        items.labels,
        rows,
        items.labels,
        probe_cameras=cameras,
        gallery_cameras=cameras,
        junk=None,
        distractor=None,
        distance=distance,
    )


def cluster_threshold_of(
    embeddings: Rows, labels: Int64[np.ndarray, " n"], *, distance: Distance
) -> ClusterThreshold | None:
    """Chooses how to cluster on items that were not trained on.

    Args:
        embeddings: One row per item.
        labels: The identity of each item.
        distance: How embeddings are compared.

    Returns:
        The choice; None if no two items share an identity, or all do.
    """
    try:
        return choose_cluster_threshold(embeddings, labels, distance=distance)
    except CalibrationError:
        return None


def _cut(
    encoder: Encoder, recipe: Recipe, items: Dataset, largest_all_pairs: int
) -> tuple[Cut | None, tuple[str, ...]]:
    """How to cluster items; with a note if that is not what the recipe asks for, or if it is not known."""
    chosen, asked = encoder.cluster_threshold, recipe.evaluation.clustering
    if not items.identities or (chosen is None and encoder.calibration is None):
        return None, ()
    if chosen is None:
        return None, (
            "no clusters: the model has no cluster threshold, and that of a false-accept rate is not one; "
            "trine evaluate --calibrate chooses it, on items that were not trained on",
        )
    linkage = chosen.linkage_for(len(items)) if asked == "auto" else asked
    notes: tuple[str, ...] = ()
    if linkage != "connected" and len(items) > largest_all_pairs:
        notes = (
            f"clustered {len(items):,} items with connected: {linkage} takes at most {largest_all_pairs:,}",
        )
        linkage = "connected"
    return Cut(linkage, chosen.at(len(items), linkage)), notes


def _before(
    encoder: Encoder, evaluated: EvaluationSet, recipe: Recipe | None
) -> tuple[Metrics | None, Baseline | None]:
    """The baseline and its metrics."""
    items, triplets = evaluated.items, evaluated.triplets
    encoder_recipe = None if recipe is None else recipe.encoder
    if not items.identities and triplets is not None:
        best = best_baseline_on_triplets(encoder, items, triplets, encoder_recipe)
        return (None, None) if best is None else (Metrics(triplet_accuracy=best[0]), best[1])
    start = baseline_of(encoder, items, encoder_recipe)
    before = None if start is None else measured(evaluated, start.embed, distance="euclidean")
    return before, None if start is None or before is None else start.about


def _census(embed: Embed, items: Dataset, loss: LossRecipe, *, distance: Distance) -> TripletCensus | None:
    """Counts the triplets among the items, or among 2,000 random ones; None without a margin."""
    margin = LossRecipe().margin if loss.margin is None else loss.margin
    rows = embed(items)
    if loss.name != "triplet" or margin is None or rows is None or not items.identities:
        return None
    chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[:CENSUS_ITEMS])
    counts = census(
        torch.from_numpy(rows[chosen]),
        torch.from_numpy(items.labels[chosen]),
        margin=margin,
        distance=distance,
    )
    return TripletCensus(counts, margin, len(chosen), len(chosen) < len(rows))

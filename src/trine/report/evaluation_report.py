"""What a run or an evaluation found: the figures before training and after, and the short table."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch

from trine.calibration import Calibration
from trine.clustering import Method as Linkage
from trine.distances import Distance
from trine.evaluation import (
    Clustering,
    Identification,
    KnnClassification,
    OpenSet,
    Retrieval,
    TripletAccuracy,
    Verification,
    clustering,
    identification,
    knn_classification,
    open_set,
    retrieval,
    triplet_accuracy,
    verification,
)
from trine.evaluation.listed_pairs import AtThreshold, ListedPairs
from trine.mining import census
from trine.report.metrics_table import FPIR, NEIGHBOURS, printed_lines, short_lines
from trine.shapes import Float32, Int64
from trine.training import Diagnosis
from trine.triplets import Census

CENSUS_ITEMS = 2000
RAW = "the raw pictures or features, compared as they are"

Measured = (
    Retrieval | Verification | Clustering | Identification | OpenSet | KnnClassification | TripletAccuracy
)
"""One of the reports of `Metrics`."""


@dataclass(frozen=True)
class Metrics:
    """How well embeddings tell identities apart.

    Attributes:
        retrieval: Every item asks for the others of its identity.
        verification: Every pair of items is the same, or is not.
        clustering: The items put together at the model's threshold; None without one.
        pairs: The pairs of a list; None without one.
        pairs_at_threshold: The same pairs at the threshold of others; None where no others chose one.
        identification: Every item looks for its identity on other cameras; None without cameras.
        open_set: Every item looks for its identity among the training part, which may not have it; None where
            all have it, or none.
        knn_classification: The nearest items of the training part vote on the identity of every item; None
            where none of these identities was trained on.
        triplet_accuracy: Triplets that people judged; None without any.
    """

    retrieval: Retrieval
    verification: Verification
    clustering: Clustering | None = None
    pairs: Verification | None = None
    identification: Identification | None = None
    open_set: OpenSet | None = None
    knn_classification: KnnClassification | None = None
    pairs_at_threshold: AtThreshold | None = None
    triplet_accuracy: TripletAccuracy | None = None

    def headline(self, far: float) -> dict[str, float]:
        """The figures of the short table: all in [0, 1], larger is better.

        Args:
            far: The false-accept rate to show beside 1 %.
        """
        values = {line.name: line.value(self) for line in short_lines(far)}
        return {name: value for name, value in values.items() if value is not None}

    def to_json(self) -> dict[str, object]:
        """Every report that there is, as values that JSON knows."""
        reports = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: report.to_json() for name, report in reports.items() if report is not None}


@dataclass(frozen=True)
class Counted:
    """The triplets among the evaluated items, counted by how hard they are.

    Attributes:
        census: How many there are of each kind.
        margin: The margin α that tells the kinds apart.
        items: Among how many items.
        sampled: Whether these are a random part of the items.
    """

    census: Census
    margin: float
    items: int
    sampled: bool

    def to_json(self) -> dict[str, object]:
        """Everything as values that JSON knows."""
        counts = asdict(self.census).items()
        known = {name: None if math.isnan(count) else count for name, count in counts}
        return {"margin": self.margin, "items": self.items, "sampled": self.sampled, **known}


@dataclass(frozen=True)
class Report:
    """What a run, or an evaluation of one, found.

    Attributes:
        folder: Where it is written.
        data: What the data is called.
        part: Which part of it was looked at, in words.
        before: What there was before training; None where that is too much, or can no longer be had.
        after: The embeddings.
        far: The false-accept rate of the table.
        calibration: The model's threshold, where it has one.
        realised_far: The share of the evaluated impostor pairs that this threshold accepts.
        doctor: What was wrong with the training, where it is a run's own report.
        notes: What else is to be said.
        census: The triplets among the evaluated items.
        before_is: What there was before training, in words.
    """

    folder: Path
    data: str
    part: str
    before: Metrics | None
    after: Metrics
    far: float
    calibration: Calibration | None
    realised_far: float | None
    doctor: tuple[Diagnosis, ...] = ()
    notes: tuple[str, ...] = ()
    census: Counted | None = None
    before_is: str = RAW

    def to_json(self) -> dict[str, object]:
        """Everything as values that JSON knows."""
        return {
            "data": self.data,
            "part": self.part,
            "before_is": None if self.before is None else self.before_is,
            "before_training": None if self.before is None else self.before.to_json(),
            "after_training": self.after.to_json(),
            "calibration": None if self.calibration is None else self.calibration.to_json(),
            "realised_far": self.realised_far,
            "doctor": [asdict(found) for found in self.doctor],
            "census": None if self.census is None else self.census.to_json(),
            "notes": list(self.notes),
        }

    def threshold_sentence(self) -> str:
        """The model's threshold, what it rests on and what it does here; empty where there is none."""
        known = self.calibration
        if known is None:
            return ""
        basis = f"{known.identities} identities, {known.impostor_pairs:,} impostor pairs"
        words = f"threshold {known.threshold:.3f} for a false-accept rate of {100 * known.far:g} %"
        if known.provisional:
            words += " (provisional: too few identities or pairs to promise it)"
        if self._chosen_here(known):
            return f"{words}, chosen on these very items ({basis}): elsewhere it may accept more"
        realised = self.realised_far
        here = "" if realised is None else f"; here it accepts {_percent(realised)} of impostor pairs"
        return f"{words}, from {basis}{here}"

    def _chosen_here(self, known: Calibration) -> bool:
        """Whether the threshold comes from the items that are evaluated."""
        pairs = self.after.verification
        counts = (known.genuine_pairs, known.impostor_pairs) == (pairs.genuine_pairs, pairs.impostor_pairs)
        return counts and known.threshold == pairs.threshold_at_far(known.far)

    def __str__(self) -> str:
        lines = printed_lines(self.after, self.far)
        width = max(map(len, lines))
        written = [f"{self.data}, {self.part}", f"{'':{width}}   before   after   (95 % interval)"]
        for name, line in lines.items():
            was = None if self.before is None else line.value(self.before)
            interval = line.interval(self.after)
            before = "-" if was is None else f"{was:.3f}"
            row = f"{name:{width}}   {before:>6}   {line.value(self.after):.3f}"
            written.append(row if interval is None else f"{row}   ({interval})")
        if self.before is not None and self.before_is != RAW:
            written.append(f"before: {self.before_is}")
        if self.calibration is not None:
            written.append(self.threshold_sentence())
        written += [f"doctor: {found}" for found in self.doctor]
        return "\n".join([*written, *self.notes])


def _percent(share: float) -> str:
    """Two digits, and never as a power of ten."""
    return f"{np.format_float_positional(float(f'{100 * share:.2g}'), trim='-')} %"


def compute_metrics(
    embeddings: Float32[np.ndarray, "n d"],
    labels: Int64[np.ndarray, " n"],
    *,
    distance: Distance,
    far: float,
    threshold: float | None = None,
    linkage: Linkage = "connected",
    listed: ListedPairs | None = None,
    pairs_threshold: float | None = None,
    cameras: np.ndarray | None = None,
    gallery: tuple[Float32[np.ndarray, "m d"], Int64[np.ndarray, " m"]] | None = None,
    judged: Int64[np.ndarray, "t 3"] | None = None,
) -> Metrics:
    """Measures embeddings: retrieval, verification over all pairs, and what else is asked for.

    Args:
        embeddings: One row per item.
        labels: The identity of each.
        distance: How they are compared.
        far: The false-accept rate to list among others.
        threshold: Where to cluster the items; None does not.
        linkage: How to cluster them, as `trine.clustering.cluster` does.
        listed: Pairs of a list to measure, too.
        pairs_threshold: The threshold that other pairs have chosen for these; None where none have.
        cameras: The camera of each item: then every item is a probe, and looks for its identity on others.
        gallery: Rows and labels of items to be recognised by; None recognises nobody. Where some of the
            identities are not among them, these are strangers to be told apart.
        judged: Triplets that people judged, as positions among the items.
    """
    at = tuple(sorted({0.001, 0.01, 0.1, far}))
    pairs = None
    if listed is not None:
        pairs = verification(
            embeddings,
            labels,
            pairs=listed.pairs,
            same=listed.same,
            fold=listed.fold,
            distance=distance,
            at=at,
        )
    clusters = None
    if threshold is not None:
        clusters = clustering(embeddings, labels, threshold=threshold, method=linkage, distance=distance)
    return Metrics(
        retrieval(embeddings, labels, distance=distance),
        verification(embeddings, labels, distance=distance, at=at),
        clusters,
        pairs,
        None if cameras is None else _across_cameras(embeddings, labels, cameras, distance),
        open_set(embeddings, labels, *gallery, distance=distance, at=FPIR)
        if gallery is not None and _has_strangers(labels, gallery[1])
        else None,
        None
        if gallery is None
        else knn_classification(embeddings, labels, *gallery, k=NEIGHBOURS, distance=distance),
        None if pairs is None or pairs_threshold is None else AtThreshold(pairs, pairs_threshold),
        None if judged is None else triplet_accuracy(embeddings, judged, distance=distance),
    )


def _across_cameras(
    embeddings: Float32[np.ndarray, "n d"],
    labels: Int64[np.ndarray, " n"],
    cameras: np.ndarray,
    distance: Distance,
) -> Identification | None:
    """Identification with every item as probe and gallery; none where no identity was seen by two cameras."""
    _, numbers = np.unique(cameras, return_inverse=True)
    seen = np.unique(np.stack([labels, numbers]), axis=1)[0]
    if len(np.unique(seen)) == len(seen):
        return None
    return identification(
        embeddings,
        labels,
        embeddings,
        labels,
        probe_cameras=cameras,
        gallery_cameras=cameras,
        junk=None,
        distractor=None,
        distance=distance,
    )


def count_triplets(
    embeddings: Float32[np.ndarray, "n d"],
    labels: Int64[np.ndarray, " n"],
    *,
    distance: Distance,
    margin: float,
    seed: int = 0,
) -> Counted:
    """Counts the triplets among the items, or among 2,000 of them drawn at random.

    Args:
        embeddings: One row per item.
        labels: The identity of each.
        distance: How they are compared.
        margin: The margin α of the loss.
        seed: Of the draw.
    """
    n = len(embeddings)
    part = np.sort(np.random.default_rng(seed).permutation(n)[:CENSUS_ITEMS])
    rows, own = torch.from_numpy(embeddings[part]), torch.from_numpy(labels[part])
    return Counted(census(rows, own, margin=margin, distance=distance), margin, len(part), len(part) < n)


def sized(measured: Measured) -> str:
    """Says how many queries or pairs stand behind a report."""
    if isinstance(measured, Retrieval):
        left_out = f", {measured.excluded:,} without a positive left out" if measured.excluded else ""
        return f"{len(measured.queries):,} queries among {measured.references:,} items{left_out}"
    if isinstance(measured, Identification):
        alone = f", {measured.unmatched:,} on one camera alone left out" if measured.unmatched else ""
        return f"{len(measured.probes):,} probes among {measured.gallery:,} items{alone}"
    if isinstance(measured, OpenSet):
        return (
            f"{len(measured.distances):,} probes of {measured.identities:,} known identities and "
            f"{len(measured.unknowns):,} strangers, {measured.gallery:,} items enrolled"
        )
    if isinstance(measured, Clustering):
        at = f" at distance {measured.how['threshold']:.3f}" if measured.how else ""
        return f"{measured.clusters:,} clusters of {measured.identities:,} identities{at}"
    if isinstance(measured, TripletAccuracy):
        return f"{len(measured.triplets):,} triplets, of which {measured.contradictions:,} contradict others"
    if isinstance(measured, KnnClassification):
        alone = f", {measured.unmatched:,} of an identity that was not left out" if measured.unmatched else ""
        return f"{len(measured.probes):,} items among {measured.gallery:,} that were trained on{alone}"
    pairs = f"{measured.genuine_pairs:,} pairs of one identity, {measured.impostor_pairs:,} of two"
    if measured.folds is None:
        return pairs
    spread = f"{measured.accuracy:.4f} ± {measured.accuracy_standard_error:.4f}"
    return f"{pairs}; accuracy {spread} (standard error over {len(measured.folds.accuracies)} folds)"


def _has_strangers(labels: Int64[np.ndarray, " n"], known: Int64[np.ndarray, " m"]) -> bool:
    """Whether some items are of identities that are known, and some are not."""
    seen = np.isin(labels, known)
    return bool(seen.any() and not seen.all())

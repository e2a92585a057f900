"""Closed-set identification by the rules of person re-identification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from trine import ranking
from trine.distances import Distance
from trine.errors import InputError, check_choice, check_flags
from trine.evaluation.intervals import RESAMPLES
from trine.evaluation.metric_report import Columns, PerQueryReport, check_bootstrap, check_ranks
from trine.evaluation.multi_query import Cameras, joint_cameras, pooled
from trine.evaluation.relevance import measure_ranks
from trine.labels import Labels, checked, joint_codes, matching
from trine.neighbours import NEVER, RankSearch, as_rows
from trine.shapes import Float, Int64

__all__ = ["AveragePrecision", "Identification", "Unmatched", "identification"]

AveragePrecision = Literal["stepwise", "market1501"]
"""How average precision integrates precision over recall: stepwise, or as the code of Market-1501 does."""

Unmatched = Literal["excluded", "zero"]
"""How to score a probe without a match in the gallery."""

_AVERAGES = {"stepwise": ranking.average_precision, "market1501": ranking.market1501_average_precision}


@dataclass(frozen=True, eq=False)
class Identification(PerQueryReport):
    """The result of `identification`: one entry for each probe that counts, and the means over them.

    Attributes:
        probes: The probes, by the first row of each (pooled probes have several).
        labels: The identity of each probe, numbered from 0.
        first_ranks: The rank, from 1, of the first match; the largest 64-bit integer where there is none.
        average_precisions: The average precision of each probe.
        unmatched: How many probes had no match in the gallery.
        scored: How these are scored.
        gallery: How many gallery rows were ranked.
        junk: How many gallery rows were removed from every ranking.
        distractors: How many of the ranked are distractors.
        cameras: Whether rows of the probe's camera and identity were removed from its ranking.
        multi_query: Whether all rows of a probe's identity and camera were averaged into one.
        average: The convention of average precision.
        distance: The distance that ranked the gallery.
    """

    probes: Int64[np.ndarray, " q"]
    labels: Int64[np.ndarray, " q"]
    first_ranks: Int64[np.ndarray, " q"]
    average_precisions: Float[np.ndarray, " q"]
    unmatched: int
    scored: Unmatched
    gallery: int
    junk: int
    distractors: int
    cameras: bool
    multi_query: bool
    average: AveragePrecision
    distance: Distance

    @property
    def protocol(self) -> str:
        """The rules, in words."""
        return (
            f"identification: {'multi' if self.multi_query else 'single'} query, "
            f"{'same camera left out' if self.cameras else 'no cameras'}, {self.average} average precision, "
            f"probes without a match {'excluded' if self.scored == 'excluded' else 'count as 0'}"
        )

    def cmc(self, rank: int) -> float:
        """The share of probes with a match among the nearest `rank`: the cumulative match characteristic.

        Args:
            rank: At least 1.

        Raises:
            InputError: The rank is below 1.
        """
        return self._mean("cmc", rank)

    @property
    def mean_average_precision(self) -> float:
        """mAP: the mean of the average precision of the probes."""
        return self._mean("mean_average_precision")

    def _columns(self) -> Columns:
        return {
            "mean_average_precision": self.average_precisions,
            "cmc": lambda rank: ranking.recall_at_k(self.first_ranks[:, None], k=rank),
        }

    def _facts(self) -> dict[str, object]:
        return {
            "protocol": self.protocol,
            "distance": self.distance,
            "probes": len(self.probes),
            "probes_without_match": self.unmatched,
            "identities": len(np.unique(self.labels)),
            "gallery": self.gallery,
            "junk": self.junk,
            "distractors": self.distractors,
        }


def identification(
    probes: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    probe_labels: Labels,
    gallery: Float[np.ndarray, "m d"] | Float[Tensor, "m d"],
    gallery_labels: Labels,
    *,
    probe_cameras: Labels | None = None,
    gallery_cameras: Labels | None = None,
    multi_query: bool = False,
    junk: int | str | None = -1,
    distractor: int | str | None = 0,
    average_precision: AveragePrecision = "stepwise",
    unmatched: Unmatched = "excluded",
    distance: Distance = "euclidean",
    at: tuple[int, ...] = (1, 5, 10, 20),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Identification:
    """Ranks the gallery for every probe, by the rules of person re-identification (Zheng et al. 2015).

    Junk is removed from every ranking, as are gallery rows that share both identity and camera with the
    probe; distractors stay and match no probe. Equal distances rank by index.

    Args:
        probes: One row per probe.
        probe_labels: The identity of each: integers of up to 64 bits, or strings.
        gallery: One row per item of the gallery; no probe is among them.
        gallery_labels: The identity of each.
        probe_cameras: The camera of each probe; with `gallery_cameras`, or neither.
        gallery_cameras: The camera of each row of the gallery.
        multi_query: Averages all probes of one identity and camera into one.
        junk: The label of gallery rows that every ranking leaves out; a string where labels are strings.
        distractor: The label of gallery rows that match no probe; None if 0 is an identity.
        average_precision: `"stepwise"`, or `"market1501"`: trapezoids from a precision of 1 on.
        unmatched: `"excluded"` leaves out probes without a match, and counts them; `"zero"` scores them 0.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        at: The ranks to list in the report's JSON.
        resamples: The number of bootstrap samples; 0 for no interval.
        seed: The seed of the bootstrap.

    Returns:
        CMC and mAP over the probes.

    Raises:
        InputError: No probe has a match, a probe carries the label of junk or distractors, a row is not
            finite, the probes are the gallery and there are no cameras, or the arguments do not fit.

    Example:
        >>> report = identification(
        ...     np.array([[0.0]]), [7], np.array([[0.1], [0.2], [0.3], [0.4]]), [7, 0, -1, 7],
        ...     probe_cameras=[1], gallery_cameras=[1, 2, 2, 2],
        ... )
        >>> report.cmc(1), report.cmc(2), report.mean_average_precision
        (0.0, 1.0, 0.5)
    """
    check_choice("average_precision", average_precision, get_args(AveragePrecision))
    check_choice("unmatched", unmatched, get_args(Unmatched))
    check_flags(multi_query=multi_query)
    check_ranks(at)
    check_bootstrap(resamples, seed)
    x, y = as_rows(probes, name="probes"), as_rows(gallery, name="gallery")
    own = checked(probe_labels, items=len(x), name="probe_labels")
    theirs = checked(gallery_labels, items=len(y), name="gallery_labels")
    _check_probes(own, junk=junk, distractor=distractor)
    cameras = joint_cameras(probe_cameras, gallery_cameras, len(x), len(y))
    kept = np.flatnonzero(~matching(theirs, junk, name="junk", labels_name="gallery_labels"))
    distractors = matching(theirs, distractor, name="distractor", labels_name="gallery_labels")[kept]
    _, identity, groups = joint_codes(own, theirs, names=("probe_labels", "gallery_labels"))
    groups = np.where(distractors, -1, groups[kept])
    if cameras is None and x.dtype == y.dtype and torch.equal(x, y) and np.array_equal(own, theirs):
        raise InputError(
            "the probes are the gallery, so that each finds itself first; give cameras, or measure with "
            "trine.evaluation.retrieval, where no item finds itself"
        )
    rows = np.arange(len(x))
    if multi_query:
        x, rows = pooled(x, identity, None if cameras is None else cameras.probes)
    if cameras is not None:
        cameras = Cameras(cameras.probes[rows], cameras.gallery[kept])
    search = RankSearch(y if len(kept) == len(y) else y[torch.from_numpy(kept)], distance=distance)
    matched, found = measure_ranks(
        search,
        (x, identity[rows]),
        groups,
        {"first": lambda ranks: ranks.min(axis=1), "precision": _AVERAGES[average_precision]},
        left_out=None if cameras is None else cameras.same,
    )
    if not len(matched):
        raise InputError(
            f"identification needs a probe with a match in the gallery, given {len(x)} probes without; "
            "give a gallery that shares identities with them" + (", in other cameras" if cameras else "")
        )
    first, precisions = np.full(len(x), NEVER), np.zeros(len(x))
    first[matched], precisions[matched] = found["first"], found["precision"]
    chosen = matched if unmatched == "excluded" else np.arange(len(x))
    return Identification(
        rows[chosen],
        identity[rows[chosen]],
        first[chosen],
        precisions[chosen],
        unmatched=len(x) - len(matched),
        scored=unmatched,
        gallery=len(kept),
        junk=len(theirs) - len(kept),
        distractors=int(distractors.sum()),
        cameras=cameras is not None,
        multi_query=multi_query,
        average=average_precision,
        distance=distance,
        at=at,
        resamples=resamples,
        seed=seed,
    )


def _check_probes(labels: np.ndarray, **special: int | str | None) -> None:
    for name, label in special.items():
        carrying = matching(labels, label, name=name, labels_name="probe_labels")
        if carrying.any():
            raise InputError(
                f"probe {int(carrying.argmax())} carries the label {label!r}, which marks {name} rows "
                f"of the gallery; set {name}=None if it is an identity"
            )

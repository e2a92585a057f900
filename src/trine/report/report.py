"""The result of a training run or an evaluation: metrics, calibration, diagnoses and notes."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from trine.calibration import Calibration
from trine.cluster_threshold import ClusterThreshold
from trine.evaluation import TripletAccuracy, TripletConsistency
from trine.evaluation.calibration import impostor_rates
from trine.report.metrics import Metrics, TripletCensus
from trine.report.metrics_table import (
    MetricGroup,
    MetricLine,
    console_lines,
    headline,
    headline_lines,
    metric_groups,
)
from trine.report.verdict import Verdict, verdict_of
from trine.training import NO_GAIN, Diagnosis

UNCALIBRATED = (
    "uncalibrated: no threshold, because there were no people that no training saw; train with "
    "data.calibration or data.calibration_folds, or calibrate on others with trine evaluate --calibrate"
)

LEAK = (
    "Some of these items were trained on, so the metrics are too optimistic; evaluate the test part to see "
    "how the encoder performs on unseen items."
)


@dataclass(frozen=True)
class EvaluatedPart:
    """The items or triplet judgements that are evaluated.

    Attributes:
        description: The part with its size, such as `"test part (27 items of 5 identities)"`.
        trained_on: The number of them that the encoder was trained on.
    """

    description: str
    trained_on: int = 0

    def __str__(self) -> str:
        return self.description


class BaselineKind(Enum):
    """The kind of a baseline."""

    RAW = "raw"
    PRETRAINED = "pretrained"
    BEST_RAW = "best raw"
    POPULARITY = "popularity"


@dataclass(frozen=True)
class Baseline:
    """The baseline that an encoder is compared with.

    Attributes:
        kind: Its kind.
        description: A description for readers.
    """

    kind: BaselineKind
    description: str


@dataclass(frozen=True)
class Report:
    """The result of a training run, or of an evaluation of one.

    Attributes:
        folder: The folder it is written to.
        data: The name of the data.
        part: The evaluated part of the data.
        after: The metrics of the trained model.
        before: The metrics of the baseline; None if there is none.
        baseline: The baseline; None if there is none.
        far: A false-accept rate to report in addition to the usual ones.
        k: The number of recommendations counted.
        calibration: The model's threshold; None without one.
        cluster_threshold: How the model clusters; None if that was not chosen.
        realised_far: The share of the evaluated impostor pairs that this threshold accepts.
        judgements: How consistent all triplet judgements are; None without any.
        census: The triplets among the evaluated items.
        doctor: The problems of the training; empty for an evaluation.
        notes: Further notes for the reader.
    """

    folder: Path
    data: str
    part: EvaluatedPart
    after: Metrics
    before: Metrics | None = None
    baseline: Baseline | None = None
    far: float = 0.01
    k: int = 10
    calibration: Calibration | None = None
    cluster_threshold: ClusterThreshold | None = None
    realised_far: float | None = None
    judgements: TripletConsistency | None = None
    census: TripletCensus | None = None
    doctor: tuple[Diagnosis, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def judged(self) -> TripletAccuracy | None:
        """The triplet accuracy, if nothing else was measured."""
        return None if self.after.retrieval is not None else self.after.triplet_accuracy

    @property
    def groups(self) -> tuple[MetricGroup, ...]:
        """The metrics of the page, by protocol."""
        return metric_groups(self.far, self.k)

    @property
    def headline_lines(self) -> list[MetricLine]:
        """The few metrics that sum up the report."""
        return headline_lines(self.after, self.far, self.k)

    @property
    def card(self) -> dict[str, float]:
        """The values of the headline, for the model's card."""
        return headline(self.after, self.far, self.k)

    @cached_property
    def verdict(self) -> Verdict:
        """What the model is fit for, and whether training helped."""
        return verdict_of(
            self.after,
            self.before,
            against="" if self.baseline is None else self.baseline.description,
            pretrained=self.baseline is not None and self.baseline.kind is BaselineKind.PRETRAINED,
            far=self.far,
            k=self.k,
            trained_on=self.part.trained_on,
            undone=any(found.name == NO_GAIN for found in self.doctor),
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the reader: diagnoses, items trained on, a threshold that does not hold, notes."""
        leak = (LEAK,) if self.part.trained_on else ()
        clusters = self.after.clustering
        unusable = () if clusters is None or clusters.above_both else (clusters.sentence(),)
        contradiction = self.contradiction()
        against = (contradiction,) if contradiction else ()
        return (*map(str, self.doctor), *leak, *against, *unusable, *self.notes)

    def to_json(self) -> dict[str, object]:
        """Everything as JSON values."""
        clusters = self.after.clustering
        return {
            "data": self.data,
            "part": str(self.part),
            "items_trained_on": self.part.trained_on,
            "baseline": None if self.baseline is None else self.baseline.description,
            "before_training": None if self.before is None else self.before.to_json(),
            "after_training": self.after.to_json(),
            "calibration": None if self.calibration is None else self.calibration.to_json(),
            "cluster_threshold": None if self.cluster_threshold is None else self.cluster_threshold.to_json(),
            "clusters_above_alone_and_all_in_one": None if clusters is None else clusters.above_both,
            "realised_far": self.realised_far,
            "realised_far_interval": self.realised_interval,
            "contradiction": self.contradiction() or None,
            "triplet_judgements": None if self.judgements is None else asdict(self.judgements),
            "verdict": self.verdict.to_json(),
            "census": None if self.census is None else self.census.to_json(),
            "doctor": [asdict(diagnosis) for diagnosis in self.doctor],
            "notes": list(self.notes),
        }

    def threshold_sentence(self) -> str:
        """The model's threshold, its basis and its effect here; empty without pairs."""
        known = self.calibration
        if known is None:
            return "" if self.after.verification is None else UNCALIBRATED
        basis = f"{known.promise.identities} identities, {known.impostor_pairs:,} impostor pairs"
        words = f"threshold {known.threshold:.3f}: {known.promise}"
        if self._calibrated_here(known):
            return f"{words}; calibrated on this test set ({basis}); expect a different rate on new data"
        here = ""
        if self.realised_far is not None:
            here = f"; accepts {_percent(self.realised_far)} of impostor pairs here"
            if (ends := self.realised_interval) is not None:
                here += f" ({_percent(ends[0])} to {_percent(ends[1])})"
        return f"{words}; calibrated on {basis}{here}"

    @cached_property
    def realised_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the share of impostor pairs that the threshold accepts here."""
        known, pairs = self.calibration, self.after.verification
        if known is None or pairs is None or not pairs.resamples or pairs.pairs.owned is None:
            return None
        found = pairs.interval("far_at", known.threshold)
        return (found.low, found.high) if found.known else None

    def contradiction(self) -> str:
        """What speaks against the false-accept rate of the model on these items; "" if nothing does."""
        known, ends = self.calibration, self.realised_interval
        if known is None or ends is None or self.realised_far is None or ends[0] <= known.promise.bound:
            return ""
        return (
            f"the threshold does not hold here: it was calibrated so that {known.promise}, and it accepts "
            f"{_percent(self.realised_far)} ({_percent(ends[0])} to {_percent(ends[1])}) of these: the items "
            "are unlike those of the calibration. Calibrate on such items with --calibrate, or train on some"
        )

    def cluster_sentence(self) -> str:
        """The clusters, beside every item alone and all in one, and their basis; empty without any."""
        clusters, chosen = self.after.clustering, self.cluster_threshold
        if clusters is None or chosen is None:
            return ""
        (cut,) = (each for name, each in chosen.linkages.items() if name == clusters.how["method"])
        here = (chosen.items, cut.threshold) == (len(clusters.assignment), clusters.how["threshold"])
        basis = f"{chosen.items:,} items of {chosen.identities:,} identities"
        if here and math.isclose(cut.score, clusters.value(chosen.metric) or 0.0):
            return f"{clusters.sentence()} (chosen on these very items; expect less on new data)"
        return f"{clusters.sentence()} (chosen on {basis})"

    def consistency_sentence(self) -> str:
        """How consistent the triplet judgements are; empty without any."""
        given, measured = self.judgements, self.after.triplet_accuracy
        if given is None or measured is None:
            return ""
        repeated = f"{given.duplicates:,} of {given.triplets:,} judgements are duplicates"
        if not given.contradictions:
            return f"{repeated}, none contradict each other"
        return (
            f"{repeated}, {given.contradictions:,} contradict others ({measured.contradictions:,} of the "
            f"evaluated ones), so no embedding can exceed an accuracy of {measured.ceiling:.3f}"
        )

    def _calibrated_here(self, known: Calibration) -> bool:
        """Whether the threshold was calibrated on the items that are evaluated."""
        pairs = self.after.verification
        if pairs is None or pairs.pairs.owned is None:
            return False
        counts = (known.genuine_pairs, known.impostor_pairs) == (pairs.genuine_pairs, pairs.impostor_pairs)
        if not counts or known.tar != pairs.tar_at(known.threshold):
            return False
        # Another set of the same size may have the same true-accept rate; its threshold differs.
        found = impostor_rates(pairs.pairs).threshold(known.promise.rate)
        return found is not None and math.isclose(found[0], known.threshold, rel_tol=1e-6)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What a notebook shows: the metrics, not the arrays that they come from."""
        printer.text(str(self))

    def __str__(self) -> str:
        lines = console_lines(self.after, self.far, self.k)
        width = max(map(len, lines))
        rows = [f"{self.data}, {self.part}", f"{'':{width}}   before   after   (95 % interval)"]
        for name, line in lines.items():
            was = None if self.before is None else line.value(self.before)
            interval = line.interval(self.after)
            before = "-" if was is None else f"{was:.3f}"
            row = f"{name:{width}}   {before:>6}   {line.value(self.after):.3f}"
            rows.append(row if interval is None else f"{row}  {interval.brackets()}".rstrip())
        if self.baseline is not None and self.baseline.kind is not BaselineKind.RAW:
            rows.append(f"before: {self.baseline.description}")
        sentences = filter(
            None, (self.threshold_sentence(), self.cluster_sentence(), self.consistency_sentence())
        )
        verdict = [f"verdict: {self.verdict}"] if str(self.verdict) else []
        return "\n".join(
            [*rows, *sentences, *verdict, *(f"doctor: {diagnosis}" for diagnosis in self.doctor), *self.notes]
        )


def _percent(share: float) -> str:
    """Formats a percentage with two significant digits, never in scientific notation."""
    return f"{np.format_float_positional(float(f'{100 * share:.2g}'), trim='-')} %"

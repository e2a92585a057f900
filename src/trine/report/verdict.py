"""The verdict: what a model is fit for, and whether training helped, in plain words.

It says how the model performs on the evaluated items. Whether training went well is the doctor's question: a
run without a problem may end in a model that is of no use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np

from trine.evaluation import Clustering, Retrieval
from trine.evaluation.intervals import Interval
from trine.report.difference import Difference, difference
from trine.report.metrics import Metrics
from trine.report.metrics_table import (
    CLUSTERING,
    FPIR,
    LEFT_OUT,
    OPEN_SET,
    RECOMMENDATION,
    RETRIEVAL,
    TRIPLETS,
    VERIFICATION,
    MetricLine,
)

Use = Literal["search", "identification", "verification", "clustering"]

GOOD, USABLE = 0.9, 0.5
"""The share of answers that are right in a model that is fit, and below which it is not usable.

Where fewer than half are right, an answer misleads more often than it helps; where nine of ten are, the rest
can be looked at by a person.
"""

GOOD_CLUSTERS = 0.8
"""BCubed F of clusters that can be used as they are: about nine of ten items together, with as few others."""

ROUNDING = 1e-9
"""Two sums of the same shares may differ by this much."""

LARGEST_FPIR = 0.05
"""The largest share of strangers that a model which is fit for identification may name."""

LOOSER = (0.05, 0.1)
"""False-accept rates to try where the one that was asked for rejects too much."""

MORE = "more items and identities like these to train on, or a pretrained network (encoder.network)"

KEEP = (
    "a lower training.learning_rate, more identities to train on, or data.validation, with which the "
    "pretrained network is kept where training does not help"
)


class Fitness(StrEnum):
    """What a model is to a use."""

    FIT = "fit"
    LIMITED = "limited"
    UNFIT = "unfit"
    UNKNOWN = "not measured"


WORDS = {
    Fitness.FIT: "fit for",
    Fitness.LIMITED: "of limited use for",
    Fitness.UNFIT: "not usable for",
    Fitness.UNKNOWN: "not measured:",
}


class Learning(StrEnum):
    """What training did to the metrics."""

    HELPED = "helped"
    HARMED = "harmed"
    MIXED = "mixed"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class UseVerdict:
    """Whether a model is fit for one use.

    Attributes:
        use: The use.
        fitness: Whether it is.
        finding: What was measured, in words.
        value: The metric that decides, in [0, 1]; None if it was not measured.
        interval: Its interval; None if it has none.
    """

    use: Use
    fitness: Fitness
    finding: str
    value: float | None = None
    interval: Interval | None = None

    def __str__(self) -> str:
        return f"{self.use} ({self.finding})"

    def to_json(self) -> dict[str, object]:
        """Everything as JSON values."""
        ends = None if self.interval is None else self.interval.to_json()
        return {
            "fitness": self.fitness.value,
            "finding": self.finding,
            "value": self.value,
            "interval": ends,
        }


@dataclass(frozen=True)
class LearningVerdict:
    """Whether training helped against its baseline.

    Attributes:
        learning: What training did.
        differences: By how much each metric changed, by name; the intervals are paired over identities.
        against: The baseline in words.
    """

    learning: Learning
    differences: tuple[tuple[str, Difference], ...]
    against: str

    def __str__(self) -> str:
        words = {
            Learning.HELPED: "training helped",
            Learning.HARMED: "training did harm",
            Learning.MIXED: "training helped in part and did harm in part",
            Learning.UNCLEAR: "no gain by training is shown",
        }
        decisive = [each for each in self.differences if each[1].better is not None] or self.differences[:1]
        if self.learning is not Learning.MIXED:
            decisive = decisive[:1]
        changes = ", ".join(f"{name} {_signed(found)}" for name, found in decisive)
        return f"{words[self.learning]}: {changes} over {self.against}"

    def to_json(self) -> dict[str, object]:
        """Everything as JSON values."""
        changes = {name: found.to_json() for name, found in self.differences}
        return {"learning": self.learning.value, "against": self.against, "differences": changes}


@dataclass(frozen=True)
class Verdict:
    """What a model is fit for, and whether training helped.

    Attributes:
        uses: The uses, in order; empty where no identities were measured.
        learning: Whether training helped; None without a baseline.
        caution: Why the verdict may be too good; empty if there is no reason.
        advice: What to try; empty if there is nothing to say.
    """

    uses: tuple[UseVerdict, ...] = ()
    learning: LearningVerdict | None = None
    caution: str = ""
    advice: str = ""

    def __str__(self) -> str:
        parts = []
        for fitness in Fitness:
            named = [str(each) for each in self.uses if each.fitness is fitness]
            parts += [f"{WORDS[fitness]} {', '.join(named)}"] if named else []
        parts += [str(self.learning)] if self.learning is not None else []
        parts += [each for each in (self.caution, self.advice) if each]
        return "; ".join(parts)

    def to_json(self) -> dict[str, object]:
        """Everything as JSON values."""
        return {
            "sentence": str(self),
            "uses": {each.use: each.to_json() for each in self.uses},
            "learning": None if self.learning is None else self.learning.to_json(),
            "caution": self.caution,
            "advice": self.advice,
        }


def verdict_of(
    after: Metrics,
    before: Metrics | None = None,
    *,
    against: str = "",
    pretrained: bool = False,
    far: float = 0.01,
    k: int = 10,
    trained_on: int = 0,
    undone: bool = False,
) -> Verdict:
    """Judges a model by its metrics.

    Args:
        after: The metrics of the model.
        before: Those of the baseline, on the same items; None without one.
        against: The baseline in words.
        pretrained: Whether the baseline is the pretrained network that training started from.
        far: The false-accept rate at which verification is judged.
        k: The number of recommendations counted.
        trained_on: How many of the items were trained on; with any, no use is judged.
        undone: Whether training was undone, since it did not help: then no advice is about it.

    Example:
        >>> from trine.evaluation import retrieval, verification
        >>> rows, labels = np.repeat(np.arange(20.0), 3)[:, None], np.repeat(np.arange(20), 3)
        >>> metrics = Metrics(retrieval(rows, labels), verification(rows, labels))
        >>> for use in verdict_of(metrics).uses:
        ...     print(use.use, use.fitness, use.finding)
        search fit 100 of 100 nearest items are right
        identification not measured no strangers
        verification fit 0 of 100 true matches are rejected at a false-accept rate of 1 %
        clustering not measured no threshold
    """
    learning = None if before is None else _learning(after, before, against, far, k)
    if trained_on:
        because = f"{trained_on:,} of these items were trained on"
        return Verdict(caution=f"none, because {because}; evaluate the test part or other data")
    uses: tuple[UseVerdict, ...] = ()
    if after.retrieval is not None:
        uses = (
            _search(after),
            _identification(after),
            _verification(after, far),
            _clustering(after),
        )
    seen = "" if after.knn_classification is None else (
        "identities of these items were trained on, so expect less for new ones"
    )  # fmt: skip
    return Verdict(
        uses,
        learning,
        seen,
        _advice(uses, None if undone else learning, after, pretrained=pretrained, far=far),
    )


def _search(metrics: Metrics) -> UseVerdict:
    found = metrics.retrieval
    assert found is not None
    line = RETRIEVAL.line("recall@1", "recall_at", 1)
    value, interval = found.recall_at(1), line.interval(metrics)
    words = f"{_of_100(value)} nearest items are right"
    chance = _chance(found)
    if interval is not None and interval.low <= chance:
        words += f", {_of_100(chance)} by chance"
        return UseVerdict("search", Fitness.UNFIT, words, value, interval)
    return UseVerdict("search", _by_share(value, interval), words, value, interval)


def _identification(metrics: Metrics) -> UseVerdict:
    source = OPEN_SET if metrics.open_set is not None else LEFT_OUT
    found = metrics.open_set or metrics.left_out
    if found is None:
        return UseVerdict("identification", Fitness.UNKNOWN, "no strangers")
    strangers = len(np.unique(found.unknown_labels))
    # The smallest rate that so many strangers can show at all: one of n + 1.
    rates = [rate for rate in FPIR if strangers + 1 >= 1 / rate - 1e-6]
    if not rates:
        few = f"{strangers} identities are too few to say how many strangers would be named"
        return UseVerdict("identification", Fitness.UNKNOWN, few)
    # Of the threshold that was found: so few strangers cannot bear the rate itself.
    threshold = found.threshold_at_fpir(rates[0])
    value = found.dir_at_fpir(rates[0])
    interval = None if threshold is None else source.line("", "dir_at", threshold).interval(metrics)
    words = f"{_of_100(value)} are named rightly where {_percent(rates[0])} of strangers are named"
    fitness = _by_share(value, interval)
    if rates[0] > LARGEST_FPIR and fitness is Fitness.FIT:
        fitness = Fitness.LIMITED
        words += f"; {strangers} identities cannot show a smaller rate"
    return UseVerdict("identification", fitness, words, value, interval)


def _verification(metrics: Metrics, far: float) -> UseVerdict:
    found = metrics.verification
    if found is None:
        return UseVerdict("verification", Fitness.UNKNOWN, "no pairs")
    # Of the threshold that was found: few identities cannot bear the rate itself.
    threshold, value = found.threshold_at_far(far), found.tar_at_far(far)
    interval = None if threshold is None else VERIFICATION.line("", "tar_at", threshold).interval(metrics)
    words = f"{_of_100(1 - value)} true matches are rejected at a false-accept rate of {_percent(far)}"
    return UseVerdict("verification", _by_share(value, interval), words, value, interval)


def _clustering(metrics: Metrics) -> UseVerdict:
    found = metrics.clustering
    if found is None:
        return UseVerdict("clustering", Fitness.UNKNOWN, "no threshold")
    value, interval = found.bcubed_f, CLUSTERING.line("", "bcubed_f").interval(metrics)
    name, trivial = _trivial(found)
    words = f"BCubed F {value:.2f}, {name} {trivial:.2f}"
    if value <= trivial + ROUNDING:
        fitness = Fitness.UNFIT
    elif value >= GOOD_CLUSTERS and interval is not None and interval.low > trivial:
        fitness = Fitness.FIT
    else:
        fitness = Fitness.LIMITED
    return UseVerdict("clustering", fitness, words, value, interval)


def _by_share(value: float, interval: Interval | None) -> Fitness:
    """Fit only if nine of ten answers are right, and the interval excludes that fewer than half are."""
    if value < USABLE:
        return Fitness.UNFIT
    sure = interval is None or interval.low >= USABLE
    return Fitness.FIT if value >= GOOD and sure else Fitness.LIMITED


def _chance(found: Retrieval) -> float:
    """The share of queries whose nearest item would be right if items were ranked at random."""
    sizes = np.bincount(found.labels)[found.labels]
    return float(((sizes - 1) / max(len(found.queries) + found.excluded - 1, 1)).mean())


def _trivial(found: Clustering) -> tuple[str, float]:
    """The better one of what takes no embedding: every item alone, or all in one cluster; its BCubed F."""
    alone, all_in_one = found.bcubed_f_alone, found.bcubed_f_all_in_one
    return ("every item alone", alone) if alone >= all_in_one else ("all in one", all_in_one)


def _learning(after: Metrics, before: Metrics, against: str, far: float, k: int) -> LearningVerdict | None:
    found = [
        (line.name, change)
        for line in _compared(after, far, k)
        if (change := difference(line, before, after)) is not None
    ]
    if not found:
        return None
    better = [change.better for _, change in found]
    learning = Learning.UNCLEAR
    if True in better:
        learning = Learning.MIXED if False in better else Learning.HELPED
    elif False in better:
        learning = Learning.HARMED
    return LearningVerdict(learning, tuple(found), against.partition(",")[0])


def _compared(metrics: Metrics, far: float, k: int) -> Iterator[MetricLine]:
    """The metrics that tell whether training helped."""
    if metrics.retrieval is not None:
        yield RETRIEVAL.line("MAP@R", "map_at_r")
        yield VERIFICATION.line(f"TAR at FAR {_percent(far)}", "tar_at_far", far)
    elif metrics.triplet_accuracy is not None:
        yield TRIPLETS.line("triplet accuracy", "accuracy")
    elif metrics.recommendation is not None:
        yield RECOMMENDATION.line(f"NDCG@{k}", "ndcg_at", k)


def _advice(
    uses: tuple[UseVerdict, ...],
    learning: LearningVerdict | None,
    metrics: Metrics,
    *,
    pretrained: bool,
    far: float,
) -> str:
    """What to try, most promising first."""
    fitness = {each.use: each.fitness for each in uses}
    tips = []
    gained = learning is None or learning.learning in (Learning.HELPED, Learning.MIXED)
    if not gained and pretrained:
        tips.append(KEEP)
    elif not gained:
        tips.append(MORE)
    pairs = metrics.verification
    if fitness.get("verification") is Fitness.UNFIT and pairs is not None:
        looser = (rate for rate in LOOSER if rate > far and pairs.tar_at_far(rate) >= USABLE)
        rate = next(looser, None)
        if rate is not None:
            rejected = _of_100(1 - pairs.tar_at_far(rate))
            tips.append(f"a false-accept rate of {_percent(rate)} (rejects {rejected})")
    unfit = Fitness.UNFIT in fitness.values()
    if unfit and fitness.get("search") in (Fitness.FIT, Fitness.LIMITED):
        tips.append("a ranking that a person checks, with several items of each identity")
    elif unfit and gained:
        tips.append(MORE)
    return f"try {', or '.join(tips)}" if tips else ""


def _of_100(share: float) -> str:
    """A share as a number of 100.

    Example:
        >>> _of_100(0.954), _of_100(0.003), _of_100(0.0)
        ('95 of 100', 'fewer than 1 of 100', '0 of 100')
    """
    if 0 < share < 0.005:
        return "fewer than 1 of 100"
    return "more than 99 of 100" if 0.995 <= share < 1 else f"{100 * share:.0f} of 100"


def _percent(rate: float) -> str:
    return f"{100 * rate:g} %"


def _signed(found: Difference) -> str:
    ends = "" if found.interval is None else found.interval.brackets(signed=True)
    return f"{found.value:+.3f}{ends}"

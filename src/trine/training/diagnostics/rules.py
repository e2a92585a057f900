"""What is wrong with a run, and what to try: diagnoses from its log.

Pure functions: the same log gives the same diagnoses, during the run and afterwards. The limits were chosen
on healthy runs and on runs broken on purpose; in doubt the rules stay silent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean, median
from typing import Any

from trine.display import printable
from trine.distances import PROPERTIES, Distance, check_distance
from trine.training.diagnostics.label_noise import Suspect

LEAST_BATCHES = 10
"""Consecutive logged batches needed to diagnose a lasting problem."""

STARVING = 0.02
"""Active triplets per item below which a batch teaches next to nothing."""

STARVED_FOR, MOSTLY = 0.4, 0.75
"""The share of a run that starvation must last, and the share of starved batches in that time."""

LEFT_TO_LEARN = 1e-3
"""The share of active triplets above which a harder rule would find some."""

HARDEST = ("all", "hard", "semihard")
"""Rules that find every active triplet."""

COLLAPSED_FOR = 0.1
"""The share of a run, after the warm-up, that a collapse must last."""

TIMES_LONGER = 30.0
"""How many times longer embeddings must have become to be called exploding."""

TINY = 1e-12
"""The smallest initial norm that growth is measured from."""

TIMES_APART = 30.0
"""How many margins apart they must also be: growth up to the margin is not an explosion."""

NOISE = 0.007
FEWEST_SUSPECTS = 3
MOST_DOUBTFUL = 5
NAMED = 5


@dataclass(frozen=True)
class Diagnosis:
    """A problem of a run.

    Attributes:
        name: `collapsed`, `starved`, `exploding`, `dominated`, `label noise` or `no gain`.
        step: The step at which it was diagnosed.
        sentence: What was observed, and what to try.
    """

    name: str
    step: int
    sentence: str

    def __str__(self) -> str:
        return printable(f"{self.name} (step {self.step}): {self.sentence}")


NO_PROBLEMS = "no problems detected in training"
"""What is said of a run without diagnoses."""


@dataclass(frozen=True)
class LoggedBatch:
    """A logged batch; what was not measured is NaN.

    Attributes:
        step: The step.
        mining: The rule, by name.
        loss: The loss.
        margin: α; NaN with the soft margin.
        identities: P.
        active: Share of active triplets among all valid ones.
        active_per_item: Active triplets that the rule chose, per anchor.
        positive_distance: Mean d_ap.
        negative_distance: Mean d_an.
        norm_mean: Mean norm of the embeddings.
        norm_max: Largest norm.
        effective_rank: How many directions they use.
        largest_identity: Share of the batch that belongs to one identity.
    """

    step: int
    mining: str = ""
    loss: float = math.nan
    margin: float = math.nan
    identities: float = math.nan
    active: float = math.nan
    active_per_item: float = math.nan
    positive_distance: float = math.nan
    negative_distance: float = math.nan
    norm_mean: float = math.nan
    norm_max: float = math.nan
    effective_rank: float = math.nan
    largest_identity: float = math.nan

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> LoggedBatch:
        """Reads a row of metrics.csv.

        Args:
            row: Values by column; what is missing or empty was not measured.

        Raises:
            ValueError: A value is not a number.
        """
        given = {field.name: row.get(field.name) for field in fields(cls)}
        numbers = {
            name: float(value)
            for name, value in given.items()
            if name not in ("step", "mining") and value not in (None, "")
        }
        return cls(step=int(row["step"]), mining=str(given["mining"] or ""), **numbers)

    @property
    def gap(self) -> float:
        """How much farther away the negatives are: mean d_an − mean d_ap."""
        return self.negative_distance - self.positive_distance

    @property
    def unit(self) -> float:
        """The loss of a batch of equal embeddings: α, or ln 2 with the soft margin."""
        return math.log(2) if math.isnan(self.margin) else self.margin


@dataclass(frozen=True)
class RunFacts:
    """What the log does not say about a run.

    Attributes:
        steps: The number of steps in the run.
        warmup: The number of steps in which the learning rate rises.
        distance: The distance.
        normalised: Whether its embeddings have length 1.
        identities: The number of identities in the training items.
        processes: How many processes draw a batch each.
        loss: The loss: `triplet`, `contrastive` or `given`.

    Raises:
        InputError: The distance is unknown.
    """

    steps: int
    warmup: int
    distance: Distance
    normalised: bool
    identities: int
    processes: int = 1
    loss: str = "triplet"

    def __post_init__(self) -> None:
        check_distance(self.distance)


def diagnose(log: Sequence[LoggedBatch], facts: RunFacts) -> tuple[Diagnosis, ...]:
    """Lists the problems of a run, each once, at the step where it was diagnosed.

    Args:
        log: The log, in the order of steps.
        facts: What the log does not say.

    Returns:
        The diagnoses in the order of steps; none if the run is healthy.

    Example:
        >>> facts = RunFacts(steps=200, warmup=20, distance="euclidean", normalised=True, identities=9)
        >>> log = [
        ...     LoggedBatch(
        ...         step, margin=0.2, loss=0.2, active=1.0, positive_distance=0.01, negative_distance=0.011)
        ...     for step in range(0, 200, 10)]
        >>> (found,) = diagnose(log, facts)
        >>> found.name, found.step
        ('collapsed', 110)
    """
    found: dict[str, Diagnosis] = {}
    for count in range(1, len(log) + 1):
        for diagnosis in latest_diagnoses(log[:count], facts):
            found.setdefault(diagnosis.name, diagnosis)
    return tuple(found.values())


def latest_diagnoses(log: Sequence[LoggedBatch], facts: RunFacts) -> tuple[Diagnosis, ...]:
    """Lists the problems at the last batch of a log.

    Args:
        log: The log so far, in the order of steps.
        facts: What the log does not say.
    """
    if not log:
        return ()
    return tuple(
        found for sign in SIGNS.get(facts.loss, (_dominated,)) if (found := sign(log, facts)) is not None
    )


def label_noise(suspects: Sequence[Suspect], *, doubtful: int, observed: int, step: int) -> Diagnosis | None:
    """Decides whether there are enough suspects to call the labels noisy.

    Args:
        suspects: The suspects, the steadiest first.
        doubtful: The number of half suspected items.
        observed: The number of observed items.
        step: The step.

    Returns:
        A diagnosis if there are at least three suspects, and 7 in 1,000, and at most five half suspected
        items for each of them; otherwise None.
    """
    if len(suspects) < max(FEWEST_SUSPECTS, NOISE * observed) or doubtful > MOST_DOUBTFUL * len(suspects):
        return None
    named = ", ".join(str(suspect) for suspect in suspects[:NAMED])
    more = ", ..." if len(suspects) > NAMED else ""
    return Diagnosis(
        "label noise",
        step,
        f"{len(suspects)} of {observed:,} items stay among one other identity, while the rest do not: "
        f"their labels are probably wrong; check {named}{more}",
    )


NO_GAIN = "no gain"
"""The name of the diagnosis of training that is undone."""


def no_gain(
    start: float | None,
    best: float | None,
    *,
    step: int,
    measured: str = "on the validation items the metric",
) -> Diagnosis | None:
    """Diagnoses a run whose validation was never better than before training.

    Args:
        start: The validation metric before training; None if it was not measured.
        best: The best one of training; None without a round.
        step: The number of steps done.
        measured: What was measured on which items.

    Returns:
        The diagnosis; None if training helped, or if that is unknown.

    Example:
        >>> print(no_gain(0.61, 0.58, step=100).sentence.partition(":")[0])
        on the validation items the metric was 0.610 before training and at most 0.580 in it
        >>> no_gain(0.61, 0.62, step=100)
    """
    if start is None or best is None or best > start or math.isnan(start):
        return None
    return Diagnosis(
        NO_GAIN,
        step,
        f"{measured} was {start:.3f} before training and at most {best:.3f} in it: "
        "the weights before training are kept; lower training.learning_rate, or train on more identities",
    )


def unsure_gain(
    gain: tuple[float, float, float], tar: tuple[float, float], *, step: int, far: float
) -> Diagnosis | None:
    """Diagnoses a run whose gain on the validation items may be chance, or goes with a loss.

    Args:
        gain: How much MAP@R is larger after training, and both ends of the interval of that; NaN where there
            were no items to measure it on.
        tar: The true-accept rate before and after.
        step: The number of steps done.
        far: Its false-accept rate.

    Returns:
        The diagnosis; None if the gain is surely above 0 and the true-accept rate is no smaller.

    Example:
        >>> print(unsure_gain((0.01, -0.01, 0.03), (0.97, 0.98), step=9, far=0.01).sentence)
        on the validation items training changed MAP@R by +0.010 (-0.010 to +0.030) and TAR at FAR 1 % from \
0.970 to 0.980, which is no sure gain: the weights before training are kept
    """
    difference, low, high = gain
    if low > 0 and tar[1] >= tar[0]:
        return None
    if math.isnan(difference):
        return Diagnosis(
            NO_GAIN,
            step,
            "training was not judged, for want of validation items of two identities: the weights before "
            "training are kept; set data.validation to a share such as 0.25, and give more identities",
        )
    return Diagnosis(
        NO_GAIN,
        step,
        f"on the validation items training changed MAP@R by {difference:+.3f} ({low:+.3f} to {high:+.3f}) "
        f"and TAR at FAR {100 * far:g} % from {tar[0]:.3f} to {tar[1]:.3f}, which is no sure gain: the "
        "weights before training are kept",
    )


def _recent(log: Sequence[LoggedBatch], steps: float) -> Sequence[LoggedBatch]:
    """The batches of the last steps, at least ten; none if the log is shorter."""
    begin = log[-1].step - steps
    count = max(LEAST_BATCHES, sum(batch.step > begin for batch in log))
    return log[-count:] if len(log) >= count and log[0].step <= max(begin, 0) else ()


def _collapsed(log: Sequence[LoggedBatch], facts: RunFacts) -> Diagnosis | None:
    last, window = log[-1], _recent(log, COLLAPSED_FOR * facts.steps)
    if len(window) < LEAST_BATCHES or window[0].step < facts.warmup:
        return None
    if not all(_at_one_point(batch, facts) for batch in window):
        return None
    stuck = "ln 2" if math.isnan(last.margin) else "the margin"
    rank = "" if math.isnan(last.effective_rank) else f", effective rank {last.effective_rank:.1f}"
    return Diagnosis(
        "collapsed",
        last.step,
        f"the embeddings no longer tell identities apart (d_ap {last.positive_distance:.3g}, d_an "
        f"{last.negative_distance:.3g}{rank}) and the loss stays at {last.loss:.3g}, about {stuck}; try a "
        "lower training.learning_rate, or start with loss.mining semihard and change to hard in a curriculum",
    )


def _at_one_point(batch: LoggedBatch, facts: RunFacts) -> bool:
    """Whether the loss is that of a batch of equal embeddings, because its own are nearly equal."""
    if not batch.gap < 0.25 * batch.unit or batch.loss < 0.9 * batch.unit:
        return False
    near = batch.negative_distance < batch.unit or (batch.active >= 0.95 and not math.isnan(batch.margin))
    alike = batch.gap < 0.25 * batch.negative_distance or _spread(batch, facts) < 0.15
    return near and alike


def _spread(batch: LoggedBatch, facts: RunFacts) -> float:
    """How far apart two embeddings are, in units of their norm."""
    properties = PROPERTIES[facts.distance]
    norm = 1.0 if properties.of_directions else batch.norm_mean
    return properties.length(batch.negative_distance) / norm if norm > 0 else math.inf


def _starved(log: Sequence[LoggedBatch], facts: RunFacts) -> Diagnosis | None:
    last, window = log[-1], _recent(log, STARVED_FOR * facts.steps)
    taken = [batch.active_per_item for batch in window if not math.isnan(batch.active_per_item)]
    empty = sum(each < STARVING for each in taken)
    if len(taken) < LEAST_BATCHES or empty < MOSTLY * len(taken):
        return None
    # With the soft margin, the loss shows how much triplets still teach.
    if math.isnan(last.margin) and fmean(batch.loss for batch in window) >= STARVING / 2:
        return None
    left = fmean(batch.active for batch in window)
    if left >= LEFT_TO_LEARN and last.mining not in HARDEST:
        what = f"a harder loss.mining than {last.mining}, since {left:.1%} of all triplets are active"
    elif 2 * last.identities * facts.processes <= facts.identities:
        margin = "" if math.isnan(last.margin) else " a larger loss.margin,"
        what = (
            f"a larger sampler.identities (it is {last.identities:.0f} of {facts.identities:,}),{margin} "
            "or fewer steps"
        )
    else:
        return None  # nothing is left to learn from these items
    return Diagnosis(
        "starved",
        last.step,
        f"since step {window[0].step} most batches have had almost nothing to learn from (in {empty} of "
        f"{len(taken)} logged batches, the rule {last.mining} found no active triplet for 49 of 50 anchors); "
        f"try {what}",
    )


def _exploding(log: Sequence[LoggedBatch], facts: RunFacts) -> Diagnosis | None:
    # Growth is not measured from all-zero embeddings, such as those of a head initialised to zero.
    measured = [batch for batch in log if batch.norm_mean > 0]
    if facts.normalised or len(measured) < 3:
        return None
    first, last = measured[0], measured[-1]
    growth = last.norm_mean / max(first.norm_mean, TINY)
    if not all(batch.norm_mean > TIMES_LONGER * max(first.norm_mean, TINY) for batch in measured[-2:]):
        return None
    properties = PROPERTIES[facts.distance]
    apart = properties.length(last.negative_distance)
    if not properties.of_directions and apart < TIMES_APART * last.unit:
        return None
    return Diagnosis(
        "exploding",
        last.step,
        f"the embeddings have become {growth:,.0f} times as long as at the start "
        f"(mean norm {last.norm_mean:.3g}, largest {last.norm_max:.3g}), beyond what the margin asks for; "
        "try encoder.normalise true, a lower training.learning_rate, or training.gradient_clip 1",
    )


def _dominated(log: Sequence[LoggedBatch], facts: RunFacts) -> Diagnosis | None:
    window = log[-LEAST_BATCHES:]
    if len(window) < LEAST_BATCHES:
        return None
    shares = [batch.largest_identity for batch in window]
    # With two identities, one always has at least half; more than twice an even share is too much.
    limits = [max(0.5, 2 / batch.identities if batch.identities > 0 else 0.5) for batch in window]
    over = sum(share > limit for share, limit in zip(shares, limits, strict=True))
    if over <= LEAST_BATCHES // 2:
        return None
    return Diagnosis(
        "dominated",
        log[-1].step,
        f"one identity makes up {median(shares):.0%} of most batches, so that the others hardly count; try a "
        "smaller sampler.items, a larger sampler.identities, or sampler.repeat fill",
    )


SIGNS: dict[str, tuple[Callable[[Sequence[LoggedBatch], RunFacts], Diagnosis | None], ...]] = {
    "triplet": (_collapsed, _starved, _exploding, _dominated),
    "contrastive": (_exploding, _dominated),
}
"""The rules of trine's losses; others have no margin or triplets that a rule could compare with."""

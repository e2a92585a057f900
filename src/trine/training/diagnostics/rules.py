"""What is wrong with a run, and what to try: diagnoses from the figures of its log.

Pure functions: the same log gives the same diagnoses, while the run goes on and afterwards. Where the
limits lie was chosen on runs made sick on purpose and on healthy ones; they are meant to stay silent
where there is any doubt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean, median
from typing import Any

from trine.distances import Distance
from trine.training.diagnostics.label_noise import Suspect

LEAST_LOOKS = 10
"""How many looks in a row a diagnosis takes, where it is about what lasts."""

STARVING = 0.02
"""Active triplets per item, below which a batch teaches next to nothing."""

STARVED_FOR, MOSTLY = 0.4, 0.75
"""The share of a run that it must have starved for, and that of its batches in that time."""

LEFT_TO_LEARN = 1e-3
"""The share of active triplets from which on a harder rule would find some."""

HARDEST = ("all", "hard", "semihard")
"""Rules that find what there is."""

COLLAPSED_FOR = 0.1
"""The share of a run, after the warm-up, that it must have lain at one point."""

TIMES_LONGER = 30.0
"""How much longer embeddings must have become to be called exploding."""

TIMES_APART = 30.0
"""How many margins they must be apart besides: what a margin asks for is no explosion."""

NOISE = 0.007
FEWEST_SUSPECTS = 3
MOST_DOUBTFUL = 5
NAMED = 5


@dataclass(frozen=True)
class Diagnosis:
    """Something that is wrong with a run.

    Attributes:
        name: `collapsed`, `starved`, `exploding`, `dominated` or `label noise`.
        step: The step at which it became certain.
        sentence: What was seen, and what to try.
    """

    name: str
    step: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.name} (step {self.step}): {self.sentence}"


@dataclass(frozen=True)
class LoggedBatch:
    """The figures of one logged batch; a figure that was not taken is NaN.

    Attributes:
        step: The step.
        mining: The rule, by name.
        loss: The loss.
        margin: α; NaN with the soft margin.
        identities: P of the moment.
        active: Share of active triplets among all valid ones.
        active_per_item: Active triplets that the rule chose, per anchor.
        positive_distance: Mean d_ap.
        negative_distance: Mean d_an.
        norm_mean: Mean norm of the embeddings.
        norm_max: Largest norm.
        effective_rank: How many directions they use.
        largest_identity: Share of the batch that is of one identity.
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
            row: Figures by column; what is missing or empty was not taken.

        Raises:
            ValueError: A figure is no number.
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
        """How much farther the negatives are: mean d_an − mean d_ap."""
        return self.negative_distance - self.positive_distance

    @property
    def unit(self) -> float:
        """The loss of a batch whose embeddings are all the same: α, or ln 2 with the soft margin."""
        return math.log(2) if math.isnan(self.margin) else self.margin


@dataclass(frozen=True)
class RunFacts:
    """What the figures do not say about a run.

    Attributes:
        steps: All steps that it is to take.
        warmup: The steps in which the learning rate rises.
        distance: What it compares.
        normalised: Whether its embeddings are of length 1.
        identities: How many identities its training items have.
        processes: How many draw a batch each.
        loss: What it is trained with: `triplet`, `contrastive` or `given`.
    """

    steps: int
    warmup: int
    distance: Distance
    normalised: bool
    identities: int
    processes: int = 1
    loss: str = "triplet"


def diagnose(looks: Sequence[LoggedBatch], patient: RunFacts) -> tuple[Diagnosis, ...]:
    """Goes through a log and says what is wrong, each thing once, at the step where it became certain.

    Args:
        looks: The log, in the order of steps.
        patient: What the run is.

    Returns:
        The diagnoses in the order of steps; none where the run is well.

    Example:
        >>> patient = RunFacts(steps=200, warmup=20, distance="euclidean", normalised=True, identities=9)
        >>> looks = [
        ...     LoggedBatch(
        ...         step, margin=0.2, loss=0.2, active=1.0, positive_distance=0.01, negative_distance=0.011)
        ...     for step in range(0, 200, 10)]
        >>> [(found.name, found.step) for found in diagnose(looks, patient)]
        [('collapsed', 110)]
    """
    found: dict[str, Diagnosis] = {}
    for count in range(1, len(looks) + 1):
        for diagnosis in latest(looks[:count], patient):
            found.setdefault(diagnosis.name, diagnosis)
    return tuple(found.values())


def latest(looks: Sequence[LoggedBatch], patient: RunFacts) -> tuple[Diagnosis, ...]:
    """Says what is wrong at the last look of a log.

    Args:
        looks: The log so far, in the order of steps.
        patient: What the run is.

    Returns:
        The diagnoses of this moment.
    """
    if not looks:
        return ()
    return tuple(found for sign in SIGNS[patient.loss] if (found := sign(looks, patient)) is not None)


def label_noise(suspects: Sequence[Suspect], *, doubtful: int, looked_at: int, step: int) -> Diagnosis | None:
    """Says whether items that look like another identity are enough to speak of wrong labels.

    Args:
        suspects: The items, the steadiest first.
        doubtful: How many items are half suspected.
        looked_at: How many items were looked at.
        step: The step.

    Returns:
        A diagnosis where there are at least three, and 7 in 1,000, and not more than five half suspected
        ones for each; else None.
    """
    if len(suspects) < max(FEWEST_SUSPECTS, NOISE * looked_at) or doubtful > MOST_DOUBTFUL * len(suspects):
        return None
    named = ", ".join(str(suspect) for suspect in suspects[:NAMED])
    more = ", ..." if len(suspects) > NAMED else ""
    return Diagnosis(
        "label noise",
        step,
        f"{len(suspects)} of {looked_at:,} items lie among one other identity for long, while the rest does "
        f"not: their labels may be wrong; look at {named}{more}",
    )


def _recent(looks: Sequence[LoggedBatch], steps: float) -> Sequence[LoggedBatch]:
    """The looks of the last so many steps, and ten at least; none where the log is shorter."""
    begin = looks[-1].step - steps
    count = max(LEAST_LOOKS, sum(look.step > begin for look in looks))
    return looks[-count:] if len(looks) >= count and looks[0].step <= max(begin, 0) else ()


def _collapsed(looks: Sequence[LoggedBatch], patient: RunFacts) -> Diagnosis | None:
    last, window = looks[-1], _recent(looks, COLLAPSED_FOR * patient.steps)
    if len(window) < LEAST_LOOKS or window[0].step < patient.warmup:
        return None
    if not all(_at_one_point(look, patient) for look in window):
        return None
    stuck = "ln 2" if math.isnan(last.margin) else "the margin"
    rank = "" if math.isnan(last.effective_rank) else f", effective rank {last.effective_rank:.1f}"
    return Diagnosis(
        "collapsed",
        last.step,
        f"the embeddings no longer tell anyone apart (d_ap {last.positive_distance:.3g}, d_an "
        f"{last.negative_distance:.3g}{rank}) and the loss stays at {last.loss:.3g}, about {stuck}; try a "
        "lower training.learning_rate, or begin with loss.mining semihard and change to hard in a curriculum",
    )


def _at_one_point(look: LoggedBatch, patient: RunFacts) -> bool:
    """Whether a batch loses as much as one whose embeddings are all the same, for that reason."""
    if not look.gap < 0.25 * look.unit or look.loss < 0.9 * look.unit:
        return False
    near = look.negative_distance < look.unit or (look.active >= 0.95 and not math.isnan(look.margin))
    alike = look.gap < 0.25 * look.negative_distance or _spread(look, patient) < 0.15
    return near and alike


def _spread(look: LoggedBatch, patient: RunFacts) -> float:
    """How far two embeddings are apart, in norms."""
    if patient.distance == "cosine":
        return math.sqrt(2 * max(look.negative_distance, 0.0))
    apart = look.negative_distance
    apart = math.sqrt(max(apart, 0.0)) if patient.distance == "squared_euclidean" else apart
    return apart / look.norm_mean if look.norm_mean > 0 else math.inf


def _starved(looks: Sequence[LoggedBatch], patient: RunFacts) -> Diagnosis | None:
    last, window = looks[-1], _recent(looks, STARVED_FOR * patient.steps)
    taken = [look.active_per_item for look in window if not math.isnan(look.active_per_item)]
    empty = sum(each < STARVING for each in taken)
    if len(taken) < LEAST_LOOKS or empty < MOSTLY * len(taken):
        return None
    # With the soft margin every triplet teaches as much as it loses.
    if math.isnan(last.margin) and fmean(look.loss for look in window) >= STARVING / 2:
        return None
    left = fmean(look.active for look in window)
    if left >= LEFT_TO_LEARN and last.mining not in HARDEST:
        what = f"a harder loss.mining than {last.mining}, since {left:.1%} of all triplets are active"
    elif 2 * last.identities * patient.processes <= patient.identities:
        margin = "" if math.isnan(last.margin) else " a larger loss.margin,"
        what = (
            f"a larger sampler.identities (it is {last.identities:.0f} of {patient.identities:,}),{margin} "
            "or fewer steps"
        )
    else:
        return None  # What these items have to teach is learned.
    return Diagnosis(
        "starved",
        last.step,
        f"since step {window[0].step} most batches have held next to nothing to learn from (in {empty} of "
        f"{len(taken)} looked at, the rule {last.mining} found no active triplet for 49 of 50 anchors); "
        f"try {what}",
    )


def _exploding(looks: Sequence[LoggedBatch], patient: RunFacts) -> Diagnosis | None:
    measured = [look for look in looks if not math.isnan(look.norm_mean)]
    if patient.normalised or len(measured) < 3:
        return None
    first, last = measured[0], measured[-1]
    limit = TIMES_LONGER * max(first.norm_mean, 1e-12)
    if not all(look.norm_mean > limit for look in measured[-2:]):
        return None
    apart = last.negative_distance
    apart = math.sqrt(max(apart, 0.0)) if patient.distance == "squared_euclidean" else apart
    if patient.distance != "cosine" and apart < TIMES_APART * last.unit:
        return None
    return Diagnosis(
        "exploding",
        last.step,
        f"the embeddings have become {last.norm_mean / first.norm_mean:,.0f} times as long as at the start "
        f"(mean norm {last.norm_mean:.3g}, largest {last.norm_max:.3g}), beyond what the margin asks for; "
        "try encoder.normalise true, a lower training.learning_rate, or training.gradient_clip 1",
    )


def _dominated(looks: Sequence[LoggedBatch], patient: RunFacts) -> Diagnosis | None:
    window = looks[-LEAST_LOOKS:]
    if len(window) < LEAST_LOOKS:
        return None
    shares = [look.largest_identity for look in window]
    # Of two identities one always has a half; more than twice its even part is too much.
    limits = [max(0.5, 2 / look.identities if look.identities > 0 else 0.5) for look in window]
    over = sum(share > limit for share, limit in zip(shares, limits, strict=True))
    if over <= LEAST_LOOKS // 2:
        return None
    return Diagnosis(
        "dominated",
        looks[-1].step,
        f"one identity makes up {median(shares):.0%} of most batches, so that the others hardly count; try a "
        "smaller sampler.items, a larger sampler.identities, or sampler.repeat fill",
    )


SIGNS: dict[str, tuple[Callable[[Sequence[LoggedBatch], RunFacts], Diagnosis | None], ...]] = {
    "triplet": (_collapsed, _starved, _exploding, _dominated),
    "contrastive": (_exploding, _dominated),
    "given": (_dominated,),
}
"""What is looked for: the rest is told by the margin and the triplets of a loss that has them."""

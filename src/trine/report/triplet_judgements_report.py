"""What was found of people's judgements: how many the raw items and the embeddings agree with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from trine.evaluation import TripletAccuracy, TripletConsistency
from trine.evaluation.intervals import Interval
from trine.training import Diagnosis

FIGURE = "triplet accuracy"


@dataclass(frozen=True)
class JudgedReport:
    """What a run on judgements, or an evaluation of one, found.

    Attributes:
        folder: Where it is written.
        data: What the data is called.
        part: Which judgements were counted, in words.
        before: The raw pictures or features; None where they are too many.
        how: How these are compared, in words.
        after: The embeddings.
        given: How far all judgements that were given agree among themselves.
        doctor: What was wrong with the training, where it is a run's own report.
        notes: What else is to be said.
    """

    folder: Path
    data: str
    part: str
    before: TripletAccuracy | None
    how: str
    after: TripletAccuracy
    given: TripletConsistency
    doctor: tuple[Diagnosis, ...] = ()
    notes: tuple[str, ...] = ()

    def headline(self) -> dict[str, float]:
        """The figures for the model's card."""
        return {FIGURE: self.after.accuracy}

    def interval(self) -> Interval | None:
        """The interval of the agreement after training; None where there are too few anchors for one."""
        found = self.after.interval("accuracy")
        return found if found.known else None

    def to_json(self) -> dict[str, object]:
        """Everything as values that JSON knows."""
        before = None if self.before is None else {"how": self.how, **self.before.to_json()}
        return {
            "data": self.data,
            "part": self.part,
            "before_training": None if before is None else {"triplet_accuracy": before},
            "after_training": {"triplet_accuracy": self.after.to_json()},
            "judgements_given": asdict(self.given),
            "calibration": None,
            "doctor": [asdict(found) for found in self.doctor],
            "notes": list(self.notes),
        }

    def consistency_sentence(self) -> str:
        """How far people agree with themselves, here and in all that was given."""
        after, given = self.after, self.given
        repeated = f"{given.duplicates:,} of all {given.triplets:,} judgements repeat another"
        if not given.contradictions:
            return f"{repeated}, none contradicts another"
        return (
            f"{repeated}, {given.contradictions:,} contradict another; of those counted here "
            f"{after.contradictions:,} do, so that no distances agree with more than {after.ceiling:.3f}"
        )

    def __str__(self) -> str:
        was = "-" if self.before is None else f"{self.before.accuracy:.3f}"
        interval = self.interval()
        row = f"{FIGURE}   {was:>6}   {self.after.accuracy:.3f}"
        lines = [
            f"{self.data}, {self.part}",
            f"{'':{len(FIGURE)}}   before   after   (95 % interval)",
            row if interval is None else f"{row}   ({interval})",
        ]
        if self.before is not None:
            lines.append(f"before: {self.how}")
        lines.append(self.consistency_sentence())
        lines += [f"doctor: {found}" for found in self.doctor]
        return "\n".join([*lines, *self.notes])

"""What a run or an evaluation found: the figures before training and after, and the short table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from trine.calibration import Calibration
from trine.distances import Distance
from trine.evaluation import Retrieval, Verification, retrieval, verification
from trine.shapes import Float32, Int64
from trine.training import Diagnosis


@dataclass(frozen=True)
class Figures:
    """How well embeddings tell identities apart.

    Attributes:
        retrieval: Every item asks for the others of its identity.
        verification: Every pair of items is the same, or is not.
    """

    retrieval: Retrieval
    verification: Verification

    def headline(self, far: float) -> dict[str, float]:
        """The figures of the short table: all in [0, 1], larger is better.

        Args:
            far: The false-accept rate to show beside 1 %.
        """
        return {
            "recall@1": self.retrieval.recall_at(1),
            "MAP@R": self.retrieval.map_at_r,
            "ROC AUC": self.verification.roc_auc,
            **{
                f"TAR at FAR {100 * rate:g} %": self.verification.tar_at_far(rate)
                for rate in sorted({0.01, far}, reverse=True)
            },
        }

    def to_json(self) -> dict[str, object]:
        """Both reports as values that JSON knows."""
        return {"retrieval": self.retrieval.to_json(), "verification": self.verification.to_json()}


@dataclass(frozen=True)
class Report:
    """What a run, or an evaluation of one, found.

    Attributes:
        folder: Where it is written.
        data: What the data is called.
        part: Which part of it was looked at, in words.
        before: The raw pictures or features compared as they are; None where they are too many.
        after: The embeddings.
        far: The false-accept rate of the table.
        calibration: The model's threshold, where it has one.
        realised_far: The share of the evaluated impostor pairs that this threshold accepts.
        doctor: What was wrong with the training, where it is a run's own report.
        notes: What else is to be said.
    """

    folder: Path
    data: str
    part: str
    before: Figures | None
    after: Figures
    far: float
    calibration: Calibration | None
    realised_far: float | None
    doctor: tuple[Diagnosis, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Everything as values that JSON knows."""
        return {
            "data": self.data,
            "part": self.part,
            "before_training": None if self.before is None else self.before.to_json(),
            "after_training": self.after.to_json(),
            "calibration": None if self.calibration is None else self.calibration.to_json(),
            "realised_far": self.realised_far,
            "doctor": [asdict(found) for found in self.doctor],
        }

    def __str__(self) -> str:
        after = self.after.headline(self.far)
        before = self.before.headline(self.far) if self.before is not None else {}
        width = max(map(len, after))
        lines = [f"{self.data}, {self.part}", f"{'':{width}}   before   after"]
        for name, value in after.items():
            was = f"{before[name]:.3f}" if name in before else "-"
            lines.append(f"{name:{width}}   {was:>6}   {value:.3f}")
        if self.calibration is not None:
            lines.append(_threshold_sentence(self.calibration, self.realised_far))
        lines += [f"doctor: {found}" for found in self.doctor]
        return "\n".join([*lines, *self.notes])


def figures_of(
    embeddings: Float32[np.ndarray, "n d"],
    labels: Int64[np.ndarray, " n"],
    *,
    distance: Distance,
    far: float,
) -> Figures:
    """Measures embeddings: retrieval, and verification over all pairs.

    Args:
        embeddings: One row per item.
        labels: The identity of each.
        distance: How they are compared.
        far: The false-accept rate to list among others.
    """
    at = tuple(sorted({0.001, 0.01, 0.1, far}))
    return Figures(
        retrieval(embeddings, labels, distance=distance),
        verification(embeddings, labels, distance=distance, at=at),
    )


def _threshold_sentence(known: Calibration, realised: float | None) -> str:
    basis = f"{known.identities} held-out identities, {known.impostor_pairs:,} impostor pairs"
    words = f"threshold {known.threshold:.3f} for a false-accept rate of {100 * known.far:g} %"
    if known.provisional:
        words += " (provisional: too few identities or pairs to promise it)"
    here = "" if realised is None else f"; here it accepts {100 * realised:.2g} % of impostor pairs"
    return f"{words}, from {basis}{here}"

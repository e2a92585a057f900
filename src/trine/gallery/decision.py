"""The decisions of a gallery: a score, the threshold, and the error rate of the threshold.

There are two kinds of `Decision`: `Verification` ("the same?") and `Identification` ("who?"). `str()` turns
either into a readable sentence.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from trine.calibration import Calibration, ProbabilityCurve
from trine.errors import Argument, CalibrationError, SettingError
from trine.rates import Promise, State


@dataclass(frozen=True)
class Threshold:
    """The largest distance that is accepted as the same identity, and the error rate that belongs to it.

    Args:
        value: The largest accepted distance, in units of the gallery's distance; at least 0.
        promise: Its error rate; `None` for a threshold chosen by hand.
        curve: Maps a distance to the probability that two items are the same; `None` if unknown.

    Raises:
        SettingError: The value is negative or not finite.

    Example:
        >>> print(Threshold(0.63))
        threshold 0.63
        >>> print(Threshold(0.63, Promise("far", 0.01, "firm", 0.007, (0.0061, 0.0098), 310)))
        threshold 0.63: at most 1 % of impostor pairs are accepted, firm
    """

    value: float
    promise: Promise | None = None
    curve: ProbabilityCurve | None = None

    def __post_init__(self) -> None:
        # A gallery stores its threshold as JSON, which has only lists and objects.
        if isinstance(self.promise, Mapping):
            object.__setattr__(self, "promise", Promise.from_json(self.promise))
        if isinstance(self.curve, Mapping):
            object.__setattr__(self, "curve", ProbabilityCurve.from_json(self.curve))
        if not (math.isfinite(self.value) and self.value >= 0):
            raise SettingError(f"a threshold must be a finite number of at least 0, given {self.value!r}")

    @classmethod
    def of(cls, calibration: Calibration) -> Threshold:
        """Returns the threshold of a calibration."""
        return cls(float(calibration.threshold), calibration.promise, calibration.curve)

    def decide(self, score: float) -> dict[str, Any]:
        """Returns the fields of a `Decision` about a score."""
        return {
            "score": score,
            "threshold": self.value,
            "promise": self.promise,
            "probability": self.curve.at(score) if self.curve is not None and math.isfinite(score) else None,
        }

    def __str__(self) -> str:
        return f"threshold {self.value:.3g}" + ("" if self.promise is None else f": {self.promise}")

    def beside(self, score: float) -> tuple[str, str]:
        """Formats a score and this threshold with enough digits to tell them apart."""
        for digits in (2, 3, 4, 6, 9):
            left, right = f"{score:.{digits}f}", f"{self.value:.{digits}f}"
            if left != right or score == self.value:
                break
        return left, f"threshold {right}" + ("" if self.promise is None else f"; {self.promise}")


UNDECIDED: Mapping[str, Any] = {"threshold": None, "promise": None, "probability": None}
"""The fields of a `Decision` without a threshold, apart from its score."""


@dataclass(frozen=True, kw_only=True)
class Decision(abc.ABC):
    """A score against a threshold, and the error rate of the threshold.

    Attributes:
        score: The distance compared with the threshold; smaller is closer. Infinity if there was nothing to
            compare with.
        threshold: The largest distance that is accepted; `None` where no error rate can be estimated and no
            threshold was passed.
        promise: The error rate that belongs to the question: the false-accept rate of a pair for a
            verification, the false-positive identification rate of this gallery for an identification;
            `None` for a threshold chosen by hand, and without a threshold.
        probability: The probability that the two are the same; `None` if the calibration has no
            probabilities.
    """

    score: float
    threshold: float | None
    promise: Promise | None = None
    probability: float | None = None

    @property
    def state(self) -> State:
        """Whether the error rate is firm, provisional, or not known."""
        return State.UNCALIBRATED if self.promise is None else self.promise.state

    @property
    def accepted(self) -> bool | None:
        """Whether the score is within the threshold; `None` without a threshold."""
        return None if self.threshold is None else self.score <= self.threshold

    def to_json(self) -> dict[str, object]:
        """Returns the decision as JSON values; an infinite score is `None`."""
        values = {**asdict(self), "state": self.state, "accepted": self.accepted, "sentence": str(self)}
        return {name: None if value == math.inf else value for name, value in values.items()}

    def _beside(self, threshold: float) -> tuple[str, str]:
        return Threshold(threshold, self.promise).beside(self.score)

    @abc.abstractmethod
    def __str__(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Verification(Decision):
    """The answer to "are these the same?", or to "is this who they claim to be?".

    Attributes:
        claim: The claimed identity, if any.

    Example:
        >>> promise = Promise("far", 0.01, "firm", 0.007, (0.004, 0.0094), 320)
        >>> print(Verification(score=0.41, threshold=0.63, promise=promise))
        the same (distance 0.41, threshold 0.63; at most 1 % of impostor pairs are accepted, firm)
        >>> print(Verification(score=0.81, threshold=0.63, claim="s12"))
        different: not s12 (distance 0.81, threshold 0.63)
    """

    claim: str | None = None

    @property
    def same(self) -> bool:
        """Whether the two are accepted as the same identity."""
        return bool(self.accepted)

    def __str__(self) -> str:
        assert self.threshold is not None, "two items are verified by a threshold"
        score, threshold = self._beside(self.threshold)
        answer = "the same" if self.same else "different"
        if self.claim is not None:
            answer += f": this is {self.claim}" if self.same else f": not {self.claim}"
        return f"{answer} (distance {score}, {threshold})"


@dataclass(frozen=True)
class Candidate:
    """An identity that a probe may belong to.

    Attributes:
        identity: The identity.
        score: Its distance from the probe; smaller is closer.
        item: Its nearest item; `None` if its centroid was compared.
    """

    identity: str
    score: float
    item: str | None = None


@dataclass(frozen=True, kw_only=True)
class Identification(Decision):
    """The answer to "who is this?": one identity of the gallery, or no match.

    Attributes:
        nearest: The nearest identity, accepted or not; `None` in an empty gallery.
        item: The nearest item of `nearest`; `None` if its centroid was compared.
        runner_up: The second-nearest identity; `None` if there is only one.
        runner_up_score: The distance of the runner-up.
        candidates: The nearest identities, including `nearest` and the runner-up, nearest first.
        warning: What contradicts the rates of the model in this gallery; "" if nothing does.

    Example:
        >>> promise = Promise("fpir", 0.01, "firm", 0.004, (0.0, 0.0097), 400)
        >>> print(Identification(score=0.41, threshold=0.63, promise=promise, nearest="s12"))
        this is s12 (distance 0.41, threshold 0.63; at most 1 % of strangers are named, firm)
        >>> print(Identification(score=0.81, threshold=0.63, nearest="s03", item="s03/7.png"))
        no match: the nearest is s03 at 0.81, above the threshold 0.63
        >>> print(Identification(score=0.81, threshold=None, nearest="s03", item="s03/7.png"))
        no verdict: the nearest is s03 at 0.81; it is not known how often a stranger comes as near
    """

    nearest: str | None = None
    item: str | None = None
    runner_up: str | None = None
    runner_up_score: float | None = None
    candidates: tuple[Candidate, ...] = ()
    warning: str = ""

    @classmethod
    def among(cls, ranked: Sequence[Candidate], limit: Threshold | None, wanted: int) -> Self:
        """Compares the nearest candidate with the threshold.

        Args:
            ranked: The nearest identities, nearest first, including the runner-up if there is one.
            limit: The threshold; `None` for no verdict.
            wanted: The number of candidates to return.
        """
        best, other = (*ranked[:2], None, None)[:2]
        score = best.score if best else math.inf
        return cls(
            **({"score": score, **UNDECIDED} if limit is None else limit.decide(score)),
            nearest=best.identity if best else None,
            item=best.item if best else None,
            runner_up=other.identity if other else None,
            runner_up_score=other.score if other else None,
            candidates=tuple(ranked[:wanted]),
        )

    @property
    def identity(self) -> str | None:
        """The identity this is, or `None` if there is no match."""
        return self.nearest if self.accepted else None

    @property
    def margin(self) -> float | None:
        """How much farther away the runner-up is than the nearest; `None` without a runner-up."""
        return None if self.runner_up_score is None else self.runner_up_score - self.score

    def to_json(self) -> dict[str, object]:
        """Returns the decision as JSON values; an infinite score is `None`."""
        return {"identity": self.identity, "margin": self.margin, **super().to_json()}

    def __str__(self) -> str:
        if self.nearest is None:
            return "no match: the gallery is empty"
        if self.threshold is None:
            return (
                f"no verdict: the nearest is {self.nearest} at {self.score:.2f}; it is not known how often a "
                "stranger comes as near"
            )
        score, threshold = self._beside(self.threshold)
        if self.identity is None:
            return f"no match: the nearest is {self.nearest} at {score}, above the {threshold}"
        return f"this is {self.identity} (distance {score}, {threshold})"


def required_threshold(given: float | None, own: Threshold | None, owner: str) -> Threshold:
    """Returns the given threshold, else the owner's.

    Raises:
        CalibrationError: There is neither.
    """
    limit = own if given is None else Threshold(float(given))
    if limit is None:
        raise CalibrationError(
            f"{owner} has no threshold: calibrate the encoder with `trine evaluate --calibrate`, or pass ",
            Argument("threshold"),
        )
    return limit


def threshold_of(given: float | None, calibration: Calibration | None) -> Threshold | None:
    """Returns the given threshold, else the calibrated one, else `None`."""
    if given is not None:
        return Threshold(float(given))
    return None if calibration is None else Threshold.of(calibration)

"""A calibrated threshold with its support, and the curve from a distance to a probability."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from trine.distances import Distance, check_distance
from trine.errors import InputError, ModelError, check_choice, check_count, nearest
from trine.migrations import upgrade_calibration
from trine.rates import Promise, Range, as_range
from trine.settings import INNER_RATE, NOT_NEGATIVE, RATE, check_number

Method = Literal["isotonic", "platt"]
"""How the curve from distances to probabilities is fitted."""


@dataclass(frozen=True)
class ProbabilityCurve:
    """The probability that two items are the same, as a function of their distance.

    Attributes:
        method: `"isotonic"`: straight lines between knots that never rise (Zadrozny, Elkan 2002).
            `"platt"`: 1 / (1 + exp(−(intercept + slope · distance))) (Platt 1999).
        prior: The assumed share of genuine pairs, in (0, 1).
        knots: For `"isotonic"` distances, ascending, each with its probability; else empty.
        intercept: For `"platt"` the log odds at distance 0.
        slope: For `"platt"` the change of the log odds per unit of distance; at most 0.

    Example:
        >>> curve = ProbabilityCurve("isotonic", prior=0.5, knots=((0.2, 0.9), (0.6, 0.1)))
        >>> round(curve.at(0.4), 3), round(curve.at(0.4, prior=0.1), 3)
        (0.5, 0.1)
    """

    method: Method
    prior: float
    knots: tuple[Range, ...] = ()
    intercept: float = 0.0
    slope: float = 0.0

    def __post_init__(self) -> None:
        check_choice("method", self.method, get_args(Method))
        check_prior(self.prior)
        if self.method == "isotonic":
            xs, ps = [x for x, _ in self.knots], [p for _, p in self.knots]
            falling = sorted(xs) == xs and sorted(ps, reverse=True) == ps
            if not xs or not falling or not all(math.isfinite(x) and 0 < p < 1 for x, p in self.knots):
                raise InputError(
                    "knots must be pairs of a finite distance, ascending, and a probability between 0 and 1 "
                    f"that never rises, given {len(xs)} knots that are not"
                )
        elif not (math.isfinite(self.intercept) and math.isfinite(self.slope) and self.slope <= 0):
            raise InputError(
                "intercept and slope must be finite, the slope at most 0, "
                f"given {self.intercept} and {self.slope}"
            )

    def at(self, distance: float, *, prior: float | None = None) -> float:
        """Computes the probability that two items at this distance are the same.

        Args:
            distance: The distance between the two items.
            prior: The share of genuine pairs in use, in (0, 1), by which the odds are corrected; by default
                that of the curve.

        Returns:
            A probability in [0, 1].

        Raises:
            InputError: The prior is not in (0, 1).
        """
        if self.method == "isotonic":
            xs, ps = np.array(self.knots).T
            odds = _log_odds(float(np.interp(distance, xs, ps)))
        else:
            odds = self.intercept + self.slope * distance
        if prior is not None:
            check_prior(prior)
            odds += _log_odds(prior) - _log_odds(self.prior)
        return 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> ProbabilityCurve:
        """Reads a curve from the JSON of its `dataclasses.asdict`.

        Raises:
            ModelError: A field is missing, unknown or out of range.
        """
        try:
            knots = tuple((float(x), float(p)) for x, p in fields["knots"])  # type: ignore[attr-defined]
            return cls(**{**fields, "knots": knots})  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the calibration has an invalid probability curve: {error}") from error


@dataclass(frozen=True)
class Calibration:
    """A threshold on distances, and the false-accept rate that it was chosen for.

    Attributes:
        threshold: Accept two items as the same when their distance is at most this.
        promise: The false-accept rate that was asked for, whether it is firm, its estimate and its interval,
            and how many identities the pairs came from.
        tar: The measured true-accept rate, in [0, 1]: the share of genuine pairs that it accepts.
        impostor_pairs: How many pairs of different identities were measured.
        genuine_pairs: How many pairs of one identity were measured.
        distance: The distance that the threshold applies to.
        tar_interval: The 95 % confidence interval of the true-accept rate at this threshold; None where it
            was not computed.
        threshold_interval: The same for the threshold itself.
        curve: The curve from a distance to a probability; None where none was fitted.

    Example:
        >>> promise = Promise("far", 0.01, "firm", estimate=0.008, interval=(0.006, 0.0098), identities=300)
        >>> calibration = Calibration(
        ...     threshold=0.9, promise=promise, tar=0.8, impostor_pairs=90_000, genuine_pairs=900,
        ...     distance="euclidean",
        ... )
        >>> Calibration.from_json(calibration.to_json()) == calibration
        True
    """

    threshold: float
    promise: Promise
    tar: float
    impostor_pairs: int
    genuine_pairs: int
    distance: Distance
    tar_interval: Range | None = None
    threshold_interval: Range | None = None
    curve: ProbabilityCurve | None = None

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold, NOT_NEGATIVE)
        if self.promise.name != "far":
            raise InputError(
                f"a calibration of pairs has a false-accept rate (far), given {self.promise.name}"
            )
        check_number("tar", self.tar, RATE)
        for name in ("impostor_pairs", "genuine_pairs"):
            check_count(name, getattr(self, name))
        check_distance(self.distance)

    def accepts(self, distance: float) -> bool:
        """Whether two items at this distance are accepted as the same."""
        return distance <= self.threshold

    def probability(self, distance: float, *, prior: float | None = None) -> float | None:
        """Computes the probability that two items at this distance are the same; see `ProbabilityCurve.at`.

        Args:
            distance: The distance between the two items.
            prior: The share of genuine pairs in use, in (0, 1); by default that of the curve.

        Returns:
            A probability in [0, 1]; None if no curve was fitted.
        """
        return None if self.curve is None else self.curve.at(distance, prior=prior)

    def to_json(self) -> dict[str, object]:
        """Returns the fields as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> Calibration:
        """Reads what `to_json` wrote; intervals and probabilities may be left out.

        Args:
            fields: The parsed JSON object.

        Returns:
            The calibration.

        Raises:
            ModelError: A field is missing, unknown, of another type or out of range.
        """
        fields = upgrade_calibration(fields)
        for name in fields:
            if name not in (*_TYPES, *_INTERVALS, "promise", "curve"):
                raise ModelError(f"unknown field {name!r} in a calibration: {nearest(name, _TYPES)}")
        for name, expected in _TYPES.items():
            if name not in fields:
                raise ModelError(f"the calibration lacks {name!r}; calibrate the model again")
            given = fields[name]
            fits = type(given) is expected or (expected is float and type(given) is int)
            if not fits:
                raise ModelError(f"calibration field {name!r} must be {expected.__name__}, given {given!r}")
        read: dict[str, object] = {name: as_range(fields.get(name), name) for name in _INTERVALS}
        read["promise"] = Promise.from_json(_mapping(fields, "promise"))
        if fields.get("curve") is not None:
            read["curve"] = ProbabilityCurve.from_json(_mapping(fields, "curve"))
        try:
            return cls(**{**fields, **read})
        except InputError as error:
            raise ModelError(f"the calibration is invalid: {error}") from error


_TYPES: dict[str, type] = {
    "threshold": float, "tar": float, "impostor_pairs": int, "genuine_pairs": int, "distance": str,
}  # fmt: skip
_INTERVALS = ("tar_interval", "threshold_interval")


def _mapping(fields: Mapping[str, object], name: str) -> Mapping[str, object]:
    given = fields.get(name)
    if not isinstance(given, Mapping):
        raise ModelError(f"calibration field {name!r} must be an object, given {given!r}")
    return given


def check_prior(prior: float) -> None:
    """Raises an `InputError` unless a share of genuine pairs is between 0 and 1."""
    check_number("prior", prior, INNER_RATE)


def _log_odds(probability: float) -> float:
    return math.log(probability) - math.log1p(-probability)

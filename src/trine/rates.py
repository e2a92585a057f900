"""How often a threshold accepts strangers: the estimate, its bound over identities, and what may be promised.

`RateCurve.threshold` decides whether a threshold is firm or provisional.

Items of one identity are alike, so the unit of every rate here is the identity: each has one weight, however
many items it has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Literal, get_args

import numpy as np

from trine.beta import beta_quantile, regularised_beta
from trine.errors import InputError, ModelError, check_choice, check_count
from trine.settings import INNER_RATE, RATE, check_number
from trine.shapes import Bool, Float, Int64

CONFIDENCE = 0.95
"""The confidence of each end of an interval of a rate."""

ROUND_RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
"""The rates to fall back on where there are too few identities for the one asked for."""

Range = tuple[float, float]
"""The lower and the upper end of an interval."""

RateName = Literal["far", "fpir"]
"""Which rate: the false-accept rate of one pair, or the false-positive identification rate of an answer."""

SENTENCES: Mapping[RateName, str] = {
    "far": "of impostor pairs are accepted",
    "fpir": "of strangers are named",
}
"""What the rates mean in plain words."""


class State(StrEnum):
    """How well the error rate of a threshold is known.

    Attributes:
        FIRM: The 95 % upper confidence bound of the rate, over identities, is at most the rate asked for.
        PROVISIONAL: There is an estimate of the rate, but its bound is above the rate asked for.
        UNCALIBRATED: There are too few identities for an estimate, and no rate is stated.
    """

    FIRM = "firm"
    PROVISIONAL = "provisional"
    UNCALIBRATED = "uncalibrated"


@dataclass(frozen=True)
class Promise:
    """The error rate of a threshold, and how well it is known.

    Attributes:
        name: `"far"`, the share of pairs of different identities that are accepted; or `"fpir"`, the share of
            probes of strangers that a gallery names (ISO/IEC 19795-1).
        rate: The rate that was asked for, in (0, 1).
        state: Firm or provisional.
        estimate: The estimate of the rate, in [0, 1].
        interval: The 95 % lower and the 95 % upper confidence bound of the rate, over identities.
        identities: How many identities it was measured on.

    Example:
        >>> print(Promise("fpir", 0.01, State.FIRM, 0.0033, (0.0, 0.0099), 300))
        at most 1 % of strangers are named, firm
        >>> print(Promise("far", 0.05, State.PROVISIONAL, 0.05, (0.01, 0.14), 40))
        about 5 % of impostor pairs are accepted, at most 14 %, provisional
    """

    name: RateName
    rate: float
    state: State
    estimate: float
    interval: Range
    identities: int

    def __post_init__(self) -> None:
        check_choice("name", self.name, get_args(RateName))
        object.__setattr__(self, "state", State(self.state))
        object.__setattr__(self, "interval", (float(self.interval[0]), float(self.interval[1])))
        check_number("rate", self.rate, INNER_RATE)
        check_number("estimate", self.estimate, RATE)
        low, high = self.interval
        if not 0 <= low <= high <= 1:
            raise InputError(f"interval must be two rates from 0 to 1, ascending, given {self.interval}")
        check_count("identities", self.identities)

    @property
    def bound(self) -> float:
        """The 95 % upper confidence bound of the rate."""
        return self.interval[1]

    def provisional(self) -> Promise:
        """The same rate where something speaks against calling it firm."""
        return replace(self, state=State.PROVISIONAL)

    def to_json(self) -> dict[str, object]:
        """Returns the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> Promise:
        """Reads what `to_json` wrote.

        Raises:
            ModelError: A field is missing, unknown or out of range.
        """
        try:
            return cls(**fields)  # type: ignore[arg-type]
        except (TypeError, ValueError, IndexError) as error:
            raise ModelError(f"the calibration has an invalid error rate: {error}") from error

    def __str__(self) -> str:
        what = SENTENCES[self.name]
        if self.state is State.FIRM:
            return f"at most {percent(self.rate)} {what}, firm"
        return f"about {percent(self.estimate)} {what}, at most {percent(self.bound)}, provisional"


@dataclass(frozen=True, eq=False)
class RateCurve:
    """The share of strangers, or of pairs of strangers, that each threshold accepts.

    Attributes:
        name: Which rate it is.
        limits: Thresholds, ascending: each the largest that accepts what it does.
        estimate: The share that each accepts; 0 for the first.
        effective: How many independent observations have an estimate that varies as much over identities.
        alone: How many independent observations there are while none is accepted.
        identities: How many identities were observed.
        scale: How many identities a stranger meets for each that was met here.
    """

    name: RateName
    limits: Float[np.ndarray, " t"]
    estimate: Float[np.ndarray, " t"]
    effective: Float[np.ndarray, " t"]
    alone: float
    identities: int
    scale: float = 1.0

    def threshold(self, rate: float) -> tuple[float, Promise] | None:
        """Chooses the largest threshold for a rate.

        If there are identities enough for a bound, it is the largest threshold whose 95 % upper confidence
        bound is at most the rate, and firm. Otherwise it is the largest whose conformal estimate is at most
        the rate, and provisional: of n + 1 independent strangers each is as likely as the others to be the
        nearest (Vovk, Gammerman, Shafer 2005).

        Args:
            rate: The rate to keep, in (0, 1).

        Returns:
            The threshold and its promise; None with fewer than 1 / rate − 1 identities, and where so many
            distances are 0 that no threshold keeps the rate.

        Raises:
            InputError: The rate is not in (0, 1).
        """
        check_number("rate", rate, INNER_RATE)
        state, step = State.FIRM, _leading(self._firm(1 - (1 - rate) ** (1 / self.scale))) - 1
        if step < 0 or self.limits[step] < 0:
            state, step = State.PROVISIONAL, _leading(self._conformal(rate) <= rate * (1 + 1e-9)) - 1
            if step < 0 or self.limits[step] < 0 or self.identities < 1 / rate - 1.01:
                return None
        return float(self.limits[step]), self._promise(rate, step, state)

    def smallest(self, rate: float) -> tuple[float, Promise] | None:
        """Chooses the threshold for a rate, or for the smallest round rate above it that has one.

        Args:
            rate: The rate to aim for, in (0, 1).

        Returns:
            The threshold and its promise; None if not even a rate of a half can be kept.
        """
        for each in (rate, *(higher for higher in ROUND_RATES if higher > rate)):
            if (found := self.threshold(each)) is not None:
                return found
        return None

    def at(self, threshold: float) -> tuple[float, Range]:
        """Estimates the share that a threshold accepts.

        Args:
            threshold: The largest accepted distance.

        Returns:
            The share, with its 95 % lower and upper confidence bound.
        """
        step = np.minimum(np.searchsorted(self.limits, [threshold]), len(self.limits) - 1)
        estimate, low, high = (float(rate[0]) for rate in self._rates(step))
        return estimate, (low, high)

    def table(self, *, points: int = 200) -> Float[np.ndarray, "s 4"]:
        """Returns thresholds, each with the estimate, the lower and the upper bound of the rate.

        Args:
            points: The largest number of thresholds.
        """
        most = len(self.limits)
        step = np.unique(np.linspace(0, most - 1, min(points, most)).round().astype(int))
        return np.stack([self.limits[step], *self._rates(step)], 1)

    def _promise(self, rate: float, step: int, state: State) -> Promise:
        _, low, high = (float(found[0]) for found in self._rates(np.array([step])))
        high = min(high, rate) if state is State.FIRM else max(high, rate)
        estimate = min(float(self._conformal(rate)[step]), high)
        return Promise(self.name, rate, state, estimate, (min(low, estimate), high), self.identities)

    def _firm(self, rate: float) -> Bool[np.ndarray, " t"]:
        """Whether the upper bound at each step is at most a rate."""
        accepted = self.estimate * self.effective
        rejected = np.maximum(self.effective - accepted, 1e-9)
        confidence = _below(rate, accepted + 1, rejected)
        within: Bool[np.ndarray, " t"] = (confidence >= CONFIDENCE) & (self._least <= rate)
        return within

    def _conformal(self, rate: float) -> Float[np.ndarray, " t"]:
        """The estimate at each step for a threshold just below the next distance.

        It takes how many independent observations the estimates around the rate are worth.
        """
        scaled = self._scaled(self.estimate)
        around = (scaled >= rate / 2) & (scaled <= 2 * rate) & (scaled > 0)
        of = float(np.median(self.effective[around])) if around.any() else self.alone
        return self._scaled((self.estimate * of + 1) / (of + 1))

    def _rates(self, step: Int64[np.ndarray, " k"]) -> tuple[Float[np.ndarray, " k"], ...]:
        """The estimate at some steps, its lower and its upper bound."""
        rate, of = self.estimate[step], self.effective[step]
        high = np.clip(np.maximum(upper_bound(rate * of, of), self._least), rate, 1.0)
        low = np.minimum(lower_bound(rate * of, of), rate)
        return self._scaled(rate), self._scaled(low), self._scaled(high)

    @property
    def _least(self) -> float:
        """The upper bound while none is accepted; no bound is below it."""
        return float(1 - (1 - CONFIDENCE) ** (1 / self.alone))

    def _scaled(self, rate: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
        """The rate among `scale` times as many identities, each as likely to be near."""
        scaled: Float[np.ndarray, " t"] = 1 - np.maximum(1 - rate, 0.0) ** self.scale
        return scaled


def stranger_rates(
    distances: Float[np.ndarray, " n"],
    identity: Int64[np.ndarray, " n"],
    *,
    nearest: Int64[np.ndarray, " n"] | None = None,
    scale: float = 1.0,
) -> RateCurve:
    """Estimates the false-positive identification rate of every threshold from how near strangers come.

    The strangers are people outside the gallery; or its own identities, each held against all others
    (leave-one-out). Two of these that are near each other are accepted together, so that they count as one
    observation.

    Args:
        distances: Of each probe of a stranger, the score of the nearest identity of the gallery.
        identity: The identity of each probe, any integers; each has the same weight.
        nearest: For a gallery's own identities the nearest other identity, in the same numbering; None for
            people outside the gallery.
        scale: How many identities a stranger meets for each that these probes met: N / (N − 1) for a gallery
            of N identities held against itself.

    Returns:
        The rates.

    Raises:
        InputError: There is no probe, or the arguments do not fit.

    Example:
        >>> rates = stranger_rates(np.arange(1.0, 400.0), np.arange(399))
        >>> threshold, promise = rates.threshold(0.01)
        >>> threshold < 2, str(promise.state)
        (True, 'firm')
    """
    if not len(distances) or len(distances) != len(identity):
        raise InputError(
            "rates of strangers need one identity for each of at least one distance, given "
            f"{len(distances)} distances and {len(identity)} identities"
        )
    order = np.argsort(distances, kind="stable")
    _, owner, sizes = np.unique(identity[order], return_inverse=True, return_counts=True)
    count, share = len(sizes), 1 / sizes[owner]
    sums = np.cumsum(share)
    # The share of an identity's probes rises from a/m to (a + 1)/m, its square by (2a + 1)/m².
    squares = np.cumsum((2 * _earlier(owner) + 1) * share**2)
    if nearest is not None:
        squares += _accepted_together(identity[order], nearest[order], share)
    seen, first = np.unique(distances[order].astype(np.float64), return_index=True)
    last = np.append(first[1:], len(order)) - 1
    sums, squares = np.append(0.0, sums[last]), np.append(0.0, squares[last])
    rate = np.minimum(sums / count, 1.0)
    spread = squares - count * rate**2
    alone = float(count if nearest is None else count / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.where(spread > 1e-12, rate * (1 - rate) * count**2 / spread, alone)
    # Shares vary at most as much as one item of each, and being accepted in twos doubles that at most.
    effective = np.maximum(effective, alone)
    limits = np.append(np.nextafter(seen, -np.inf), seen[-1])
    return RateCurve("fpir", limits, rate, effective, alone, count, scale)


def _accepted_together(
    identity: Int64[np.ndarray, " n"], nearest: Int64[np.ndarray, " n"], share: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """The sum of p(i, j) · p(j, i) up to each probe, where p(i, j) is how many of i's are nearest to j."""
    found, total = np.zeros(len(share)), 0.0
    shares: dict[tuple[int, int], float] = {}
    probes = zip(identity.tolist(), nearest.tolist(), share.tolist(), strict=True)
    for place, (own, other, part) in enumerate(probes):
        total += 2 * shares.get((other, own), 0.0) * part
        shares[own, other] = shares.get((own, other), 0.0) + part
        found[place] = total
    return found


def _earlier(owner: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """How many earlier entries have the same owner."""
    order = np.argsort(owner, kind="stable")
    earlier = np.empty(len(owner), np.int64)
    earlier[order] = np.arange(len(owner)) - np.searchsorted(owner[order], owner[order])
    return earlier


def upper_bound(
    accepted: Float[np.ndarray, "..."], of: Float[np.ndarray, "..."], *, confidence: float = CONFIDENCE
) -> Float[np.ndarray, "..."]:
    """The upper confidence bound of a share (Clopper, Pearson 1934), whole numbers or not.

    Args:
        accepted: How many are accepted, from 0 to `of`.
        of: Out of how many, above 0; an effective number where observations are alike.
        confidence: The confidence, in (0, 1).

    Returns:
        The bound of each, in [0, 1].

    Example:
        >>> upper_bound(np.array([0.0, 0.0, 2.0]), np.array([299.0, 59.0, 100.0])).round(4)
        array([0.01  , 0.0495, 0.0616])
    """
    accepted, of = np.broadcast_arrays(np.asarray(accepted, float), np.asarray(of, float))
    a, b = accepted + 1, np.maximum(of - accepted, 0.0)
    return np.where(b > 0, _quantiles(confidence, a, np.maximum(b, 1e-9)), 1.0)


def lower_bound(
    accepted: Float[np.ndarray, "..."], of: Float[np.ndarray, "..."], *, confidence: float = CONFIDENCE
) -> Float[np.ndarray, "..."]:
    """The lower confidence bound of a share; see `upper_bound`.

    Example:
        >>> lower_bound(np.array([0.0, 2.0]), np.array([100.0, 100.0])).round(4)
        array([0.    , 0.0036])
    """
    accepted, of = np.broadcast_arrays(np.asarray(accepted, float), np.asarray(of, float))
    return 1 - upper_bound(of - accepted, of, confidence=confidence)


def least_identities(rate: float, *, confidence: float = CONFIDENCE) -> int:
    """How many strangers, none of them accepted, make a rate firm.

    Example:
        >>> [least_identities(rate) for rate in (0.01, 0.05, 0.1)]
        [299, 59, 29]
    """
    return math.ceil(math.log(1 - confidence) / math.log1p(-rate))


def percent(rate: float) -> str:
    """A rate as a percentage of two significant digits.

    Example:
        >>> percent(0.001), percent(0.0952), percent(1.0), percent(0.0)
        ('0.1 %', '9.5 %', '100 %', '0 %')
    """
    return f"{float(f'{100 * rate:.2g}'):g} %"


def as_range(given: object, name: str) -> Range | None:
    """Converts a JSON list of two numbers to an interval; raises a `ModelError` for anything else."""
    if given is None:
        return None
    numbers = isinstance(given, Sequence) and all(type(end) in (int, float) for end in given)
    if not isinstance(given, Sequence) or not numbers or len(given) != 2:
        raise ModelError(f"calibration field {name!r} must be a list of two numbers, given {given!r}")
    return float(given[0]), float(given[1])


def _leading(values: Bool[np.ndarray, " t"]) -> int:
    """How many values are true before the first that is not."""
    return len(values) if values.all() else int(values.argmin())


_quantiles = np.vectorize(beta_quantile, otypes=[float])
_below = np.vectorize(regularised_beta, otypes=[float])

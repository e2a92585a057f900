"""What all reports share: metrics by name, their intervals, JSON, and a table that fits a screen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from trine.display import printable
from trine.errors import InputError, check_choice, check_count, shown
from trine.evaluation.intervals import LEVEL, RESAMPLES, Interval, percentile_interval, resampled_means
from trine.evaluation.rate_intervals import mean_interval
from trine.settings import RATE, check_number
from trine.shapes import Float, Int64

Asked = tuple[str, tuple[float, ...]]
"""The name of a metric, and its argument where it takes one."""

Columns = Mapping[str, Float[np.ndarray, " q"] | Callable[[int], Float[np.ndarray, " q"]]]
"""The value of every query for each metric, or a function from a rank to these values."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MetricReport(ABC):
    """A frozen record of one measurement.

    Attributes:
        at: The arguments of the metrics that take one, that the JSON and the printed table list.
        resamples: The number of bootstrap samples; 0 for no interval.
        seed: The seed of the bootstrap.
    """

    at: tuple[float, ...] = ()
    resamples: int = RESAMPLES
    seed: int = 0

    def interval(self, metric: str, *arguments: float) -> Interval:
        """Returns the 95 % confidence interval of a metric over identities.

        Args:
            metric: The name of a metric of this report.
            *arguments: Its argument, where it takes one: a rank, a rate or a threshold.

        Returns:
            The interval. Means over queries and rates: of as many independent trials as the identities are
            worth (`trine.evaluation.rate_intervals`). Others: the percentiles of bootstrap samples of
            identities, NaN to NaN where none has the metric.

        Raises:
            InputError: The metric is unknown or has no interval, an argument does not fit,
                or `resamples` is 0.
        """
        self._check(metric, arguments)
        self._check_resamples()
        return self._interval(metric, arguments)

    def value(self, metric: str, *arguments: float) -> float | None:
        """Returns a metric by its name; None where it is not defined."""
        found = getattr(self, metric)
        value: float | None = found(*arguments) if arguments else found
        return value

    def resampled(self, metric: str, *arguments: float) -> Float[np.ndarray, " r"]:
        """Returns the metric in each bootstrap sample.

        Reports on the same items with the same seed use the same samples, so the difference of their values
        is the difference in each sample.

        Args:
            metric: As for `interval`.
            *arguments: As for `interval`.

        Returns:
            One value for each sample; NaN where a sample does not have the metric.

        Raises:
            InputError: As for `interval`.
        """
        self._check(metric, arguments)
        self._check_resamples()
        return self._resampled([(metric, arguments)])[0]

    def to_json(self) -> dict[str, object]:
        """Returns protocol, counts, metrics and intervals as JSON values."""
        listed = self._listed()
        values = _nested(listed, [_known(self._value(*one)) for one in listed])
        return {**self._facts(), **values, "intervals": self._intervals_json()}

    def __str__(self) -> str:
        facts = self._facts()
        title = facts.pop("protocol")
        counts = [f"{name} {fact}" for name, fact in facts.items() if isinstance(fact, (str, int, float))]
        ends = dict(zip(self._with_interval(), self._intervals(), strict=True))
        table = {f"{name} {key(*at)}".rstrip(): (name, at) for name, at in self._listed()}
        lines = [str(title), ", ".join(counts)]
        for words, asked in table.items():
            interval = f" {ends[asked].brackets()}".rstrip() if asked in ends else ""
            lines.append(f"{words:{max(map(len, table))}}  {_number(self._value(*asked))}{interval}")
        return "\n".join(map(printable, lines))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What a notebook shows: the metrics, not the arrays that they come from."""
        printer.text(str(self))

    @abstractmethod
    def _facts(self) -> dict[str, object]:
        """The protocol in words, and the other entries of the JSON that have no interval."""

    @abstractmethod
    def _listed(self) -> list[Asked]:
        """The metrics of the JSON, with each argument."""

    @abstractmethod
    def _check(self, metric: str, arguments: tuple[float, ...]) -> None:
        """Raises an `InputError` unless the metric has an interval and takes these arguments."""

    @abstractmethod
    def _resampled(self, asked: Sequence[Asked]) -> Sequence[Float[np.ndarray, " r"]]:
        """The values of each metric in each bootstrap sample."""

    def _interval(self, metric: str, arguments: tuple[float, ...]) -> Interval:
        """The interval of one metric."""
        return percentile_interval(self._resampled([(metric, arguments)])[0])

    def _check_resamples(self) -> None:
        if self.resamples < 1:
            raise InputError(f"an interval needs resamples of at least 1, given {self.resamples}")

    def _value(self, metric: str, arguments: tuple[float, ...]) -> float | None:
        return self.value(metric, *arguments)

    def _with_interval(self) -> list[Asked]:
        """The listed metrics that have an interval."""
        return self._listed() if self.resamples else []

    def _intervals(self) -> list[Interval]:
        return [self._interval(metric, arguments) for metric, arguments in self._with_interval()]

    def _intervals_json(self) -> dict[str, object] | None:
        asked = self._with_interval()
        if not asked:
            return None
        ends = _nested(asked, [interval.to_json() for interval in self._intervals()])
        return {"level": LEVEL, "resamples": self.resamples, **self._interval_facts(), **ends}

    def _interval_facts(self) -> dict[str, object]:
        """Further entries of the JSON about the intervals."""
        return {}


@dataclass(frozen=True, eq=False, kw_only=True)
class PerQueryReport(MetricReport):
    """A report whose metrics are means over queries, in [0, 1]; intervals are over their identities."""

    resampled_by: ClassVar[str] = "labels"
    """The field that holds the identity of each query."""

    @abstractmethod
    def _columns(self) -> Columns: ...

    def per_query(self, metric: str, *arguments: float) -> Float[np.ndarray, " q"]:
        """Returns the value of every query; the metric is their mean.

        Args:
            metric: The name of a metric of this report.
            *arguments: The rank, where the metric takes one.

        Returns:
            One value for each query.

        Raises:
            InputError: The metric is unknown, or was not measured at this rank.
        """
        self._check(metric, arguments)
        column = self._columns()[metric]
        return column(check_count("k", arguments[0])) if callable(column) else column

    def _mean(self, metric: str, *arguments: float) -> float:
        return float(self.per_query(metric, *arguments).mean())

    def _value(self, metric: str, arguments: tuple[float, ...]) -> float:
        return self._mean(metric, *arguments)

    def _listed(self) -> list[Asked]:
        return [
            (name, at)
            for name, column in self._columns().items()
            for at in ([(k,) for k in self.at] if callable(column) else [()])
        ]

    def _check(self, metric: str, arguments: tuple[float, ...]) -> None:
        columns = self._columns()
        check_choice("metric", metric, columns)
        ranked = callable(columns[metric])
        if len(arguments) != ranked:
            takes = "takes one rank" if ranked else "takes no rank"
            raise InputError(f"{metric} {takes}, given {arguments}")

    def _interval(self, metric: str, arguments: tuple[float, ...]) -> Interval:
        return mean_interval(self.per_query(metric, *arguments), getattr(self, self.resampled_by))

    def _resampled(self, asked: Sequence[Asked]) -> Sequence[Float[np.ndarray, " r"]]:
        values = np.stack([self.per_query(metric, *arguments) for metric, arguments in asked], 1)
        return list(
            resampled_means(
                values, getattr(self, self.resampled_by), resamples=self.resamples, seed=self.seed
            ).T
        )

    def _identity_means(self, metric: str) -> tuple[Int64[np.ndarray, " c"], Float[np.ndarray, " c"]]:
        """The identities of the queries, and the mean of a metric over the queries of each."""
        own, place, counts = np.unique(
            getattr(self, self.resampled_by), return_inverse=True, return_counts=True
        )
        return own, np.bincount(place, weights=self.per_query(metric)) / counts


def key(argument: float | None = None) -> str:
    """An argument as a key of the JSON: a rank in full, a rate in as few digits as it has."""
    return "" if argument is None else str(argument) if isinstance(argument, int) else f"{argument:g}"


def check_ranks(at: tuple[int, ...]) -> None:
    """Raises an `InputError` unless every rank is a whole number of at least 1."""
    if not isinstance(at, Sequence):
        raise InputError(f"at must list ranks, given {shown(at)}")
    for rank in at:
        check_count("each rank of at", rank)


def check_rates(at: tuple[float, ...]) -> None:
    """Raises an `InputError` unless every rate is a number from 0 to 1."""
    if not isinstance(at, Sequence):
        raise InputError(f"at must list rates, given {shown(at)}")
    for rate in at:
        check_number("each rate of at", rate, RATE)


def check_bootstrap(resamples: int, seed: int) -> None:
    """Raises an `InputError` unless the number of bootstrap samples and their seed are 0 or more."""
    check_count("resamples", resamples, at_least=0)
    check_count("seed", seed, at_least=0)


def _nested(asked: Sequence[Asked], values: Sequence[object]) -> dict[str, object]:
    """Metrics by name; those that take an argument by name and argument."""
    found: dict[str, object] = {}
    for (name, at), value in zip(asked, values, strict=True):
        if not at:
            found[name] = value
        else:
            found[name] = {**found.get(name, {}), key(*at): value}  # type: ignore[dict-item]
    return found


def _known(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def _number(value: float | None) -> str:
    return "-" if _known(value) is None else f"{value:.3f}"

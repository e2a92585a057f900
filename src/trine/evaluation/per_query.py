"""Figures that are means over queries: their values in JSON, and their intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from trine.errors import InputError
from trine.evaluation.intervals import LEVEL, Interval, check_figure, check_resamples, mean_intervals
from trine.shapes import Float, Int64

PerQuery = Mapping[str, np.ndarray | Mapping[int, np.ndarray]]
"""The value of every query, for each figure, or for each figure and each of its ranks."""


def means(figures: PerQuery) -> dict[str, object]:
    """The mean of every figure, as JSON knows it."""
    return {
        name: {str(k): float(one.mean()) for k, one in values.items()}
        if isinstance(values, Mapping)
        else float(values.mean())
        for name, values in figures.items()
    }


def mean_interval_of(
    values: Float[np.ndarray, " q"], identity: Int64[np.ndarray, " q"], *, resamples: int, seed: int
) -> Interval:
    """The interval of one figure; see `trine.evaluation.intervals.mean_intervals`.

    Raises:
        InputError: `resamples` was 0.
    """
    check_resamples(resamples)
    return mean_intervals(values[:, None], identity, resamples=resamples, seed=seed)[0]


def intervals(
    figures: PerQuery, identity: Int64[np.ndarray, " q"], *, resamples: int, seed: int
) -> dict[str, object] | None:
    """The intervals of all figures from the same draws, as JSON knows them; None without resamples."""
    if not resamples:
        return None
    columns = [
        column
        for values in figures.values()
        for column in (values.values() if isinstance(values, Mapping) else [values])
    ]
    found = iter(mean_intervals(np.stack(columns, 1), identity, resamples=resamples, seed=seed))
    listed: dict[str, object] = {"level": LEVEL, "resamples": resamples}
    for name, values in figures.items():
        if isinstance(values, Mapping):
            listed[name] = {str(k): next(found).to_json() for k in values}
        else:
            listed[name] = next(found).to_json()
    return listed


def value_of(
    figure: str,
    arguments: tuple[int, ...],
    plain: Mapping[str, np.ndarray],
    ranked: Mapping[str, Callable[[int], np.ndarray]],
) -> Float[np.ndarray, " q"]:
    """The value of every query for a figure by its name.

    Args:
        figure: The name.
        arguments: What it takes: a rank, or nothing.
        plain: Figures without a rank.
        ranked: Figures at a rank.

    Raises:
        InputError: The figure is unknown, or the arguments are not its own.
    """
    if figure in plain and not arguments:
        return plain[figure]
    if figure in ranked and len(arguments) == 1:
        return ranked[figure](arguments[0])
    check_figure(figure, [*plain, *ranked])
    takes = "takes no rank" if figure in plain else "takes one rank"
    raise InputError(f"{figure} {takes}, given {arguments}; leave it out or give one")


def check_ranks(at: tuple[int, ...]) -> None:
    """Raises an `InputError` unless every rank is at least 1."""
    if any(rank < 1 for rank in at):
        raise InputError(f"at must hold ranks of at least 1, given {at}")

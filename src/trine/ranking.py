"""Figures of a ranked list: pure functions, one value per query, so that a caller may average or resample.

A ranked list is a row of `hits`: `hits[i, j]` says whether the (j + 1)-th nearest item of query i is
relevant, that is, of the query's identity. `positives[i]` is the number of relevant items there are, ranked
or not. A query without any has no figure: leave it out and count it before coming here.
"""

from __future__ import annotations

import numpy as np

from trine.errors import InputError
from trine.shapes import Bool, Float, Int64


def recall_at_k(hits: Bool[np.ndarray, "n w"], *, k: int) -> Float[np.ndarray, " n"]:
    """Says whether a relevant item is among the first `k`: metric learning's recall@k (Jégou et al. 2011).

    Args:
        hits: The ranked list of each query, at least `k` wide.
        k: How many of the nearest count.

    Returns:
        1 or 0 for each query.

    Raises:
        InputError: The lists are shorter than `k`.

    Example:
        >>> hits = np.array([[False, True, False], [False, False, True]])
        >>> recall_at_k(hits, k=2).tolist()
        [1.0, 0.0]
    """
    found: np.ndarray = np.any(_first(hits, k), axis=1).astype(np.float64)
    return found


def precision_at_k(hits: Bool[np.ndarray, "n w"], *, k: int) -> Float[np.ndarray, " n"]:
    """The share of relevant items among the first `k`.

    Args:
        hits: The ranked list of each query, at least `k` wide.
        k: How many of the nearest count.

    Returns:
        One value in [0, 1] for each query.

    Raises:
        InputError: The lists are shorter than `k`.

    Example:
        >>> precision_at_k(np.array([[True, False, True]]), k=2).tolist()
        [0.5]
    """
    values: np.ndarray = _first(hits, k).mean(1)
    return values


def r_precision(hits: Bool[np.ndarray, "n w"], positives: Int64[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The share of relevant items among the first R, with R the number of relevant items of that query.

    Args:
        hits: The ranked list of each query, at least `positives.max()` wide.
        positives: R of each query, at least 1.

    Returns:
        One value in [0, 1] for each query.

    Raises:
        InputError: A list is shorter than its R, or an R is 0.

    Example:
        >>> r_precision(np.array([[True, False, True]]), np.array([2])).tolist()
        [0.5]
    """
    values: np.ndarray = _within(hits, positives).sum(1) / positives
    return values


def map_at_r(hits: Bool[np.ndarray, "n w"], positives: Int64[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The mean of the precision at each relevant rank up to R (Musgrave, Belongie, Lim 2020, eq. 2).

    MAP@R = 1/R · Σ_{i=1..R} P(i), with P(i) the precision at i where the i-th item is relevant, else 0.

    Args:
        hits: The ranked list of each query, at least `positives.max()` wide.
        positives: R of each query, at least 1.

    Returns:
        One value in [0, 1] for each query; their mean is MAP@R.

    Raises:
        InputError: A list is shorter than its R, or an R is 0.

    Example:
        >>> map_at_r(np.array([[False, True, True]]), np.array([3])).tolist()
        [0.38888888888888884]
    """
    within = _within(hits, positives)
    ranks = np.arange(1, within.shape[1] + 1)
    values: np.ndarray = (within * np.cumsum(within, axis=1) / ranks).sum(1) / positives
    return values


def first_hit(hits: Bool[np.ndarray, "n w"]) -> Int64[np.ndarray, " n"]:
    """The rank, from 1, of the first relevant item; 0 where the list holds none.

    Args:
        hits: The ranked list of each query.

    Returns:
        One rank for each query.

    Example:
        >>> first_hit(np.array([[False, True], [False, False]])).tolist()
        [2, 0]
    """
    if hits.shape[1] == 0:
        return np.zeros(len(hits), dtype=np.int64)
    return np.where(hits.any(1), hits.argmax(1) + 1, 0)


def reciprocal_rank(first: Int64[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """One over the rank of the first relevant item; its mean is MRR (Voorhees 1999).

    Args:
        first: The rank, from 1, of the first relevant item in the whole ranking; 0 counts as never.

    Returns:
        One value in [0, 1] for each query.

    Example:
        >>> reciprocal_rank(np.array([1, 4, 0])).tolist()
        [1.0, 0.25, 0.0]
    """
    values: np.ndarray = np.divide(1.0, first, out=np.zeros(len(first)), where=first > 0)
    return values


def _first(hits: np.ndarray, k: int) -> np.ndarray:
    if not 1 <= k <= hits.shape[1]:
        raise InputError(f"k must be from 1 to the {hits.shape[1]} items ranked, given {k}")
    return hits[:, :k]


def _within(hits: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """The hits among the first R of each list."""
    if len(positives) and positives.min() < 1:
        raise InputError(
            f"query {int(positives.argmin())} has no relevant item; leave such queries out and count them"
        )
    depth = int(positives.max(initial=0))
    if depth > hits.shape[1]:
        raise InputError(f"the lists must hold the nearest R = {depth}, given {hits.shape[1]}")
    return hits[:, :depth] & (np.arange(depth) < positives[:, None])

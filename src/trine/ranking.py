"""Metrics of a ranked list: pure functions with one value per query, to be averaged or resampled.

All are computed from the ranks of a query's relevant items (those of its identity) in the whole ranking:
`ranks[i]` holds them ascending from 1, padded with `NEVER` if other queries have more. A query without a
relevant item has no value: exclude and count it first.
"""

from __future__ import annotations

import numpy as np

from trine.errors import InputError, check_count
from trine.neighbours import NEVER
from trine.shapes import Float, Int64


def relevant_items(ranks: Int64[np.ndarray, "n w"]) -> Int64[np.ndarray, " n"]:
    """The number of relevant items of each query: R.

    Args:
        ranks: The ranks of the relevant items of each query.

    Returns:
        At least 1 for each query.

    Raises:
        InputError: A query has none.

    Example:
        >>> relevant_items(np.array([[2, 5], [1, NEVER]])).tolist()
        [2, 1]
    """
    counts: np.ndarray = (ranks < NEVER).sum(1)
    if len(counts) and counts.min() < 1:
        raise InputError(
            f"query {int(counts.argmin())} has no relevant item; leave such queries out and count them"
        )
    return counts


def recall_at_k(ranks: Int64[np.ndarray, "n w"], *, k: int) -> Float[np.ndarray, " n"]:
    """Whether a relevant item is among the first `k`: metric learning's recall@k (Jégou et al. 2011).

    Args:
        ranks: The ranks of the relevant items of each query.
        k: How many of the nearest count, at least 1.

    Returns:
        1 or 0 for each query.

    Raises:
        InputError: `k` is below 1.

    Example:
        >>> recall_at_k(np.array([[2, 5], [3, 4]]), k=2).tolist()
        [1.0, 0.0]
    """
    found: np.ndarray = np.any(_within(ranks, k), axis=1)
    return found.astype(np.float64)


def precision_at_k(ranks: Int64[np.ndarray, "n w"], *, k: int) -> Float[np.ndarray, " n"]:
    """The share of relevant items among the first `k`.

    Args:
        ranks: The ranks of the relevant items of each query.
        k: How many of the nearest count, at least 1.

    Returns:
        One value in [0, 1] for each query.

    Raises:
        InputError: `k` is below 1.

    Example:
        >>> precision_at_k(np.array([[1, 3]]), k=2).tolist()
        [0.5]
    """
    values: np.ndarray = _within(ranks, k).sum(1) / k
    return values


def r_precision(ranks: Int64[np.ndarray, "n w"]) -> Float[np.ndarray, " n"]:
    """The share of relevant items among the first R, with R the number of relevant items of that query.

    Args:
        ranks: The ranks of the relevant items of each query.

    Returns:
        One value in [0, 1] for each query.

    Raises:
        InputError: A query has no relevant item.

    Example:
        >>> r_precision(np.array([[1, 3]])).tolist()
        [0.5]
    """
    r = relevant_items(ranks)
    values: np.ndarray = (ranks <= r[:, None]).sum(1) / r
    return values


def map_at_r(ranks: Int64[np.ndarray, "n w"]) -> Float[np.ndarray, " n"]:
    """The mean of the precision at each relevant rank up to R (Musgrave, Belongie, Lim 2020, eq. 2).

    MAP@R = 1/R · Σ_{i=1..R} P(i), with P(i) the precision at i where the i-th item is relevant, else 0.

    Args:
        ranks: The ranks of the relevant items of each query.

    Returns:
        One value in [0, 1] for each query; their mean is MAP@R.

    Raises:
        InputError: A query has no relevant item.

    Example:
        >>> map_at_r(np.array([[2, 3, 9]])).tolist()
        [0.38888888888888884]
    """
    r = relevant_items(ranks)
    values: np.ndarray = (_precisions(ranks) * (ranks <= r[:, None])).sum(1) / r
    return values


def average_precision(ranks: Int64[np.ndarray, "n w"]) -> Float[np.ndarray, " n"]:
    """The mean of the precision at the rank of each relevant item, over the whole ranking.

    AP = 1/R · Σ_{j=1..R} j / rank_j: the area under the steps of precision over recall.

    Args:
        ranks: The ranks of the relevant items of each query.

    Returns:
        One value in (0, 1] for each query; their mean is mAP.

    Raises:
        InputError: A query has no relevant item.

    Example:
        >>> average_precision(np.array([[1, 4]])).tolist()
        [0.75]
    """
    values: np.ndarray = _precisions(ranks).sum(1) / relevant_items(ranks)
    return values


def market1501_average_precision(ranks: Int64[np.ndarray, "n w"]) -> Float[np.ndarray, " n"]:
    """Average precision as the code of Market-1501 computes it (Zheng et al. 2015; Philbin et al. 2007).

    AP = 1/R · Σ_{j=1..R} ½(j / rank_j + (j − 1) / (rank_j − 1)): the area under the trapezoids of precision
    over recall, with a precision of 1 before the first rank.

    Args:
        ranks: The ranks of the relevant items of each query.

    Returns:
        One value in (0, 1] for each query.

    Raises:
        InputError: A query has no relevant item.

    Example:
        >>> market1501_average_precision(np.array([[1, 4]])).tolist()
        [0.7083333333333333]
    """
    before = np.arange(ranks.shape[1]) / np.maximum(ranks - 1, 1)
    before = np.where(ranks == 1, 1.0, np.where(ranks < NEVER, before, 0.0))
    values: np.ndarray = (_precisions(ranks) + before).sum(1) / (2 * relevant_items(ranks))
    return values


def ndcg_at_k(ranks: Int64[np.ndarray, "n w"], *, k: int) -> Float[np.ndarray, " n"]:
    """The discounted gain of the first `k`, relative to the best possible (Järvelin, Kekäläinen 2002).

    NDCG@k = Σ_{rank_j ≤ k} 1 / log₂(1 + rank_j) over Σ_{i=1..min(R, k)} 1 / log₂(1 + i): gains of 1 and 0.

    Args:
        ranks: The ranks of the relevant items of each query.
        k: How many of the nearest count, at least 1.

    Returns:
        One value in [0, 1] for each query.

    Raises:
        InputError: `k` is below 1, or a query has no relevant item.

    Example:
        >>> ndcg_at_k(np.array([[1, 3, 9]]), k=3).round(4).tolist()
        [0.7039]
    """
    r = relevant_items(ranks)
    gains = np.where(_within(ranks, k), 1 / np.log2(1 + np.minimum(ranks, k)), 0.0).sum(1)
    best = np.cumsum(1 / np.log2(1 + np.arange(1, 1 + min(k, ranks.shape[1]))))
    values: np.ndarray = gains / best[np.minimum(r, k) - 1]
    return values


def reciprocal_rank(first: Int64[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """One over the rank of the first relevant item; its mean is MRR (Voorhees 1999).

    Args:
        first: The rank, from 1, of the first relevant item in the whole ranking; `NEVER` gives 0.

    Returns:
        One value in [0, 1] for each query.

    Example:
        >>> reciprocal_rank(np.array([1, 4, NEVER])).tolist()
        [1.0, 0.25, 0.0]
    """
    values: np.ndarray = np.where(first < NEVER, 1 / first, 0.0)
    return values


def _within(ranks: np.ndarray, k: int) -> np.ndarray:
    found: np.ndarray = ranks <= check_count("k", k)
    return found


def _precisions(ranks: np.ndarray) -> np.ndarray:
    """The precision at the rank of each relevant item; 0 behind the last."""
    values: np.ndarray = np.where(ranks < NEVER, np.arange(1, ranks.shape[1] + 1) / ranks, 0.0)
    return values

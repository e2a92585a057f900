"""What is relevant to a query: the references of its identity, in lists that a search can take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trine.neighbours import NEVER, RankSearch
from trine.shapes import Bool, Float, Int64

RankMetric = Callable[[Int64[np.ndarray, "q p"]], np.ndarray]
"""From the ranks of the relevant references of some queries to one value, or row of values, for each."""

LeftOut = Callable[[Int64[np.ndarray, " q"], Int64[np.ndarray, "q p"]], Bool[np.ndarray, "q p"]]
"""From queries and their relevant references to those references that leave the ranking."""


@dataclass(frozen=True)
class BlockSize:
    """How large a block of queries may be.

    Attributes:
        rows: The most queries.
        listed: The most entries of their lists.
        long: The length of a list from which a block holds one identity: its references are looked up once.
    """

    rows: int = 4096
    listed: int = 1 << 20
    long: int = 256


@dataclass(frozen=True, eq=False)
class Block:
    """Some queries and their relevant references.

    Attributes:
        queries: Their numbers.
        listed: For each the rows of the references of its identity, ascending; -1 where it has fewer than
            others.
    """

    queries: Int64[np.ndarray, " q"]
    listed: Int64[np.ndarray, "q p"]


def measure_ranks(
    search: RankSearch,
    queries: tuple[Float[Tensor, "n d"], Int64[np.ndarray, " n"]],
    references: Int64[np.ndarray, " m"],
    metrics: Mapping[str, RankMetric],
    *,
    left_out: LeftOut | None = None,
) -> tuple[Int64[np.ndarray, " q"], dict[str, np.ndarray]]:
    """Ranks the references of every query's identity, and computes metrics from these ranks.

    Args:
        search: The references.
        queries: One row per query, and its identity.
        references: The identity of each reference; -1 for one that is relevant to no query.
        metrics: What to compute, by name.
        left_out: Which of the relevant references leave the ranking of a query, as if they were not there.

    Returns:
        The queries with a relevant reference, ascending, and the values of each metric for them.
    """
    rows, identity = queries
    asked: list[np.ndarray] = [np.zeros(0, np.int64)]
    values: dict[str, list[np.ndarray]] = {name: [] for name in metrics}
    for block in relevant_blocks(identity, references):
        counted = None if left_out is None else ~left_out(block.queries, block.listed)
        ranks = search.ranks(rows[torch.from_numpy(block.queries)], block.listed, counted=counted)
        some = ranks[:, 0] < NEVER
        asked.append(block.queries[some])
        for name, metric in metrics.items():
            values[name].append(metric(ranks[some]))
    order = np.argsort(np.concatenate(asked))
    found = {name: np.concatenate(parts)[order] for name, parts in values.items() if parts}
    return np.concatenate(asked)[order], found


def relevant_blocks(
    identity: Int64[np.ndarray, " n"],
    references: Int64[np.ndarray, " m"],
    *,
    size: BlockSize = BlockSize(),
) -> Iterator[Block]:
    """Lists the references of every query's identity, some queries at a time.

    Args:
        identity: The number of the identity of each query, from 0.
        references: That of each reference; -1 for one that is relevant to no query.
        size: How large a block may be.

    Yields:
        Blocks of queries with about as many references, together all queries that have one.
    """
    identities = 1 + int(max(identity.max(initial=-1), references.max(initial=-1)))
    sizes = np.bincount(references[references >= 0], minlength=identities)
    members = np.argsort(references, kind="stable")[int((references < 0).sum()) :]
    begins = np.cumsum(sizes) - sizes
    order = np.lexsort((identity, sizes[identity]))
    order = order[sizes[identity[order]] > 0]
    start = 0
    while start < len(order):
        stop = _stop(identity[order[start:]], sizes, size) + start
        queries = order[start:stop]
        own = identity[queries]
        slots = np.arange(sizes[own].max())
        present = slots < sizes[own, None]
        places = np.where(present, begins[own, None] + slots, 0)
        yield Block(queries, np.where(present, members[places], -1))
        start = stop


def _stop(identity: Int64[np.ndarray, " n"], sizes: Int64[np.ndarray, " c"], size: BlockSize) -> int:
    """How many of the queries, by ascending length of their lists, make a block."""
    ahead = identity[: size.rows]
    if sizes[ahead[0]] >= size.long:
        differs = np.flatnonzero(ahead != ahead[0])
        same = int(differs[0]) if len(differs) else len(ahead)
        return max(1, min(same, size.listed // int(sizes[ahead[0]])))
    short = sizes[ahead] < size.long
    fits = sizes[ahead] * np.arange(1, 1 + len(ahead)) <= size.listed
    return max(1, int((short & fits).sum()))

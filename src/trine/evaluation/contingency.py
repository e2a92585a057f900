"""The contingency table of identities and clusters, and what can be computed from its counts alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from trine.shapes import Float, Int64

TERMS = 1 << 21
"""How many terms of the expected mutual information are in memory at once."""


@dataclass(frozen=True, eq=False)
class Contingency:
    """The table of identities and clusters, without its empty cells.

    Attributes:
        identity: The identity of each cell.
        cluster: The cluster of each cell.
        count: How many items are in both; at least 1.
        identity_sizes: The items of each identity, numbered from 0 without a gap.
        cluster_sizes: The items of each cluster, likewise.
        terms: How many terms of the expected mutual information are in memory at once.
    """

    identity: Int64[np.ndarray, " cells"]
    cluster: Int64[np.ndarray, " cells"]
    count: Int64[np.ndarray, " cells"]
    identity_sizes: Int64[np.ndarray, " c"]
    cluster_sizes: Int64[np.ndarray, " k"]
    terms: int = TERMS

    @classmethod
    def of(cls, identity: Int64[np.ndarray, " n"], cluster: Int64[np.ndarray, " n"]) -> Contingency:
        """Counts the items of each identity and cluster.

        Args:
            identity: The identity of each item, numbered from 0 without a gap.
            cluster: The cluster of each item, likewise.

        Example:
            >>> table = Contingency.of(np.array([0, 0, 1]), np.array([1, 0, 0]))
            >>> table.identity.tolist(), table.cluster.tolist(), table.count.tolist()
            ([0, 0, 1], [0, 1, 0], [1, 1, 1])
        """
        sizes = np.bincount(identity), np.bincount(cluster)
        cells, count = np.unique(identity * np.int64(len(sizes[1])) + cluster, return_counts=True)
        return cls(*np.divmod(cells, np.int64(max(len(sizes[1]), 1))), count, *sizes)

    @property
    def items(self) -> int:
        """The number of items."""
        return int(self.identity_sizes.sum())

    @property
    def same(self) -> bool:
        """Whether the clusters are the identities."""
        return len(self.count) == len(self.identity_sizes) == len(self.cluster_sizes)

    @cached_property
    def mutual_information(self) -> float:
        """I(U; V) = Σ n_ij/N · log(N n_ij / (a_i b_j)), in nats."""
        n = self.items
        sizes = self.identity_sizes[self.identity], self.cluster_sizes[self.cluster]
        logs = np.log(self.count) + np.log(n) - np.log(sizes[0]) - np.log(sizes[1])
        return max(0.0, float((self.count / n * logs).sum()))

    @cached_property
    def entropies(self) -> tuple[float, float]:
        """H(U) of the identities and H(V) of the clusters, in nats."""
        return _entropy(self.identity_sizes), _entropy(self.cluster_sizes)

    @cached_property
    def expected_mutual_information(self) -> float:
        """E[I] over all assignments of the items to clusters of these sizes (Vinh et al. 2010, eq. 24a).

        Exact, summed over the distinct sizes only: there are at most √(2N) of them on either side.
        """
        n = self.items
        log_factorial = torch.lgamma(torch.arange(1, n + 2, dtype=torch.float64)).numpy()
        (a, many_a), (b, many_b) = (
            np.unique(sizes, return_counts=True) for sizes in (self.identity_sizes, self.cluster_sizes)
        )
        pairs = len(a) * len(b)
        step = max(1, self.terms // int(min(a[-1], b[-1])))
        total = 0.0
        for start in range(0, pairs, step):
            i, j = np.divmod(np.arange(start, min(start + step, pairs)), len(b))
            terms = _expected(a[i], b[j], n, log_factorial)
            total += float((terms * many_a[i] * many_b[j]).sum())
        return total


def _entropy(sizes: Int64[np.ndarray, " c"]) -> float:
    shares = sizes / sizes.sum()
    return max(0.0, float(-(shares * np.log(shares)).sum()))


def _expected(
    a: Int64[np.ndarray, " p"],
    b: Int64[np.ndarray, " p"],
    n: int,
    log_factorial: Float[np.ndarray, " m"],
) -> Float[np.ndarray, " p"]:
    """Sums, for each pair of sizes, over how many items an identity and a cluster may share."""
    first, last = np.maximum(1, a + b - n), np.minimum(a, b)
    lengths = last - first + 1
    ends = np.cumsum(lengths)
    pair = np.repeat(np.arange(len(a)), lengths)
    shared = np.arange(ends[-1]) - (ends - lengths)[pair] + first[pair]
    f = log_factorial
    fixed = f[a] + f[b] + f[n - a] + f[n - b] - f[n]
    of_a, of_b = a[pair], b[pair]
    chance = np.exp(
        fixed[pair] - f[shared] - f[of_a - shared] - f[of_b - shared] - f[n - of_a - of_b + shared]
    )
    logs = np.log(shared) + np.log(n) - np.log(of_a) - np.log(of_b)
    return np.bincount(pair, weights=shared / n * logs * chance, minlength=len(a))

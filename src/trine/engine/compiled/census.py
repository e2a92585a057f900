"""The census of a tile, compiled: how many negatives are nearer than each positive, and than it plus α."""

from __future__ import annotations

import numpy as np

from trine.engine.compiled.rows import COSINE, EUCLIDEAN, F32, I32, exact, kernel, tile_row


@kernel
def _counts(d, t0, t1, t2, t3):  # type: ignore[no-untyped-def]
    n0, n1, n2, n3 = I32(0), I32(0), I32(0), I32(0)
    for j in range(d.size):
        n0, n1 = I32(n0 + I32(d[j] < t0)), I32(n1 + I32(d[j] < t1))
        n2, n3 = I32(n2 + I32(d[j] < t2)), I32(n3 + I32(d[j] < t3))
    return n0, n1, n2, n3


@kernel
def _measured(squared, kind):  # type: ignore[no-untyped-def]
    if kind == EUCLIDEAN:
        return np.sqrt(squared)
    return min(squared / 2, 2.0) if kind == COSINE else squared


@kernel
def _settled(d, lower, upper, a, p, x, j0, margin, kind):  # type: ignore[no-untyped-def]
    """Of the distances in [lower, upper), how many are below d_ap + margin (or at most d_ap: margin −1)."""
    squared_ap = exact(x[a], x[p])
    limit = _measured(squared_ap, kind) + margin
    number = 0
    for j in range(d.size):
        if d[j] >= lower and d[j] < upper:
            squared_an = exact(x[a], x[j0 + j])
            number += squared_an <= squared_ap if margin < 0 else _measured(squared_an, kind) < limit
    return number


@kernel
def _sum(d, kind):  # type: ignore[no-untyped-def]
    total = F32(0)
    if kind == EUCLIDEAN:
        for j in range(d.size):
            total += np.sqrt(d[j])
    else:
        for j in range(d.size):
            total += d[j]
    return total / F32(2) if kind == COSINE else total


@kernel
def census_rows(s, i0, j0, rows, bands, positives, margin, kind, hard, active, sums):  # type: ignore[no-untyped-def]
    """Adds what the rows of a tile of products count.

    Args:
        s: Products of the rows from `i0` with the rows from `j0`.
        i0: The place of the first row.
        j0: The place of the first column.
        rows: What kernels know of a batch; see `NumbaBatch.arrays`.
        bands: Squared distances, (4, positives, rows): certainly hard below the first, certainly
            not from the second on; the same for active. Those in between are decided from differences.
        positives: The row of each positive; −1 in empty places.
        margin: α.
        kind: The distance.
        hard: How many negatives are at most as far as the positive.
        active: How many are nearer than the positive and α.
        sums: Σ d_an of each row.
    """
    h, w = s.shape
    d = np.empty(w, F32)
    norms, x, first, last = rows[:4]
    for r in range(h):
        a = i0 + r
        lo, hi = tile_row(s[r], a, j0, norms, x, first, last, d)
        if lo < hi:
            sums[r] += np.float64(_sum(d[: max(lo, 0)], kind)) + np.float64(_sum(d[hi:], kind))
        else:
            sums[r] += np.float64(_sum(d, kind))
        for k in range(positives.shape[0]):
            p = positives[k, r]
            if p < 0:
                continue
            h0, h1, a0, a1 = bands[0, k, r], bands[1, k, r], bands[2, k, r], bands[3, k, r]
            n0, n1, n2, n3 = _counts(d, h0, h1, a0, a1)
            hard[k, r] += n0
            if n1 > n0:
                hard[k, r] += _settled(d, h0, h1, a, p, x, j0, -1.0, kind)
            active[k, r] += n2
            if n3 > n2:
                active[k, r] += _settled(d, a0, a1, a, p, x, j0, margin, kind)

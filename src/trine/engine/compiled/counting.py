"""Batch-all by counting, compiled: one pass over a tile serves the thresholds of both sides."""

from __future__ import annotations

import numpy as np

from trine.engine.compiled.rows import COSINE, EUCLIDEAN, F32, FAR, I32, U32, kernel, ranks, tile_row


@kernel
def _row_side(d, c, t, n, r):  # type: ignore[no-untyped-def]
    # c[j] = #{k: d[j] < t[k, r]}, n[k, r] += #{j: d[j] < t[k, r]}; four thresholds per read of d.
    for k in range(0, t.shape[0], 4):
        t0, t1, t2, t3 = t[k, r], t[k + 1, r], t[k + 2, r], t[k + 3, r]
        if max(max(t0, t1), max(t2, t3)) < F32(0):
            continue  # empty places
        n0, n1, n2, n3 = I32(0), I32(0), I32(0), I32(0)
        for j in range(d.size):
            b0, b1, b2, b3 = I32(d[j] < t0), I32(d[j] < t1), I32(d[j] < t2), I32(d[j] < t3)
            n0, n1, n2, n3 = I32(n0 + b0), I32(n1 + b1), I32(n2 + b2), I32(n3 + b3)
            c[j] = I32(c[j] + I32(I32(b0 + b1) + I32(b2 + b3)))
        n[k, r] += n0
        n[k + 1, r] += n1
        n[k + 2, r] += n2
        n[k + 3, r] += n3


@kernel
def _ranks(d, c, t, places, starts):  # type: ignore[no-untyped-def]
    # t rises: a distance is active against the thresholds from its rank on; starts[rank] is one more.
    ranks(d, t, places, True)
    for j in range(d.size):
        c[j] = I32(c[j] + I32(t.size - places[j]))
    for j in range(d.size):
        starts[places[j]] += 1


@kernel
def _column_counts(d, c, t0, t1, t2, t3):  # type: ignore[no-untyped-def]
    for j in range(d.size):
        x = d[j]
        b = I32(I32(I32(x < t0[j]) + I32(x < t1[j])) + I32(I32(x < t2[j]) + I32(x < t3[j])))
        c[j] = I32(c[j] + b)


@kernel
def _column_numbers(d0, d1, d2, d3, t, n):  # type: ignore[no-untyped-def]
    for j in range(t.size):
        x = t[j]
        b = I32(I32(I32(d0[j] < x) + I32(d1[j] < x)) + I32(I32(d2[j] < x) + I32(d3[j] < x)))
        n[j] = I32(n[j] + b)


@kernel
def _weights(d, c, out, kind):  # type: ignore[no-untyped-def]
    total = F32(0)
    if kind == EUCLIDEAN:
        for j in range(d.size):
            s = F32(c[j]) * np.sqrt(d[j])
            total += s
            out[j] = s / (d[j] + F32(1e-30))  # c/d, and 0 at d = 0
    else:
        for j in range(d.size):
            w = F32(c[j])
            total += w * d[j]
            out[j] = w
    return total


@kernel
def count_tile(s, i0, j0, rows, few, many, columns, value, kind):  # type: ignore[no-untyped-def]
    """Turns products into the weights of both sides, adds to the counts, and takes Σ c·d from `value`.

    Rows with few positives bring (thresholds, counts), in any order and padded to a multiple of four; rows
    with many bring rising thresholds, and count the ranks of the negatives among them. Columns
    bring few; or none, if they are only references or handled by another call. `rows` is `NumbaBatch.arrays`.
    """
    h, w = s.shape
    (ti, ci), (rising, starts), (tj, cj) = few, many, columns
    norms, x, first, last = rows[:4]
    d, c, places = np.empty((4, w), F32), np.empty((4, w), I32), np.empty(w, U32)
    scale = 0.5 if kind == COSINE else 1.0
    for r in range(0, h, 4):
        number = min(4, h - r)
        for q in range(4):
            c[q] = 0
            if q >= number:
                d[q] = FAR
                continue
            a = r + q
            tile_row(s[a], i0 + a, j0, norms, x, first, last, d[q])
            if rising.size > 0:
                _ranks(d[q], c[q], rising[a], places, starts[a])
            else:
                _row_side(d[q], c[q], ti, ci, a)
        if tj.size > 0:
            for q in range(number):
                for k in range(0, tj.shape[0], 4):
                    _column_counts(d[q], c[q], tj[k], tj[k + 1], tj[k + 2], tj[k + 3])
            for k in range(tj.shape[0]):
                _column_numbers(d[0], d[1], d[2], d[3], tj[k], cj[k])
        for q in range(number):
            total = _weights(d[q], c[q], s[r + q], kind)
            value[r + q] -= scale * total


@kernel
def counts_of_ranks(t, rising, starts, n):  # type: ignore[no-untyped-def]
    """Turns histograms of ranks among rising thresholds into how many negatives each threshold counts."""
    places = np.empty(t.shape[1], U32)
    for a in range(t.shape[0]):
        ranks(t[a], rising[a], places, True)
        for rank in range(1, starts.shape[1]):
            starts[a, rank] += starts[a, rank - 1]
        for k in range(t.shape[1]):
            n[a, k] = F32(starts[a, places[k] - 1])


@kernel
def _any(bits):  # type: ignore[no-untyped-def]
    count = I32(0)
    for j in range(bits.size):
        count = I32(count + I32(bits[j] != I32(0)))
    return count


@kernel
def _add(w, x, g):  # type: ignore[no-untyped-def]
    for q in range(g.size):
        g[q] += w * x[q]


@kernel
def sparse_products(s, bits, xi, xj, gi, gj, limit):  # type: ignore[no-untyped-def]
    """Adds s·x_j and sᵀ·x_i to gradients, of which either may be empty.

    Returns False, and adds nothing, where more than `limit` pairs of the tile have a weight.
    """
    h, w = s.shape
    number = 0
    active = np.empty(h, I32)
    for r in range(h):
        active[r] = _any(bits[r])
        number += active[r]
        if number > limit:
            return False
    for r in range(h):
        if active[r]:
            for start in range(0, w, 64):
                stop = min(start + 64, w)
                if _any(bits[r, start:stop]):
                    for j in range(start, stop):
                        if s[r, j] != F32(0):
                            if gi.size > 0:
                                _add(s[r, j], xj[j], gi[r])
                            if gj.size > 0:
                                _add(s[r, j], xi[r], gj[j])
    return True

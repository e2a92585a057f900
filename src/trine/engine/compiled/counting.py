"""Batch-all by counting, compiled: one look at a tile serves the thresholds of both its sides."""

from __future__ import annotations

import numpy as np

from trine.engine.compiled.rows import EUCLIDEAN, F32, FAR, I32, kernel, squared_row

MANY = 160  # positives from which a search for the rank is faster than comparing with each


@kernel
def _row_side(d, c, t, n, r):  # type: ignore[no-untyped-def]
    # c[j] = #{k: d[j] < t[k, r]}, n[k, r] += #{j: d[j] < t[k, r]}; four thresholds for one look at d.
    for k in range(0, t.shape[0], 4):
        t0, t1, t2, t3 = t[k, r], t[k + 1, r], t[k + 2, r], t[k + 3, r]
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
def _ranks(d, c, t, starts):  # type: ignore[no-untyped-def]
    # t rises: a distance is active against the thresholds from its rank on; starts[rank] is one more. The
    # search has no branch to mispredict, and four run side by side.
    size = t.size
    for j in range(0, d.size, 4):
        e0, e1 = d[j], d[min(j + 1, d.size - 1)]
        e2, e3 = d[min(j + 2, d.size - 1)], d[min(j + 3, d.size - 1)]
        r0, r1, r2, r3, left = 0, 0, 0, 0, size
        while left > 1:
            half = left >> 1
            r0 += half * int(t[r0 + half - 1] <= e0)
            r1 += half * int(t[r1 + half - 1] <= e1)
            r2 += half * int(t[r2 + half - 1] <= e2)
            r3 += half * int(t[r3 + half - 1] <= e3)
            left -= half
        r0, r1 = r0 + int(t[r0] <= e0), r1 + int(t[r1] <= e1)
        r2, r3 = r2 + int(t[r2] <= e2), r3 + int(t[r3] <= e3)
        for q, rank in ((0, r0), (1, r1), (2, r2), (3, r3)):
            if j + q < d.size:
                c[j + q] = I32(c[j + q] + I32(size - rank))
                starts[rank] += 1


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
def count_tile(s, ni, nj, xi, xj, first, last, j0, ti, tj, ci, cj, kind, diagonal):  # type: ignore[no-untyped-def]
    """Turns products into the weights of both sides, adds to the counts, and returns Σ c·d.

    Sides with few positives have `ti` and `tj` in any order, padded to a multiple of four.
    """
    h, w = s.shape
    d, c = np.empty((4, w), F32), np.empty((4, w), I32)
    value = 0.0
    for r in range(0, h, 4):
        rows = min(4, h - r)
        for q in range(4):
            c[q] = 0
            if q >= rows:
                d[q] = FAR
                continue
            a = r + q
            lo, hi = max(first[a] - j0, 0), min(last[a] - j0, w)
            squared_row(s[a], ni[a], nj, xi[a], xj, lo, max(lo, hi), d[q])
            _row_side(d[q], c[q], ti, ci, a)
        if not diagonal:
            for q in range(rows):
                for k in range(0, tj.shape[0], 4):
                    _column_counts(d[q], c[q], tj[k], tj[k + 1], tj[k + 2], tj[k + 3])
            for k in range(tj.shape[0]):
                _column_numbers(d[0], d[1], d[2], d[3], tj[k], cj[k])
        for q in range(rows):
            value += _weights(d[q], c[q], s[r + q], kind)
    return value


@kernel
def rank_tile(s, ni, nj, xi, xj, first, last, j0, ti, tj, ci, cj, kind, diagonal):  # type: ignore[no-untyped-def]
    """The same where positives are many.

    The rows of `ti` and `tj` rise; those of `ci` and `cj` are histograms of the ranks of the negatives.
    """
    h, w = s.shape
    # Rows a power of two apart would share the few places of the cache that a column can go to.
    d, c = np.empty((h, w + 16), F32)[:, :w], np.zeros((h, w + 16), I32)[:, :w]
    for a in range(h):
        lo, hi = max(first[a] - j0, 0), min(last[a] - j0, w)
        squared_row(s[a], ni[a], nj, xi[a], xj, lo, max(lo, hi), d[a])
        if ti.shape[1] > 0:
            _ranks(d[a], c[a], ti[a], ci[a])
    if not diagonal and tj.shape[1] > 0:
        column, back = np.empty(h, F32), np.empty(h, I32)
        for j in range(w):
            for a in range(h):
                column[a] = d[a, j]
            back[:] = 0
            _ranks(column, back, tj[j], cj[j])
            for a in range(h):
                c[a, j] += back[a]
    value = 0.0
    for a in range(h):
        value += _weights(d[a], c[a], s[a], kind)
    return value


@kernel
def _any(bits):  # type: ignore[no-untyped-def]
    count = I32(0)
    for j in range(bits.size):
        count = I32(count + I32(bits[j] != I32(0)))
    return count


@kernel
def _both(w, x, y, gx, gy):  # type: ignore[no-untyped-def]
    for q in range(x.size):
        gx[q] += w * y[q]
        gy[q] += w * x[q]


@kernel
def sparse_products(s, bits, xi, xj, gi, gj, limit):  # type: ignore[no-untyped-def]
    """Adds the gradient of the few active pairs of a tile; returns False where they are more than `limit`."""
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
                            _both(s[r, j], xi[r], xj[j], gi[r], gj[j])
    return True

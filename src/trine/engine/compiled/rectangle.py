"""Tiles that are read for their anchors only, compiled: all triplets of a row at a time."""

from __future__ import annotations

import numpy as np

from trine.engine.compiled.ranks import U32, ranks
from trine.engine.compiled.rows import COSINE, EUCLIDEAN, F32, I32, SQUARED, exact, kernel, tile_row
from trine.engine.compiled.soft import _exp_minus, _log1p_sum, _row


@kernel
def exact_squares(x, a, b, out):  # type: ignore[no-untyped-def]
    """Squared distances of listed pairs."""
    for i in range(a.size):
        out[i] = exact(x[a[i]], x[b[i]])


@kernel
def square_rows(s, i0, j0, norms, x, first, last):  # type: ignore[no-untyped-def]
    """Turns a tile of products into squared distances."""
    for r in range(s.shape[0]):
        tile_row(s[r], i0 + r, j0, norms, x, first, last, s[r])


@kernel
def pull_side(x, a, b, w, offset, g):  # type: ignore[no-untyped-def]
    """Adds w·(x_a − x_b) to row a − offset of a gradient, for listed pairs."""
    for i in range(a.size):
        if w[i] != F32(0):
            xa, xb, ga = x[a[i]], x[b[i]], g[a[i] - offset]
            for q in range(xa.size):
                ga[q] += w[i] * (xa[q] - xb[q])


@kernel
def _below(d, limit):  # type: ignore[no-untyped-def]
    number = I32(0)
    for j in range(d.size):
        number = I32(number + I32(d[j] < limit))
    return number


@kernel
def _counts(d, c, t, n):  # type: ignore[no-untyped-def]
    # c[j] = #{k: d[j] < t[k]}, n[k] += #{j: d[j] < t[k]}; four limits for one look at d.
    for k in range(0, t.size, 4):
        t0, t1, t2, t3 = t[k], t[k + 1], t[k + 2], t[k + 3]
        n0, n1, n2, n3 = I32(0), I32(0), I32(0), I32(0)
        for j in range(d.size):
            b0, b1, b2, b3 = I32(d[j] < t0), I32(d[j] < t1), I32(d[j] < t2), I32(d[j] < t3)
            n0, n1, n2, n3 = I32(n0 + b0), I32(n1 + b1), I32(n2 + b2), I32(n3 + b3)
            c[j] = I32(c[j] + I32(I32(b0 + b1) + I32(b2 + b3)))
        n[k] += n0
        n[k + 1] += n1
        n[k + 2] += n2
        n[k + 3] += n3


@kernel
def _weights(d, c, share, out, kind):  # type: ignore[no-untyped-def]
    """Writes c times the slope of each distance, and returns Σ c·d."""
    total = F32(0)
    if kind == EUCLIDEAN:
        for j in range(d.size):
            s = share * F32(c[j]) * np.sqrt(d[j])
            total += s
            out[j] = s / (d[j] + F32(1e-30))  # c/d, and 0 at d = 0
        return total
    slope = F32(2) if kind == SQUARED else F32(1)
    for j in range(d.size):
        s = share * F32(c[j])
        total += s * d[j]
        out[j] = slope * s
    return total / F32(2) if kind == COSINE else total


@kernel
def count_rows(s, i0, j0, norms, x, first, last, limits, ranked, counts, share, value, kind):  # type: ignore[no-untyped-def]
    """Turns a tile of products into the weights of its pairs, and returns how many pairs have one.

    Args:
        s: Products of the rows from `i0` with the rows from `j0`.
        i0: The place of the first row.
        j0: The place of the first column.
        norms: Squared norms of all rows.
        x: All rows.
        first: Where the class of each row starts.
        last: Where it ends.
        limits: Squared distances below which a triplet is active, (rows, positives), padded by −1 to a
            multiple of four; those of each row rise where they are `ranked`.
        ranked: Whether distances are looked up among the limits, and not compared with each.
        counts: Active triplets of each positive, or of all from each rank on.
        share: What each triplet of a row counts.
        value: Σ d_an over the active triplets of each row is taken from it.
        kind: The distance.
    """
    h, w = s.shape
    d, c, places = np.empty(w, F32), np.empty(w, I32), np.empty(w, U32)
    pairs = 0
    for r in range(h):
        a = i0 + r
        tile_row(s[r], a, j0, norms, x, first, last, d)
        number = _below(d, limits[r].max())
        pairs += number
        if not number:
            s[r] = 0
            continue
        if ranked:
            ranks(d, limits[r], places, True)
            for j in range(w):
                c[j] = I32(limits.shape[1] - places[j])
            for j in range(w):
                counts[r, places[j]] += 1
        else:
            c[:] = 0
            _counts(d, c, limits[r, : (last[a] - first[a] + 3) // 4 * 4], counts[r])
        value[r] -= np.float64(_weights(d, c, share[r], s[r], kind))
    return pairs


@kernel
def soft_rows(s, i0, j0, norms, x, first, last, u, counts, share, value, kind):  # type: ignore[no-untyped-def]
    """The same with the soft margin, of which every pair has a weight.

    `u` is exp(d_ap), (positives, rows), 0 in empty places and padded to a multiple of four; `counts` are
    laid out alike; and Σ softplus is added to `value`.
    """
    h, w = s.shape
    d, v, c, e, m = np.empty(w, F32), np.empty(w, F32), np.empty(w, F32), np.empty(w, F32), np.empty(w, F32)
    power = np.empty(w, I32)
    scale, bits = power.view(np.float32), m.view(np.int32)
    slope = F32(2) if kind == SQUARED else F32(1)
    for r in range(h):
        a = i0 + r
        lo, hi = tile_row(s[r], a, j0, norms, x, first, last, d)
        if kind == EUCLIDEAN:
            for j in range(w):
                d[j] = np.sqrt(d[j])
        elif kind == COSINE:
            for j in range(w):
                d[j] *= F32(0.5)
        _exp_minus(d, v, power, scale)
        v[lo:hi] = 0
        c[:] = 0
        total = 0.0
        for k in range(0, last[a] - first[a], 4):
            _row(v, c, e, u[k, r], u[k + 1, r], u[k + 2, r], u[k + 3, r], counts, k, r)
            total += np.float64(_log1p_sum(e, m, bits))
        value[r] += np.float64(share[r]) * total
        if kind == EUCLIDEAN:
            for j in range(w):
                s[r, j] = share[r] * c[j] / d[j] if d[j] > 0 else F32(0)
        else:
            for j in range(w):
                s[r, j] = slope * share[r] * c[j]


@kernel
def sparse_products(s, x, y, gx, gy):  # type: ignore[no-untyped-def]
    """Adds s·y to `gx` and sᵀ·x to `gy`, of which either may be empty, where little of s is not 0."""
    for r in range(s.shape[0]):
        for j in range(s.shape[1]):
            w = s[r, j]
            if w != F32(0):
                xr, yj = x[r], y[j]
                if gx.size > 0:
                    g = gx[r]
                    for q in range(g.size):
                        g[q] += w * yj[q]
                if gy.size > 0:
                    g = gy[j]
                    for q in range(g.size):
                        g[q] += w * xr[q]

"""The nearest negative beyond a bound, compiled: near-ties are settled on the spot, by differences."""

from __future__ import annotations

import numpy as np

from trine.engine.compiled.rows import F32, FAR, I32, exact, kernel, squared_row

U32 = np.uint32


@kernel
def _find(d, value):  # type: ignore[no-untyped-def]
    for start in range(0, d.size, 64):
        run = d[start : start + 64]
        hit = I32(0)
        for j in range(run.size):
            hit = I32(hit | I32(run[j] == value))
        if hit:
            for j in range(run.size):
                if run[j] == value:
                    return start + j
    return -1


@kernel
def _within(d, upper, floor):  # type: ignore[no-untyped-def]
    count = I32(0)
    for j in range(d.size):
        count = I32(count + I32(d[j] <= upper) - I32(d[j] <= floor))
    return count


@kernel
def _settle(d, floor, tolerance, a, x, j0, positive, order, best, index):  # type: ignore[no-untyped-def]
    """Decides by differences among all that rounding leaves open; equal distances go to the lowest index."""
    d_ap = exact(x[a], x[positive]) if positive >= 0 else -1.0
    winner = exact(x[a], x[index]) if index >= 0 else np.inf
    lower = floor
    while True:
        least = FAR
        for j in range(d.size):
            if d[j] > lower and d[j] < least:
                least = d[j]
        if least >= FAR or least > best + tolerance:
            return best, index
        upper = least + tolerance
        found = False
        for j in range(d.size):
            if d[j] > lower and d[j] <= upper:
                e = exact(x[a], x[j0 + j])
                if e > d_ap:
                    found = True
                    if index < 0 or e < winner or (e == winner and order[j0 + j] < order[index]):
                        winner, best, index = e, d[j], j0 + j
        if found:
            return best, index
        lower = upper


@kernel
def _update(d, value, k, r, a, bounds, positives, tolerance, x, j0, order, best, index):  # type: ignore[no-untyped-def]
    floor = bounds[k, r] - tolerance
    if value > best[k, r] + tolerance or value >= FAR:
        return
    clear = value > bounds[k, r] + tolerance and value < best[k, r] - tolerance
    if clear and _within(d, value + tolerance, max(floor, F32(-1))) == 1:
        best[k, r] = value
        index[k, r] = j0 + _find(d, value)
        return
    best[k, r], index[k, r] = _settle(
        d, floor, tolerance, a, x, j0, positives[k, r], order, best[k, r], index[k, r]
    )


@kernel
def nearest_rows(s, i0, j0, norms, x, first, last, bounds, positives, tolerance, order, best, index):  # type: ignore[no-untyped-def]
    """Improves the nearest negatives of the rows of a tile of products.

    Args:
        s: Products of the rows from `i0` with the rows from `j0`.
        i0: The place of the first row.
        j0: The place of the first column.
        norms: Squared norms of all rows.
        x: All rows.
        first: Where the class of each row starts.
        last: Where it ends.
        bounds: Squared distances that the negatives must be beyond, (searches, rows), padded to a
            multiple of four; −`FAR` for no bound.
        positives: The row each bound was measured to; −1 for no bound.
        tolerance: By how much two products of a row may be apart and their distances equal.
        order: Which row of the batch stands at each place.
        best: The squared distances found so far.
        index: Their rows.
    """
    h, w = s.shape
    d = np.empty(w, F32)
    bits = d.view(np.int32)
    one = np.empty(4, F32)
    floors = one.view(np.int32)
    nj, xj = norms[j0 : j0 + w], x[j0 : j0 + w]
    for r in range(h):
        a = i0 + r
        lo, hi = max(first[a] - j0, 0), min(last[a] - j0, w)
        squared_row(s[r], norms[a], nj, x[a], xj, lo, max(lo, hi), d)
        for k in range(0, bounds.shape[0], 4):
            # The least x > t is t + 1 and the least x − (t + 1) as an unsigned number: two instructions
            # for eight triplets. Bits of distances are ordered as they are; no bound is a bound of −1.
            for q in range(4):
                one[q] = max(bounds[k + q, r] - tolerance[a], F32(0))
            t0 = U32(floors[0] + 1) if bounds[k, r] >= tolerance[a] else U32(0)
            t1 = U32(floors[1] + 1) if bounds[k + 1, r] >= tolerance[a] else U32(0)
            t2 = U32(floors[2] + 1) if bounds[k + 2, r] >= tolerance[a] else U32(0)
            t3 = U32(floors[3] + 1) if bounds[k + 3, r] >= tolerance[a] else U32(0)
            v0, v1, v2, v3 = U32(0xFFFFFFFF), U32(0xFFFFFFFF), U32(0xFFFFFFFF), U32(0xFFFFFFFF)
            if bounds.shape[0] == 4 and bounds[1, r] >= FAR:
                for j in range(w):
                    v0 = min(v0, U32(U32(bits[j]) - t0))
            else:
                for j in range(w):
                    b = U32(bits[j])
                    v0, v1 = min(v0, U32(b - t0)), min(v1, U32(b - t1))
                    v2, v3 = min(v2, U32(b - t2)), min(v3, U32(b - t3))
            floors[0], floors[1] = I32(U32(v0 + t0)), I32(U32(v1 + t1))
            floors[2], floors[3] = I32(U32(v2 + t2)), I32(U32(v3 + t3))
            n0, n1, n2, n3 = one[0], one[1], one[2], one[3]
            tol = tolerance[a]
            if v0 <= U32(0xFFFFFFFF) - t0:
                _update(d, n0, k, r, a, bounds, positives, tol, x, j0, order, best, index)
            if v1 <= U32(0xFFFFFFFF) - t1 and bounds[k + 1, r] < FAR:
                _update(d, n1, k + 1, r, a, bounds, positives, tol, x, j0, order, best, index)
            if v2 <= U32(0xFFFFFFFF) - t2 and bounds[k + 2, r] < FAR:
                _update(d, n2, k + 2, r, a, bounds, positives, tol, x, j0, order, best, index)
            if v3 <= U32(0xFFFFFFFF) - t3 and bounds[k + 3, r] < FAR:
                _update(d, n3, k + 3, r, a, bounds, positives, tol, x, j0, order, best, index)


@kernel
def farthest_rows(s, anchors, norms, x, first, last, tolerance, order, out):  # type: ignore[no-untyped-def]
    """The farthest negative of each anchor, from its products with all rows; close ones by differences."""
    n = s.shape[1]
    d = np.empty(n, F32)
    for r in range(anchors.size):
        a = anchors[r]
        squared_row(s[r], norms[a], norms, x[a], x, first[a], last[a], d)
        d[first[a] : last[a]] = F32(-1)
        largest = F32(-1)
        for j in range(n):
            largest = max(largest, d[j])
        winner, index = -1.0, -1
        for j in range(n):
            if d[j] >= largest - tolerance[a] and d[j] >= F32(0):
                e = exact(x[a], x[j])
                if e > winner or (e == winner and order[j] < order[index]):
                    winner, index = e, j
        out[r] = index

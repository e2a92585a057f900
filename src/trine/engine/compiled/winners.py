"""The nearest negative beyond a bound, compiled: near-ties are recomputed from differences at once."""

from __future__ import annotations

import numpy as np

from trine.engine.compiled.rows import F32, FAR, I32, NEAR, U32, exact, kernel, tile_row

MOST = U32(0xFFFFFFFF)


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
def _settle(d, k, r, a, j0, rows, side):  # type: ignore[no-untyped-def]
    """Decides from differences among all near-ties; equal distances go to the lowest index."""
    x, tolerance, order = rows[1], rows[4][a], rows[5]
    bounds, positives, best, index = side
    positive, at, nearest = positives[k, r], index[k, r], best[k, r]
    d_ap = exact(x[a], x[positive]) if positive >= 0 else -1.0
    winner = exact(x[a], x[at]) if at >= 0 else np.inf
    lower = bounds[k, r] - tolerance
    while True:
        least = FAR
        for j in range(d.size):
            if d[j] > lower and d[j] < least:
                least = d[j]
        if least >= FAR or least > nearest + tolerance:
            return
        upper = least + tolerance
        found = False
        for j in range(d.size):
            if d[j] > lower and d[j] <= upper:
                e = exact(x[a], x[j0 + j])
                if e > d_ap:
                    found = True
                    if at < 0 or e < winner or (e == winner and order[j0 + j] < order[at]):
                        winner, nearest, at = e, d[j], j0 + j
        if found:
            # A slightly larger product can belong to a slightly nearer row.
            reach = nearest + tolerance
            for j in range(d.size):
                if d[j] > upper and d[j] <= reach:
                    e = exact(x[a], x[j0 + j])
                    if e > d_ap and (e < winner or (e == winner and order[j0 + j] < order[at])):
                        winner, nearest, at = e, d[j], j0 + j
            best[k, r], index[k, r] = nearest, at
            return
        lower = upper


@kernel
def _update(d, value, k, r, a, j0, rows, side):  # type: ignore[no-untyped-def]
    bounds, _, best, index = side
    tolerance = rows[4][a]
    clear = value > bounds[k, r] + tolerance and value < best[k, r] - tolerance
    if clear and _within(d, value + tolerance, max(bounds[k, r] - tolerance, F32(-1))) == 1:
        best[k, r] = value
        index[k, r] = j0 + _find(d, value)
        return
    _settle(d, k, r, a, j0, rows, side)


@kernel
def _shift(bound, tolerance, one, floor):  # type: ignore[no-untyped-def]
    # Bits of distances are ordered as they are, and no bound is a bound of −1.
    one[0] = max(bound - tolerance, F32(0))
    return U32(floor[0] + 1) if bound >= tolerance else U32(0)


@kernel
def _least_beyond(bits, bounds, k, r, tol, four):  # type: ignore[no-untyped-def]
    """Writes the least distance beyond each of four bounds into `four`; `FAR` where there is none."""
    # The least x > t is t + 1 and the least x − (t + 1) as an unsigned number: two instructions for eight
    # triplets, and four bounds per read of the distances.
    floors = four.view(np.int32)
    t0, t1 = _shift(bounds[k, r], tol, four, floors), _shift(bounds[k + 1, r], tol, four, floors)
    t2, t3 = _shift(bounds[k + 2, r], tol, four, floors), _shift(bounds[k + 3, r], tol, four, floors)
    v0, v1, v2, v3 = MOST, MOST, MOST, MOST
    if bounds[k + 1, r] >= FAR and bounds[k + 2, r] >= FAR and bounds[k + 3, r] >= FAR:
        for j in range(bits.size):
            v0 = min(v0, U32(U32(bits[j]) - t0))
    else:
        for j in range(bits.size):
            b = U32(bits[j])
            v0, v1 = min(v0, U32(b - t0)), min(v1, U32(b - t1))
            v2, v3 = min(v2, U32(b - t2)), min(v3, U32(b - t3))
    for q, v, t in ((0, v0, t0), (1, v1, t1), (2, v2, t2), (3, v3, t3)):
        floors[q] = I32(U32(min(v, MOST - t) + t))
        if v > MOST - t or bounds[k + q, r] >= FAR:
            four[q] = FAR


@kernel
def _search_columns(bits, r, shifts, least, second, row):  # type: ignore[no-untyped-def]
    # The same for columns, a row at a time: the least so far, the second, and which row has the least.
    here = I32(r)
    for k in range(shifts.shape[0]):
        t, v, w, at = shifts[k], least[k], second[k], row[k]
        for j in range(t.size):
            moved = U32(U32(bits[j]) - t[j])
            nearer = moved < v[j]
            w[j] = min(w[j], max(moved, v[j]))
            v[j] = min(moved, v[j])
            at[j] = here if nearer else at[j]


@kernel
def nearest_tile(s, i0, j0, rows, side, column_side):  # type: ignore[no-untyped-def]
    """Improves the nearest negatives of the rows and of the columns of a tile of products.

    A side is (bounds, positives, best, index), each (searches, rows): the squared distances that negatives
    must be beyond, −`FAR` for no bound; the row each bound was measured to, −1 for no bound; the squared
    distances found so far; and their places. Those of the rows are padded to a multiple of four; where only
    the rows search, those of the columns are empty.

    Args:
        s: Products of the rows from `i0` with the rows from `j0`.
        i0: The place of the first row.
        j0: The place of the first column.
        rows: What kernels know of a batch; see `NumbaBatch.arrays`.
        side: What the rows search.
        column_side: What the columns search.
    """
    norms, x, first, last, tolerance = rows[:5]
    h, w = s.shape
    d, four = np.empty(w, F32), np.empty(4, F32)
    bits, floors = d.view(np.int32), four.view(np.int32)
    row_bounds, row_best = side[0], side[2]
    bounds, _, best, index = column_side
    searches = bounds.shape[0]
    shifts, least = np.empty((searches, w), U32), np.full((searches, w), MOST)
    second, row = np.full((searches, w), MOST), np.full((searches, w), I32(-1))
    for k in range(searches):
        for j in range(w):
            shifts[k, j] = _shift(bounds[k, j], tolerance[j0 + j], four, floors)
    for r in range(h):
        tile_row(s[r], i0 + r, j0, norms, x, first, last, d)
        tol = tolerance[i0 + r]
        for k in range(0, row_bounds.shape[0], 4):
            _least_beyond(bits, row_bounds, k, r, tol, four)
            for q in range(4):
                if four[q] < FAR and four[q] <= row_best[k + q, r] + tol:
                    _update(d, four[q], k + q, r, i0 + r, j0, rows, side)
        _search_columns(bits, r, shifts, least, second, row)
    column = np.empty(h, F32)
    for j in range(w if searches > 0 else 0):
        b, filled = j0 + j, False
        tol = tolerance[b]
        for k in range(searches):
            v, t = least[k, j], shifts[k, j]
            if v > MOST - t or bounds[k, j] >= FAR:
                continue
            floors[0] = I32(U32(v + t))
            floors[1] = I32(U32(min(second[k, j], MOST - t) + t))
            value, runner_up = four[0], four[1]
            if value > best[k, j] + tol or value >= FAR:
                continue
            clear = value > bounds[k, j] + tol and value < best[k, j] - tol
            if clear and (second[k, j] > MOST - t or runner_up > value + tol):
                best[k, j], index[k, j] = value, i0 + row[k, j]
                continue
            if not filled:
                filled = True
                _fill_column(s, j, b, i0, rows, column)
            _settle(column, k, j, b, i0, rows, column_side)


@kernel
def _fill_column(s, j, b, i0, rows, column):  # type: ignore[no-untyped-def]
    norms, x, first, last = rows[0], rows[1], rows[2], rows[3]
    for r in range(column.size):
        a = i0 + r
        both = norms[a] + norms[b]
        column[r] = both - F32(2) * s[r, j]
        if a >= first[b] and a < last[b]:
            column[r] = FAR
        elif column[r] < NEAR * both:
            column[r] = F32(exact(x[a], x[b]))


@kernel
def farthest_rows(s, anchors, j0, rows, out):  # type: ignore[no-untyped-def]
    """The farthest negative of each anchor, from its products with all references, which begin at `j0`."""
    norms, x, first, last, tolerance, order = rows
    d = np.empty(s.shape[1], F32)
    for r in range(anchors.size):
        a = anchors[r]
        lo, hi = tile_row(s[r], a, j0, norms, x, first, last, d)
        d[lo:hi] = F32(-1)
        largest = d.max()
        winner, index = -1.0, -1
        for j in range(d.size):
            if d[j] >= largest - tolerance[a] and d[j] >= F32(0):
                e = exact(x[a], x[j0 + j])
                if e > winner or (e == winner and order[j0 + j] < order[index]):
                    winner, index = e, j0 + j
        out[r] = index

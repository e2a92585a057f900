"""The nearest negative beyond each of many sorted positives, compiled."""

from __future__ import annotations

import numpy as np

from trine.engine.compiled.rows import U32, kernel, ranks

NEAR = 1e-6  # relative to the squared norms: below this a float64 product has lost half of its digits


@kernel
def squares(s, i0, j0, norms, x, slack):  # type: ignore[no-untyped-def]
    """Turns float64 products of the rows from `i0` with those from `j0` into squared distances, in place.

    Those within `slack` of 2 become 2; −1 leaves all as they are.
    """
    h, w = s.shape
    for r in range(h):
        d, n = s[r], norms[i0 + r]
        near = 0
        for j in range(w):
            both = n + norms[j0 + j]
            squared = both - 2 * d[j]
            d[j] = 2.0 if abs(squared - 2.0) <= slack else squared
            near += d[j] < NEAR * both
        if near:
            for j in range(w):
                if d[j] < NEAR * (n + norms[j0 + j]):
                    total = 0.0
                    for q in range(x.shape[1]):
                        t = x[i0 + r, q] - x[j0 + j, q]
                        total += t * t
                    d[j] = total


@kernel
def _offer(d, places, j0, order, best, index):  # type: ignore[no-untyped-def]
    for j in range(d.size):
        q = places[j]
        if d[j] < best[q] or (d[j] == best[q] and order[j0 + j] < order[index[q]]):
            best[q], index[q] = d[j], j0 + j


@kernel
def _farthest(d, first, last, order):  # type: ignore[no-untyped-def]
    winner, index = -1.0, -1
    for start, stop in ((0, first), (last, d.size)):
        largest = winner
        for j in range(start, stop):
            largest = max(largest, d[j])
        for j in range(start, stop):
            if d[j] == largest and (largest > winner or order[j] < order[index]):
                winner, index = largest, j
    return winner, index


@kernel
def nearest_beyond(d, first, last, t, order, falls_back, best, index):  # type: ignore[no-untyped-def]
    """Finds the nearest negative that is farther than each positive; ties go to the lowest index.

    A negative goes to the slot between the two positives that it lies between. The nearest beyond a
    positive is the nearest of the first slot after it that is not empty.

    Args:
        d: Squared distances of some anchors of one class to all references.
        first: The column where the class starts.
        last: The column after its last.
        t: The squared distances of the positives, rising in each row.
        order: Which row of the batch each column is.
        falls_back: Whether the farthest negative is taken where none is farther than the positive.
        best: The squared distance of the negative found for each positive.
        index: Its column; −1 for none.
    """
    n, p = d.shape[1], t.shape[1]
    places = np.empty(n, U32)
    slot, where = np.empty(p + 1, np.float64), np.empty(p + 1, np.int64)
    for r in range(d.shape[0]):
        slot[:] = np.inf
        where[:] = -1
        for start, stop in ((0, first), (last, n)):
            ranks(d[r, start:stop], t[r], places[start:stop], False)
            _offer(d[r, start:stop], places[start:stop], start, order, slot, where)
        winner, found = np.inf, -1
        if falls_back and where[p] < 0:
            winner, found = _farthest(d[r], first, last, order)
        for k in range(p - 1, -1, -1):
            if where[k + 1] >= 0:
                winner, found = slot[k + 1], where[k + 1]
            best[r, k], index[r, k] = winner, found

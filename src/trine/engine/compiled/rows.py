"""What every compiled kernel starts from: the squared distances of one row of a tile.

Idioms that let the compiler vectorise, each worth 3 to 15×: `error_model="numpy"`, because a division that
may raise is a branch; sums of 32-bit integers cast back to 32 bits; slices in place of index arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trine.errors import require

F32, I32, U32 = np.float32, np.int32, np.uint32
COSINE, SQUARED, EUCLIDEAN = 0, 1, 2
FAR = F32(1e30)
NEAR = F32(1e-2)

FLAGS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "nsz", "arcp"},
}
kernel = require("numba", extra="fast").njit(**FLAGS)


@kernel
def exact(x, y):  # type: ignore[no-untyped-def]
    """‖x − y‖² from differences, in float64."""
    total = 0.0
    for q in range(x.size):
        t = np.float64(x[q]) - np.float64(y[q])
        total += t * t
    # Only unit rows are in float64: those at right angles, to rounding, are at squared distance 2 exactly.
    if x.itemsize == 8 and abs(total - 2.0) <= (x.size + 16) * 2.0**-51:
        return 2.0
    return total


@kernel
def _products(s, n, norms, d):  # type: ignore[no-untyped-def]
    near = I32(0)
    for j in range(d.size):
        both = n + norms[j]
        d[j] = both - F32(2) * s[j]
        near = I32(near + I32(d[j] < NEAR * both))
    return near


@kernel
def squared_row(s, n, norms, x, y, lo, hi, d):  # type: ignore[no-untyped-def]
    """Turns a row of products into squared distances: small ones from differences, class-mates `FAR`."""
    near = _products(s, n, norms, d)
    for j in range(lo, hi):
        near -= I32(d[j] < NEAR * (n + norms[j]))
        d[j] = FAR
    if near > 0:
        for j in range(d.size):
            if d[j] < NEAR * (n + norms[j]):
                d[j] = F32(exact(x, y[j]))


@kernel
def tile_row(s, a, j0, norms, x, first, last, d):  # type: ignore[no-untyped-def]
    """The same for row a of a tile whose columns begin at j0; returns where its class-mates stand in it."""
    w = s.size
    lo = max(first[a] - j0, 0)
    hi = max(lo, min(last[a] - j0, w))
    squared_row(s, norms[a], norms[j0 : j0 + w], x[a], x[j0 : j0 + w], lo, hi, d)
    return lo, hi


@kernel
def pair_squares(x, a, b, out):  # type: ignore[no-untyped-def]
    """Squared distances of listed pairs."""
    for i in range(a.size):
        out[i] = exact(x[a[i]], x[b[i]])


@kernel
def _pull(w, xa, xb, ga, i, gb, j):  # type: ignore[no-untyped-def]
    """Adds w·(x_a − x_b) to row i of one gradient and takes it from row j of the other; one may be empty."""
    if ga.size > 0 and gb.size > 0:
        g, h = ga[i], gb[j]
        for q in range(xa.size):
            t = w * (xa[q] - xb[q])
            g[q] += t
            h[q] -= t
    elif ga.size > 0:
        g = ga[i]
        for q in range(xa.size):
            g[q] += w * (xa[q] - xb[q])
    elif gb.size > 0:
        h = gb[j]
        for q in range(xa.size):
            h[q] -= w * (xa[q] - xb[q])


@kernel
def pull_pairs(x, a, b, w, ga, gb, b0):  # type: ignore[no-untyped-def]
    """Adds the gradient of ½ Σ w‖x_a − x_b‖² over listed pairs.

    `ga` is the gradient of the anchors, `gb` that of the places from `b0` on; either may be empty.
    """
    for i in range(a.size):
        if w[i] != F32(0):
            _pull(w[i], x[a[i]], x[b[i]], ga, a[i], gb, b[i] - b0)


@kernel
def class_squares(x, start, classes, anchors, mates, references, square, out):  # type: ignore[no-untyped-def]
    """Squared distances of each anchor of classes of one shape to its class-mates.

    Where a class is its own reference (`square`) each pair is computed once, and none of a row to itself.
    """
    for c in range(classes):
        first, other = start + c * anchors, mates + c * references
        for p in range(anchors):
            if square:
                for q in range(p + 1, anchors):
                    s = F32(exact(x[first + p], x[first + q]))
                    out[c * anchors + p, q - 1] = s
                    out[c * anchors + q, p] = s
            else:
                for q in range(references):
                    out[c * anchors + p, q] = F32(exact(x[first + p], x[other + q]))


@kernel
def pull_classes(x, start, classes, anchors, mates, references, square, w, ga, gb):  # type: ignore[no-untyped-def]
    """Adds the gradient of ½ Σ w‖x − y‖² over the positive pairs of classes of one shape.

    `ga` is the gradient of their anchors, `gb` that of their references; either may be empty.
    """
    for c in range(classes):
        first, other = c * anchors, c * references
        for p in range(anchors):
            if square:
                for q in range(p + 1, anchors):
                    both = F32(w[first + p, q - 1] + w[first + q, p])
                    if both != F32(0):
                        xa, xb = x[start + first + p], x[start + first + q]
                        g, h = ga[first + p], ga[first + q]
                        for k in range(xa.size):
                            t = both * (xa[k] - xb[k])
                            g[k] += t
                            h[k] -= t
            else:
                for q in range(references):
                    if w[first + p, q] != F32(0):
                        xa, xb = x[start + first + p], x[mates + other + q]
                        _pull(w[first + p, q], xa, xb, ga, first + p, gb, other + q)


@kernel
def ranks(d, t, r, ties):  # type: ignore[no-untyped-def]
    """Writes how many of the rising numbers t, of which there must be one, are below d[j] into r[j].

    With `ties` those that equal d[j] count too. A binary search whose steps are the outer loop: each of
    them is the same for all of d, without a branch, and the compiler turns it into gathers. Places must be
    unsigned, or the compiler adds checks for negative ones.
    """
    r[:] = U32(0)
    left = t.size
    while left > 0:
        half = (left + 1) >> 1
        middle, step = t[half - 1 :], U32(half)
        if ties:
            for j in range(d.size):
                r[j] = U32(r[j] + step * U32(middle[r[j]] <= d[j]))
        else:
            for j in range(d.size):
                r[j] = U32(r[j] + step * U32(middle[r[j]] < d[j]))
        left = left - half if left > 1 else 0

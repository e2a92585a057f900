"""What every compiled kernel starts from: the squared distances of one row of a tile.

Habits that let the compiler use vectors, each worth 3 to 15×: `error_model="numpy"`, as a division that may
raise is a branch; sums of 32-bit integers cast back to 32 bits; slices in place of index arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trine.errors import require

F32, I32 = np.float32, np.int32
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
        out[i] = F32(exact(x[a[i]], x[b[i]]))


@kernel
def pull_pairs(x, a, b, w, g):  # type: ignore[no-untyped-def]
    """Adds the gradient of ½ Σ w‖x_a − x_b‖² over listed pairs."""
    for i in range(a.size):
        if w[i] != F32(0):
            xa, xb, ga, gb = x[a[i]], x[b[i]], g[a[i]], g[b[i]]
            for q in range(xa.size):
                t = w[i] * (xa[q] - xb[q])
                ga[q] += t
                gb[q] -= t


@kernel
def class_squares(x, start, classes, size, out):  # type: ignore[no-untyped-def]
    """Squared distances of each row of classes of one size to its class-mates, itself left out."""
    for c in range(classes):
        first = start + c * size
        for p in range(size):
            for q in range(p + 1, size):
                s = F32(exact(x[first + p], x[first + q]))
                out[c * size + p, q - 1] = s
                out[c * size + q, p] = s


@kernel
def pull_classes(x, start, classes, size, w, g):  # type: ignore[no-untyped-def]
    """Adds the gradient of ½ Σ w‖x − y‖² over the positive pairs of classes of one size."""
    for c in range(classes):
        first = start + c * size
        for p in range(size):
            for q in range(p + 1, size):
                both = F32(w[c * size + p, q - 1] + w[c * size + q, p])
                if both != F32(0):
                    xa, xb, ga, gb = x[first + p], x[first + q], g[first + p], g[first + q]
                    for k in range(xa.size):
                        t = both * (xa[k] - xb[k])
                        ga[k] += t
                        gb[k] -= t

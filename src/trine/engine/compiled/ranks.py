"""The places of many numbers among many sorted ones."""

from __future__ import annotations

import numpy as np

from trine.engine.compiled.rows import kernel

U32 = np.uint32


@kernel
def ranks(d, t, r, ties):  # type: ignore[no-untyped-def]
    """Writes how many of the rising numbers t, of which there must be one, are below d[j] into r[j].

    With `ties` those that equal d[j] count too. A binary search whose steps are the outer loop: each of
    them is the same for all of d, without a branch, and the compiler turns it into gathers. Places must be
    unsigned, or it would look for negative ones.
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

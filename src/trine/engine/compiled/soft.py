"""Batch-all with the soft margin, compiled.

One exponential per distance; one division and one logarithm for four triplets.
"""

from __future__ import annotations

import numpy as np

from trine.engine.compiled.rows import COSINE, EUCLIDEAN, F32, I32, kernel, tile_row


@kernel
def _exp_minus(d, v, power, scale):  # type: ignore[no-untyped-def]
    # exp(−d) for 0 ≤ d, as 2^k · polynomial(r) (Cephes, Moshier 1989): relative error 1e-7.
    for j in range(d.size):
        y = -min(d[j], F32(86))
        k = np.floor(y * F32(1.4426950408889634) + F32(0.5))
        r = y - k * F32(0.693359375) + k * F32(2.12194440e-4)
        p = F32(1.9875691500e-4)
        p = p * r + F32(1.3981999507e-3)
        p = p * r + F32(8.3334519073e-3)
        p = p * r + F32(4.1665795894e-2)
        p = p * r + F32(1.6666665459e-1)
        p = p * r + F32(5.0000001201e-1)
        v[j] = p * r * r + r + F32(1)
        power[j] = I32(I32(k + F32(127)) * I32(8388608))
    for j in range(d.size):
        v[j] *= scale[j]


@kernel
def _log1p_sum(e, m, bits):  # type: ignore[no-untyped-def]
    # Σ log(1 + e), e ≥ 0: log of u = 1 + e (Cephes), and (e − (u − 1))/u for what 1 + e has rounded away.
    total = F32(0)
    for j in range(e.size):
        m[j] = F32(1) + e[j]
    for j in range(e.size):
        u = m[j]
        lost = (e[j] - (u - F32(1))) / u
        b = bits[j]
        # Mantissa in [√½, √2): the polynomial is taken around 1.
        k = I32(I32(b - I32(0x3F3504F3)) >> I32(23))
        bits[j] = I32(b - I32(k << I32(23)))
        e[j] = lost + F32(k) * F32(0.6931471805599453)
    for j in range(e.size):
        x = m[j] - F32(1)
        z = x * x
        p = F32(7.0376836292e-2)
        p = p * x - F32(1.1514610310e-1)
        p = p * x + F32(1.1676998740e-1)
        p = p * x - F32(1.2420140846e-1)
        p = p * x + F32(1.4249322787e-1)
        p = p * x - F32(1.6668057665e-1)
        p = p * x + F32(2.0000714765e-1)
        p = p * x - F32(2.4999993993e-1)
        p = p * x + F32(3.3333331174e-1)
        total += e[j] + (x + (p * x * z - F32(0.5) * z))
    return total


@kernel
def _row(v, c, e, u0, u1, u2, u3, n, k, r):  # type: ignore[no-untyped-def]
    one = F32(1)
    n0, n1, n2, n3 = F32(0), F32(0), F32(0), F32(0)
    for j in range(v.size):
        w0, w1, w2, w3 = u0 * v[j], u1 * v[j], u2 * v[j], u3 * v[j]
        z0, z1, z2, z3 = one + w0, one + w1, one + w2, one + w3
        pa, pb = z0 * z1, z2 * z3
        inverse = one / (pa * pb)
        ia, ib = inverse * pb, inverse * pa
        s0, s1, s2, s3 = w0 * (ia * z1), w1 * (ia * z0), w2 * (ib * z3), w3 * (ib * z2)
        ea, eb = w0 + w1 + w0 * w1, w2 + w3 + w2 * w3
        e[j] = ea + eb + ea * eb  # ∏(1 + w) − 1, computed without adding the 1, which would absorb it
        n0 += s0
        n1 += s1
        n2 += s2
        n3 += s3
        c[j] += (s0 + s1) + (s2 + s3)
    n[k, r] += n0
    n[k + 1, r] += n1
    n[k + 2, r] += n2
    n[k + 3, r] += n3


@kernel
def _column(v, c, e, u0, u1, u2, u3, n0, n1, n2, n3):  # type: ignore[no-untyped-def]
    one = F32(1)
    for j in range(v.size):
        w0, w1, w2, w3 = u0[j] * v[j], u1[j] * v[j], u2[j] * v[j], u3[j] * v[j]
        z0, z1, z2, z3 = one + w0, one + w1, one + w2, one + w3
        pa, pb = z0 * z1, z2 * z3
        inverse = one / (pa * pb)
        ia, ib = inverse * pb, inverse * pa
        s0, s1, s2, s3 = w0 * (ia * z1), w1 * (ia * z0), w2 * (ib * z3), w3 * (ib * z2)
        ea, eb = w0 + w1 + w0 * w1, w2 + w3 + w2 * w3
        e[j] = ea + eb + ea * eb
        n0[j] += s0
        n1[j] += s1
        n2[j] += s2
        n3[j] += s3
        c[j] += (s0 + s1) + (s2 + s3)


@kernel
def soft_tile(s, i0, j0, rows, side, columns, value, kind):  # type: ignore[no-untyped-def]
    """Turns products into the weights of both sides, adds to theirs, and adds Σ softplus to the rows' value.

    A side is (exp(d_ap), weights): 0 in empty places, padded to a multiple of four; where only rows count,
    that of the columns is empty. `rows` is `NumbaBatch.arrays`.
    """
    h, w = s.shape
    (ui, ci), (uj, cj) = side, columns
    norms, x, first, last = rows[:4]
    d, v, c, e, m = np.empty(w, F32), np.empty(w, F32), np.empty(w, F32), np.empty(w, F32), np.empty(w, F32)
    power = np.empty(w, I32)
    scale, bits = power.view(np.float32), m.view(np.int32)
    for a in range(h):
        total = 0.0
        lo, hi = tile_row(s[a], i0 + a, j0, norms, x, first, last, d)
        if kind == EUCLIDEAN:
            for j in range(w):
                d[j] = np.sqrt(d[j])
        elif kind == COSINE:
            for j in range(w):
                d[j] *= F32(0.5)
        _exp_minus(d, v, power, scale)
        v[lo:hi] = 0
        c[:] = 0
        for k in range(0, ui.shape[0], 4):
            if max(max(ui[k, a], ui[k + 1, a]), max(ui[k + 2, a], ui[k + 3, a])) == F32(0):
                continue  # empty places
            _row(v, c, e, ui[k, a], ui[k + 1, a], ui[k + 2, a], ui[k + 3, a], ci, k, a)
            total += np.float64(_log1p_sum(e, m, bits))
        for k in range(0, uj.shape[0], 4):
            _column(v, c, e, uj[k], uj[k + 1], uj[k + 2], uj[k + 3], cj[k], cj[k + 1], cj[k + 2], cj[k + 3])
            total += np.float64(_log1p_sum(e, m, bits))
        value[a] += total
        if kind == EUCLIDEAN:
            for j in range(w):
                s[a, j] = c[j] / d[j] if d[j] > 0 else F32(0)
        else:
            for j in range(w):
                s[a, j] = c[j]

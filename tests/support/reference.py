"""Naive references: the mathematics of trine in plain float64 loops, as written in the papers."""

import math
from fractions import Fraction
from functools import lru_cache

from trine.mining.hash_random import uniform


@lru_cache(maxsize=1 << 12)
def whole(row):
    """The row times a power of two, as whole numbers."""
    ratios = [float(value).as_integer_ratio() for value in row]
    most = max((below for _, below in ratios), default=1)
    return [above * (most // below) for above, below in ratios]


def dot(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True))


def distance(x, y, name):
    if name == "cosine":
        x, y = whole(tuple(x)), whole(tuple(y))
        product, both = dot(x, y), dot(x, x) * dot(y, y)
        if not both:
            return 1.0
        # Every number is whole until the last line: equal angles are at equal distances.
        square = product * product
        cosine = math.sqrt(Fraction(square, both))
        return float(Fraction(both - square, both)) / (1 + cosine) if product > 0 else 1 + cosine
    squared = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    return squared if name == "squared_euclidean" else math.sqrt(squared)


def distance_matrix(rows, name):
    return [[distance(x, y, name) for y in rows] for x in rows]


def first_min(candidates, key):
    best = None
    for c in candidates:
        if best is None or key(c) < key(best):
            best = c
    return best


def first_max(candidates, key):
    return first_min(candidates, lambda c: -key(c))


def draw(seed, stream, *ids):
    import torch

    keys = [torch.tensor([k]) for k in (stream, *ids)]
    return float(uniform(seed, *keys))


def positives(rule, a, allowed, d, ids, seed):
    if not allowed:
        return []
    if rule == "all":
        return allowed
    if rule == "unordered":
        return [p for p in allowed if p > a]
    if rule == "hard":
        return [first_max(allowed, lambda p: d[a][p])]
    if rule == "easy":
        return [first_min(allowed, lambda p: d[a][p])]
    if rule == "moderate" and len(allowed) >= 3:
        extremes = {first_min(allowed, lambda p: d[a][p]), first_max(allowed, lambda p: d[a][p])}
        allowed = [p for p in allowed if p not in extremes]
    return [allowed[int(draw(seed, 1, ids[a]) * len(allowed))]]


def negatives(rule, a, p, allowed, d, ids, seed, margin, width, cutoffs):
    if not allowed:
        return []
    beyond = [n for n in allowed if d[a][n] > d[a][p]]
    if rule == "all":
        return allowed
    if rule == "hard":
        return [first_min(allowed, lambda n: d[a][n])]
    if rule == "semihard":
        return [first_min(beyond, lambda n: d[a][n]) if beyond else first_max(allowed, lambda n: d[a][n])]
    if rule == "semihard-strict":
        return [first_min(beyond, lambda n: d[a][n])] if beyond else []
    if rule == "semihard-band":
        return [n for n in beyond if d[a][n] <= d[a][p] + margin]
    u = draw(seed, 2, ids[a], ids[p])
    if rule == "violating":
        allowed = [n for n in allowed if d[a][n] < d[a][p] + margin]
        if not allowed:
            return []
    if rule == "weighted":
        within = [n for n in allowed if d[a][n] <= cutoffs[1]]
        weights = []
        for n in within:
            z = max(d[a][n], cutoffs[0])
            weights.append(1 / (z ** (width - 2) * (1 - z * z / 4) ** ((width - 3) / 2)))
        if not within:
            within, weights = allowed, [1.0] * len(allowed)
        mass = 0.0
        for n, w in zip(within, weights, strict=True):
            mass += w
            if mass > u * sum(weights):
                return [n]
        return [within[-1]]
    return [allowed[int(u * len(allowed))]]


def mine(d, labels, rule, *, margin, width, seed=0, ids=None, anchors=None):
    """All chosen (anchor, positive, negative), from a distance matrix as nested lists.

    Given a number of anchors, these are the first rows, and the references are the rest.
    """
    n = len(labels)
    columns = range(n) if anchors is None else range(anchors, n)
    ids = list(range(n)) if ids is None else ids
    chosen = []
    for a in range(n if anchors is None else anchors):
        others = [j for j in columns if j != a and ids[j] != ids[a]]
        same = [j for j in others if labels[j] == labels[a]]
        different = [j for j in others if labels[j] != labels[a]]
        if not different:
            continue
        for p in positives(rule.positive, a, same, d, ids, seed):
            found = negatives(rule.negative, a, p, different, d, ids, seed, margin, width, rule.cutoffs)
            chosen += [(a, p, q) for q in found]
    return chosen


def value(d, triplet, margin):
    a, p, n = triplet
    if margin is not None:
        return max(0.0, d[a][p] - d[a][n] + margin)
    gap = d[a][p] - d[a][n]
    return max(gap, 0.0) + math.log1p(math.exp(-abs(gap)))


def reduce(values, chosen, reduction):
    if reduction == "none":
        return values
    if reduction == "sum":
        return sum(values)
    if reduction == "active":
        return sum(values) / max(1, sum(v > 0 for v in values))
    if reduction == "mean":
        return sum(values) / max(1, len(values))
    per_anchor = {}
    for v, (a, _, _) in zip(values, chosen, strict=True):
        per_anchor.setdefault(a, []).append(v)
    return sum(sum(v) / len(v) for v in per_anchor.values()) / max(1, len(per_anchor))


def census(d, labels, margin):
    """Easy, semi-hard, hard and active counts over all valid triplets, and the mean distances."""
    n = len(labels)
    easy = semihard = hard = active = 0
    positive, negative = set(), set()
    for a in range(n):
        for p in range(n):
            for q in range(n):
                if a == p or labels[a] != labels[p] or labels[a] == labels[q]:
                    continue
                ap, an = d[a][p], d[a][q]
                positive.add((a, p))
                negative.add((a, q))
                hard += an <= ap
                semihard += ap < an < ap + margin
                easy += an > ap and an >= ap + margin
                active += an < ap + margin
    mean = lambda pairs: sum(d[i][j] for i, j in pairs) / len(pairs) if pairs else math.nan  # noqa: E731
    return easy, semihard, hard, active, mean(positive), mean(negative)


def distance_gradient(x, y, name):
    """The gradient of the distance with respect to x; 0 at distance 0 and at zero rows."""
    if name == "squared_euclidean":
        return [2 * (a - b) for a, b in zip(x, y, strict=True)]
    if name == "euclidean":
        d = distance(x, y, name)
        return [(a - b) / d if d else 0.0 for a, b in zip(x, y, strict=True)]
    nx, ny = math.hypot(*x), math.hypot(*y)
    if nx == 0 or ny == 0:
        return [0.0] * len(x)
    cos = sum(a * b for a, b in zip(x, y, strict=True)) / (nx * ny)
    return [(cos * a / nx - b / ny) / nx for a, b in zip(x, y, strict=True)]


def slope(d, triplet, margin):
    """The derivative of the loss of a triplet with respect to d_ap − d_an."""
    a, p, n = triplet
    gap = d[a][p] - d[a][n]
    if margin is not None:
        return float(gap + margin > 0)
    return 1 / (1 + math.exp(-gap)) if gap > 0 else math.exp(gap) / (1 + math.exp(gap))


def weights(values, chosen, reduction):
    """How much each triplet's value counts in the reduced loss."""
    if reduction == "sum":
        return [1.0] * len(values)
    if reduction == "active":
        return [1 / max(1, sum(v > 0 for v in values))] * len(values)
    if reduction == "mean":
        return [1 / max(1, len(values))] * len(values)
    counts = {}
    for a, _, _ in chosen:
        counts[a] = counts.get(a, 0) + 1
    return [1 / (counts[a] * len(counts)) for a, _, _ in chosen]


def triplet_loss(
    rows, labels, rule, *, margin, name, reduction, mining_margin=None, seed=0, ids=None, anchors=None
):
    """The loss and its gradient with respect to every coordinate of every row."""
    d = distance_matrix(rows, name)
    width = len(rows[0]) if rows else 0
    alpha = margin if mining_margin is None else mining_margin
    if margin is None and reduction == "active":
        reduction = "mean"  # a soft margin is above 0 everywhere, also where it underflows
    chosen = mine(d, labels, rule, margin=alpha, width=width, seed=seed, ids=ids, anchors=anchors)
    values = [value(d, t, margin) for t in chosen]
    gradient = [[0.0] * width for _ in rows]
    for t, w in zip(chosen, weights(values, chosen, reduction), strict=True):
        a, p, n = t
        s = w * slope(d, t, margin)
        for sign, other in ((s, p), (-s, n)):
            here = distance_gradient(rows[a], rows[other], name)
            there = distance_gradient(rows[other], rows[a], name)
            for k in range(width):
                gradient[a][k] += sign * here[k]
                gradient[other][k] += sign * there[k]
    return reduce(values, chosen, reduction), gradient

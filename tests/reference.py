"""The naive twins: the mathematics of trine in plain float64 loops, as a reader would write it down."""

import math

from trine.mining.draws import uniform


def distance(x, y, name):
    if name == "cosine":
        nx, ny = math.hypot(*x), math.hypot(*y)
        if nx == 0 or ny == 0:
            return 1.0
        return sum((a / nx - b / ny) ** 2 for a, b in zip(x, y, strict=True)) / 2
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


def mine(d, labels, rule, *, margin, width, seed=0, ids=None):
    """All chosen (anchor, positive, negative), from a distance matrix as nested lists."""
    n = len(labels)
    ids = list(range(n)) if ids is None else ids
    chosen = []
    for a in range(n):
        others = [j for j in range(n) if j != a and ids[j] != ids[a]]
        same = [j for j in others if labels[j] == labels[a]]
        different = [j for j in others if labels[j] != labels[a]]
        if not different:
            continue
        for p in positives(rule.positive, a, same, d, ids, seed):
            found = negatives(
                rule.negative, a, p, different, d, ids, seed, margin, width, rule.cutoffs
            )
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

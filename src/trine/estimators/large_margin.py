"""The objective of large margin nearest neighbours, over the pairs that matter to it.

A linear map z = L x pulls each item to its target neighbours, which are fixed, and pushes away every
impostor: an item of another class within a target's distance plus one (Weinberger, Saul 2009, eq. 11-13,
distances squared):

    ε(L) = (1 − μ) Σ_ij |z_i − z_j|²  +  μ Σ_ij Σ_l [1 + |z_i − z_j|² − |z_i − z_l|²]₊

with j the targets of i and l the items of another class. Only impostors within the farthest target plus one
contribute; `find_impostors` finds all of these, tile by tile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from trine.errors import require
from trine.neighbours import nearest_neighbours
from trine.shapes import Float, Int64

TILE = 1 << 22
"""The most distances in memory at once."""

DENSE = 32
"""If more than one in this many pairs of rows are needed, a matrix product measures all pairs."""


@dataclass(frozen=True, eq=False)
class Impostors:
    """Pairs of an item and an item of another class that may be too close to it.

    Attributes:
        item: Rows, ascending.
        impostor: For each the row of the other, ascending too.
    """

    item: Int64[np.ndarray, " p"]
    impostor: Int64[np.ndarray, " p"]

    def __len__(self) -> int:
        return len(self.item)


def find_targets(
    x: Float[np.ndarray, "n d"], classes: Int64[np.ndarray, " n"], *, k: int
) -> Int64[np.ndarray, "n k"]:
    """Finds the `k` nearest items of the same class; fewer where a class has fewer, then -1.

    Args:
        x: One row per item.
        classes: The class of each.
        k: How many targets, at least 1.

    Returns:
        The rows of the targets.

    Example:
        >>> find_targets(np.array([[0.0], [1.0], [5.0], [9.0]]), np.array([0, 0, 0, 1]), k=1)[:, 0].tolist()
        [1, 0, 1, -1]
    """
    targets = np.full((len(x), k), -1, dtype=np.int64)
    for members in members_of(classes):
        if len(members) > 1:
            neighbours = nearest_neighbours(x[members], k=min(k, len(members) - 1)).indices
            targets[members[:, None], np.arange(neighbours.shape[1])] = members[neighbours]
    return targets


def members_of(classes: Int64[np.ndarray, " n"]) -> list[Int64[np.ndarray, " m"]]:
    """Lists the rows of each class."""
    order = np.argsort(classes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(classes[order])) + 1)


def find_impostors(
    z: Float[np.ndarray, "n d"], classes: Int64[np.ndarray, " n"], reach: Float[np.ndarray, " n"]
) -> Impostors:
    """Finds every item of another class whose squared distance is below an item's own reach.

    Args:
        z: One row per item.
        classes: The class of each.
        reach: A squared distance for each item.

    Returns:
        The pairs.
    """
    order = np.argsort(classes, kind="stable")
    rows, own = z[order], classes[order]
    begins, ends = np.searchsorted(own, own, side="left"), np.searchsorted(own, own, side="right")
    norms, one = np.einsum("nd,nd->n", rows, rows), np.ones(len(rows))
    # One product makes the squared distance less the reach: |a|² − reach + |b|² − 2ab.
    left = np.column_stack([-2 * rows, one, norms - reach[order]])
    right = np.column_stack([rows, norms, one])
    pairs = []
    step = max(1, TILE // max(len(rows), 1))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        near = left[part] @ right.T < 0
        for i, (begin, end) in enumerate(zip(begins[part], ends[part], strict=True)):
            near[i, begin:end] = False
        item, impostor = np.divmod(np.flatnonzero(near), len(rows))
        pairs.append((order[item + start], order[impostor]))
    item, impostor = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return _sorted(item * len(rows) + impostor, len(rows))


def squared_distances(
    z: Float[np.ndarray, "n d"], a: Int64[np.ndarray, " p"], b: Int64[np.ndarray, " p"]
) -> Float[np.ndarray, " p"]:
    """Measures pairs of rows, a part at a time."""
    values = np.empty(len(a))
    step = max(1, TILE // (8 * max(z.shape[1], 1)))
    for start in range(0, len(a), step):
        part = slice(start, start + step)
        difference = z[a[part]] - z[b[part]]
        values[part] = np.einsum("pd,pd->p", difference, difference)
    return values


def impostor_distances(z: Float[np.ndarray, "n d"], impostors: Impostors) -> Float[np.ndarray, " p"]:
    """Measures items and their impostors; where these are many, by a product of all rows."""
    if len(impostors) * DENSE < len(z) ** 2:
        return squared_distances(z, impostors.item, impostors.impostor)
    values = np.empty(len(impostors))
    norms = np.einsum("nd,nd->n", z, z)
    step = max(1, TILE // max(len(z), 1))
    for start in range(0, len(z), step):
        begin, end = np.searchsorted(impostors.item, [start, start + step])
        item, impostor = impostors.item[begin:end], impostors.impostor[begin:end]
        product = z[start : start + step] @ z.T
        values[begin:end] = norms[item] + norms[impostor] - 2 * product[item - start, impostor]
    return values


@dataclass(frozen=True, eq=False)
class LargeMargin:
    """The objective with its targets, for a map that is being learned.

    Attributes:
        x: One row per item.
        item: The item of each target pair, ascending.
        target: The target of each.
        regularization: μ, how much pushing counts against pulling, in (0, 1).
    """

    x: Float[np.ndarray, "n d"]
    item: Int64[np.ndarray, " t"]
    target: Int64[np.ndarray, " t"]
    regularization: float

    def reach(self, z: Float[np.ndarray, "n e"]) -> Float[np.ndarray, " n"]:
        """How far an impostor may lie from each item to matter: its farthest target plus one."""
        return self._reach(squared_distances(z, self.item, self.target))

    def _reach(self, pulled: Float[np.ndarray, " t"]) -> Float[np.ndarray, " n"]:
        reach = np.full(len(self.x), -np.inf)
        np.maximum.at(reach, self.item, pulled + 1)
        return reach

    def evaluate(self, z: Float[np.ndarray, "n e"], impostors: Impostors) -> tuple[float, Links]:
        """Computes ε over the given impostors, and the weight of each pair in its gradient.

        Args:
            z: The mapped items.
            impostors: The pairs to push; those beyond every margin cost nothing.

        Returns:
            The value, and the pairs with their weights.
        """
        mu = self.regularization
        pulled = squared_distances(z, self.item, self.target)
        between = impostor_distances(z, impostors)
        active = between < self._reach(pulled)[impostors.item]
        item, impostor, between = impostors.item[active], impostors.impostor[active], between[active]
        begins = np.searchsorted(self.item, np.arange(len(z) + 1))
        pushed, pushing = np.zeros(len(pulled)), np.zeros(len(item))
        total = (1 - mu) * pulled.sum()
        for rank in range(int(np.diff(begins).max(initial=0))):
            pair = begins[item] + rank
            exists = pair < begins[item + 1]
            limit = np.where(exists, pulled[np.minimum(pair, len(pulled) - 1)] + 1, -np.inf)
            active = limit > between
            total += mu * (limit[active] - between[active]).sum()
            pushed += np.bincount(pair[active], minlength=len(pulled))
            pushing += active
        links = Links(
            np.concatenate([self.item, item]),
            np.concatenate([self.target, impostor]),
            np.concatenate([(1 - mu) + mu * pushed, -mu * pushing]),
        )
        return float(total), links


@dataclass(frozen=True, eq=False)
class Links:
    """Weighted pairs of rows: Σ w |z_a − z_b|² has the gradient 2 · Laplacian · z.

    Attributes:
        a: One row of each pair.
        b: The other.
        weight: The weight of each, of any sign.
    """

    a: Int64[np.ndarray, " p"]
    b: Int64[np.ndarray, " p"]
    weight: Float[np.ndarray, " p"]

    def laplacian(self, rows: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "n e"]:
        """Multiplies rows with the Laplacian of the weighted graph."""
        sparse: Any = require("scipy.sparse", extra="gallery")
        n = len(rows)
        links = sparse.csr_matrix((self.weight, (self.a, self.b)), shape=(n, n))
        degree = np.bincount(self.a, self.weight, n) + np.bincount(self.b, self.weight, n)
        product: np.ndarray = degree[:, None] * rows - links @ rows - links.T @ rows
        return product


SLACK = 1.2
"""Pairs up to this many times the reach are computed with: they may matter in the next steps."""

SHRUNK = 1e-4
"""A map of at most this share of the earlier one's size has shrunk to 0: nothing pushed."""

Steps = Callable[[Float[np.ndarray, "e d"], Impostors, int], tuple[Float[np.ndarray, "e d"], int]]
"""Some steps of an optimiser over known impostors: from a map to a better one and the number of steps."""


def descend(
    goal: LargeMargin,
    classes: Int64[np.ndarray, " n"],
    *,
    start: Float[np.ndarray, "e d"],
    steps: Steps,
    every: int,
    max_iter: int,
    tol: float,
) -> tuple[Float[np.ndarray, "e d"], float, int, bool]:
    """Minimises ε, some steps at a time over known impostors.

    In between, all impostors of the new map are found. If some had been missing and the true objective rose,
    or the map shrank to 0, which it would not leave again, the steps are undone and repeated with them.

    Args:
        goal: The objective.
        classes: The class of each item.
        start: The map to begin with.
        steps: `steps_of_map(goal)` or `steps_of_metric(goal)`.
        every: How many steps are taken before the impostors are searched again.
        max_iter: The most steps.
        tol: The share by which this many steps must improve the objective to continue.

    Returns:
        The map, its objective, the number of steps, and whether it ended before the most steps.
    """
    best, (value, near) = start, _look(goal, classes, start)
    done = 0
    while done < max_iter:
        tried, taken = steps(best, near, min(every, max_iter - done))
        done += max(taken, 1)
        error, seen = _look(goal, classes, tried)
        if error >= value or _shrunk(tried, best):
            known = len(near)
            near = _both(near, seen, len(goal.x))
            if len(near) == known:
                return best, value, done, True
            continue
        enough = value - error <= tol * value
        best, value, near = tried, error, seen
        if enough:
            return best, value, done, True
    return best, value, done, False


def steps_of_map(goal: LargeMargin) -> Steps:
    """Steps of L-BFGS on the map itself (Liu, Nocedal 1989)."""
    optimize: Any = require("scipy.optimize", extra="gallery")

    def steps(start: np.ndarray, near: Impostors, count: int) -> tuple[np.ndarray, int]:
        def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
            z = goal.x @ flat.reshape(start.shape).T
            error, links = goal.evaluate(z, near)
            return error, (2 * links.laplacian(z).T @ goal.x).ravel()

        options = {"maxiter": count}
        minimum = optimize.minimize(cost, start.ravel(), jac=True, method="L-BFGS-B", options=options)
        if len(near) and _shrunk(minimum.x, start):
            # The first step has length 1 and may end at 0, where there is no gradient to leave by.
            minimum = optimize.minimize(cost, start.ravel() / 2, jac=True, method="L-BFGS-B", options=options)
        return minimum.x.reshape(start.shape), int(minimum.nit)

    return steps


def steps_of_metric(goal: LargeMargin) -> Steps:
    """Steps along the gradient of the metric M = LᵀL, each back onto the positive semi-definite cone (§3)."""
    rate = 1.0 / np.linalg.norm(goal.x.T @ goal.x)

    def steps(start: np.ndarray, near: Impostors, count: int) -> tuple[np.ndarray, int]:
        nonlocal rate
        best, metric = start, start.T @ start
        value, links = goal.evaluate(goal.x @ best.T, near)
        for _ in range(count):
            tried = root_of(metric - rate * goal.x.T @ links.laplacian(goal.x), len(start))
            error, new = goal.evaluate(goal.x @ tried.T, near)
            if error < value:
                best, metric, value, links = tried, tried.T @ tried, error, new
                rate *= 1.2
            else:
                rate *= 0.5
        return best, count

    return steps


def root_of(metric: Float[np.ndarray, "d d"], rank: int) -> Float[np.ndarray, "e d"]:
    """The map L of the nearest positive semi-definite metric LᵀL of at most the given rank."""
    values, vectors = np.linalg.eigh(metric)
    order = np.argsort(values)[::-1][:rank]
    root: np.ndarray = np.sqrt(np.maximum(values[order], 0))[:, None] * vectors[:, order].T
    return root


def _shrunk(tried: Float[np.ndarray, "..."], start: Float[np.ndarray, "..."]) -> bool:
    return bool(np.linalg.norm(tried) <= SHRUNK * np.linalg.norm(start))


def _look(
    goal: LargeMargin, classes: Int64[np.ndarray, " n"], components: Float[np.ndarray, "e d"]
) -> tuple[float, Impostors]:
    """The true objective of a map, and the pairs that may matter near it."""
    z = goal.x @ components.T
    near = find_impostors(z, classes, SLACK * goal.reach(z))
    return goal.evaluate(z, near)[0], near


def _both(a: Impostors, b: Impostors, n: int) -> Impostors:
    """The pairs of either list."""
    return _sorted(np.concatenate([a.item * n + a.impostor, b.item * n + b.impostor]), n)


def _sorted(keys: Int64[np.ndarray, " q"], n: int) -> Impostors:
    """The pairs of these keys, each once; np.unique would hash them, which is several times slower."""
    keys = np.sort(keys, kind="stable")
    keys = keys[np.diff(keys, prepend=-1) > 0]
    return Impostors(*np.divmod(keys, n))

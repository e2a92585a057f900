"""Batches, and each implementation of a loss: a plan can send any of them through any batch."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from hypothesis import strategies as st

from support import reference
from support.batches import batches
from trine import Mining
from trine.cosine import unit_rows
from trine.engine.autograd import early_gradient
from trine.engine.dispatch import all_pairs_loss, sorted_batch
from trine.engine.numba_backend import installed
from trine.engine.objective import Objective
from trine.engine.plan import DEFAULT_PLAN, Plan
from trine.engine.reduction import resolve_reduction
from trine.mining.inputs import checked_batch
from trine.mining.rules import Draw, select

NUMBA = pytest.param("numba", marks=pytest.mark.skipif(not installed(), reason="numba is not installed"))
BACKENDS = ["torch", NUMBA]
GEOMETRIES = ["square", "apart", "by item"]
FLOAT64 = {
    "blocks": Plan(small=0, tiled_from=1 << 62),
    "small batch": Plan(small=1 << 62, tiled_from=1 << 62, propose_from=1 << 62),
    "small batch, proposed by float32": Plan(small=1 << 62, tiled_from=1 << 62, propose_from=2),
}


def tiles(backend, height=4, **sizes):
    """The plan that sends batches of any size through tiles of few rows."""
    return Plan(small=0, tiled_from=0, numba=backend == "numba", height=height, **sizes)


def small_tiles(backend, height=3, many=2):
    """The same with a few rows or pairs enough for every other way through the tiles, too."""
    sizes = {"tile_pairs": 3 * height, "positive_pairs": 12 * height}
    return tiles(backend, height, **sizes, ranks_from=many, sorted_from=2 * many, dense_from=many)


@dataclass(frozen=True)
class Problem:
    """Anchors and references of one batch, as a loss takes them; `y` is None where they are one."""

    x: torch.Tensor
    labels: torch.Tensor
    y: torch.Tensor | None = None
    others: torch.Tensor | None = None
    ids: torch.Tensor | None = None
    reference_ids: torch.Tensor | None = None

    def double(self):
        y = None if self.y is None else self.y.double()
        return Problem(self.x.double(), self.labels, y, self.others, self.ids, self.reference_ids)

    def scaled(self, by):
        y = None if self.y is None else self.y * by
        return Problem(self.x * by, self.labels, y, self.others, self.ids, self.reference_ids)

    def to(self, dtype):
        y = None if self.y is None else self.y.to(dtype)
        return Problem(self.x.to(dtype), self.labels, y, self.others, self.ids, self.reference_ids)

    def batch(self):
        return checked_batch(self.x, self.labels, self.y, self.others, self.ids, self.reference_ids)


def objective(
    problem,
    *,
    mining="semihard",
    margin=0.2,
    distance="euclidean",
    reduction=None,
    mining_margin=None,
    seed=0,
    census=None,
):
    """The loss that `triplet_loss` makes of its settings."""
    rule = Mining.named(mining)
    draw = Draw(margin if mining_margin is None else mining_margin, seed, problem.x.shape[1])
    choose = partial(select, mining=rule, draw=draw)
    return Objective(margin, distance, rule, choose, resolve_reduction(reduction, rule, margin), census)


def computed(problem, plan=DEFAULT_PLAN, **settings):
    """(loss, gradients of the sides) in float64."""
    sides = [
        None if side is None else side.detach().clone().requires_grad_() for side in (problem.x, problem.y)
    ]
    relations = problem.batch().relations
    loss = early_gradient(
        *sides, partial(all_pairs_loss, *sides, relations, objective(problem, **settings), plan=plan)
    )
    loss.backward()
    return loss.detach().double(), *(side.grad.double() for side in sides if side is not None)


def takes_tiles(problem, plan=DEFAULT_PLAN, **settings):
    """Whether the plan sends the batch through tiles."""
    goal = objective(problem, **settings)
    return sorted_batch(problem.x, problem.y, problem.batch().relations, goal, plan) is not None


def assert_close(got, expected, *, value=5e-6, gradient=1e-5):
    """Compares losses and gradients, each relative to its size."""
    torch.testing.assert_close(got[0], expected[0], rtol=value, atol=0)
    for mine, theirs in zip(got[1:], expected[1:], strict=True):
        assert (mine - theirs).norm() <= gradient * theirs.norm()


@st.composite
def problems(draw, geometry, max_rows=14):
    """A generated batch; apart and by item some rows are one item, and then of one identity."""
    rows, labels = draw(batches(max_rows=max_rows, dtype=torch.float32))
    if geometry == "square":
        return Problem(rows, labels)
    if geometry == "by item":
        copies = draw(st.lists(st.integers(0, 1), min_size=len(rows), max_size=len(rows)))
        return Problem(rows, labels, ids=2 * labels + torch.tensor(copies, dtype=torch.int64))
    n = draw(st.integers(0, len(rows)))
    ids = torch.arange(len(rows))
    for a in range(n):
        mates = [j for j in range(n, len(rows)) if labels[j] == labels[a]]
        if mates and draw(st.booleans()):
            ids[draw(st.sampled_from(mates))] = a
    numbers = (ids[:n], ids[n:]) if draw(st.booleans()) else (None, None)
    return Problem(rows[:n], labels[:n], rows[n:], labels[n:], *numbers)


def in_proportion(problem, margin, distance):
    """A batch and a margin that float32 can tell apart: no coordinate, and no margin, is dust to the rest."""
    sides = [side for side in (problem.x, problem.y) if side is not None and side.numel()]
    largest = max((float(side.abs().max()) for side in sides), default=0.0) or 1.0
    clean = [
        None if side is None else side.masked_fill(side.abs() < 1e-3 * largest, 0)
        for side in (problem.x, problem.y)
    ]
    problem = Problem(clean[0], problem.labels, clean[1], problem.others, problem.ids, problem.reference_ids)
    if margin is None:  # it sees distances as they stand, and those of 1e8 are only known to ±8
        return problem.scaled(1 / largest), margin
    return problem, margin * (largest**2 if distance == "squared_euclidean" else largest)


def hold_against_twin(got, problem, rule, *, distance, reduction, margin):
    """Value and gradient, to the rounding of float32: of the value, a difference of distances, and α."""
    rows, labels, ids, anchors = problem.x, problem.labels, problem.ids, None
    if problem.y is not None:
        anchors, rows = len(rows), torch.cat([rows, problem.y])
        labels = torch.cat([labels, problem.others])
        ids = None if ids is None else torch.cat([ids, problem.reference_ids])
    plain = rows.double().tolist()
    value, gradient = reference.triplet_loss(
        plain,
        labels.tolist(),
        Mining.named(rule),
        name=distance,
        margin=margin,
        reduction=reduction,
        mining_margin=0.313,
        ids=None if ids is None else ids.tolist(),
        anchors=anchors,
    )
    largest = max((max(row) for row in reference.distance_matrix(plain, distance)), default=0.0)
    number = len(labels) ** 3 if reduction == "sum" else 1
    torch.testing.assert_close(got[0].item(), float(value), rtol=1e-5, atol=1e-6 * largest * number + 1e-12)
    expected = torch.tensor(gradient, dtype=torch.float64).reshape(rows.shape)
    scale = float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(torch.cat(got[1:]), expected, rtol=1e-4, atol=1e-5 * scale + 1e-12 * number)


SHAPES = {
    "pairs": lambda n: torch.arange(n) // 2,
    "fours": lambda n: torch.arange(n) // 4,
    "skewed": lambda n: torch.cat(
        [torch.zeros(n // 2, dtype=torch.int64), 1 + torch.arange(n - n // 2) // 2]
    ),
    "uneven": lambda n: (torch.arange(n) ** 0.5).long() - 2**40,
    "singletons": lambda n: (torch.arange(n) - n // 2).clamp(min=0),
}


def made(kind, labels, width=24, seed=0):
    """Embeddings of a kind that training meets, as float32."""
    g = torch.Generator().manual_seed(seed)
    x = unit_rows(torch.randn(len(labels), width, generator=g))
    if kind == "collapsed":
        x = unit_rows(torch.randn(1, width, generator=g)) + 1e-3 * x
    if kind.startswith("tight"):
        _, identity = torch.unique(labels, return_inverse=True)
        centres = unit_rows(torch.randn(int(identity.max()) + 1, width, generator=g))
        x = centres[identity] + float(kind.removeprefix("tight ")) * x
    if kind == "duplicated":
        x[1::2] = x[::2]
    if kind == "with zero rows":
        # Unit rows are all as far from a zero row: which is nearest, the last bit of a kernel would decide.
        x *= torch.linspace(0.5, 1.5, len(labels))[:, None]
        x[3::50] = 0
    return x


def shuffled(shape, rows):
    """Labels of a shape in random order."""
    return SHAPES[shape](rows)[torch.randperm(rows, generator=torch.Generator().manual_seed(3))]


def problem_of(geometry, kind="random", shape="uneven", rows=202):
    """A batch of a kind and a shape; apart every second anchor is among the references too."""
    labels = shuffled(shape, rows)
    embeddings = made(kind, labels)
    if geometry == "square":
        return Problem(embeddings, labels)
    if geometry == "by item":
        ids = torch.arange(rows)
        mates = (labels[:-1] == labels[1:]).nonzero()[:, 0]
        ids[mates[::2]] = mates[::2] + 1
        return Problem(embeddings, labels, ids=ids)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(3))
    own = order[: rows // 4]
    others = torch.cat([order[rows // 4 :], own[::2]]).sort().values
    return Problem(embeddings[own], labels[own], embeddings[others], labels[others], own, others)

"""Equal angles are at equal cosine distances, in every place where distances are compared."""

import itertools
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch

from support import reference
from support.backends import BACKENDS, FLOAT64, Problem, computed, tiles
from trine import mine, paired_distances, pairwise_distances
from trine.cosine import directions, unit_rows
from trine.engine.dispatch import count_triplets, distance_blocks
from trine.evaluation import retrieval, triplet_accuracy, verification
from trine.mining.inputs import checked_batch
from trine.neighbours import RankSearch, nearest_neighbours

SIGNS = torch.tensor(list(itertools.product((-1.0, 0.0, 1.0), repeat=3)))
COUNTS = torch.randint(0, 3, (40, 5), generator=torch.Generator().manual_seed(0)).float()
CODES = torch.randint(0, 2, (40, 130), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
RARE = torch.rand(40, 12, generator=torch.Generator().manual_seed(2))
RARE *= torch.rand(40, 12, generator=torch.Generator().manual_seed(3)) < 0.2
EVERY = {
    "signs": SIGNS,
    "signs of length one": SIGNS / SIGNS.norm(dim=1, keepdim=True).clamp(min=1),
    "counts": COUNTS,
    "counts times powers of two": COUNTS * 2.0 ** torch.arange(-20, 20)[:, None],
    "codes": CODES,
    "codes of length one": CODES / 130**0.5,
    "hardly ever a coordinate in common": RARE,
    "whole and others": torch.cat([COUNTS, torch.rand(10, 5, generator=torch.Generator().manual_seed(4))]),
}


def exact(rows):
    return torch.tensor(reference.distance_matrix(rows.tolist(), "cosine"), dtype=torch.float64)


def ties(d):
    """Which pairs of distances of one row are equal, below, above."""
    return (d[:, :, None] - d[:, None, :]).sign()


@pytest.mark.parametrize("kind", EVERY)
def test_equal_angles_are_at_equal_distances(kind):
    rows = EVERY[kind]
    twin = exact(rows)
    others = ~torch.eye(len(rows), dtype=torch.bool)
    assert int(((ties(twin) == 0) & others).sum()) > 2 * len(rows)
    for x in (rows, rows.double()):
        d = pairwise_distances(x, distance="cosine")
        torch.testing.assert_close(d.double(), twin, rtol=1e-6, atol=1e-7)
        if x.dtype == torch.float64 or kind != "whole and others":
            assert torch.equal(ties(d), ties(twin.to(d.dtype)))
        pairs = torch.cartesian_prod(torch.arange(len(x)), torch.arange(len(x)))
        a, b = pairs.unbind(1)
        paired = paired_distances(x[a], x[b], distance="cosine").view_as(d)
        assert torch.equal(ties(paired), ties(twin.to(d.dtype))) or kind == "whole and others"


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("plan", [FLOAT64["blocks"], FLOAT64["small batch"]], ids=["blocks", "small batch"])
def test_distances_that_mining_compares(kind, plan):
    rows = EVERY[kind]
    batch = checked_batch(rows, torch.zeros(len(rows), dtype=torch.int64))
    blocks = distance_blocks(batch.anchors, None, batch.relations, "cosine", plan)
    d = torch.cat([block for _, block, _ in blocks])
    torch.testing.assert_close(d, exact(rows), rtol=1e-12, atol=1e-15)
    assert torch.equal(ties(d), ties(exact(rows)))


@pytest.mark.parametrize("rule", ["semihard", "semihard-strict", "hard", "easy-positive-semihard"])
@pytest.mark.parametrize("kind", ["signs", "codes of length one", "hardly ever a coordinate in common"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_tiles_choose_as_mining_does(kind, rule, backend):
    rows = EVERY[kind]
    labels = torch.arange(len(rows)) % 7
    problem = Problem(rows, labels)
    apart = Problem(rows, labels, rows.clone(), labels.flip(0))
    for each in (problem, apart):
        settings = {"mining": rule, "distance": "cosine", "margin": 0.3, "reduction": "sum"}
        expected = computed(each.double(), FLOAT64["blocks"], **settings)
        got = computed(each, tiles(backend), **settings)
        for theirs, ours in zip(expected, got, strict=True):
            if theirs is not None:
                torch.testing.assert_close(ours.double(), theirs.double(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_census_of_tiles_counts_ties_as_hard(backend):
    labels = torch.arange(len(SIGNS)) % 5
    d = exact(SIGNS)
    same = labels[:, None] == labels
    hard = sum(
        int((d[a][~same[a]] <= d[a, p]).sum())
        for a in range(len(SIGNS))
        for p in range(len(SIGNS))
        if same[a, p] and a != p
    )
    batch = checked_batch(SIGNS, labels)
    counted = count_triplets(batch.anchors, None, batch.relations, 0.2, "cosine", tiles(backend))
    assert counted.hard == hard > 100


@pytest.mark.parametrize("kind", EVERY)
def test_ranks_and_neighbours(kind):
    rows = EVERY[kind].double()
    d = exact(rows)
    order = d.argsort(dim=1, stable=True)
    for backend in ("torch", "faiss"):
        for k in (3, len(rows)):
            found = nearest_neighbours(rows, rows, k=k, distance="cosine", backend=backend)
            np.testing.assert_array_equal(found.indices, order[:, :k].numpy())
    listed = np.tile(np.arange(0, len(rows), 3), (len(rows), 1))
    ranks = RankSearch(rows, distance="cosine", columns=8).ranks(rows, listed)
    places = order.argsort(dim=1)[:, ::3].sort(dim=1).values + 1
    np.testing.assert_array_equal(ranks, places.numpy())


def test_every_triplet_of_signs_is_judged():
    triplets = np.array(list(itertools.permutations(range(len(SIGNS)), 3)))
    report = triplet_accuracy(SIGNS, triplets, distance="cosine", resamples=0)
    d = exact(SIGNS)
    a, p, n = torch.from_numpy(triplets).T
    assert report.ties == int((d[a, p] == d[a, n]).sum()) > 1000
    assert report.accuracy == pytest.approx(float((d[a, p] < d[a, n]).double().mean()), abs=1e-12)


def test_a_tie_by_a_right_angle():
    rows = torch.tensor([[0.0, 0, 0, 1], [-1, -1, 0, 0], [1, 0, 0, 0]])
    assert pairwise_distances(rows, distance="cosine")[0].tolist() == [0, 1, 1]
    chosen = mine(rows, torch.tensor([0, 0, 1]), mining="semihard-strict", distance="cosine")
    assert 0 not in chosen.anchor
    found = retrieval(rows[:1], [0], references=rows[[2, 1]], reference_labels=[1, 0], distance="cosine")
    assert found.recall_at(1) == 0  # the wrong one comes first by index
    report = verification(rows, [0, 0, 1], distance="cosine", resamples=0)
    assert report.roc_auc == 0.75  # of two impostor pairs one is farther, and one ties


def test_gradients_are_those_of_unit_rows():
    x = COUNTS[:6].double().requires_grad_()
    y = COUNTS[6:10].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: pairwise_distances(a, b, distance="cosine"), (x, y))
    assert torch.autograd.gradgradcheck(lambda a: paired_distances(a[:3], a[3:], distance="cosine"), (x,))


def test_which_rows_are_whole():
    rows = torch.tensor(
        [
            [3.0, 5.0, 0.0],
            [0.3, 0.3, -0.3],
            [0.1, 0.2, 0.3],
            [0.0, 0.0, 0.0],
            [6000.0, 6000.0, 1.0],
            [9000.0, 1.0, 0.0],
        ]
    )
    found = directions(rows)
    whole = (~found.whole.isnan()).all(1).tolist()
    assert whole == [True, True, False, False, False, False]
    torch.testing.assert_close(unit_rows(found.whole[:2]), unit_rows(rows[:2].double()))
    assert directions(torch.rand(30, 40)).whole is None
    assert directions(torch.rand(30, 40)).slack < 0 < found.slack


def test_near_rows_keep_their_distances():
    """Angles down to 6e-8, of whole rows and of others, against the definition in 60 digits."""
    with localcontext(prec=60):
        for scale in (1.0, 0.1):
            x, y = (torch.tensor([row]) * scale for row in ([4000.0, 1.0], [4001.0, 1.0]))
            a, b = ([Decimal(v) for v in row[0].tolist()] for row in (x, y))
            cosine = reference.dot(a, b) / (reference.dot(a, a) * reference.dot(b, b)).sqrt()
            got = paired_distances(x.double(), y.double(), distance="cosine")
            assert float(got) == pytest.approx(float(1 - cosine), rel=1e-12 if scale == 1 else 1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_zero_row_is_at_distance_one_from_dense_rows(dtype):
    dense, others = torch.rand(5, 3, dtype=dtype) + 0.1, torch.tensor([[0.0, 0, 0], [1, 2, 3.5]], dtype=dtype)
    labels, theirs = torch.arange(5), torch.arange(2)
    batch = checked_batch(dense, labels, others, theirs)
    blocks = distance_blocks(batch.anchors, batch.references, batch.relations, "cosine")
    for d in (
        pairwise_distances(dense, others, distance="cosine"),
        pairwise_distances(dense.requires_grad_(), others, distance="cosine"),
        pairwise_distances(others, dense, distance="cosine").T,
        torch.cat([block for _, block, _ in blocks]),
        torch.from_numpy(nearest_neighbours(dense.detach(), others, k=2, distance="cosine").distances).flip(
            1
        ),
    ):
        assert d[:, 0].tolist() == [1.0] * 5
        assert bool((d[:, 1] < 0.5).all())
    assert paired_distances(dense[:1], others[:1], distance="cosine").tolist() == [1.0]

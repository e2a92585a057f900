"""Anchors and references that are different sets, relations given outright, and finished triplets."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import trine
from support.backends import Problem, computed
from support.batches import batches
from trine import Relations, TripletLoss, Triplets, mine, triplet_loss
from trine.distances import DISTANCES, paired_distances, pairwise_distances
from trine.engine.dispatch import count_triplets, distance_blocks
from trine.engine.plan import DEFAULT_PLAN, Plan
from trine.errors import InputError
from trine.triplets import PRESETS

RULES = [name for name in PRESETS if name not in ("weighted", "violating")]


@pytest.mark.parametrize("rule", RULES)
@given(batch=batches(max_rows=8), distance=st.sampled_from(DISTANCES))
def test_a_set_against_itself_is_the_set_by_its_own(rule, batch, distance):
    """With ids that say which rows are the same, both sides' gradients add up to that of one set."""
    embeddings, labels = batch
    ids = torch.arange(len(labels))
    settings = {"mining": rule, "distance": distance, "margin": 0.217}
    own, x, y = (embeddings.clone().requires_grad_() for _ in range(3))
    expected = triplet_loss(own, labels, **settings)
    loss = triplet_loss(
        x, labels, references=y, reference_labels=labels, item_ids=ids, reference_ids=ids, **settings
    )
    expected.backward()
    loss.backward()
    torch.testing.assert_close(loss, expected)
    largest = max([1.0, *(float(g.abs().max()) for g in (x.grad, y.grad) if g.numel())])
    torch.testing.assert_close(x.grad + y.grad, own.grad, rtol=1e-7, atol=1e-9 * largest)


def test_a_tiny_difference_about_0_keeps_its_direction():
    rows = torch.tensor([[0.0], [0.0], [1.0], [2.0**-126]], dtype=torch.float64)
    labels, ids = torch.tensor([0, 0, 0, 1]), torch.arange(4)
    settings = {"mining": "hard", "reduction": "sum", "item_ids": ids, "reference_ids": ids}
    x, y = rows.clone().requires_grad_(), rows.clone().requires_grad_()
    triplet_loss(x, labels, references=y, reference_labels=labels, **settings).backward()
    # Pushed up by the two at 0, whose nearest negative it is, and down by the one at 1.
    assert x.grad[3] + y.grad[3] == -2 + 1


@pytest.mark.parametrize("rule", ["all", "hard", "semihard", "random-negative"])
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("reduction", ["active", "mean", "anchor", "sum"])
def test_gradcheck_of_both_sides(rule, distance, reduction):
    g = torch.Generator().manual_seed(6)
    x, y = (torch.randn(n, 3, dtype=torch.float64, generator=g).requires_grad_() for n in (5, 7))
    labels, others = torch.tensor([0, 0, 1, 2, 9]), torch.tensor([0, 1, 1, 2, 0, 3, 1])
    settings = {"mining": rule, "distance": distance, "reduction": reduction, "margin": None}
    assert torch.autograd.gradcheck(
        lambda a, b: triplet_loss(a, labels, references=b, reference_labels=others, **settings), (x, y)
    )


@pytest.mark.parametrize("rule", RULES)
def test_relations_by_label_by_mask_and_by_list_are_the_same(rule):
    embeddings = torch.randn(9, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 3])
    same = labels[:, None] == labels[None]
    a, p = (same & ~torch.eye(9, dtype=torch.bool)).nonzero(as_tuple=True)
    expected = mine(embeddings, labels, mining=rule)
    assert len(expected) > 3
    for relations in (Relations.from_masks(same, own=True), Relations.from_pairs(a, p, anchors=9)):
        got = mine(embeddings, relations, mining=rule)
        assert all(
            torch.equal(getattr(got, part), getattr(expected, part))
            for part in ("anchor", "positive", "negative")
        )
        assert triplet_loss(embeddings, relations, mining=rule) == triplet_loss(
            embeddings, labels, mining=rule
        )


def test_relations_between_two_sets_without_labels():
    customers, items = torch.randn(2, 3), torch.randn(4, 3)
    bought = Relations.from_pairs(torch.tensor([0, 0, 1]), torch.tensor([2, 3, 0]), anchors=2, references=4)
    chosen = mine(customers, bought, mining="all", references=items)
    rows = list(zip(chosen.anchor.tolist(), chosen.positive.tolist(), chosen.negative.tolist(), strict=True))
    assert rows == [
        *[(0, 2, 0), (0, 2, 1), (0, 3, 0), (0, 3, 1)],
        *[(1, 0, 1), (1, 0, 2), (1, 0, 3)],
    ]
    unsure = torch.tensor([[False, True, False, False], [False] * 4])
    liked = torch.tensor([[False, False, True, True], [True, False, False, False]])
    with_gaps = Relations.from_masks(liked, ~liked & ~unsure)
    assert len(mine(customers, with_gaps, mining="all", references=items)) == 2 + 3


@pytest.mark.parametrize("rule", RULES)
def test_blocks_of_a_few_anchors_change_nothing(rule):
    labels = torch.arange(60) // 5
    problem = Problem(torch.randn(60, 4, dtype=torch.float64), labels)
    relations, few = problem.batch().relations, Plan(small=0, block_pairs=7 * 60)
    expected = computed(problem, mining=rule, seed=3)
    for mine_, whole in zip(computed(problem, few, mining=rule, seed=3), expected, strict=True):
        torch.testing.assert_close(mine_, whole)
    whole, parts = (
        count_triplets(problem.x, None, relations, 0.2, "euclidean", plan) for plan in (DEFAULT_PLAN, few)
    )
    assert (parts.easy, parts.semihard, parts.hard) == (whole.easy, whole.semihard, whole.hard)
    blocks = list(distance_blocks(problem.x, None, relations, "euclidean", few))
    assert [len(anchors) for anchors, _, _ in blocks] == [7] * 8 + [4]


def test_many_positives_are_served_from_a_sorted_row():
    labels = torch.arange(90) // 30
    embeddings = torch.randn(90, 4, generator=torch.Generator().manual_seed(2)).double()
    embeddings[::7] = embeddings[1::7][: len(embeddings[::7])]
    d = pairwise_distances(embeddings)
    for rule in ("semihard", "semihard-strict"):
        chosen = mine(embeddings, labels, mining=rule)
        assert len(chosen) > 1000
        for a, p, n in zip(chosen.anchor, chosen.positive, chosen.negative, strict=True):
            negatives = (labels != labels[a]).nonzero()[:, 0]
            beyond = negatives[d[a, negatives] > d[a, p]]
            expected = beyond[d[a, beyond].argmin()] if len(beyond) else negatives[d[a, negatives].argmax()]
            assert n == expected


@given(batch=batches(max_rows=8), distance=st.sampled_from(DISTANCES), swap=st.booleans())
def test_finished_triplets(batch, distance, swap):
    embeddings, labels = batch
    chosen = mine(embeddings, labels, mining="all")
    a, p, n = (embeddings[i] for i in (chosen.anchor, chosen.positive, chosen.negative))
    d_ap, d_an, d_pn = (paired_distances(*rows, distance=distance) for rows in ((a, p), (a, n), (p, n)))
    values = (d_ap - (torch.minimum(d_an, d_pn) if swap else d_an) + 0.3).clamp(min=0)
    got = triplet_loss(embeddings, chosen, margin=0.3, distance=distance, swap=swap, reduction="none")
    torch.testing.assert_close(got, values)
    loss = TripletLoss(margin=0.3, distance=distance, swap=swap, reduction="sum")
    torch.testing.assert_close(loss(embeddings, chosen), values.sum())


@pytest.mark.filterwarnings("ignore")
def test_swap_is_that_of_torch():
    a, p, n = torch.randn(3, 20, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    rows = torch.arange(20)
    got = triplet_loss(torch.cat([a, p, n]), Triplets(rows, rows + 20, rows + 40), margin=0.5, swap=True)
    theirs = torch.nn.TripletMarginLoss(margin=0.5, swap=True, eps=0)(a, p, n)
    torch.testing.assert_close(got, theirs)


def test_the_census_comes_along_on_request():
    embeddings, labels = torch.randn(40, 4), torch.arange(40) // 4
    for rule in ("all", "hard"):
        loss, counted = triplet_loss(embeddings, labels, mining=rule, margin=0.3, return_census=True)
        assert loss == triplet_loss(embeddings, labels, mining=rule, margin=0.3)
        assert counted == trine.census(embeddings, labels, margin=0.3)
        assert counted.triplets == 40 * 3 * 36


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"references": torch.randn(3, 2)}, "references and reference_labels must be passed together"),
        ({"reference_labels": torch.tensor([0])}, "references and reference_labels must be passed together"),
        (
            {"references": torch.randn(3, 5), "reference_labels": torch.tensor([0, 0, 1])},
            "references must be as wide as embeddings, given 5 and 2 columns",
        ),
        (
            {
                "references": torch.randn(3, 2),
                "reference_labels": torch.tensor([0, 0, 1]),
                "item_ids": torch.arange(4),
            },
            "item_ids and reference_ids must be passed together",
        ),
        ({"embeddings": None}, "embeddings must be a floating-point torch tensor .*given NoneType"),
        ({"embeddings": [[0.0]]}, "given list: convert with torch.as_tensor"),
        ({"embeddings": np.zeros((4, 2))}, "given ndarray: convert with torch.as_tensor"),
        ({"labels": [0, 0, 1, 1]}, "labels must be a torch tensor of integers, given list"),
        ({"labels": torch.tensor([0, 0, torch.nan, 1])}, r"labels\[2\] is NaN, expected an integer"),
        ({"labels": torch.tensor([0.0, 0.0, 1.0, 1.0])}, "labels must be a vector of integers"),
        ({"margin": "0.2"}, "margin must be a finite number of at least 0, or None, given '0.2'"),
        ({"mining": "batch_hard"}, "unknown mining rule 'batch_hard': did you mean 'hard'"),
        ({"mining": None}, "unknown mining rule None: known: all, hard"),
        ({"distance": "cos"}, "unknown distance 'cos': did you mean 'cosine'"),
        ({"reduction": "average"}, "unknown reduction 'average': known: active, mean"),
        ({"swap": True}, "swap=True needs Triplets in place of labels"),
        ({"return_census": True, "margin": None}, "a census needs a margin"),
        (
            {"labels": Relations.from_pairs(torch.tensor([0]), torch.tensor([1]), anchors=3)},
            "the relations are of 3 × 3 rows, given 4 × 4",
        ),
        (
            {"labels": Relations.from_pairs(torch.tensor([0]), torch.tensor([1]), anchors=4, references=2)},
            "the relations are between anchors and references: pass references",
        ),
        (
            {"labels": Triplets(torch.tensor([4]), torch.tensor([0]), torch.tensor([1]))},
            r"anchor\[0\] is 4, but there are 4 rows",
        ),
    ],
)
@pytest.mark.usefixtures("as_in_production")
def test_mistakes_are_named(arguments, message):
    embeddings = arguments.pop("embeddings", torch.randn(4, 2))
    labels = arguments.pop("labels", torch.tensor([0, 0, 1, 1]))
    with pytest.raises(InputError, match=message):
        triplet_loss(embeddings, labels, **arguments)


def test_swap_with_labels_is_refused_in_both_forms():
    for swapped in (partial(triplet_loss, swap=True), TripletLoss(swap=True)):
        with pytest.raises(InputError, match="swap=True needs Triplets in place of labels"):
            swapped(torch.randn(4, 2), torch.tensor([0, 0, 1, 1]))


@pytest.mark.usefixtures("as_in_production")
def test_mistakes_in_relations_are_named():
    mask = torch.tensor([[True, False]])
    with pytest.raises(InputError, match="row 0, column 0 is both positive and negative"):
        Relations.from_masks(mask, mask)
    with pytest.raises(InputError, match=r"positive\[1\] is 5, but there are 3 rows"):
        Relations.from_pairs(torch.tensor([0, 1]), torch.tensor([1, 5]), anchors=3)

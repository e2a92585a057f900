"""docs/coming-from.md, run: each row of its table gives the same figure and the same gradient in both."""

import re

import pytest
import torch
from torch.nn import functional as F

import trine
from support.paths import ROOT
from trine.distances import DISTANCES

PAGE = (ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", PAGE, re.MULTILINE)


def tfa_semihard(embeddings, labels, margin=1.0):
    """TensorFlow Addons' triplet_semihard_loss on squared distances, written down from its documentation.

    The nearest negative farther than the positive, or else the farthest; the mean over positive pairs.
    """
    d = (embeddings[:, None] - embeddings[None]).square().sum(2)
    n, total, pairs = len(labels), embeddings.new_zeros(()), 0
    for a in range(n):
        negatives = d[a][labels != labels[a]]
        for p in range(n):
            if p != a and labels[p] == labels[a]:
                outside = negatives[negatives > d[a, p]]
                d_an = outside.min() if len(outside) else negatives.max()
                total = total + F.relu(d[a, p] - d_an + margin)
                pairs += 1
    return total / pairs


def torchreid_hard(embeddings, labels, margin=0.3):
    """torchreid's TripletLoss, written down from its documentation: batch hard, the mean over anchors."""
    d = (embeddings[:, None] - embeddings[None]).square().sum(2).clamp(min=1e-12).sqrt()
    same = labels[:, None] == labels[None]
    values = [F.relu(row[own].max() - row[~own].min() + margin) for row, own in zip(d, same, strict=True)]
    return torch.stack(values).mean()


class Names(dict):
    """What a row of the table may say."""

    def __init__(self, x, y):
        import sentence_transformers.sentence_transformer.losses as st
        from pytorch_metric_learning import distances, losses, miners, reducers
        from sentence_transformers.sentence_transformer.losses.batch_hard_triplet import (
            BatchHardTripletLossDistanceFunction as Metric,
        )

        l2 = distances.LpDistance(normalize_embeddings=False)
        super().__init__(
            x=x,
            y=y,
            torch=torch,
            F=F,
            l2=l2,
            squared=distances.LpDistance(normalize_embeddings=False, power=2),
            losses=losses,
            miners=miners,
            reducers=reducers,
            cosine=Metric.cosine_distance,
            tfa_semihard=tfa_semihard,
            torchreid_hard=torchreid_hard,
            triplet_loss=trine.triplet_loss,
            contrastive_loss=trine.contrastive_loss,
            mine=trine.mine,
            BatchAll=lambda **s: st.BatchAllTripletLoss(None, **s).batch_all_triplet_loss,
            BatchHard=lambda **s: st.BatchHardTripletLoss(None, **s).batch_hard_triplet_loss,
            BatchHardSoft=lambda **s: (
                st.BatchHardSoftMarginTripletLoss(None, **s).batch_hard_triplet_soft_margin_loss
            ),
            BatchSemiHard=lambda **s: st.BatchSemiHardTripletLoss(None, **s).batch_semi_hard_triplet_loss,
        )


def batch():
    g = torch.Generator().manual_seed(11)
    x = F.normalize(torch.randn(24, 6, generator=g, dtype=torch.float64), dim=1).requires_grad_()
    return x, torch.arange(24) % 6


def test_the_table_is_read():
    assert len(ROWS) >= 12


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("theirs", "ours"), ROWS)
def test_both_columns_give_the_same_value_and_gradient(theirs, ours):
    results = []
    for expression in (theirs, ours):
        x, y = batch()
        loss = eval(expression, {"__builtins__": {}}, Names(x, y))
        loss.backward()
        results.append((loss.detach(), x.grad))
    assert results[0][0] > 1e-3
    assert results[0][1].norm() > 1e-3
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-7, atol=0)
    torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_the_rows_of_the_miners_are_the_same():
    from pytorch_metric_learning import distances, miners

    x, y = batch()
    l2 = distances.LpDistance(normalize_embeddings=False)
    for miner, ours in (
        (miners.BatchHardMiner(distance=l2), {"mining": "hard"}),
        (
            miners.TripletMarginMiner(margin=0.2, type_of_triplets="semihard", distance=l2),
            {"mining": "semihard-band", "margin": 0.2},
        ),
        (
            miners.BatchEasyHardMiner(pos_strategy="easy", neg_strategy="hard", distance=l2),
            {"mining": "easy-positive-hard"},
        ),
    ):
        rows = miner(x.detach(), y)
        if len(rows) == 4:  # pairs in place of triplets
            rows = (rows[0], rows[1], rows[3])
        theirs = sorted(zip(*(r.tolist() for r in rows), strict=True))
        chosen = trine.mine(x.detach(), y, **ours)
        got = list(
            zip(chosen.anchor.tolist(), chosen.positive.tolist(), chosen.negative.tolist(), strict=True)
        )
        assert len(got) > 20
        assert got == theirs


def test_every_distance_of_trine_is_on_the_page():
    assert all(f"`{name}`" in PAGE for name in DISTANCES)


def graded(expression, x, y):
    rows = x.detach().clone().requires_grad_()
    loss = eval(expression, {"__builtins__": {}}, Names(rows, y))
    loss.backward()
    return loss.item(), rows.grad


OURS = 'triplet_loss(x, y, margin=0.5, mining="{}")'
THEIRS = {
    "all": "BatchAll(margin=0.5)(y, x)",
    "hard": "BatchHard(margin=0.5)(y, x)",
    "semihard": "BatchSemiHard(margin=0.5)(y, x)",
}
PML = {
    "all": "losses.TripletMarginLoss(margin=0.5, distance=l2)(x, y)",
    "hard": "losses.TripletMarginLoss(margin=0.5, distance=l2, reducer=reducers.MeanReducer())"
    "(x, y, miners.BatchHardMiner(distance=l2)(x, y))",
}


@pytest.mark.filterwarnings("ignore")
def test_an_anchor_without_a_positive_counts_in_one_library_only():
    x, _ = batch()
    x, y = x[:6], torch.tensor([0, 0, 1, 1, 1, 2])
    nearest = torch.cdist(x, x)[5, :5].min().item()
    ours = graded(OURS.format("hard"), x, y)[0]
    assert ours > 0.1
    assert graded(PML["hard"], x, y)[0] == pytest.approx(ours)
    counted = (5 * ours + max(0.0, 0.5 - nearest)) / 6
    assert graded(THEIRS["hard"], x, y)[0] == pytest.approx(counted)


@pytest.mark.filterwarnings("ignore")
def test_a_batch_of_one_identity():
    x, _ = batch()
    x, y = x[:6], torch.zeros(6, dtype=torch.int64)
    d = torch.cdist(x, x).detach()
    expected = {"all": 0.0, "hard": 0.5, "semihard": d.sum().item() / 30 + 0.5}
    for rule, theirs in expected.items():
        value, gradient = graded(OURS.format(rule), x, y)
        assert (value, gradient.norm()) == (0, 0)
        value, gradient = graded(THEIRS[rule], x, y)
        assert value == pytest.approx(theirs)
        assert (gradient.norm() > 0) == (rule == "semihard")
    for expression in PML.values():
        value, gradient = graded(expression, x, y)
        assert (value, gradient.norm()) == (0, 0)


@pytest.mark.filterwarnings("ignore")
def test_a_positive_that_is_a_copy_is_treated_alike():
    x, _ = batch()
    x, y = torch.cat([x[:1], x[:5]]), torch.tensor([0, 0, 1, 1, 2, 2])
    for theirs in (THEIRS, PML):
        for rule, expression in theirs.items():
            ours, got = graded(OURS.format(rule), x, y), graded(expression, x, y)
            assert got[0] == pytest.approx(ours[0])
            torch.testing.assert_close(got[1], ours[1], rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_miners_of_the_library_take_ties():
    from pytorch_metric_learning import distances, miners

    l2 = distances.LpDistance(normalize_embeddings=False)
    # From the anchor 0: its positive at 1, negatives at 1 and 2.
    x, y = torch.tensor([[0.0], [1.0], [-1.0], [2.0]]), torch.tensor([0, 0, 1, 2])
    for kind, negatives in (("hard", [2]), ("all", [2, 3]), ("semihard", [3])):
        a, _, n = miners.TripletMarginMiner(margin=1.0, type_of_triplets=kind, distance=l2)(x, y)
        assert sorted(n[a == 0].tolist()) == negatives


@pytest.mark.filterwarnings("ignore")
def test_a_full_memory_of_the_library_holds_the_batch_too():
    from pytorch_metric_learning import distances, losses, reducers

    l2 = distances.LpDistance(normalize_embeddings=False)
    generator = torch.Generator().manual_seed(0)
    plain = losses.TripletMarginLoss(margin=0.5, distance=l2, reducer=reducers.MeanReducer())
    theirs = losses.CrossBatchMemory(plain, embedding_size=4, memory_size=12)
    loss = trine.TripletLoss(margin=0.5, mining="all", reduction="mean")
    smaller, equal = (trine.CrossBatchMemory(loss, size=size, dimension=4) for size in (6, 12))
    y = torch.arange(6) % 3
    for step in range(5):
        x = torch.randn(6, 4, generator=generator)
        value, ids = theirs(x, y), torch.arange(6) + 6 * step
        assert smaller(x, y, ids).item() == pytest.approx(value.item(), rel=1e-5)
        assert (equal(x, y, ids).item() == pytest.approx(value.item(), rel=1e-5)) == (step < 2)


def tfa_hard(embeddings, labels, margin=1.0):
    """TensorFlow Addons' triplet_hard_loss, written down from its source: a maximum over nothing is 0."""
    d, same = torch.cdist(embeddings, embeddings), labels[:, None] == labels
    others = same & ~torch.eye(len(labels), dtype=torch.bool)
    return F.relu((d * others).amax(1) - d.where(~same, torch.inf).amin(1) + margin).mean()


def test_anchors_without_a_positive_count_in_one_loss_of_tensorflow_addons():
    x, _ = batch()
    x, y = x[:6].detach(), torch.tensor([0, 0, 1, 1, 1, 2])
    hard = trine.triplet_loss(x, y, margin=0.5, mining="hard").item()
    nearest = torch.cdist(x, x)[5, :5].min().item()
    assert tfa_hard(x, y, margin=0.5).item() == pytest.approx((5 * hard + max(0.0, 0.5 - nearest)) / 6)
    semihard = {"margin": 0.5, "mining": "semihard", "distance": "squared_euclidean"}
    expected = trine.triplet_loss(x, y, **semihard).item()
    assert tfa_semihard(x, y, margin=0.5).item() == pytest.approx(expected)
    alone = torch.arange(6)
    assert tfa_semihard(x, alone, margin=0.5).isnan()
    assert trine.triplet_loss(x, alone, **semihard).item() == 0

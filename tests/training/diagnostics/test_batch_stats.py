"""What a batch tells about a run, against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trine import census, mine
from trine.distances import pairwise_distances
from trine.training import effective_rank
from trine.training.diagnostics.batch_stats import active_per_item, batch_stats
from trine.triplets import PRESETS


def naive_rank(rows: np.ndarray) -> float:
    singular = np.linalg.svd(rows.astype(np.float64), compute_uv=False)
    entropy = 0.0
    for value in singular:
        share = value / singular.sum()
        if share > 0:
            entropy -= share * math.log(share)
    return math.exp(entropy)


@given(seed=st.integers(0, 99), rows=st.integers(1, 12), columns=st.integers(1, 12), used=st.integers(1, 12))
def test_the_rank_is_that_of_the_singular_values(seed: int, rows: int, columns: int, used: int) -> None:
    g = torch.Generator().manual_seed(seed)
    batch = torch.randn(rows, used, generator=g) @ torch.randn(used, columns, generator=g)
    found = effective_rank(batch)
    assert found == pytest.approx(naive_rank(batch.numpy()), rel=1e-4)
    assert 1 - 1e-6 <= found <= min(rows, columns, used) + 1e-3
    assert effective_rank(1000 * batch) == pytest.approx(found, rel=1e-4), "the scale does not matter"


def test_the_rank_of_the_simplest_batches() -> None:
    assert effective_rank(torch.eye(7)) == pytest.approx(7)
    assert effective_rank(torch.ones(9, 5)) == pytest.approx(1)
    assert effective_rank(torch.zeros(9, 5)) == 0
    assert effective_rank(torch.zeros(0, 5)) == 0


def test_a_large_batch_is_looked_at_in_part() -> None:
    batch = torch.randn(1500, 6, generator=torch.Generator().manual_seed(0))
    assert effective_rank(batch) == pytest.approx(naive_rank(batch[::3].numpy()), rel=1e-6)


def test_norms_and_the_largest_identity() -> None:
    batch = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]])
    found = batch_stats(batch, torch.tensor([4, -2, 4]))
    assert (found["norm_mean"], found["norm_max"]) == (2.0, 5.0)
    assert found["largest_identity"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("mining", sorted(PRESETS))
@pytest.mark.parametrize("margin", [0.3, None])
def test_active_triplets_of_the_rule_are_counted(mining: str, margin: float | None) -> None:
    if margin is None and PRESETS[mining].needs_margin:
        pytest.skip("this rule takes a margin")
    g = torch.Generator().manual_seed(3)
    batch = torch.nn.functional.normalize(torch.randn(14, 8, generator=g), dim=1)
    labels, ids = torch.arange(14) % 4, torch.arange(14)
    ids[7] = 3  # a repeated item is no positive of itself
    counted = census(batch, labels, margin=margin or 0.0, item_ids=ids)
    found = active_per_item(
        batch,
        labels,
        mining=mining,
        margin=margin,
        distance="euclidean",
        seed=5,
        item_ids=ids,
        counted=counted,
    )
    d = pairwise_distances(batch)
    chosen = mine(batch, labels, mining=mining, margin=margin, seed=5, item_ids=ids)
    expected = 0
    for a, p, n in zip(
        *(column.tolist() for column in (chosen.anchor, chosen.positive, chosen.negative)), strict=True
    ):
        expected += bool(d[a, n] <= d[a, p]) if margin is None else bool(d[a, n] < d[a, p] + margin)
    # A rule that only takes negatives beyond the positive finds none within a margin of 0.
    assert (expected > 0) == (margin is not None or mining != "semihard-strict")
    assert found == expected / 14


def test_some_anchors_stand_for_a_large_batch() -> None:
    g = torch.Generator().manual_seed(3)
    batch, labels, ids = torch.randn(300, 8, generator=g), torch.arange(300) // 5, torch.arange(300)
    counted = census(batch, labels, margin=0.3)
    found = active_per_item(
        batch, labels, mining="hard", margin=0.3, distance="euclidean", seed=0, item_ids=ids, counted=counted
    )
    d, active = pairwise_distances(batch), 0
    for a in range(0, 300, 3):
        same = labels == labels[a]
        same_but_itself = same.clone()
        same_but_itself[a] = False
        active += bool(d[a][~same].min() < d[a][same_but_itself].max() + 0.3)
    assert active > 0
    assert found == active / 100

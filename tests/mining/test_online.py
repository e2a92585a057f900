import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support import reference
from support.batches import batches
from trine import Mining, census, mine
from trine.distances import DISTANCES, pairwise_distances
from trine.engine.dispatch import distance_blocks
from trine.engine.relations import Relations
from trine.errors import InputError
from trine.mining.hash_random import uniform
from trine.triplets import PRESETS

RULES = [name for name in PRESETS if name != "weighted"]


def rows_of(triplets):
    return list(
        zip(triplets.anchor.tolist(), triplets.positive.tolist(), triplets.negative.tolist(), strict=True)
    )


def distances_read(embeddings, distance):
    """The very distances that the rules compare, so that a twin on them is a test of the choice.

    `pairwise_distances` gives the same to rounding; rounding decides where two cosines are equal.
    """
    d = torch.zeros(len(embeddings), len(embeddings), dtype=torch.float64)
    relations = Relations.from_labels(torch.zeros(len(embeddings), dtype=torch.int64))
    for anchors, some, _ in distance_blocks(embeddings, None, relations, distance):
        d[anchors] = some
    torch.testing.assert_close(d, pairwise_distances(embeddings, distance=distance), rtol=1e-9, atol=1e-12)
    return d.tolist()


@pytest.mark.parametrize("name", RULES)
@given(batch=batches(), distance=st.sampled_from(DISTANCES), seed=st.integers(0, 2**64))
def test_every_rule_chooses_what_the_twin_chooses(name, batch, distance, seed):
    embeddings, labels = batch
    d = distances_read(embeddings, distance)
    twin = reference.mine(
        d, labels.tolist(), Mining.named(name), margin=0.5, width=embeddings.shape[1], seed=seed
    )
    got = mine(embeddings, labels, mining=name, distance=distance, margin=0.5, seed=seed)
    assert rows_of(got) == twin


@given(batches(max_rows=8, max_width=5), st.integers(0, 100))
def test_weighted_draws_by_inverse_density(batch, seed):
    embeddings, labels = batch
    embeddings = embeddings / embeddings.norm(dim=1, keepdim=True).clamp(min=1e-12)
    embeddings = embeddings[embeddings.norm(dim=1) > 0.5]
    labels = labels[: len(embeddings)]
    d = distances_read(embeddings, "euclidean")
    twin = reference.mine(
        d, labels.tolist(), Mining.named("weighted"), margin=0.2, width=embeddings.shape[1], seed=seed
    )
    assert rows_of(mine(embeddings, labels, mining="weighted", seed=seed)) == twin


@given(batches())
def test_equal_item_ids_are_never_a_pair(batch):
    embeddings, labels = batch
    ids = torch.arange(len(labels)) // 2
    d = distances_read(embeddings, "euclidean")
    for name in ("all", "hard", "random"):
        twin = reference.mine(d, labels.tolist(), Mining.named(name), margin=0.2, width=1, ids=ids.tolist())
        assert rows_of(mine(embeddings, labels, mining=name, item_ids=ids)) == twin


@given(batches(), st.sampled_from(DISTANCES))
def test_census_counts_what_the_twin_counts(batch, name):
    embeddings, labels = batch
    d = distances_read(embeddings, name)
    easy, semihard, hard, active, ap, an = reference.census(d, labels.tolist(), 0.5)
    got = census(embeddings, labels, margin=0.5, distance=name)
    assert (got.easy, got.semihard, got.hard, got.active) == (easy, semihard, hard, active)
    assert got.triplets == easy + semihard + hard
    for mine_, twin in ((got.mean_positive_distance, ap), (got.mean_negative_distance, an)):
        assert math.isclose(mine_, twin, rel_tol=1e-9, abs_tol=1e-12) or (
            math.isnan(mine_) and math.isnan(twin)
        )


def test_draws_are_even_and_depend_on_every_key():
    a = torch.arange(200_000)
    u = uniform(3, a, a // 7)
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    counts = torch.histc(u.float(), bins=20, min=0, max=1)
    assert float((counts / 10_000 - 1).abs().max()) < 0.05
    assert (uniform(4, a, a // 7) != u).float().mean() > 0.99
    assert (uniform(3, a, a // 7 + 1) != u).float().mean() > 0.99


def test_labels_are_compared_as_64_bit_integers():
    labels = torch.tensor([2**60, 2**60 + 1, 2**60, -(2**60)])
    assert rows_of(mine(torch.randn(4, 2), labels, mining="all")) == [
        (0, 2, 1),
        (0, 2, 3),
        (2, 0, 1),
        (2, 0, 3),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mining": "semi-hard"}, "unknown mining rule 'semi-hard': did you mean 'semihard'"),
        ({"mining": "semihard-band", "margin": None}, "needs a margin: pass mining_margin="),
        ({"margin": -0.1}, "margin must be a finite number of at least 0, or None, given -0.1"),
        ({"mining": "weighted", "distance": "cosine"}, "defined for distance='euclidean'"),
        ({"mining": "weighted"}, "normalise the embeddings first"),
        ({"labels": torch.tensor([0, 1])}, "labels must have one entry for each of the 3 rows, given 2"),
        ({"labels": torch.tensor([0.0, 1.0, 1.0])}, "labels must be a vector of integers"),
        ({"embeddings": torch.zeros(3)}, "embeddings must be a floating-point matrix"),
        ({"embeddings": torch.zeros(3, 2, dtype=torch.int64)}, "given shape .3, 2. of torch.int64"),
    ],
)
@pytest.mark.usefixtures("as_in_production")
def test_mistakes_are_named(arguments, message):
    given_ = {"embeddings": torch.full((3, 2), 5.0), "labels": torch.tensor([0, 0, 1])} | arguments
    embeddings, labels = given_.pop("embeddings"), given_.pop("labels")
    with pytest.raises(InputError, match=message):
        mine(embeddings, labels, **given_)


@pytest.mark.usefixtures("as_in_production")
def test_unknown_rules_and_cutoffs_are_named():
    with pytest.raises(InputError, match="unknown positive rule 'harder': did you mean 'hard'"):
        Mining(positive="harder")
    with pytest.raises(InputError, match=r"each of cutoffs must be a number > 0 and < 2, given 2\.5"):
        Mining(cutoffs=(1.4, 2.5))
    with pytest.raises(InputError, match=r"cutoffs must rise, given \(1.4, 0.5\)"):
        Mining(cutoffs=(1.4, 0.5))

"""Triplet agreement equals looking at every triplet, and is known on triplets that people judged."""

import gzip
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.paths import SHARED_DATA
from support.reference import distance
from trine.data import read_triplets
from trine.distances import DISTANCES
from trine.errors import InputError
from trine.evaluation import triplet_accuracy

ZAPPOS = SHARED_DATA / "triplets_zappos"

points = st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=4, max_size=7)
triplets_of_four = st.lists(st.permutations(range(4)).map(lambda order: order[:3]), min_size=1, max_size=20)


@given(points, triplets_of_four, st.sampled_from(DISTANCES))
def test_equals_the_naive_twin(rows, triplets, name):
    report = triplet_accuracy(
        np.array(rows, np.float64), np.array(triplets, dtype=np.int64), distance=name, resamples=0
    )
    nearer = [distance(rows[a], rows[p], name) for a, p, _ in triplets]
    farther = [distance(rows[a], rows[n], name) for a, _, n in triplets]
    np.testing.assert_allclose(report.margins, np.subtract(farther, nearer), atol=1e-9)
    # Only cosine's division may leave equal distances of different pairs apart in the last bit.
    if name != "cosine":
        assert report.ties == sum(map(math.isclose, nearer, farther))
        wins = sum(p < n and not math.isclose(p, n) for p, n in zip(nearer, farther, strict=True))
        assert report.accuracy == wins / len(triplets)


@given(triplets_of_four)
def test_counts_what_is_said_twice_and_both_ways(triplets):
    triplets = [tuple(one) for one in triplets]
    report = triplet_accuracy(np.arange(4.0)[:, None] ** 2, np.array(triplets, dtype=np.int64), resamples=0)
    opposite = [(a, n, p) for a, p, n in triplets]
    assert report.duplicates == sum(one in triplets[:at] for at, one in enumerate(triplets))
    assert report.contradictions == sum(one in opposite for one in triplets)
    most = sum(
        max(triplets.count((a, p, n)), triplets.count((a, n, p)))
        for a, p, n in {(a, *sorted(pair)) for a, *pair in triplets}
    )
    assert report.ceiling == pytest.approx(most / len(triplets))
    assert report.accuracy <= report.ceiling


def test_collapse_is_no_agreement():
    report = triplet_accuracy(np.ones((3, 2)), np.array([[0, 1, 2], [1, 0, 2]]))
    assert (report.accuracy, report.ties) == (0, 2)


def judged_shoes():
    if not ZAPPOS.is_dir():
        pytest.skip(f"the triplets of shoes are not at {ZAPPOS}")
    features = np.load(ZAPPOS / "alexnet_feats.npz")["x"]
    with gzip.open(ZAPPOS / "triplets.csv.gz", "rt") as file:
        next(file)
        triplets = np.array([line.split(",") for line in file], dtype=np.int64)
    return features, triplets


def test_features_alone_agree_with_people_about_shoes():
    features, triplets = judged_shoes()
    report = triplet_accuracy(features, triplets, distance="cosine")
    assert len(report.margins) == 283_770
    assert report.accuracy == pytest.approx(0.7178, abs=5e-5)
    found = report.interval("accuracy")
    assert found.low < 0.7178 < found.high
    # The triplets of one photo hang together: the interval is far wider than that of 283,770 single ones.
    assert found.high - found.low > 10 * 1.96 * np.sqrt(0.72 * 0.28 / 283_770)


def test_a_table_names_its_items(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("anchor,positive,negative\na.jpg,b.jpg,c.jpg\nc.jpg,a.jpg,b.jpg\n")
    triplets = read_triplets(table).positions(["a.jpg", "b.jpg", "c.jpg"])
    report = triplet_accuracy(torch.tensor([[0.0], [1.0], [9.0]]), torch.from_numpy(triplets))
    assert report.accuracy == 0.5


def test_the_interval_covers_as_often_as_it_says():
    random = np.random.default_rng(0)
    studies, covered = 200, 0
    for study in range(studies):
        skill = random.beta(2, 1, 40)  # of 40 judges, true mean 2/3
        judges = np.repeat(np.arange(40), 10)
        right = random.random(400) < skill[judges]
        triplets = np.where(right[:, None], [[0, 1, 2]], [[0, 2, 1]])
        report = triplet_accuracy(
            np.array([[0.0], [1.0], [2.0]]), triplets, groups=judges, resamples=200, seed=study
        )
        found = report.interval("accuracy")
        covered += found.low <= 2 / 3 <= found.high
    assert 0.88 <= covered / studies <= 0.99


def test_json_carries_counts_and_protocol():
    rows, triplets = np.array([[0.0], [1.0], [2.0]]), np.array([[0, 1, 2], [0, 1, 2], [1, 0, 2]])
    report = triplet_accuracy(rows, triplets, resamples=20)
    plain = json.loads(json.dumps(report.to_json()))
    assert report.interval("accuracy").low < 0.1  # two anchors
    assert plain == {
        "protocol": "triplet accuracy: d(anchor, positive) < d(anchor, negative); a tie counts as wrong",
        "distance": "euclidean",
        "triplets": 3,
        "duplicates": 1,
        "contradictions": 0,
        "ties": 1,
        "accuracy": 2 / 3,
        "ceiling": 1.0,
        "resampled": "anchors",
        "groups": 2,
        "intervals": {"level": 0.95, "resamples": 20, "accuracy": report.interval("accuracy").to_json()},
    }
    grouped = triplet_accuracy(rows, triplets, groups=["ann", "ann", "bob"], resamples=0).to_json()
    assert (grouped["resampled"], grouped["groups"], grouped["intervals"]) == ("given groups", 2, None)


def test_what_cannot_be_used_is_named():
    rows = np.zeros((3, 2))
    with pytest.raises(InputError, match="at least one triplet, given none"):
        triplet_accuracy(rows, np.zeros((0, 3), dtype=np.int64))
    with pytest.raises(InputError, match=r"triplet 1 is \[0, 1, 3\], expected rows from 0 to 2"):
        triplet_accuracy(rows, np.array([[0, 1, 2], [0, 1, 3]]))
    with pytest.raises(InputError, match=r"triplet 0 names an item twice \(\[0, 1, 0\]\)"):
        triplet_accuracy(rows, np.array([[0, 1, 0]]))
    with pytest.raises(InputError, match="groups must hold one label for each of the 1 items"):
        triplet_accuracy(rows, np.array([[0, 1, 2]]), groups=[1, 2])
    with pytest.raises(InputError, match="resamples must be at least 0"):
        triplet_accuracy(rows, np.array([[0, 1, 2]]), resamples=-1)
    report = triplet_accuracy(rows, np.array([[0, 1, 2]]), resamples=0)
    with pytest.raises(InputError, match="needs resamples of at least 1, given 0"):
        report.interval("accuracy")
    with pytest.raises(InputError, match="unknown metric 'acuracy': did you mean 'accuracy'"):
        report.interval("acuracy")


def test_triplets_may_come_as_lists_and_as_any_integers(as_in_production):
    rows, listed = np.array([[0.0], [1.0], [3.0]]), [[0, 1, 2], [2, 0, 1]]
    for triplets in (listed, np.array(listed, np.int32), torch.tensor(listed)):
        assert triplet_accuracy(rows, triplets).accuracy == 0.5
    with pytest.raises(InputError, match="triplets must be an integer array of shape"):
        triplet_accuracy(rows, np.array(listed, float))
    with pytest.raises(InputError, match=r"given int64 of shape \(2, 2\)"):
        triplet_accuracy(rows, np.array(listed)[:, :2])

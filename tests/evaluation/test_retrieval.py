"""Retrieval equals a ranking in plain loops, and the library whose figures people compare with."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score, ndcg_score

from support.paths import SHARED_DATA
from trine.distances import DISTANCES, pairwise_distances
from trine.errors import InputError
from trine.evaluation import retrieval
from trine.evaluation.rate_intervals import mean_interval
from trine.evaluation.relevance import BlockSize, relevant_blocks
from trine.labels import codes

ORL = SHARED_DATA / "faces_orl"


def naive(rows, labels, name):
    """What `figures_of` reads of the queries with a positive, and how many have none."""
    figures, excluded = [], 0
    # What is a tie to the last bit is for trine's own arithmetic to say; other tests hold it to a twin's.
    points = torch.tensor(rows, dtype=torch.float64)
    far = pairwise_distances(points, distance=name).tolist()
    for i in range(len(rows)):
        others = [j for j in range(len(rows)) if j != i]
        ranked = sorted(others, key=lambda j: (far[i][j], j))
        hits = [labels[j] == labels[i] for j in ranked]
        r = sum(hits)
        if r == 0:
            excluded += 1
            continue
        mapr = sum(sum(hits[: j + 1]) / (j + 1) for j in range(r) if hits[j]) / r
        ap = sum(sum(hits[: j + 1]) / (j + 1) for j in range(len(hits)) if hits[j]) / r
        gain = sum(1 / np.log2(2 + j) for j, hit in enumerate(hits[:3]) if hit)
        ndcg = gain / sum(1 / np.log2(2 + j) for j in range(min(r, 3)))
        rank = 1 / (hits.index(True) + 1)
        figures.append((hits[0], any(hits[:3]), sum(hits[:r]) / r, mapr, rank, ap, sum(hits[:3]) / 3, ndcg))
    return np.mean(figures, axis=0), excluded


def figures_of(report):
    return [
        *(report.precision_at_1, report.recall_at(3), report.r_precision, report.map_at_r, report.mrr),
        *(report.mean_average_precision, report.precision_at(3), report.ndcg_at(3)),
    ]


@given(
    st.lists(
        st.tuples(st.integers(-2, 2), st.integers(-2, 2), st.integers(0, 4)), min_size=2, max_size=40
    ).filter(lambda points: len({p[2] for p in points}) < len(points)),
    st.sampled_from(DISTANCES),
)
def test_equals_the_naive_twin(points, name):
    rows = [p[:2] for p in points]
    labels = [p[2] for p in points]
    report = retrieval(np.array(rows, np.float64), labels, distance=name, at=(3,))
    expected, excluded = naive(rows, labels, name)
    np.testing.assert_allclose(figures_of(report), expected, atol=1e-12)
    assert report.excluded == excluded
    assert report.queries.tolist() == [i for i in range(len(rows)) if labels.count(labels[i]) > 1]


def accuracy_calculator(x, y):
    """Its figures, the knn given exactly, as its own float32 product would rank ties at random."""
    calculator = AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r", "mean_reciprocal_rank"),
        k="max_bin_count",
        device=torch.device("cpu"),
    )
    return calculator.get_accuracy(torch.as_tensor(x), torch.as_tensor(y))


def check_against_accuracy_calculator(x, y):
    ours, theirs = retrieval(x, y), accuracy_calculator(x, y)
    assert 0.1 < theirs["mean_average_precision_at_r"] < 0.99
    assert ours.precision_at_1 == pytest.approx(theirs["precision_at_1"], abs=1e-9)
    assert ours.r_precision == pytest.approx(theirs["r_precision"], abs=1e-9)
    assert ours.map_at_r == pytest.approx(theirs["mean_average_precision_at_r"], abs=1e-9)


def test_equals_the_accuracy_calculator_on_random_rows():
    random = np.random.default_rng(0)
    y = random.integers(0, 30, 400)
    x = (random.standard_normal((30, 8))[y] + random.standard_normal((400, 8))).astype(np.float32)
    check_against_accuracy_calculator(x, y)


def test_equals_the_accuracy_calculator_on_digits():
    digits = load_digits()
    # Raw digits are integers and tie; which of two tied items comes first is a free choice.
    x = digits.data + 0.01 * np.random.default_rng(0).standard_normal(digits.data.shape)
    check_against_accuracy_calculator(x[:800].astype(np.float32), digits.target[:800])


@pytest.mark.skipif(not ORL.is_dir(), reason=f"the ORL faces are not at {ORL}")
def test_equals_the_accuracy_calculator_on_faces():
    from PIL import Image

    paths = sorted(ORL.glob("s*/*.pgm"))
    x = np.stack([np.asarray(Image.open(p).resize((23, 28))).ravel() for p in paths]).astype(np.float32) / 255
    y = np.array([int(p.parent.name[1:]) for p in paths])
    assert len(y) == 400
    check_against_accuracy_calculator(x, y)


def test_equals_scikit_learn_without_ties():
    random = np.random.default_rng(1)
    y = random.integers(0, 12, 200)
    x = random.standard_normal((12, 4))[y] + random.standard_normal((200, 4))
    report = retrieval(x, y, at=(1, 5, 50, 199))
    assert 0.1 < report.mean_average_precision < 0.9
    full = np.linalg.norm(x[:, None] - x, axis=2)
    for row, (query, ap) in enumerate(zip(report.queries, report.average_precisions, strict=True)):
        others = np.arange(200) != query
        relevant_, near = (y == y[query])[others], -full[query, others]
        assert ap == pytest.approx(average_precision_score(relevant_, near), abs=1e-12)
        for k in report.at:
            expected = ndcg_score(relevant_[None], near[None], k=k)
            assert report.per_query("ndcg_at", k)[row] == pytest.approx(expected, abs=1e-12)


def test_queries_may_search_other_rows():
    random = np.random.default_rng(2)
    y, gallery = random.integers(0, 9, 40), random.integers(0, 8, 60)
    x, z = random.integers(0, 3, (40, 2)).astype(float), random.integers(0, 3, (60, 2)).astype(float)
    report = retrieval(x, y, references=z, reference_labels=gallery)
    expected = []
    for row, label in zip(x, y, strict=True):
        ranked = sorted(range(60), key=lambda j: (np.linalg.norm(row - z[j]), j))
        hits = [rank for rank, j in enumerate(ranked, 1) if gallery[j] == label]
        expected += hits[:1]
    assert report.first_ranks.tolist() == expected
    assert report.excluded == 40 - len(expected) > 0
    assert report.references == 60
    assert "queries against references" in report.protocol


def test_interval_draws_identities_and_stands_in_the_json():
    digits = load_digits()
    x, y = digits.data[:200], digits.target[:200]
    report = retrieval(x, y, at=(1, 5), resamples=50, seed=3)
    listed = report.to_json()["intervals"]
    assert (listed["level"], listed["resamples"]) == (0.95, 50)
    direct = mean_interval(report.maps_at_r, y[report.queries])
    assert listed["map_at_r"] == report.interval("map_at_r").to_json() == direct.to_json()
    assert listed["precision_at"]["5"] == report.interval("precision_at", 5).to_json()
    assert direct.low < report.map_at_r < direct.high
    assert report.interval("recall_at", 3).low <= report.recall_at(3)  # any k, not only those of `at`


def test_classes_are_reported_apart():
    report = retrieval(np.array([[0.0], [1.0], [1.2], [1.3], [7.0]]), [2**60, -1, 2**60, -1, 5])
    classes = report.per_class()
    assert list(classes) == [-1, 2**60]
    for label, rows in ((-1, [1, 3]), (2**60, [0, 2])):
        chosen = np.isin(report.queries, rows)
        assert classes[label]["queries"] == 2
        assert classes[label]["map_at_r"] == report.maps_at_r[chosen].mean()
        assert classes[label]["mrr"] == (1 / report.first_ranks[chosen]).mean()


def test_large_and_negative_ids_stay_apart():
    # As float32 the first two are one id, as float64 the next two.
    labels = np.array([2**24, 2**24 + 1, 2**53, 2**53 + 1, -5, -5])
    report = retrieval(np.array([0.0, 1.0, 2.0, 3.0, 9.0, 9.5])[:, None], labels)
    assert report.queries.tolist() == [4, 5]
    assert report.excluded == 4
    assert report.precision_at_1 == 1.0


def test_labels_may_be_strings_or_a_tensor():
    x = np.array([[0.0], [1.0], [1.1], [5.0]])
    figures = [
        retrieval(x, labels).to_json()
        for labels in (["a", "b", "a", "b"], torch.tensor([7, 1, 7, 1]), np.array([0, 9, 0, 9]))
    ]
    assert figures[0] == figures[1] == figures[2]


def test_a_positive_far_behind_counts_in_mrr_and_recall():
    x = np.concatenate([[[0.0]], np.arange(1.0, 300.0)[:, None], [[1000.0]]])
    labels = np.array([0, *range(1, 300), 0])
    report = retrieval(x, labels)
    assert report.first_ranks.tolist() == [300, 300]
    assert report.mrr == pytest.approx(1 / 300)
    assert (report.recall_at(299), report.recall_at(300)) == (0.0, 1.0)
    assert report.map_at_r == 0


def test_blocks_of_any_size_list_the_same_references():
    identity = load_digits().target[:300]
    references = np.where(np.arange(300) % 11 == 0, -1, identity)

    def listed(**size):
        blocks = list(relevant_blocks(identity, references, size=BlockSize(**size)))
        pairs = [
            (query, row[row >= 0].tolist())
            for block in blocks
            for query, row in zip(block.queries.tolist(), block.listed, strict=True)
        ]
        return len(blocks), sorted(pairs)

    count, whole = listed()
    assert (count, len(whole)) == (1, 300)
    for query, rows in whole:
        assert rows == np.flatnonzero(references == identity[query]).tolist()
    for size in ({"listed": 500}, {"rows": 7, "long": 20}, {"rows": 5, "listed": 40}):
        count, again = listed(**size)
        assert count > 10
        assert again == whole


def test_json_carries_counts_and_protocol():
    report = retrieval(np.array([[0.0], [1.0], [5.0]]), [1, 1, 2], at=(1, 2), resamples=0)
    assert json.loads(json.dumps(report.to_json())) == {
        "protocol": "retrieval: each item against all others; queries without a positive are excluded",
        "distance": "euclidean",
        "queries": 2,
        "queries_without_positive": 1,
        "references": 3,
        "identities": 1,
        "precision_at_1": 1.0,
        "recall_at": {"1": 1.0, "2": 1.0},
        "r_precision": 1.0,
        "map_at_r": 1.0,
        "mrr": 1.0,
        "mean_average_precision": 1.0,
        "precision_at": {"1": 1.0, "2": 0.5},
        "ndcg_at": {"1": 1.0, "2": 1.0},
        "intervals": None,
    }


@pytest.mark.parametrize("n", [0, 1, 3])
def test_without_a_pair_there_is_no_figure(n):
    with pytest.raises(InputError, match=f"two items of one identity, given {n} items of {n} identities"):
        retrieval(np.zeros((n, 2)), np.arange(n))


def test_references_of_other_identities_are_refused():
    x = np.zeros((3, 2))
    with pytest.raises(InputError, match="no query shares a label with a reference; check reference_labels"):
        retrieval(x, ["a", "a", "b"], references=x, reference_labels=["c", "d", "e"])


def test_what_cannot_be_used_is_named(as_in_production):
    x = np.zeros((3, 2))
    with pytest.raises(InputError, match=r"labels must hold one label for each of the 3 items, given \(2,\)"):
        retrieval(x, [1, 1])
    with pytest.raises(InputError, match="labels must be integers or strings, given float64"):
        retrieval(x, np.array([0.0, 0.0, 1.0]))
    with pytest.raises(InputError, match="labels mix types"):
        codes(np.array([1, "a"], dtype=object), items=2)
    with pytest.raises(InputError, match="labels must name every item, given None at item 2"):
        codes(np.array([1, "a", None], dtype=object), items=3)
    with pytest.raises(InputError, match="given bool; convert with"):
        retrieval(x, np.array([True, True, False]))
    with pytest.raises(InputError, match="row 1 holds NaN"):
        retrieval(np.array([[0.0], [np.nan]]), [1, 1])
    with pytest.raises(InputError, match="each rank of at must be at least 1, given 0"):
        retrieval(x, [1, 1, 2], at=(0,))
    with pytest.raises(InputError, match="references and reference_labels go together"):
        retrieval(x, [1, 1, 2], references=x)
    with pytest.raises(InputError, match="labels and reference_labels must be labels of one kind"):
        retrieval(x, [1, 1, 2], references=x, reference_labels=["1", "1", "2"])
    with pytest.raises(InputError, match="must be signed 64-bit integers"):
        retrieval(x, np.array([1, 1, 2**63], np.uint64))
    report = retrieval(x, [1, 1, 2], resamples=0)
    with pytest.raises(InputError, match=r"unknown metric 'map_at_k': did you mean 'map_at_r'\?"):
        report.interval("map_at_k")
    with pytest.raises(InputError, match=r"recall_at takes one rank, given \(\)"):
        report.interval("recall_at")
    with pytest.raises(InputError, match="precision was measured at 1, 2, 4, 8, 10, 100 and not at 3"):
        report.precision_at(3)
    with pytest.raises(InputError, match="an interval needs resamples of at least 1, given 0"):
        report.interval("mrr")

"""Retrieval equals a ranking in plain loops, and the library whose figures people compare with."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from sklearn.datasets import load_digits

from reference import distance
from trine.distances import DISTANCES
from trine.errors import InputError
from trine.evaluation import retrieval
from trine.evaluation.labels import codes

ORL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "faces_orl"


def naive(rows, labels, name):
    """Precision@1, recall@3, R-precision, MAP@R, MRR of the queries with a positive; how many have none."""
    figures, excluded = [], 0
    for i, x in enumerate(rows):
        others = [j for j in range(len(rows)) if j != i]
        ranked = sorted(others, key=lambda j: (distance(x, rows[j], name), j))
        hits = [labels[j] == labels[i] for j in ranked]
        r = sum(hits)
        if r == 0:
            excluded += 1
            continue
        mapr = sum(sum(hits[: j + 1]) / (j + 1) for j in range(r) if hits[j]) / r
        figures.append(
            (hits[0], any(hits[:3]), sum(hits[:r]) / r, mapr, 1 / (hits.index(True) + 1))
        )  # fmt: skip
    return np.mean(figures, axis=0), excluded


def figures_of(report):
    return [report.precision_at_1, report.recall_at(3), report.r_precision, report.map_at_r, report.mrr]


@given(
    st.lists(
        st.tuples(st.integers(-2, 2), st.integers(-2, 2), st.integers(0, 4)), min_size=2, max_size=40
    ).filter(lambda points: len({p[2] for p in points}) < len(points)),
    st.sampled_from(DISTANCES),
    st.sampled_from(["torch", "faiss"]),
)
def test_equals_the_naive_twin(points, name, backend):
    rows = [p[:2] for p in points]
    labels = [p[2] for p in points]
    report = retrieval(np.array(rows, np.float64), labels, distance=name, backend=backend)
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


def test_queries_in_blocks_give_the_same_figures(monkeypatch):
    digits = load_digits()
    whole = retrieval(digits.data[:300], digits.target[:300])
    monkeypatch.setattr(sys.modules["trine.evaluation.retrieval"], "TILE", 500)
    np.testing.assert_array_equal(
        retrieval(digits.data[:300], digits.target[:300]).maps_at_r, whole.maps_at_r
    )


def test_json_carries_counts_and_protocol():
    report = retrieval(np.array([[0.0], [1.0], [5.0]]), [1, 1, 2], at=(1, 2))
    assert json.loads(json.dumps(report.to_json())) == {
        "protocol": "retrieval: each item against all others; without a positive excluded",
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
    }


@pytest.mark.parametrize("n", [0, 1, 3])
def test_without_a_pair_there_is_no_figure(n):
    with pytest.raises(InputError, match=f"two items of one identity, given {n} items of {n} identities"):
        retrieval(np.zeros((n, 2)), np.arange(n))


def test_what_cannot_be_used_is_named(as_in_production):
    x = np.zeros((3, 2))
    with pytest.raises(InputError, match=r"labels must hold one label for each of the 3 items, given \(2,\)"):
        retrieval(x, [1, 1])
    with pytest.raises(InputError, match="labels must be integers or strings, given float64"):
        retrieval(x, np.array([0.0, 0.0, 1.0]))
    with pytest.raises(InputError, match="labels mix types"):
        codes(np.array([1, "a", None], dtype=object), items=3)
    with pytest.raises(InputError, match="row 1 holds NaN"):
        retrieval(np.array([[0.0], [np.nan]]), [1, 1])
    with pytest.raises(InputError, match="at must hold ranks of at least 1"):
        retrieval(x, [1, 1, 2], at=(0,))

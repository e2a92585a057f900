"""Each identity in turn is a stranger: compared with `open_set` of a gallery without it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trine.errors import InputError
from trine.evaluation import leave_one_out, open_set
from trine.evaluation.leave_one_out import _nearest


def items(sizes, seed=0, spread=0.7, width=5):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return random.normal(size=(len(sizes), width))[labels] + spread * random.normal(
        size=(len(labels), width)
    ), labels


def twin(rows, labels, distance):
    """Loops: a gallery without the probe, and one without its identity."""
    own, named, other = [], [], []
    for at, label in enumerate(labels):
        rest = np.arange(len(labels)) != at
        strangers = labels != label
        stranger = open_set(
            rows[[at, at]],
            [label, labels[strangers][0]],
            rows[strangers],
            labels[strangers],
            distance=distance,
        )
        other.append(stranger.unknowns[0])
        if (labels[rest] == label).any():
            found = open_set(
                rows[[at, at]], [label, -1], rows[rest], labels[rest], distance=distance, depth=1
            )
            own.append(found.distances[0])
            named.append(found.ranks[0] == 1)
    return np.array(own), np.array(named), np.array(other)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=2, max_size=6).filter(lambda sizes: max(sizes) > 1),
    st.sampled_from(["euclidean", "squared_euclidean", "cosine"]),
    st.integers(0, 5),
)
def test_it_is_what_loops_find(sizes, distance, seed):
    rows, labels = items(sizes, seed=seed)
    report = leave_one_out(rows, labels, distance=distance, resamples=0)
    own, named, other = twin(rows, labels, distance)
    np.testing.assert_allclose(report.distances, own, rtol=1e-6)
    np.testing.assert_allclose(report.unknowns, other, rtol=1e-6)
    assert (report.ranks == 1).tolist() == named.tolist()
    assert report.labels.tolist() == [label for label in labels if sizes[label] > 1]
    for rate in (0.0, 0.2, 0.5):
        accepted = np.sort(other)[: int(rate * len(other))]
        limit = max((t for t in [*own, *other] if (other <= t).mean() <= rate), default=-1.0)
        assert len(accepted) <= rate * len(other)
        assert report.dir_at_fpir(rate) == pytest.approx(np.mean((own <= limit) & named))


def test_of_many_items_some_are_probes():
    rows, labels = items([6] * 20)
    whole, drawn = (leave_one_out(rows, labels, most=most, resamples=0) for most in (10_000, 30))
    assert (len(whole.unknowns), len(drawn.unknowns)) == (120, 30)
    assert set(drawn.unknowns) <= set(whole.unknowns)
    assert drawn.gallery == whole.gallery == 119
    again = leave_one_out(rows, labels, most=30, resamples=0)
    np.testing.assert_array_equal(again.unknowns, drawn.unknowns)


def test_the_interval_is_over_identities():
    rows, labels = items([8] * 30, spread=0.4)
    report = leave_one_out(rows, labels, at=(0.05,))
    interval = report.interval("dir_at_fpir", 0.05)
    assert interval.low < report.dir_at_fpir(0.05) < interval.high
    assert set(report.to_json()["dir_at_fpir"]) == {"0.05"}
    assert "each left out in turn" in str(report)


def test_equal_rows_name_nobody():
    report = leave_one_out(np.zeros((4, 2)), ["a", "a", "b", "b"], resamples=0)
    assert report.ranks.tolist() == [2, 2, 2, 2]
    assert report.dir_at_fpir(1.0) == 0.0


def test_tight_classes_far_from_the_origin():
    rows = np.repeat([[1e4, 0.0], [1e4, 1e-3]], 2, axis=0) + np.array([[0, 0], [0, 1e-4], [0, 0], [0, 1e-4]])
    report = leave_one_out(rows, [0, 0, 1, 1], resamples=0)
    np.testing.assert_allclose(report.distances, 1e-4, rtol=1e-6)
    np.testing.assert_allclose(report.unknowns, [1e-3, 9e-4, 9e-4, 1e-3], rtol=1e-6)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_many_items_are_measured_tile_by_tile(distance):
    rows, labels = items([7] * 12)
    given = (torch.from_numpy(rows), np.arange(84), labels)
    whole, tiled = (_nearest(*given, distance=distance, tile=tile) for tile in (10**6, 500))
    np.testing.assert_array_equal(tiled, whole)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0, 0, 0], {}, "given 3 items of 1 identities; give more items"),
        ([0, 1, 2], {}, "given 3 items of 3 identities"),
        ([0, 0, 1], {"most": 0}, "most must be"),
        ([0, 0, 1], {"at": (2.0,)}, "each rate of at"),
    ],
)
def test_what_cannot_be_measured(labels, options, message):
    with pytest.raises(InputError, match=message):
        leave_one_out(np.eye(3), labels, **options)

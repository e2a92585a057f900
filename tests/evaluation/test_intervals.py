import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trine.errors import InputError
from trine.evaluation.intervals import multiplicities, percentile_interval, resampled_means


def twin(values, identity, resamples, seed):
    """Draws people one by one and lists all their items."""
    random = np.random.default_rng(seed)
    people = sorted(set(identity))
    means = []
    for _ in range(resamples):
        drawn = [people[i] for i in random.integers(0, len(people), len(people))]
        items = [
            value for one in drawn for value, owner in zip(values, identity, strict=True) if owner == one
        ]
        means.append(sum(items) / len(items))
    return np.quantile(means, [0.025, 0.975])


@settings(max_examples=20)
@given(
    values=st.lists(st.tuples(st.floats(0, 1), st.integers(-3, 3)), min_size=1, max_size=12),
    seed=st.integers(0, 5),
)
def test_equals_the_twin_that_lists_every_item(values, seed):
    figures, identity = np.array([v for v, _ in values]), np.array([i for _, i in values])
    means = resampled_means(figures[:, None], identity, resamples=30, seed=seed)
    found = percentile_interval(means[:, 0])
    np.testing.assert_allclose(found.to_json(), twin(figures, identity, 30, seed), atol=1e-12)


def test_draws_as_many_as_there_are_and_begins_alike():
    long, short = (list(multiplicities(7, resamples=r, seed=3)) for r in (9, 4))
    assert all(times.sum() == 7 for times in long)
    np.testing.assert_array_equal(long[:4], short)


@pytest.mark.parametrize("identities", [3, 13, 31, 200])
@pytest.mark.parametrize("columns", [2, 5, 8, 25])
def test_a_metric_has_the_same_means_however_many_are_computed_with_it(identities, columns):
    random = np.random.default_rng(identities)
    identity = np.arange(2 * identities) // 2
    values = random.random((len(identity), columns))
    together = resampled_means(values, identity, resamples=40, seed=0)
    for column, found in zip(values.T, together.T, strict=True):
        alone = resampled_means(column[:, None].copy(), identity, resamples=40, seed=0)
        np.testing.assert_array_equal(found, alone[:, 0])


def test_resamples_without_a_figure_are_left_out():
    assert percentile_interval(np.array([0.5, np.nan, 0.5])).to_json() == [0.5, 0.5]
    assert np.isnan(percentile_interval(np.array([np.nan])).low)


def test_refuses_values_without_identities():
    with pytest.raises(InputError, match="given 2 values and 1 identities"):
        resampled_means(np.ones((2, 1)), np.zeros(1, dtype=np.int64), resamples=1, seed=0)

"""Quantiles in plain Python equal those of scipy."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trine.beta import beta_quantile, regularised_beta, student_quantile

parameter = st.floats(0.5, 1e5)


@given(a=parameter, b=parameter, share=st.floats(0.001, 0.999))
def test_a_quantile_of_beta_equals_scipy(a, b, share):
    found = beta_quantile(share, a, b)
    assert found == pytest.approx(float(stats.beta.ppf(share, a, b)), rel=1e-7, abs=1e-12)
    assert regularised_beta(found, a, b) == pytest.approx(share, abs=1e-7)


@given(share=st.floats(0.5, 0.999), freedom=st.floats(1, 1e5))
def test_a_quantile_of_student_equals_scipy(share, freedom):
    assert student_quantile(share, freedom) == pytest.approx(
        float(stats.t.ppf(share, freedom)), rel=1e-6, abs=1e-7
    )


def test_ends_and_tiny_parameters():
    assert (regularised_beta(0.0, 2, 3), regularised_beta(1.0, 2, 3)) == (0.0, 1.0)
    assert beta_quantile(0.025, 1e-3, 30) == 0.0
    assert beta_quantile(0.975, 3e5, 1) == pytest.approx(0.975 ** (1 / 3e5), rel=1e-12)
    assert math.isfinite(student_quantile(0.975, 1e7))


@given(size=st.floats(1e5, 1e300), share=st.floats(0.001, 0.999))
def test_huge_parameters_give_the_mean(size, share):
    assert beta_quantile(0.95, share * size + 1, (1 - share) * size) == pytest.approx(share, rel=0.2)
    assert 0 <= regularised_beta(share, share * size + 1, (1 - share) * size) <= 1

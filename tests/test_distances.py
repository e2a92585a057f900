import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support import reference
from support.batches import batches
from trine.cosine import unit_rows
from trine.distances import DISTANCES, PROPERTIES, compared_rows, paired_distances, pairwise_distances
from trine.errors import InputError


@given(batches(), st.sampled_from(DISTANCES))
def test_pairwise_equals_the_twin(batch, name):
    x, _ = batch
    got = pairwise_distances(x, distance=name)
    twin = torch.tensor(reference.distance_matrix(x.tolist(), name), dtype=x.dtype).reshape(len(x), len(x))
    torch.testing.assert_close(got, twin, rtol=1e-10, atol=1e-14)


@given(batches(), st.sampled_from(DISTANCES))
def test_paired_is_the_pairwise_diagonal(batch, name):
    x, _ = batch
    y = x.flip(0)
    torch.testing.assert_close(
        paired_distances(x, y, distance=name), pairwise_distances(x, y, distance=name).diagonal()
    )


@given(batches(), st.sampled_from(DISTANCES))
def test_equal_rows_are_at_distance_zero_and_ties_are_exact(batch, name):
    x, _ = batch
    x = x.float()
    both = torch.cat([x, x])
    d = pairwise_distances(both, distance=name)
    n = len(x)
    assert torch.equal(d[:, :n], d[:, n:])
    assert torch.equal(d, d.T)
    if name != "cosine":
        assert not d.diagonal().any()


@given(batches(), st.sampled_from(DISTANCES))
def test_properties_say_what_the_distance_is(batch, name):
    x, _ = batch
    properties, rows = PROPERTIES[name], compared_rows(x, name)
    length = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    expected = properties.factor * length.square() if properties.squared else length
    got = pairwise_distances(x, distance=name)
    if properties.of_directions:
        zero = (x == 0).all(1)
        some = ~(zero[:, None] | zero)
        assert (got[~some] == 1).all()
        got, expected, length = got[some], expected[some], length[some]
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-14)
    back = torch.tensor([properties.length(each) for each in got.flatten().tolist()], dtype=length.dtype)
    torch.testing.assert_close(back, length.flatten(), rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("name", DISTANCES)
def test_gradient_equals_the_twin_and_is_zero_at_zero(name):
    x = torch.tensor(
        [[1.0, 2.0], [1.0, 2.0], [0.0, 0.0], [-3.0, 0.5]], dtype=torch.float64, requires_grad=True
    )
    rows = x.tolist()
    for i in range(4):
        for j in range(4):
            x.grad = None
            pairwise_distances(x, distance=name)[i, j].backward()
            twin = torch.zeros(4, 2, dtype=torch.float64)
            if i != j:
                twin[i] += x.new_tensor(reference.distance_gradient(rows[i], rows[j], name))
                twin[j] += x.new_tensor(reference.distance_gradient(rows[j], rows[i], name))
            torch.testing.assert_close(x.grad, twin, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("radius", [1e-3, 1e-4])
def test_tight_classes_far_apart_keep_their_distances(name, radius):
    generator = torch.Generator().manual_seed(0)
    centres = unit_rows(torch.randn(20, 64, generator=generator, dtype=torch.float64))
    noise = torch.randn(20, 4, 64, generator=generator, dtype=torch.float64) * radius / 8
    x = (centres[:, None] + noise).reshape(80, 64)
    exact = pairwise_distances(x.float().double(), distance=name)
    got = pairwise_distances(x.float(), distance=name)
    off = ~torch.eye(80, dtype=torch.bool)
    error = ((got.double() - exact).abs() / exact)[off].max()
    # Unit rows are rounded once, to 6e-8 of their length, before they are subtracted.
    assert error < (3e-3 if name == "cosine" else 1e-6)


def test_halves_are_computed_in_float32_also_under_autocast():
    x = torch.randn(6, 8).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = pairwise_distances(x)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, pairwise_distances(x.float()))
    assert torch.isfinite(
        pairwise_distances(torch.full((2, 4), 1e4).half(), distance="squared_euclidean")
    ).all()


def test_unit_rows_survive_any_norm():
    x = torch.tensor([[3e30, 4e30], [3e-30, 4e-30]])
    torch.testing.assert_close(unit_rows(x), torch.tensor([[0.6, 0.8], [0.6, 0.8]]))
    assert math.isclose(float(pairwise_distances(x, distance="cosine")[0, 1]), 0, abs_tol=1e-12)


@pytest.mark.parametrize(
    ("x", "y", "name", "message"),
    [
        (torch.zeros(2, 3), None, "manhattan", "unknown distance 'manhattan'"),
        (torch.zeros(2, 3), None, "euclidian", "did you mean 'euclidean'"),
        (torch.zeros(2, 3), torch.zeros(2, 4), "euclidean", "equal width, given 3 and 4"),
    ],
)
@pytest.mark.usefixtures("as_in_production")
def test_mistakes_are_named(x, y, name, message):
    with pytest.raises(InputError, match=message):
        pairwise_distances(x, y, distance=name)

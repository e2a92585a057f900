import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.estimators.energy import Neighbourhoods, lowest_energy
from trine.estimators.large_margin import (
    Impostors,
    LargeMargin,
    descend,
    find_impostors,
    find_targets,
    root_of,
    steps_of_map,
    steps_of_metric,
)


@st.composite
def problems(draw):
    n, d = draw(st.integers(4, 14)), draw(st.integers(1, 3))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    classes = random.integers(0, 3, n)
    classes[:2] = 0, 1
    return random.normal(size=(n, d)), classes, random.normal(size=(draw(st.integers(1, d)), d))


def every_impostor(classes):
    pairs = [(i, j) for i, a in enumerate(classes) for j, b in enumerate(classes) if a != b]
    return Impostors(*np.array(pairs, dtype=np.int64).reshape(-1, 2).T)


def goal_of(x, classes, k=2, mu=0.3):
    targets = find_targets(x, classes, k=k)
    item, rank = np.nonzero(targets >= 0)
    return LargeMargin(x, item, targets[item, rank], mu)


def loss(goal, classes, z):
    """The objective in three loops."""
    mu, total = goal.regularization, 0.0
    for i, j in zip(goal.item, goal.target, strict=True):
        d_ij = ((z[i] - z[j]) ** 2).sum()
        total += (1 - mu) * d_ij
        for other in range(len(z)):
            if classes[other] != classes[i]:
                total += mu * max(0.0, 1 + d_ij - ((z[i] - z[other]) ** 2).sum())
    return total


@given(problems())
def test_objective_equals_three_loops(problem):
    x, classes, components = problem
    goal = goal_of(x, classes)
    z = x @ components.T
    value, _ = goal.evaluate(z, find_impostors(z, classes, goal.reach(z)))
    assert value == pytest.approx(loss(goal, classes, z))


@given(problems())
def test_gradient_equals_differences(problem):
    x, classes, components = problem
    goal, step = goal_of(x, classes), 1e-6
    z = x @ components.T
    _, links = goal.evaluate(z, every_impostor(classes))
    gradient = 2 * links.laplacian(z).T @ x
    for at in np.ndindex(components.shape):
        moved = np.zeros_like(components)
        moved[at] = step
        up, down = (loss(goal, classes, x @ (components + side * moved).T) for side in (1, -1))
        assert gradient[at] == pytest.approx((up - down) / (2 * step), rel=1e-3, abs=1e-3)


@given(problems())
def test_impostors_are_all_within_reach_and_no_others(problem):
    x, classes, components = problem
    z = x @ components.T
    reach = goal_of(x, classes).reach(z)
    found = find_impostors(z, classes, reach)
    every = every_impostor(classes)
    near = [
        (i, j)
        for i, j in zip(every.item.tolist(), every.impostor.tolist(), strict=True)
        if ((z[i] - z[j]) ** 2).sum() < reach[i] - 1e-9
    ]
    listed = list(zip(found.item.tolist(), found.impostor.tolist(), strict=True))
    assert set(near) <= set(listed)
    assert all(((z[i] - z[j]) ** 2).sum() < reach[i] + 1e-9 for i, j in listed)
    assert listed == sorted(listed)


@pytest.mark.parametrize("steps", [steps_of_map, steps_of_metric])
def test_descent_lowers_the_objective_and_both_ways_meet(steps):
    random = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], 20)
    x = random.normal(size=(60, 2)) * [0.3, 3] + classes[:, None] * [1, 0]
    goal = goal_of(x, classes, mu=0.5)
    found, value, _, _ = descend(
        goal, classes, start=np.eye(2), steps=steps(goal), every=20, max_iter=2000, tol=1e-7
    )
    assert value == pytest.approx(loss(goal, classes, x @ found.T))
    # The convex form has one minimum, and from this start the linear one finds it.
    assert value == pytest.approx(105.543, abs=0.01)
    assert value < 0.8 * loss(goal, classes, x)


def test_root_of_a_metric_is_the_nearest_that_is_no_less_than_nothing():
    root = root_of(np.diag([4.0, -1.0, 9.0]), 3)
    np.testing.assert_allclose(root.T @ root, np.diag([4.0, 0.0, 9.0]), atol=1e-12)
    np.testing.assert_allclose(
        root_of(np.diag([4.0, 1.0]), 1).T @ root_of(np.diag([4.0, 1.0]), 1), np.diag([4, 0])
    )


@given(problems(), st.integers(0, 100))
def test_lowest_energy_equals_loops(problem, seed):
    x, classes, _ = problem
    classes = np.unique(classes, return_inverse=True)[1]
    k, mu = 2, 0.4
    known = Neighbourhoods.of(x, classes, k=k)
    probes = np.random.default_rng(seed).normal(size=(3, x.shape[1]))
    found = lowest_energy(probes, known, regularization=mu)
    targets = find_targets(x, classes, k=k)
    for probe, chosen in zip(probes, found, strict=True):
        far = ((x - probe) ** 2).sum(1)
        costs = []
        for own in range(classes.max() + 1):
            nearest = sorted(far[classes == own])[:k]
            cost = (1 - mu) * sum(nearest)
            cost += mu * sum(max(0, 1 + a - b) for a in nearest for b in far[classes != own])
            for i in range(len(x)):
                if classes[i] != own:
                    limits = [((x[i] - x[j]) ** 2).sum() + 1 for j in targets[i] if j >= 0]
                    cost += mu * sum(max(0, limit - far[i]) for limit in limits)
            costs.append(cost)
        assert costs[chosen] == pytest.approx(min(costs))

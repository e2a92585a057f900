"""What changes while training goes on, step by step."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.training import LossRecipe, Recipe, SamplerRecipe, Stage, TrainingRecipe
from trine.training.curriculum import check_curriculum, number_at
from trine.training.schedule import batch_at, betas_at, learning_rate_at, loss_at, stream_seed


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_the_rate_rises_then_falls(schedule: str) -> None:
    recipe = TrainingRecipe(learning_rate=2.0, warmup=0.1, schedule=schedule)  # type: ignore[arg-type]
    rates = [learning_rate_at(step, steps=100, recipe=recipe) for step in range(100)]
    expected = []
    for step in range(100):
        passed = (step - 10) / 90
        factor = {"constant": 1.0, "cosine": (1 + math.cos(math.pi * passed)) / 2, "linear": 1 - passed}[
            schedule
        ]
        expected.append(2.0 * (step + 1) / 10 if step < 10 else 2.0 * factor)
    assert rates == pytest.approx(expected)
    assert max(rates) == 2.0


def test_the_rate_of_the_paper() -> None:
    """Hermans et al., eq. 10: ε₀ until t₀ = 15,000, then ε₀·0.001^((t − t₀)/(t₁ − t₀))."""
    recipe = TrainingRecipe(
        learning_rate=3e-4, warmup=0, schedule="exponential", decay_from=0.6, late_beta1=0.5
    )
    for step in (0, 7, 14_999, 15_000, 15_001, 20_000, 24_999):
        expected = 3e-4 if step <= 15_000 else 3e-4 * 0.001 ** ((step - 15_000) / (25_000 - 15_000))
        assert learning_rate_at(step, steps=25_000, recipe=recipe) == pytest.approx(expected, rel=1e-12)
        assert betas_at(step, steps=25_000, recipe=recipe) == (0.9 if step < 15_000 else 0.5, 0.99)
    assert learning_rate_at(24_999, steps=25_000, recipe=recipe) == pytest.approx(3e-7, rel=1e-3)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "exponential"])
@pytest.mark.parametrize(("warmup", "decay_from"), [(0.1, 0.5), (0.5, 0.1), (0.0, 0.0)])
def test_the_fall_begins_where_it_is_told_or_after_the_warm_up(
    schedule: str, warmup: float, decay_from: float
) -> None:
    recipe = TrainingRecipe(learning_rate=2.0, warmup=warmup, schedule=schedule, decay_from=decay_from)  # type: ignore[arg-type]
    rates = [learning_rate_at(step, steps=20, recipe=recipe) for step in range(20)]
    start = round(20 * max(warmup, decay_from))
    assert rates[start] == 2.0
    assert all(rate == 2.0 for rate in rates[round(20 * warmup) : start + 1])
    assert all(later < sooner for sooner, later in zip(rates[start:], rates[start + 1 :], strict=False))
    assert 0 < rates[-1] < 0.4


def test_betas_stay_where_nobody_changes_them() -> None:
    assert {betas_at(step, steps=9, recipe=TrainingRecipe(decay_from=0.5)) for step in range(9)} == {
        (0.9, 0.99)
    }


@given(steps=st.integers(1, 50), warmup=st.floats(0, 0.999))
def test_the_rate_is_always_positive_and_never_above_the_highest(steps: int, warmup: float) -> None:
    recipe = TrainingRecipe(learning_rate=0.5, warmup=warmup)
    for step in range(steps):
        assert 0 < learning_rate_at(step, steps=steps, recipe=recipe) <= 0.5


def test_a_curriculum_changes_rule_and_margin_where_it_says() -> None:
    recipe = Recipe(
        loss=LossRecipe(margin=0.5, mining="all"),
        curriculum=(
            Stage(at=0.25, mining="semihard"),
            Stage(at=0.5, margin=0.1),
            Stage(at=0.75, mining="hard"),
        ),
    )
    seen = [loss_at(step, steps=8, recipe=recipe) for step in range(8)]
    assert seen == (
        [("all", 0.5)] * 2 + [("semihard", 0.5)] * 2 + [("semihard", 0.1)] * 2 + [("hard", 0.1)] * 2
    )


def test_a_rule_changes_where_a_ramp_begins() -> None:
    recipe = Recipe(curriculum=(Stage(at=0.25, until=0.75, mining="hard", margin=0.6),))
    rules, margins = zip(*(loss_at(step, steps=8, recipe=recipe) for step in range(8)), strict=True)
    assert rules == ("semihard",) * 2 + ("hard",) * 6
    assert margins == pytest.approx([0.2, 0.2, 0.2, 0.3, 0.4, 0.5, 0.6, 0.6])


def test_the_soft_margin_stays_soft() -> None:
    recipe = Recipe(loss=LossRecipe(margin=None), curriculum=(Stage(at=0.5, mining="hard"),))
    assert [loss_at(step, steps=2, recipe=recipe) for step in range(2)] == [
        ("semihard", None),
        ("hard", None),
    ]


@st.composite
def curricula(draw: st.DrawFn) -> tuple[Stage, ...]:
    moments = sorted(draw(st.lists(st.integers(0, 99), min_size=1, max_size=8, unique=True)))
    stages = []
    for at, after in zip(moments, [*moments[1:], 100], strict=True):
        until = draw(st.none() | st.integers(at + 1, after))
        margin = draw(st.floats(0, 2) if until is not None else st.none() | st.floats(0, 2))
        stages.append(Stage(at=at / 100, until=None if until is None else until / 100, margin=margin))
    check_curriculum(stages, margin=0.2)
    return tuple(stages)


@given(curriculum=curricula())
def test_a_number_follows_its_stages_as_points_joined_by_lines(curriculum: tuple[Stage, ...]) -> None:
    """The naive twin draws the whole course as a polyline, and reads it off."""
    moments, values = [0.0], [0.2]
    for stage in curriculum:
        moments.append(stage.at)
        values.append(values[-1])
        if stage.margin is not None:
            moments.append(stage.at if stage.until is None else stage.until)
            values.append(stage.margin)
    for hundredth in range(101):
        share = hundredth / 100
        after = max(i for i, moment in enumerate(moments) if moment <= share)
        expected = values[after]
        if after + 1 < len(moments):
            width = moments[after + 1] - moments[after]
            expected += (values[after + 1] - values[after]) * (share - moments[after]) / width
        assert number_at(share, "margin", 0.2, curriculum=curriculum) == pytest.approx(expected, abs=1e-12)


def test_what_is_left_open_follows_the_identities_of_the_moment() -> None:
    sizes = np.full(12, 10)
    growing = (Stage(at=0.0, until=0.5, identities=12), Stage(at=0.8, items=2))

    def shapes(recipe: SamplerRecipe) -> list[tuple[int, int]]:
        moments = (0.0, 0.25, 0.5, 0.79, 0.8)
        return [batch_at(at, sizes=sizes, recipe=recipe, curriculum=growing) for at in moments]

    assert shapes(SamplerRecipe(identities=4, batch=36)) == [(4, 9), (8, 5), (12, 3), (12, 3), (12, 2)]
    assert shapes(SamplerRecipe(identities=4, items=6)) == [(4, 6), (8, 6), (12, 6), (12, 6), (12, 2)]
    assert shapes(SamplerRecipe(batch=36)) == [(12, 3)] * 4 + [(12, 2)]


def test_streams_and_steps_never_share_a_seed() -> None:
    seeds = {
        stream_seed(seed, stream, step)
        for seed in range(20)
        for stream in ("augment", "network", "mining")
        for step in range(50)
    }
    assert len(seeds) == 20 * 3 * 50
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert stream_seed(1, "augment", 2) == stream_seed(1, "augment", 2)

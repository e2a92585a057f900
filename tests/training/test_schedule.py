"""What changes while training goes on, step by step."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.training import LossRecipe, Stage, TrainingRecipe
from trine.training.schedule import learning_rate_at, loss_at, stream_seed


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


@given(steps=st.integers(1, 50), warmup=st.floats(0, 0.999))
def test_the_rate_is_always_positive_and_never_above_the_highest(steps: int, warmup: float) -> None:
    recipe = TrainingRecipe(learning_rate=0.5, warmup=warmup)
    for step in range(steps):
        assert 0 < learning_rate_at(step, steps=steps, recipe=recipe) <= 0.5


def test_a_curriculum_changes_rule_and_margin_where_it_says() -> None:
    recipe = LossRecipe(
        margin=0.5,
        mining="all",
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

"""What changes while training goes on, as pure functions of the step: a resumed run needs no memory of it."""

from __future__ import annotations

import math

import numpy as np

from trine.training.recipe import LossRecipe, TrainingRecipe


def learning_rate_at(step: int, *, steps: int, recipe: TrainingRecipe) -> float:
    """Returns the learning rate of a step.

    Args:
        step: The step, from 0 to `steps` − 1.
        steps: All steps of the training.
        recipe: The highest rate, the warm-up and the schedule.

    Returns:
        A rising line in the warm-up; then the highest rate, or half a cosine or a line down towards 0.

    Example:
        >>> recipe = TrainingRecipe(learning_rate=1.0, warmup=0.2, schedule="linear")
        >>> [learning_rate_at(step, steps=10, recipe=recipe) for step in (0, 1, 2, 6)]
        [0.5, 1.0, 1.0, 0.5]
    """
    warm = round(recipe.warmup * steps)
    if step < warm:
        return recipe.learning_rate * (step + 1) / warm
    passed = (step - warm) / (steps - warm)
    if recipe.schedule == "cosine":
        return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * passed))
    if recipe.schedule == "linear":
        return recipe.learning_rate * (1 - passed)
    return recipe.learning_rate


def loss_at(step: int, *, steps: int, recipe: LossRecipe) -> tuple[str, float | None]:
    """Returns the mining rule and the margin of a step.

    Args:
        step: The step, from 0 to `steps` − 1.
        steps: All steps of the training.
        recipe: The loss and its curriculum.

    Returns:
        The name of the rule, and the margin or None for the soft one.

    Example:
        >>> from trine.training import Stage
        >>> recipe = LossRecipe(mining="semihard", curriculum=(Stage(at=0.5, mining="hard"),))
        >>> [loss_at(step, steps=10, recipe=recipe)[0] for step in (0, 4, 5, 9)]
        ['semihard', 'semihard', 'hard', 'hard']
    """
    mining, margin = recipe.mining, recipe.margin
    for stage in recipe.curriculum:
        if step >= stage.at * steps:
            mining = stage.mining if stage.mining is not None else mining
            margin = stage.margin if stage.margin is not None else margin
    return mining, margin


def stream_seed(seed: int, stream: str, step: int = 0) -> int:
    """Derives the seed of one use of randomness at one step, by hashing.

    Args:
        seed: The run's seed, at least 0.
        stream: What the randomness is for, such as `"augment"`.
        step: The step, at least 0.

    Returns:
        A seed in [0, 2^63), independent of every other stream's and step's.
    """
    words = [seed, int.from_bytes(stream.encode(), "big"), step]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))

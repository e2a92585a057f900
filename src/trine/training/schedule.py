"""What changes during training, as pure functions of the step, so that checkpoints need not store it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from trine.shapes import Int64
from trine.training.curriculum import Stage, number_at
from trine.training.loss_recipe import LOSSES_OF
from trine.training.recipe import Recipe, SamplerRecipe, TrainingRecipe
from trine.triplets import MiningRule

MOST_IDENTITIES = 32
LOWEST = 1e-3  # of the highest rate: where the exponential schedule ends


def learning_rate_at(step: int, *, steps: int, recipe: TrainingRecipe) -> float:
    """Returns the learning rate of a step.

    Args:
        step: The step, from 0 to `steps` − 1.
        steps: All steps of the training.
        recipe: The highest rate, the warm-up and the schedule.

    Returns:
        A rising line in the warm-up; then the highest rate; and from `decay_from` on, or the end of the
        warm-up if that is later, half a cosine or a line down towards 0, or an exponential down towards a
        thousandth of the highest rate (Hermans, Beyer, Leibe 2017, section 4.1).

    Example:
        >>> recipe = TrainingRecipe(learning_rate=1.0, warmup=0.2, schedule="linear")
        >>> [learning_rate_at(step, steps=10, recipe=recipe) for step in (0, 1, 2, 6)]
        [0.5, 1.0, 1.0, 0.5]
    """
    warm = round(recipe.warmup * steps)
    if step < warm:
        return recipe.learning_rate * (step + 1) / warm
    start = max(warm, round(recipe.decay_from * steps))
    passed = (step - start) / (steps - start) if step > start else 0.0
    if recipe.schedule == "cosine":
        return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * passed))
    if recipe.schedule == "linear":
        return recipe.learning_rate * (1 - passed)
    if recipe.schedule == "exponential":
        return recipe.learning_rate * math.pow(LOWEST, passed)
    return recipe.learning_rate


def betas_at(step: int, *, steps: int, recipe: TrainingRecipe) -> tuple[float, float]:
    """Returns AdamW's β₁ and β₂ of a step.

    Args:
        step: The step, from 0 to `steps` − 1.
        steps: All steps of the training.
        recipe: The two, and β₁ from `decay_from` on.

    Example:
        >>> recipe = TrainingRecipe(decay_from=0.6, late_beta1=0.5)
        >>> [betas_at(step, steps=10, recipe=recipe) for step in (5, 6)]
        [(0.9, 0.99), (0.5, 0.99)]
    """
    first, second = recipe.betas
    late = recipe.late_beta1 is not None and step >= round(recipe.decay_from * steps)
    return (recipe.late_beta1 if late and recipe.late_beta1 is not None else first), second


def loss_at(step: int, *, steps: int, recipe: Recipe) -> tuple[MiningRule, float | None]:
    """Returns the mining rule and the margin of a step.

    Args:
        step: The step, from 0 to `steps` − 1.
        steps: All steps of the training.
        recipe: The loss and the curriculum.

    Returns:
        The name of the rule, and the margin or None for the soft one.

    Example:
        >>> recipe = Recipe(curriculum=(Stage(at=0.5, mining="hard"),))
        >>> [loss_at(step, steps=10, recipe=recipe)[0] for step in (0, 4, 5, 9)]
        ['semihard', 'semihard', 'hard', 'hard']
    """
    share, mining, margin = step / steps, recipe.loss.mining, recipe.loss.margin
    for stage in recipe.curriculum:
        if stage.mining is not None and share >= stage.at:
            mining = stage.mining
    if margin is not None:
        margin = number_at(share, "margin", margin, curriculum=recipe.curriculum)
    return mining, margin


def batch_at(
    share: float,
    *,
    sizes: Int64[np.ndarray, " identities"],
    recipe: SamplerRecipe,
    curriculum: Sequence[Stage],
    processes: int = 1,
) -> tuple[int, int]:
    """Returns what a batch is made of at some moment: P identities, K items of each.

    What the recipe leaves open is derived: P from the number of identities, K from the P of the moment.

    Args:
        share: The moment, from 0 to 1.
        sizes: How many items each identity has.
        recipe: P, K or the size of a batch.
        curriculum: The stages.
        processes: How many draw a batch each, which share no identity.

    Returns:
        P and K, rounded while they change.

    Example:
        >>> growing = (Stage(at=0.0, until=1.0, identities=32),)
        >>> recipe = SamplerRecipe(identities=8, batch=128)
        >>> sizes = np.full(40, 20)
        >>> [batch_at(share, sizes=sizes, recipe=recipe, curriculum=growing) for share in (0, 0.5, 1)]
        [(8, 16), (20, 7), (32, 4)]
    """
    first = recipe.identities or max(2, min(len(sizes) // processes, MOST_IDENTITIES))
    identities = round(number_at(share, "identities", first, curriculum=curriculum))
    largest = int(sizes.max(initial=2))
    items = recipe.items or max(2, min(math.ceil(recipe.batch / identities), largest))
    return identities, round(number_at(share, "items", items, curriculum=curriculum))


def describe_stage(step: int, *, steps: int, recipe: Recipe, shape: tuple[int, int] | None) -> str:
    """Describes the current stage of a curriculum.

    Args:
        step: The step, from 0 to `steps` − 1.
        steps: All steps of the training.
        recipe: The recipe.
        shape: P and K of the step; None if batches have no P and K.

    Returns:
        The rule, margin and P×K of the step, as far as it has them; empty if the recipe has no curriculum.

    Example:
        >>> recipe = Recipe(curriculum=(Stage(at=0.5, mining="hard"),))
        >>> describe_stage(7, steps=10, recipe=recipe, shape=(32, 4))
        'hard, margin 0.2, 32×4'
    """
    if not recipe.curriculum:
        return ""
    mining, margin = loss_at(step, steps=steps, recipe=recipe)
    said = {
        "mining": mining,
        "margin": "soft margin" if margin is None else f"margin {margin:.3g}",
    }
    parts = [words for key, words in said.items() if recipe.loss.name in LOSSES_OF[key]]
    return ", ".join(parts if shape is None else [*parts, f"{shape[0]}×{shape[1]}"])


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

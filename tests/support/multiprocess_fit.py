"""A script that trains by two processes, as a user would write it: OUT [resume] [SIGINT | SIGKILL].

With a signal the first process sends it to itself in the middle of the run.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import numpy as np
import torch

from trine.data import Dataset, Vectors
from trine.encoders import EncoderRecipe, MlpSettings
from trine.training import Recipe, SamplerRecipe, Stage, TrainingRecipe, fit, metric_step

STEPS, HIT = 14, 6
RECIPE = Recipe(
    encoder=EncoderRecipe(dimension=5, mlp=MlpSettings((12,), dropout=0.2)),
    sampler=SamplerRecipe(identities=3, items=3),
    curriculum=(
        Stage(at=0.2, until=0.6, mining="violating", identities=4),
        Stage(at=0.7, mining="hard", items=2),
    ),
    training=TrainingRecipe(steps=STEPS, checkpoint_every=4, chunk=4, devices=2, device="cpu"),
)


def items() -> Dataset:
    """Rows around a centre of their identity; identities of uneven size."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(9), [3, 4, 5, 6, 7, 8, 9, 2, 12])
    rows = generator.normal(size=(9, 10))[labels] + 0.7 * generator.normal(size=(len(labels), 10))
    names = tuple(f"item {i}" for i in range(len(labels)))
    return Dataset(
        Vectors(rows.astype(np.float32)), labels.astype(np.int64), tuple("abcdefghi"), names, root="made"
    )


def hit_at(number: signal.Signals) -> None:
    original = metric_step.MetricStep.loss

    def loss(self: Any, *arguments: Any, **settings: Any) -> torch.Tensor:
        if settings["step"] == HIT and self.context.is_main:
            os.kill(os.getpid(), number)
        return original(self, *arguments, **settings)

    metric_step.MetricStep.loss = loss  # type: ignore[method-assign]


if __name__ == "__main__":
    out, *words = sys.argv[1:]
    for word in words:
        if word != "resume":
            hit_at(signal.Signals[word])
    try:
        encoder = fit(items(), RECIPE, out=out, resume="resume" in words)
    except KeyboardInterrupt:
        sys.exit(130 if os.environ.get("LOCAL_RANK", "0") == "0" else 0)
    print(encoder.fingerprint)

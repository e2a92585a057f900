"""Validation while training goes on: the best weights are kept, and it may stop early."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from trine.data import Dataset
from trine.encoders import Encoder
from trine.shapes import Float32
from trine.training.data_loader import PreparedItems
from trine.training.run_dir import write_weights

Metric = Callable[[np.ndarray, np.ndarray], float]


class Validator:
    """Takes the figure of metric of what is being trained every so often.

    Args:
        figure: From the encoder to its figure of metric, larger is better; leaves it as it was.
        patience: Validation rounds without a better figure after which training stops; None never stops.
        best_weights: The file where the weights of the best look are kept.

    Attributes:
        best: The best figure so far.
        last: The latest figure.
        since_best: How many looks came after the best.
    """

    def __init__(self, figure: Callable[[Any], float], *, patience: int | None, best_weights: Path) -> None:
        self._figure = figure
        self._patience = patience
        self._best_weights = best_weights
        self.best: float | None = None
        self.last: float | None = None
        self.since_best = 0

    @property
    def exhausted(self) -> bool:
        """Whether patience is at its end."""
        return self._patience is not None and self.since_best >= self._patience

    def look(self, encoder: nn.Module) -> float:
        """Takes the figure of metric now.

        Args:
            encoder: What is being trained; left as it was.

        Returns:
            The figure.
        """
        self.last = float(self._figure(encoder))
        # A figure that is not a number is better than none, and worse than any.
        if self.best is None or math.isnan(self.best) or self.last > self.best:
            self.best, self.since_best = self.last, 0
            write_weights(encoder, self._best_weights)
        else:
            self.since_best += 1
        return self.last

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run must know."""
        return {"best": self.best, "last": self.last, "since_best": self.since_best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up what an interrupted run knew."""
        self.best, self.last, self.since_best = state["best"], state["last"], state["since_best"]


def validation_metric(
    validation: Dataset, *, prepared: PreparedItems, metric: Metric
) -> Callable[[Encoder], float]:
    """Returns what takes the figure of metric of an encoder on validation items.

    Args:
        validation: The items.
        prepared: The same, as the encoder takes them.
        metric: The figure of metric, larger is better, from embeddings and labels.
    """
    return lambda encoder: metric(embed_prepared(encoder, prepared), validation.labels)


def embed_prepared(
    encoder: Encoder, prepared: PreparedItems, *, positions: range | None = None, batch_size: int = 256
) -> Float32[np.ndarray, "n d"]:
    """Embeds prepared items; the encoder is left as it was.

    Args:
        encoder: What embeds.
        prepared: The items.
        positions: Which of them; all where left out.
        batch_size: How many go through the network at once.

    Returns:
        One embedding a row.
    """
    training = encoder.training
    encoder.eval()
    positions = range(len(prepared)) if positions is None else positions
    parts = [np.empty((0, encoder.settings.dimension), dtype=np.float32)]
    try:
        for start in range(0, len(positions), batch_size):
            batch = prepared[positions[start : start + batch_size]].to(encoder.device)
            with torch.inference_mode():
                parts.append(encoder(batch).float().cpu().numpy())
    finally:
        encoder.train(training)
    return np.concatenate(parts)

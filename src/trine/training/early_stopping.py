"""Validation during training: the best weights are kept, perhaps those before it; it may stop early."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from trine.encoders import Encoder
from trine.errors import require
from trine.io import atomic_write
from trine.shapes import Float32
from trine.training.data_loader import PreparedItems
from trine.training.recipe import Keep

Metric = Callable[[np.ndarray, np.ndarray], float]
"""Maps embeddings and labels to a metric; larger is better."""

ROUNDS = 20
"""The number of validation rounds, if the recipe does not set `evaluate_every`."""


class Validator:
    """Measures the encoder at intervals during training.

    Args:
        measure: Maps the encoder to its metric, larger is better; must not change the encoder.
        patience: Rounds without improvement after which training stops; None never stops.
        best_weights: The file for the weights of the best round; None keeps them in memory.
        keep: Which weights are restored in the end. With `best` the start is measured, too.

    Attributes:
        start: The metric before training; None if it was not measured.
        best: The best metric of training so far.
        last: The latest metric.
        since_best: The number of rounds since the best one of training.
    """

    def __init__(
        self,
        measure: Callable[[Any], float],
        *,
        patience: int | None,
        best_weights: Path | None,
        keep: Keep = "trained",
    ) -> None:
        self._measure = measure
        self._patience = patience
        self.keep = keep
        self._best_weights = best_weights
        self._in_memory: dict[str, torch.Tensor] = {}
        self.start: float | None = None
        self.best: float | None = None
        self.last: float | None = None
        self.since_best = 0

    @property
    def out_of_patience(self) -> bool:
        """Whether training should stop."""
        return self._patience is not None and self.since_best >= self._patience

    @property
    def keeps_start(self) -> bool:
        """Whether no round of training was better than the start, whose weights are therefore kept."""
        return self.start is not None and not _is_better(self.best, self.start)

    def measure_start(self, encoder: nn.Module) -> float:
        """Measures the encoder before training, and keeps its weights.

        Args:
            encoder: What will be trained; left as it was.

        Returns:
            The metric.
        """
        self.start = float(self._measure(encoder))
        self._keep(encoder)
        return self.start

    def validate(self, encoder: nn.Module) -> float:
        """Measures the encoder now, and keeps its weights if they are the best so far.

        Args:
            encoder: What is being trained; left as it was.

        Returns:
            The metric.
        """
        self.last = float(self._measure(encoder))
        if self.best is None or _is_better(self.last, self.best):
            self.best, self.since_best = self.last, 0
            if not self.keeps_start:
                self._keep(encoder)
        else:
            self.since_best += 1
        return self.last

    def restore_best(self, encoder: nn.Module) -> None:
        """Loads the weights that are kept into an encoder."""
        if self.keep == "last":
            return
        if self._best_weights is not None:
            load_file = require("safetensors.torch", extra="train").load_file
            self._in_memory = load_file(self._best_weights)
        encoder.load_state_dict(self._in_memory)

    def _keep(self, encoder: nn.Module) -> None:
        weights = {name: value.cpu().contiguous() for name, value in encoder.state_dict().items()}
        if self._best_weights is None:
            self._in_memory = {name: value.clone() for name, value in weights.items()}
        else:
            content = require("safetensors.torch", extra="train").save(weights)
            atomic_write(self._best_weights, content)

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run needs."""
        return {"start": self.start, "best": self.best, "last": self.last, "since_best": self.since_best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.start, self.best = state["start"], state["best"]
        self.last, self.since_best = state["last"], state["since_best"]


def _is_better(metric: float | None, than: float) -> bool:
    """Whether a metric is larger; NaN is worse than any number, but better than no round at all."""
    return metric is not None and (metric > than or math.isnan(than))


def embed_prepared(
    encoder: Encoder, prepared: PreparedItems, *, positions: range | None = None, batch_size: int = 256
) -> Float32[np.ndarray, "n d"]:
    """Embeds prepared items; the encoder is left as it was.

    Args:
        encoder: The encoder.
        prepared: The items.
        positions: Which of them; None takes all.
        batch_size: How many go through the network at once.

    Returns:
        One embedding per row.
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

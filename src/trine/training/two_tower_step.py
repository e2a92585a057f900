"""One step of two towers: users, what they liked, and drawn items that they have not met."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from trine.data import TripletSampler
from trine.distances import pairwise_distances
from trine.encoders import TwoTower
from trine.errors import SettingError
from trine.losses import triplet_loss
from trine.mining import Relations, mine
from trine.shapes import Bool, Float, Int64
from trine.training.data_loader import Batch, BatchLoader
from trine.training.diagnostics.batch_stats import effective_rank
from trine.training.distributed import SINGLE_PROCESS
from trine.training.recipe import Recipe
from trine.training.schedule import betas_at, learning_rate_at, stream_seed

RULES = {"hard": "hard", "sampled": "random-negative"}
"""The mining rule of each word of the recipe: of a user with one positive, both choose the negative alone."""


class TwoTowerStep:
    """What is done with each batch of users and liked items.

    Args:
        towers: What is trained.
        recipe: The run's settings, with a section `interactions`.
        steps: All steps of the run.
        met: User and item of all that is known in training; none of it is a negative.
    """

    def __init__(
        self, towers: TwoTower, *, recipe: Recipe, steps: int, met: Int64[np.ndarray, "s 2"]
    ) -> None:
        assert recipe.interactions is not None
        self.encoder = towers
        self.recipe = recipe
        self.interactions = recipe.interactions
        self.steps = steps
        self.world = SINGLE_PROCESS
        self.memory = None
        self.loss_module = None
        # By item: few have met a drawn one, and some users have met much.
        in_order = met[np.lexsort((met[:, 0], met[:, 1]))]
        self._met_by = torch.from_numpy(np.ascontiguousarray(in_order[:, 0]))
        ends = np.arange(len(towers.settings.items) + 1)
        self._bounds = torch.from_numpy(np.searchsorted(in_order[:, 1], ends))

    def join(self) -> None:
        """Does nothing: one process trains."""

    def optimiser(self) -> torch.optim.Optimizer:
        """Makes AdamW."""
        recipe = self.recipe.training
        return torch.optim.AdamW(
            self.encoder.parameters(),
            lr=recipe.learning_rate,
            betas=recipe.betas,
            weight_decay=recipe.weight_decay,
        )

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate of a step."""
        return learning_rate_at(step, steps=self.steps, recipe=self.recipe.training)

    def betas(self, step: int) -> tuple[float, float]:
        """Returns AdamW's β₁ and β₂ of a step."""
        return betas_at(step, steps=self.steps, recipe=self.recipe.training)

    def candidates(self, step: int) -> Int64[Tensor, " u"]:
        """Draws the items that may become negatives at a step, each at most once."""
        items = len(self.encoder.settings.items)
        generator = torch.Generator().manual_seed(stream_seed(self.recipe.seed, "candidates", step))
        return torch.randperm(items, generator=generator)[: self.interactions.candidates]

    def embeddings(self, batch: Batch, *, step: int) -> Float[Tensor, "b d"]:
        """Embeds a batch.

        Args:
            batch: Its inputs are user and item of each liked interaction.
            step: The step, which decides the candidates.

        Returns:
            A row for each user, then one for each liked item, then one for each candidate.
        """
        user, item = batch.inputs.unbind(1)
        drawn = self.candidates(step).to(item.device)
        return torch.cat(self.encoder(user, torch.cat([item, drawn]))).float()

    def backward(self, loss: Float[Tensor, ""]) -> None:
        """Takes the gradient into the weights."""
        loss.backward()  # type: ignore[no-untyped-call]

    def loss(self, embeddings: Float[Tensor, "b d"], batch: Batch, *, step: int) -> Float[Tensor, ""]:
        """Returns the loss of an embedded batch.

        The mean over the users of w·max(0, d(user, liked) − d(user, not met) + α), with w = 1, or the weight
        of the rank that the positive seems to have (Hsieh et al. 2017, eqs. 2 and 3); plus the penalty on
        covariances.

        Args:
            embeddings: What `embeddings` returned.
            batch: The batch.
            step: The step, which seeds the rule.

        Returns:
            A scalar, attached to the graph.

        Raises:
            SettingError: The loss is not finite.
        """
        loss_of = self.recipe.loss
        users, items = embeddings.tensor_split([len(batch.inputs)])
        related = Relations.from_masks(*self._masks(batch, step=step))
        settings: dict[str, Any] = {
            "margin": loss_of.margin,
            "distance": loss_of.distance,
            "references": items,
        }
        rule: dict[str, Any] = {
            "mining": RULES[self.interactions.negatives],
            "seed": stream_seed(self.recipe.seed, "mining", step),
        }
        loss: Tensor
        with torch.autocast(device_type=embeddings.device.type, enabled=False):
            if self.interactions.rank_weight:
                chosen = mine(users, related, **settings, **rule)
                values = triplet_loss(users, chosen, reduction="none", **settings)
                weights = self._rank_weights(users, items, related.negative)[chosen.anchor]
                loss = (weights * values).sum() / max(1, len(values))
            else:
                loss = triplet_loss(users, related, reduction="mean", **settings, **rule)
            if self.interactions.covariance:
                loss = loss + self.interactions.covariance * covariance(embeddings)
        if not torch.isfinite(loss) and self.recipe.training.precision != "16":
            raise SettingError(
                f"the loss is {loss.item()} at step {step}; lower training.learning_rate (it is "
                f"{self.recipe.training.learning_rate:g})"
            )
        return loss

    def figures(self, embeddings: Float[Tensor, "b d"], batch: Batch, *, step: int) -> dict[str, Any]:
        """Describes an embedded batch for the log.

        Args:
            embeddings: What `embeddings` returned.
            batch: The batch.
            step: The step.

        Returns:
            The share of candidates inside the margin, the mean distances of what was liked and of what was
            not met, the learning rate, the rule, and norms and rank of the embeddings.
        """
        users, items = embeddings.tensor_split([len(batch.inputs)])
        positive, negative = self._masks(batch, step=step)
        apart = pairwise_distances(users, items, distance=self.recipe.loss.distance)
        limit = apart[positive][:, None] + (self.recipe.loss.margin or 0.0)
        norms = embeddings.norm(dim=1)
        figures = {
            "learning_rate": self.learning_rate(step),
            "mining": self.interactions.negatives,
            "active": float(((apart < limit) & negative).sum() / negative.sum().clamp(min=1)),
            "positive_distance": float(apart[positive].mean()),
            "negative_distance": float(apart[negative].mean()) if bool(negative.any()) else float("nan"),
            "norm_mean": float(norms.mean()),
            "norm_max": float(norms.max()),
            "effective_rank": effective_rank(embeddings),
        }
        margin = self.recipe.loss.margin
        return figures if margin is None else {**figures, "margin": margin}

    def _masks(self, batch: Batch, *, step: int) -> tuple[Bool[Tensor, "b m"], Bool[Tensor, "b m"]]:
        """What of the items is the positive of each user, and what a negative: drawn, and never met."""
        users, own = torch.unique(batch.inputs[:, 0].cpu(), return_inverse=True)
        drawn = self.candidates(step)
        place = torch.full((len(self.encoder.settings.users),), -1)
        place[users] = torch.arange(len(users))
        first, count = self._bounds[drawn], self._bounds[drawn + 1] - self._bounds[drawn]
        column = torch.repeat_interleave(torch.arange(len(drawn)), count)
        met_by = place[
            self._met_by[torch.arange(len(column)) - (count.cumsum(0) - count)[column] + first[column]]
        ]
        free = torch.ones(len(users), len(drawn), dtype=torch.bool)
        free[met_by[met_by >= 0], column[met_by >= 0]] = False
        pairs = len(own)
        positive = torch.eye(pairs, pairs + len(drawn), dtype=torch.bool)
        negative = torch.cat([torch.zeros(pairs, pairs, dtype=torch.bool), free[own]], dim=1)
        device = batch.inputs.device
        return positive.to(device), negative.to(device)

    def _rank_weights(
        self, users: Float[Tensor, "b d"], items: Float[Tensor, "m d"], negative: Bool[Tensor, "b m"]
    ) -> Float[Tensor, " b"]:
        """log(1 + J·M/U): J of U candidates lie inside the margin, of M items in all."""
        margin = self.recipe.loss.margin
        assert margin is not None
        with torch.no_grad():
            apart = pairwise_distances(users, items, distance=self.recipe.loss.distance)
            inside = (apart < apart.diagonal()[:, None] + margin) & negative
            share = inside.sum(1) / negative.sum(1).clamp(min=1)
            return torch.log1p(share * len(self.encoder.settings.items))


class InteractionLoader(BatchLoader):
    """The batches of a run on interactions.

    Args:
        liked: User and item of each liked interaction.
        sampler: Which of them go into each batch.
        steps: How many batches the run takes.
    """

    def __init__(self, liked: Int64[np.ndarray, "n 2"], *, sampler: TripletSampler, steps: int) -> None:
        super().__init__(None, labels=liked[:, 0], sampler_at=lambda step: sampler, steps=steps)
        self._liked = torch.from_numpy(liked)

    def _batch(self, chosen: list[int]) -> Batch:
        positions = torch.as_tensor(chosen, dtype=torch.int64)
        pairs = self._liked[positions]
        return Batch(pairs, pairs[:, 0], positions)


def covariance(embeddings: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Returns (‖C‖² − ‖diag C‖²) / b of the covariances C of the dimensions (Hsieh et al. 2017, eq. 6).

    Example:
        >>> covariance(torch.tensor([[1.0, 1.0], [-1.0, -1.0]])).item()
        1.0
    """
    centred = embeddings - embeddings.mean(dim=0)
    together = centred.T @ centred / len(embeddings)
    off: Tensor = (together.square().sum() - together.diagonal().square().sum()) / len(embeddings)
    return off

"""The training step of two towers: users, the items they liked, and drawn items as negatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trine.distances import pairwise_distances
from trine.encoders import TwoTower
from trine.encoders.two_tower import LikedTower
from trine.errors import SettingError
from trine.losses import triplet_loss
from trine.mining import Relations, mine
from trine.shapes import Bool, Float, Int64
from trine.training.data_loader import Batch
from trine.training.diagnostics.batch_stats import effective_rank
from trine.training.recipe import Recipe
from trine.training.schedule import stream_seed
from trine.training.step import TrainingStep

RULES = {"hard": "hard", "sampled": "random-negative"}
"""The mining rule of each value of the setting: a user has one positive, so both choose the negative only."""


class TwoTowerStep(TrainingStep):
    """Embeds users, the items they liked, and drawn items that they have not interacted with.

    Args:
        towers: What is trained.
        recipe: The run's settings, with a section `interactions`.
        steps: The number of steps in the run.
        met: User and item of every training interaction; none of them is a negative.
    """

    def __init__(
        self, towers: TwoTower, *, recipe: Recipe, steps: int, met: Int64[np.ndarray, "s 2"]
    ) -> None:
        super().__init__(towers, recipe=recipe, steps=steps)
        assert recipe.interactions is not None
        self.interactions = recipe.interactions
        # Sorted by item: few users have interacted with a drawn item, while some users have many items.
        in_order = met[np.lexsort((met[:, 0], met[:, 1]))]
        self._met_by = torch.from_numpy(np.ascontiguousarray(in_order[:, 0]))
        ends = np.arange(len(towers.settings.items) + 1)
        self._bounds = torch.from_numpy(np.searchsorted(in_order[:, 1], ends))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Returns all weights of both towers."""
        return [{"params": list(self.encoder.parameters()), "share": 1.0}]

    def candidates(self, step: int) -> Int64[Tensor, " u"]:
        """Draws the items that may become negatives at a step, each at most once."""
        items = len(self.encoder.settings.items)
        generator = torch.Generator().manual_seed(stream_seed(self.recipe.seed, "candidates", step))
        return torch.randperm(items, generator=generator)[: self.interactions.candidates]

    def embed(self, batch: Batch, *, step: int) -> Float[Tensor, "b d"]:
        """Embeds a batch: a row for each user, then for each liked item, then for each candidate."""
        user, item = batch.inputs.unbind(1)
        drawn = self.candidates(step).to(item.device)
        if isinstance(self.encoder.users, LikedTower):
            generator = torch.Generator().manual_seed(stream_seed(self.recipe.seed, "dropout", step))
            users = self.encoder.users(
                user, without=item, dropout=self.interactions.dropout, generator=generator
            )
            return torch.cat([users, self.encoder.items(torch.cat([item, drawn]))]).float()
        return torch.cat(self.encoder(user, torch.cat([item, drawn]))).float()

    def loss(self, embeddings: Float[Tensor, "b d"], batch: Batch, *, step: int) -> Float[Tensor, ""]:
        """Returns the loss of an embedded batch.

        The mean over the users of w·max(0, d(user, liked) − d(user, not met) + α), with w = 1, or the weight
        of the rank that the positive seems to have (Hsieh et al. 2017, eqs. 2 and 3); plus the penalty on
        covariances.
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
            "mining": RULES.get(self.interactions.negatives),
            "seed": stream_seed(self.recipe.seed, "mining", step),
        }
        loss: Tensor
        with torch.autocast(device_type=embeddings.device.type, enabled=False):
            if self.interactions.negatives == "all":
                loss = self._over_all(users, items, related.negative)
            elif self.interactions.rank_weight:
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

    def _over_all(
        self, users: Float[Tensor, "b d"], items: Float[Tensor, "m d"], negative: Bool[Tensor, "b m"]
    ) -> Float[Tensor, ""]:
        """The mean of log(1 + Σ exp((d(user, liked) − d(user, n)) / temperature)) over the users."""
        with torch.autocast(device_type=users.device.type, enabled=False):
            apart = pairwise_distances(users, items, distance=self.recipe.loss.distance)
            near = -apart / self.interactions.temperature
            nearest = near.masked_fill(~negative, -torch.inf).logsumexp(dim=1)
            some = negative.any(dim=1)
            return F.softplus((nearest - near.diagonal())[some]).sum() / max(1, len(users))

    def statistics(self, embeddings: Float[Tensor, "b d"], batch: Batch, *, step: int) -> dict[str, Any]:
        """Describes an embedded batch for the log.

        Returns:
            The share of candidates inside the margin, the mean distances of liked items and of candidates,
            the rule, and norms and effective rank of the embeddings.
        """
        users, items = embeddings.tensor_split([len(batch.inputs)])
        positive, negative = self._masks(batch, step=step)
        apart = pairwise_distances(users, items, distance=self.recipe.loss.distance)
        limit = apart[positive][:, None] + (self.recipe.loss.margin or 0.0)
        norms = embeddings.norm(dim=1)
        found = {
            "mining": self.interactions.negatives,
            "active": float(((apart < limit) & negative).sum() / negative.sum().clamp(min=1)),
            "positive_distance": float(apart[positive].mean()),
            "negative_distance": float(apart[negative].mean()) if bool(negative.any()) else float("nan"),
            "norm_mean": float(norms.mean()),
            "norm_max": float(norms.max()),
            "effective_rank": effective_rank(embeddings),
        }
        margin = self.recipe.loss.margin
        return found if margin is None else {**found, "margin": margin}

    def _masks(self, batch: Batch, *, step: int) -> tuple[Bool[Tensor, "b m"], Bool[Tensor, "b m"]]:
        """The positive of each user among the items, and its negatives: drawn, and without interaction."""
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

"""The loss of a batch: trine's own, others that the recipe names or that were passed, or their sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trine.losses import contrastive_loss, gathered, triplet_loss
from trine.mining import census
from trine.shapes import Float, Int64
from trine.training.custom_loss import LossTerm, check_nothing_hidden
from trine.training.data_loader import Batch
from trine.training.diagnostics.batch_stats import active_per_item, listed_triplet_stats
from trine.training.distributed import SINGLE_PROCESS, DistributedContext
from trine.training.loss_recipe import BOTH
from trine.training.recipe import Recipe
from trine.training.schedule import loss_at, stream_seed
from trine.triplets import Triplets

References = tuple[Tensor, Tensor, Tensor] | tuple[None, None, None]
"""Embeddings, identities and items that a batch is compared with instead of itself."""


def seed_torch(seed: int, *, cuda: bool) -> None:
    """Seeds torch's own generators; `torch.manual_seed` visits every device, as slow as a small step."""
    torch.default_generator.manual_seed(seed)
    if cuda:
        torch.cuda.manual_seed(seed)


class Criterion:
    """The loss of a run.

    Args:
        recipe: The run's settings.
        steps: The number of steps in the run.
        context: The processes that share a batch.
        terms: The losses beside trine's own, see `loss_terms`; they are added up.

    Attributes:
        module: These losses, as far as they are modules: their parameters are trained, and they and their
            buffers are part of a checkpoint.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        steps: int,
        context: DistributedContext = SINGLE_PROCESS,
        terms: Sequence[LossTerm] = (),
    ) -> None:
        self._recipe = recipe
        self._steps = steps
        self._context = context
        self._terms = terms
        self._looked_into = False
        modules = [each.loss for each in terms if isinstance(each.loss, nn.Module)]
        self.module = (modules[0] if len(modules) == 1 else nn.ModuleList(modules)) if modules else None

    def parameters(self) -> list[nn.Parameter]:
        """Returns what is trained with the encoder."""
        return (
            [] if self.module is None else [each for each in self.module.parameters() if each.requires_grad]
        )

    def value(
        self, embeddings: Float[Tensor, "b d"], batch: Batch, *, step: int, references: References
    ) -> Float[Tensor, ""]:
        """Returns the loss of a batch.

        Args:
            embeddings: One row per item of the batch.
            batch: The batch.
            step: The step, which decides rule and margin and seeds the randomness.
            references: What to compare the items with, if not with the batch.

        Returns:
            A scalar, attached to the graph.

        Raises:
            InputError: A loss of another library returns something else.
        """
        values = [self._term(each, embeddings, batch, step=step) for each in self._terms]
        self._looked_into = True
        if self._recipe.loss.name in BOTH:
            values.append(self._own(embeddings, batch, step=step, references=references))
        return sum(values[1:], values[0])

    def _own(
        self, embeddings: Float[Tensor, "b d"], batch: Batch, *, step: int, references: References
    ) -> Float[Tensor, ""]:
        mining, margin = loss_at(step, steps=self._steps, recipe=self._recipe)
        recipe = self._recipe.loss
        rows, labels, ids = references
        shared: dict[str, Any] = {
            "distance": recipe.distance,
            "item_ids": batch.positions,
            "references": rows,
            "reference_labels": labels,
            "reference_ids": ids,
            "across_processes": self._context.size > 1,
        }
        if recipe.name == "contrastive":
            reduction = recipe.reduction or "mean"
            assert margin is not None
            assert reduction != "anchor"  # as the recipe has checked
            return contrastive_loss(
                embeddings, batch.labels, margin=margin, form=recipe.form, reduction=reduction, **shared
            )
        listed = None if batch.triplets is None else Triplets(*batch.triplets.unbind(1))
        value: Tensor = triplet_loss(
            embeddings,
            batch.labels if listed is None else listed,
            margin=margin,
            mining=mining,
            reduction=recipe.reduction,
            seed=stream_seed(self._recipe.seed, "mining", step),
            **shared,
        )
        return value

    def statistics(
        self,
        rows: Float[Tensor, "b d"],
        labels: Int64[Tensor, " b"],
        positions: Int64[Tensor, " b"],
        *,
        step: int,
        listed: Int64[Tensor, "t 3"] | None,
    ) -> dict[str, float | str]:
        """Describes a batch of all processes for the log.

        Args:
            rows: The embeddings.
            labels: The identity of each.
            positions: The position of each among the training items.
            step: The step.
            listed: Rows of anchor, positive and negative, if the triplets are listed rather than mined.

        Returns:
            The mean distances d_ap and d_an, and the margin, if there is one; for the triplet loss also the
            rule and how many triplets are active. With listed triplets, those of these triplets.
        """
        mining, margin = loss_at(step, steps=self._steps, recipe=self._recipe)
        distance, name = self._recipe.loss.distance, self._recipe.loss.name
        found: dict[str, float | str] = {"mining": mining} if name == "triplet" else {}
        if margin is not None and name in BOTH:
            found["margin"] = margin
        if listed is not None and name == "triplet":
            return {**found, **listed_triplet_stats(rows, listed, margin=margin or 0.0, distance=distance)}
        counted = census(rows, labels, margin=margin or 0.0, distance=distance, item_ids=positions)
        found["positive_distance"] = counted.mean_positive_distance
        found["negative_distance"] = counted.mean_negative_distance
        if name != "triplet":
            return found
        found["active"] = counted.active_share
        seed = stream_seed(self._recipe.seed, "mining", step)
        found["active_per_item"] = active_per_item(
            *(rows, labels),
            mining=mining, margin=margin, distance=distance, seed=seed, item_ids=positions, counted=counted,
        )  # fmt: skip
        return found

    def _term(
        self, term: LossTerm, embeddings: Float[Tensor, "b d"], batch: Batch, *, step: int
    ) -> Float[Tensor, ""]:
        # Every process computes the loss of the whole batch, which need not be a sum over anchors.
        rows, labels = embeddings, batch.labels
        if self._context.size > 1:
            rows, labels, _, _ = gathered(embeddings, batch.labels, batch.positions)
        seed_torch(stream_seed(self._recipe.seed, term.stream, step), cuda=rows.is_cuda)
        value = term.value(rows, labels)
        if not self._looked_into:
            check_nothing_hidden(value, rows, known=self.parameters(), name=term.name)
        return value

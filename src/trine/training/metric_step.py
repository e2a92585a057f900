"""One training step: augment, embed, loss.

Everything random is seeded by the step it belongs to, and everything that changes with time is a function
of the step; so a checkpoint needs the weights, the optimiser's state, the step and the cross-batch memory,
and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trine.encoders import Encoder
from trine.losses import Memory, gathered
from trine.shapes import Float
from trine.training.augment import augment
from trine.training.criterion import Criterion, References
from trine.training.custom_loss import Loss
from trine.training.data_loader import Batch
from trine.training.diagnostics.batch_stats import batch_stats
from trine.training.diagnostics.nonfinite import nonfinite_error
from trine.training.distributed import SINGLE_PROCESS, DistributedContext, as_in_first, chunks_of, parallel
from trine.training.grad_cache import GradientCache
from trine.training.recipe import Recipe
from trine.training.schedule import betas_at, learning_rate_at, stream_seed


class MetricStep:
    """What is done with each batch.

    Args:
        encoder: What is trained.
        recipe: The run's settings.
        steps: All steps of the run.
        names: The name of each training item, for errors.
        world: The processes that share the batch.
        loss: The loss, where it is none of the recipe's.

    Attributes:
        criterion: What a batch loses.
        memory: The last embeddings, where the recipe wants them remembered; part of a checkpoint.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        recipe: Recipe,
        steps: int,
        names: Sequence[str],
        world: DistributedContext = SINGLE_PROCESS,
        loss: Loss | None = None,
    ) -> None:
        self.encoder = encoder
        self.criterion = Criterion(recipe, steps=steps, world=world, given=loss)
        self.world = world
        self._network: nn.Module = encoder
        self.recipe = recipe
        self.steps = steps
        self.names = names
        kept = recipe.loss.memory
        self.memory = None if kept is None else Memory(kept, dimension=encoder.settings.dimension)
        self._cache: GradientCache | None = None

    @property
    def loss_module(self) -> nn.Module | None:
        """What the loss holds, where it is a module; part of a checkpoint."""
        return self.criterion.module

    def join(self) -> None:
        """Joins the encoders of all processes, and what the loss holds, once each is on its device."""
        self._network = parallel(self.encoder, self.world)
        if self.criterion.module is not None:
            self.criterion.module.train()
            as_in_first(self.criterion.module, world=self.world)

    def optimiser(self) -> torch.optim.Optimizer:
        """Makes AdamW; biases, the scales of normalisation layers and the loss's own weights do not decay.

        The `share` of a group of weights is what it takes of the learning rate.
        """
        recipe = self.recipe.training
        parts: list[tuple[nn.Module, float]] = [(self.encoder, 1.0)]
        if recipe.backbone_lr_scale != 1:
            parts = [(self.encoder.head, 1.0), (self.encoder.network, recipe.backbone_lr_scale)]
        groups: list[dict[str, Any]] = []
        for part, share in parts:
            parameters = [each for each in part.parameters() if each.requires_grad]
            groups += [
                {"params": [each for each in parameters if each.ndim > 1], "share": share},
                {
                    "params": [each for each in parameters if each.ndim <= 1],
                    "share": share,
                    "weight_decay": 0.0,
                },
            ]
        if own := self.criterion.parameters():
            groups.append({"params": own, "share": 1.0, "weight_decay": 0.0})
        return torch.optim.AdamW(
            groups, lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay
        )

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate of a step."""
        return learning_rate_at(step, steps=self.steps, recipe=self.recipe.training)

    def betas(self, step: int) -> tuple[float, float]:
        """Returns AdamW's β₁ and β₂ of a step."""
        return betas_at(step, steps=self.steps, recipe=self.recipe.training)

    def embeddings(self, batch: Batch, *, step: int) -> Float[Tensor, "b d"]:
        """Embeds a batch as training sees it: augmented, with dropout.

        Args:
            batch: The prepared items.
            step: The step, which seeds all that is random.

        Returns:
            One embedding a row, attached to the graph; float32 at least.
        """
        seed, inputs, stream = self.recipe.seed, batch.inputs, self.world.stream
        if self.encoder.settings.kind == "images":
            generator = torch.Generator().manual_seed(stream_seed(seed, stream("augment"), step))
            inputs = augment(inputs, batch.labels, recipe=self.recipe.augment, generator=generator)
        # Dropout and its like draw from torch's own generators; torch.manual_seed, which looks for every
        # kind of device, would take longer than a small step.
        network_seed = stream_seed(seed, stream("network"), step)
        torch.default_generator.manual_seed(network_seed)
        if inputs.is_cuda:
            torch.cuda.manual_seed(network_seed)
        chunk = self.recipe.training.chunk
        if chunk is None:
            embedded: Tensor = self._network(inputs)
        else:
            # Even ones: none is left with a row or two, whose statistics batch normalisation could not use.
            chunks = chunks_of(inputs, most=chunk, world=self.world)
            sizes = [len(part) for part in torch.arange(len(inputs)).tensor_split(chunks)]
            self._cache = GradientCache(self._network, inputs, sizes=sizes)
            embedded = self._cache.embed()
        return embedded.float()

    def backward(self, loss: Float[Tensor, ""]) -> None:
        """Takes the gradient of a batch that was embedded, into the weights.

        Args:
            loss: What `loss` returned, scaled or not.
        """
        loss.backward()  # type: ignore[no-untyped-call]
        if self._cache is not None:
            self._cache.backward()
            self._cache = None

    def loss(self, embeddings: Float[Tensor, "b d"], batch: Batch, *, step: int) -> Float[Tensor, ""]:
        """Returns the loss of an embedded batch, and remembers it where there is a memory.

        Args:
            embeddings: One row per item of the batch.
            batch: The batch.
            step: The step, which decides rule and margin and seeds the rule.

        Returns:
            A scalar, attached to the graph; finite, but for mixed precision in 16 bits.

        Raises:
            SettingError: The loss is NaN or infinite, and no gradient scaler would skip the step.
            InputError: A loss that was given returns no number, or one that nothing can be learned from.
        """
        warm = step >= self.recipe.loss.memory_warmup * self.steps
        memory = self.memory if warm else None
        rows = (embeddings, batch.labels, batch.positions)
        if memory is not None and self.world.size > 1:
            rows = gathered(*rows)[:3]  # the same in all processes, and so is what they remember
        references = remembered(memory, rows)
        with torch.autocast(device_type=embeddings.device.type, enabled=False):
            loss = self.criterion.value(embeddings, batch, step=step, references=references)
        if not torch.isfinite(loss):
            # The gradient scaler skips such a step; `OverflowCounter` counts how many it may.
            if self.recipe.training.precision == "16":
                return loss
            raise nonfinite_error(
                loss,
                embeddings,
                batch,
                names=self.names,
                step=step,
                learning_rate=self.recipe.training.learning_rate,
                world=self.world,
            )
        if memory is not None:
            memory.enqueue(*rows)
        return loss

    def figures(self, embeddings: Float[Tensor, "b d"], batch: Batch, *, step: int) -> dict[str, Any]:
        """Describes an embedded batch for the log.

        Args:
            embeddings: One row per item of the batch.
            batch: The batch.
            step: The step.

        Returns:
            The learning rate, and what `Criterion.figures` and `batch_stats` measure; nothing in any process
            but the first.
        """
        rows, labels, positions = embeddings, batch.labels, batch.positions
        if self.world.size > 1:
            rows, labels, positions, _ = gathered(embeddings, batch.labels, batch.positions)
            if not self.world.is_main:
                return {}
        return {
            "learning_rate": self.learning_rate(step),
            **self.criterion.figures(rows, labels, positions, step=step, listed=batch.triplets),
            **batch_stats(rows, labels),
        }


def remembered(memory: Memory | None, rows: tuple[Tensor, Tensor, Tensor]) -> References:
    """Returns the references of a batch, itself and the memory; none where nothing is remembered."""
    if memory is None or len(memory) == 0:
        return None, None, None
    return memory.joined(*rows)

"""The training step of an encoder: augment, embed, and take the loss of the embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trine.encoders import Encoder
from trine.losses import Memory, gathered
from trine.shapes import Float
from trine.training.augment import augment
from trine.training.criterion import Criterion, References, seed_torch
from trine.training.custom_loss import LossTerm
from trine.training.data_loader import Batch
from trine.training.diagnostics.batch_stats import batch_stats
from trine.training.diagnostics.nonfinite import nonfinite_error
from trine.training.distributed import (
    SINGLE_PROCESS,
    DistributedContext,
    chunks_of,
    copy_from_first,
    parallel,
)
from trine.training.grad_cache import GradientCache
from trine.training.recipe import Recipe
from trine.training.schedule import stream_seed
from trine.training.step import TrainingStep


class MetricStep(TrainingStep):
    """Embeds items, and takes the loss that the recipe names or one that was passed.

    Args:
        encoder: What is trained.
        recipe: The run's settings.
        steps: The number of steps in the run.
        names: The name of each training item, for errors.
        context: The processes that share a batch.
        terms: The losses beside trine's own, see `loss_terms`.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        recipe: Recipe,
        steps: int,
        names: Sequence[str],
        context: DistributedContext = SINGLE_PROCESS,
        terms: Sequence[LossTerm] = (),
    ) -> None:
        super().__init__(encoder, recipe=recipe, steps=steps, context=context)
        self.criterion = Criterion(recipe, steps=steps, context=context, terms=terms)
        self.loss_module = self.criterion.module
        size = recipe.loss.memory
        self.memory: Memory | None = (
            None if size is None else Memory(size, dimension=encoder.settings.dimension)
        )
        self._names = names
        self._network: nn.Module = encoder
        self._cache: GradientCache | None = None

    def start(self) -> None:
        """Synchronises the encoders and losses of all processes, once each is on its device."""
        self._network = parallel(self.encoder, self.context)
        if self.loss_module is not None:
            self.loss_module.train()
            copy_from_first(self.loss_module, context=self.context)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Returns what is trained; biases, normalisation and the loss's own weights do not decay."""
        recipe = self.recipe.training
        parts: list[tuple[nn.Module, float]] = [(self.encoder, 1.0)]
        if recipe.backbone_lr_scale != 1:
            parts = [(self.encoder.head, 1.0), (self.encoder.network, recipe.backbone_lr_scale)]
        groups: list[dict[str, Any]] = []
        for part, share in parts:
            trained = [each for each in part.parameters() if each.requires_grad]
            groups += [
                {"params": [each for each in trained if each.ndim > 1], "share": share},
                {
                    "params": [each for each in trained if each.ndim <= 1],
                    "share": share,
                    "weight_decay": 0.0,
                },
            ]
        if own := self.criterion.parameters():
            groups.append({"params": own, "share": recipe.loss_lr_scale, "weight_decay": 0.0})
        return groups

    def embed(self, batch: Batch, *, step: int) -> Float[Tensor, "b d"]:
        """Embeds a batch as training sees it: augmented, with dropout; see `TrainingStep.embed`."""
        seed, inputs, stream = self.recipe.seed, batch.inputs, self.context.stream
        if self.encoder.settings.kind == "images":
            generator = torch.Generator().manual_seed(stream_seed(seed, stream("augment"), step))
            inputs = augment(inputs, batch.labels, recipe=self.recipe.augment, generator=generator)
        seed_torch(stream_seed(seed, stream("network"), step), cuda=inputs.is_cuda)
        chunk = self.recipe.training.chunk
        if chunk is None:
            embedded: Tensor = self._network(inputs)
        else:
            # Chunks of even size: batch normalisation needs more than a row or two.
            chunks = chunks_of(inputs, most=chunk, context=self.context)
            sizes = [len(part) for part in torch.arange(len(inputs)).tensor_split(chunks)]
            self._cache = GradientCache(self._network, inputs, sizes=sizes)
            embedded = self._cache.embed()
        return embedded.float()

    def backward_chunks(self) -> None:
        """Runs the second pass of gradient caching, with `training.chunk`."""
        if self._cache is not None:
            self._cache.backward()
            self._cache = None

    def loss(self, embeddings: Float[Tensor, "b d"], batch: Batch, *, step: int) -> Float[Tensor, ""]:
        """Returns the loss of an embedded batch, and remembers the batch; see `TrainingStep.loss`.

        Raises:
            SettingError: The loss is not finite; names the items that caused it, if any.
            InputError: A loss that was passed does not return one number with a gradient.
        """
        warm = step >= self.recipe.loss.memory_warmup * self.steps
        memory = self.memory if warm else None
        rows = (embeddings, batch.labels, batch.positions)
        if memory is not None and self.context.size > 1:
            rows = gathered(*rows)[:3]  # The same in all processes, so their memories stay equal.
        references: References = None, None, None
        if memory is not None and len(memory):
            references = memory.joined(*rows)
        with torch.autocast(device_type=embeddings.device.type, enabled=False):
            loss = self.criterion.value(embeddings, batch, step=step, references=references)
        if not torch.isfinite(loss):
            # The gradient scaler skips such a step; `OverflowCounter` limits how many.
            if self.recipe.training.precision == "16":
                return loss
            raise nonfinite_error(
                loss,
                embeddings,
                batch,
                names=self._names,
                step=step,
                learning_rate=self.recipe.training.learning_rate,
                context=self.context,
            )
        if memory is not None:
            memory.enqueue(*rows)
        return loss

    def statistics(self, embeddings: Float[Tensor, "b d"], batch: Batch, *, step: int) -> dict[str, Any]:
        """Describes an embedded batch for the log; returns nothing in any process but the first.

        See `Criterion.statistics` and `batch_stats`.
        """
        rows, labels, positions = embeddings, batch.labels, batch.positions
        if self.context.size > 1:
            rows, labels, positions, _ = gathered(embeddings, batch.labels, batch.positions)
            if not self.context.is_main:
                return {}
        return {
            **self.criterion.statistics(rows, labels, positions, step=step, listed=batch.triplets),
            **batch_stats(rows, labels),
        }

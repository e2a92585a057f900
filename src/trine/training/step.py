"""Interface of what the loop trains: embed a batch, compute its loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from trine.shapes import Float
from trine.training.data_loader import Batch
from trine.training.distributed import SINGLE_PROCESS, DistributedContext
from trine.training.recipe import Recipe


class TrainingStep(ABC):
    """What is done with each batch.

    All randomness is seeded by the step it belongs to, and all that changes during a run is a function of the
    step, so a checkpoint needs only the weights, the optimiser's state, the step and the memory.

    Args:
        encoder: What is trained.
        recipe: The run's settings.
        steps: The number of steps in the run.
        context: The processes that share a batch.

    Attributes:
        memory: Embeddings of earlier batches; part of a checkpoint.
        loss_module: The loss, if it is a module; part of a checkpoint.
    """

    memory: nn.Module | None = None
    loss_module: nn.Module | None = None

    def __init__(
        self, encoder: nn.Module, *, recipe: Recipe, steps: int, context: DistributedContext = SINGLE_PROCESS
    ) -> None:
        self.encoder: Any = encoder
        self.recipe = recipe
        self.steps = steps
        self.context = context

    def start(self) -> None:  # noqa: B027  # by default there is nothing to join
        """Synchronises the encoders of all processes, once each is on its device."""

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """Returns what is trained; `share` is the part of the learning rate that a group takes."""

    @abstractmethod
    def embed(self, batch: Batch, *, step: int) -> Float[Tensor, "b d"]:
        """Embeds a batch as training sees it.

        Args:
            batch: The prepared items.
            step: The step.

        Returns:
            Embeddings attached to the graph, float32 at least.
        """

    @abstractmethod
    def loss(self, embeddings: Float[Tensor, "b d"], batch: Batch, *, step: int) -> Float[Tensor, ""]:
        """Returns the loss of an embedded batch.

        Args:
            embeddings: What `embed` returned.
            batch: The batch.
            step: The step.

        Returns:
            A scalar attached to the graph; finite, unless precision is 16, whose gradient scaler skips it.

        Raises:
            SettingError: The loss is not finite.
        """

    def backward_chunks(self) -> None:  # noqa: B027  # by default there are none
        """Backpropagates from the embeddings through the encoder, if they were embedded in chunks."""

    @abstractmethod
    def statistics(self, embeddings: Float[Tensor, "b d"], batch: Batch, *, step: int) -> dict[str, Any]:
        """Describes an embedded batch for the log.

        Args:
            embeddings: What `embed` returned.
            batch: The batch.
            step: The step.
        """

"""What each of several processes does in the tests of losses by others."""

from __future__ import annotations

import torch

from trine.training import Recipe, with_loss
from trine.training.criterion import Criterion
from trine.training.custom_loss import loss_terms
from trine.training.data_loader import Batch
from trine.training.distributed import SINGLE_PROCESS, DistributedContext

NOTHING = (None, None, None)


class Centres(torch.nn.Module):
    """A loss with weights of its own, which draws at random, and is no sum over anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = torch.nn.Parameter(torch.arange(12.0, dtype=torch.float64).reshape(4, 3) / 7)

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        noise = torch.rand(len(embeddings), dtype=torch.float64)
        apart = (embeddings - self.centres[labels]).square().sum(dim=1)
        return (apart * noise).mean() + torch.pdist(embeddings).std()


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(11, 3, generator=generator, dtype=torch.float64), torch.arange(11) % 4


def learned(
    first: int, stop: int, world: DistributedContext = SINGLE_PROCESS
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The loss of a part of the rows, and its gradient at them and at the weights of the loss."""
    embeddings, labels = rows()
    embeddings, labels = embeddings[first:stop].requires_grad_(), labels[first:stop]
    loss = Centres()
    recipe = with_loss(Recipe(seed=3), loss)
    terms = loss_terms(recipe, loss, labels=labels.numpy(), dimension=3)
    criterion = Criterion(recipe, steps=9, context=world, terms=terms)
    batch = Batch(embeddings.detach(), labels, torch.arange(first, stop))
    torch.manual_seed(world.rank)  # what the encoder of this process has drawn
    value = criterion.value(embeddings, batch, step=4, references=NOTHING)
    value.backward()
    assert embeddings.grad is not None
    assert loss.centres.grad is not None
    return value.detach(), embeddings.grad, loss.centres.grad


def part(rank: int, size: int) -> list[torch.Tensor]:
    stops = [0, 4, 11]
    return list(learned(stops[rank], stops[rank + 1], DistributedContext(rank, size)))

"""Prints the loss and the gradient of steps as they are and compiled; a compiler that objects prints more."""

import torch
from torch import nn

from trine import (
    ContrastiveLoss,
    CrossBatchMemory,
    TripletLoss,
    cached_backward,
    census,
    mine,
    pairwise_distances,
    triplet_loss,
)
from trine.losses import differentiable_triplet_loss

LABELS = torch.arange(24) // 4
IDS = torch.arange(24)


def with_miner(rows, labels):
    return triplet_loss(rows, mine(rows, labels, mining="hard"), reduction="mean")


def with_distances(rows, labels):
    near = pairwise_distances(rows, distance="cosine")[labels[:, None] == labels]
    return near.mean() + census(rows, labels).hard * rows.sum() * 1e-3


LOSSES = {
    "semihard": lambda: TripletLoss(),
    "all, soft": lambda: TripletLoss(margin=None, mining="all", distance="cosine"),
    "random": lambda: TripletLoss(mining="random"),
    "one value each": lambda: lambda rows, labels: triplet_loss(rows, labels, reduction="none").mean(),
    "contrastive": lambda: ContrastiveLoss(),
    "memory": lambda: Remembering(),
    "differentiable": lambda: differentiable_triplet_loss,
    "miner": lambda: with_miner,
    "distances": lambda: with_distances,
}


class Remembering(nn.Module):
    def __init__(self):
        super().__init__()
        self.loss = CrossBatchMemory(TripletLoss(), size=100, dimension=3)

    def forward(self, rows, labels):
        return self.loss(rows, labels, IDS)


def steps(name, *, compiled):
    torch.manual_seed(0)
    network, loss = nn.Linear(5, 3), LOSSES[name]()

    def step(items, labels):
        value = loss(network(items), labels)
        value.backward()
        return value.detach()

    run = torch.compile(step, backend="eager") if compiled else step
    values = [float(run(torch.randn(24, 5), LABELS)) for _ in range(2)]
    return [round(v, 6) for v in [*values, float(network.weight.grad.square().sum())]]


def cached(*, compiled):
    torch.manual_seed(0)
    network, loss, items = nn.Linear(5, 3), TripletLoss(), torch.randn(24, 5)

    def step():
        return cached_backward(network, items, LABELS, loss, chunk=7)

    value = (torch.compile(step, backend="eager") if compiled else step)()
    return [round(v, 6) for v in (float(value), float(network.weight.grad.square().sum()))]


if __name__ == "__main__":
    for name in LOSSES:
        print(name, steps(name, compiled=False), steps(name, compiled=True), sep="|")
    print("cached", cached(compiled=False), cached(compiled=True), sep="|")

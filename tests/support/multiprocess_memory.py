"""What each process of a world does for the tests of cross-batch memory and of confusable identities."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from trine import ContrastiveLoss, CrossBatchMemory, TripletLoss
from trine.data import Dataset, Vectors, load
from trine.encoders import EncoderRecipe, MlpSettings, SmallResNetSettings, build_encoder
from trine.training import LossRecipe, Recipe, TrainingRecipe
from trine.training.data_loader import Batch, PreparedItems
from trine.training.distributed import SINGLE_PROCESS, DistributedContext
from trine.training.metric_step import MetricStep
from trine.training.samplers import ConfusableRefresh

PARTS = [(4, 4, 4), (7, 0, 5), (3, 6, 2), (5, 5, 1)]


def batches() -> list[tuple[list[int], Tensor, Tensor, Tensor]]:
    """Joined batches of items that come again, and where each process's part of them starts."""
    g = torch.Generator().manual_seed(3)
    found = []
    for parts in PARTS:
        ids = torch.randperm(20, generator=g)[: sum(parts)]
        rows = torch.randn(len(ids), 3, dtype=torch.float64, generator=g)
        bounds = [sum(parts[:rank]) for rank in range(len(parts) + 1)]
        found.append((bounds, rows, ids % 4, ids))
    return found


def memories(rank: int, size: int) -> list[dict[str, Any]]:
    """A memory of all processes beside one that sees the joined batches."""
    found = []
    for make in (
        lambda across: TripletLoss(margin=0.3, mining="semihard", across_processes=across),
        lambda across: TripletLoss(margin=0.3, mining="all", across_processes=across),
        lambda across: TripletLoss(margin=0.3, mining="random", reduction="anchor", across_processes=across),
        lambda across: ContrastiveLoss(across_processes=across),
    ):
        ours, twin = (
            CrossBatchMemory(make(across), size=16, dimension=3, warmup=1).double()
            for across in (True, False)
        )
        for bounds, rows, labels, ids in batches():
            own = slice(bounds[rank], bounds[rank + 1])
            x, y = rows[own].clone().requires_grad_(), rows.clone().requires_grad_()
            value, expected = ours(x, labels[own], ids[own]), twin(y, labels, ids)
            value.backward()
            expected.backward()
            same = all(
                torch.equal(kept, twin.memory.state_dict()[name])
                for name, kept in ours.memory.state_dict().items()
            )
            off = (x.grad / size - y.grad[own]).abs().max().item() if len(x) else 0.0
            found.append(
                {
                    "value": abs(value.item() - expected.item()),
                    "gradient": off,
                    "norm": y.grad.norm().item(),
                    "same": same,
                    "held": len(ours.memory),
                }
            )
    return found


def steps(rank: int, size: int) -> list[dict[str, Any]]:
    """The step of a run, its memory on from the start, beside that of one process."""
    data, _ = load("digits")
    rows = np.stack([data.items[i].ravel() for i in range(30)]).astype(np.float32)
    recipe = Recipe(
        encoder=EncoderRecipe(dimension=3, mlp=MlpSettings(())),
        loss=LossRecipe(memory=16, memory_warmup=0.0, mining="semihard"),
        training=TrainingRecipe(steps=9),
    )
    encoder = build_encoder(Vectors(rows), recipe=recipe.encoder)
    ours, twin = (
        MetricStep(encoder, recipe=recipe, steps=9, names=data.names, context=world)
        for world in (DistributedContext(rank, size), SINGLE_PROCESS)
    )
    found = []
    for step, (bounds, joined, labels, ids) in enumerate(batches()):
        own = slice(bounds[rank], bounds[rank + 1])
        x, y = joined[own].float().requires_grad_(), joined.float().requires_grad_()
        value = ours.loss(x, Batch(x.detach(), labels[own], ids[own]), step=step)
        expected = twin.loss(y, Batch(y.detach(), labels, ids), step=step)
        value.backward()
        expected.backward()
        assert ours.memory is not None
        assert twin.memory is not None
        kept = twin.memory.state_dict()
        found.append(
            {
                "value": abs(value.item() - expected.item()),
                "gradient": (x.grad / size - y.grad[own]).abs().max().item() if len(x) else 0.0,
                "norm": y.grad.norm().item(),
                "same": all(torch.equal(v, kept[name]) for name, v in ours.memory.state_dict().items()),
                "held": len(ours.memory),
            }
        )
    return found


def everything(rank: int, size: int) -> dict[str, Any]:
    """Memories and steps, at once."""
    return {"memories": memories(rank, size), "steps": steps(rank, size)}


def confusions(rank: int, size: int) -> Tensor:
    """The lists that a process finds, whose encoder has drifted away from the first one's."""
    data: Dataset = load("digits")[0].subset(range(100))
    recipe = EncoderRecipe(dimension=8, small_resnet=SmallResNetSettings(width=8, dropout=0.2))
    encoder = build_encoder(data.items, recipe=recipe)
    if rank:
        for name, value in encoder.state_dict().items():
            if "running" in name:
                value.add_(rank)
    looks = ConfusableRefresh(
        encoder,
        prepared=PreparedItems(data, encoder=encoder, cache=1e9),
        labels=data.labels,
        every=1,
        context=DistributedContext(rank, size),
    )
    return torch.from_numpy(looks.find())

"""What each process of a world does in tests/losses/test_processes.py: its part, and the whole beside it."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trine import Mining, Relations, cached_backward, contrastive_loss, triplet_loss
from trine.errors import InputError
from trine.losses import gathered
from trine.triplets import PRESETS

REDUCTIONS = ("active", "mean", "anchor", "sum")
PARTS = {2: [(9, 9), (11, 4), (0, 13), (1, 12)], 3: [(6, 6, 6), (9, 1, 5), (0, 10, 7), (13, 0, 0)]}
CHUNK = 4


class Model(nn.Module):
    """An encoder without batch statistics, and a loss with a parameter behind it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first, self.second = nn.Linear(6, 7), nn.Linear(7, 4)
        self.turn = nn.Parameter(torch.eye(4))
        for parameter in self.parameters():
            parameter.data += 0.3 * torch.randn(parameter.shape)

    def forward(self, items: Tensor) -> Tensor:
        return nn.functional.normalize(self.second(self.first(items).tanh()) @ self.turn, dim=1)


def loss_of(settings: dict[str, Any], across: bool, ids: Tensor | None):
    """The loss as a function of embeddings and labels."""
    settings = dict(settings)
    kind = settings.pop("loss", "triplet")
    function = contrastive_loss if kind == "contrastive" else triplet_loss
    return lambda x, y: function(x, y, item_ids=ids, across_processes=across, **settings)


def batch(n: int, kind: str, seed: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    items = torch.randn(n, 6, generator=g)
    labels = torch.randperm(n, generator=g) % max(2, n // 4)
    if kind == "one identity":
        labels = torch.zeros_like(labels)
    if kind == "singletons":
        labels = torch.arange(n)
    if kind == "nothing active":
        items = 9.0 * nn.functional.one_hot(labels % 3, 6) + 1e-3 * items
        labels = labels % 3
    return items, labels


def cases(size: int) -> list[dict[str, Any]]:
    """Every rule, reduction and kind of margin, over uneven parts; the rest in turns."""
    found = []
    turns = itertools.count()
    for rule, margin, reduction in itertools.product(PRESETS, (0.3, None), REDUCTIONS):
        if margin is None and Mining.named(rule).needs_margin:
            continue
        settings = {"mining": rule, "margin": margin, "reduction": reduction, "seed": 11}
        found.append({"settings": settings, "turn": next(turns), "dtype": "float64"})
    for rule, reduction in itertools.product(("all", "hard", "semihard", "violating"), REDUCTIONS):
        settings = {"mining": rule, "margin": 0.3, "reduction": reduction, "distance": "squared_euclidean"}
        found.append({"settings": settings, "turn": next(turns), "dtype": "float32"})
    for kind, rule in itertools.product(
        ("one identity", "singletons", "nothing active"), ("all", "hard", "random")
    ):
        settings = {"mining": rule, "margin": 0.1}
        found.append({"settings": settings, "turn": next(turns), "dtype": "float64", "kind": kind})
    for reduction, distance in itertools.product(("mean", "sum", "active"), ("euclidean", "cosine")):
        settings = {"loss": "contrastive", "reduction": reduction, "distance": distance}
        found.append({"settings": settings, "turn": next(turns), "dtype": "float64"})
    for case in found:
        case["parts"] = PARTS[size][case["turn"] % len(PARTS[size])]
        case["cached"] = case["turn"] % 3 == 0
        case["ids"] = case["turn"] % 5 == 0
    if size == 3:
        found = found[::2]
    # A batch large enough for the tiled passes.
    for rule, dtype in itertools.product(("all", "semihard", "hard"), ("float32", "float64")):
        parts = (260, 140) if size == 2 else (150, 250, 0)
        settings = {"mining": rule, "margin": 0.2}
        found.append({"settings": settings, "parts": parts, "dtype": dtype, "turn": 7, "cached": False})
    return found


def gradient(model: nn.Module) -> Tensor:
    return torch.cat([each.grad.flatten() for each in model.parameters()]).double()


def compare(rank: int, size: int) -> list[dict[str, Any]]:
    """Takes each case alone, on the joined batch, and together, each process its part."""
    found = []
    for case in cases(size):
        dtype = getattr(torch, case["dtype"])
        parts, n = case["parts"], sum(case["parts"])
        items, labels = batch(n, case.get("kind", "plain"), case["turn"])
        items = items.to(dtype)
        ids = (torch.arange(n) // 2) * 3 % 17 if case.get("ids") else None
        own = slice(sum(parts[:rank]), sum(parts[: rank + 1]))
        alone = Model().to(dtype)
        value = loss_of(case["settings"], False, ids)(alone(items), labels)
        value.backward()
        together = DistributedDataParallel(Model().to(dtype))
        loss = loss_of(case["settings"], True, None if ids is None else ids[own])
        if case["cached"]:
            part = cached_backward(together, items[own], labels[own], loss, chunk=CHUNK)
        else:
            part = loss(together(items[own]), labels[own])
            part.backward()
        expected, given = gradient(alone), gradient(together)
        scale = max(1.0, float(expected.norm()))
        found.append(
            {
                "case": str(case),
                "dtype": case["dtype"],
                "kind": case.get("kind", "plain"),
                "norm": float(expected.norm()),
                "gradient": float((given - expected).norm()) / scale,
                "value": abs(part.item() - value.item()) / max(1.0, abs(value.item())),
                "same": part.item(),
            }
        )
    return found


def refer(rank: int, size: int) -> list[dict[str, Any]]:
    """References that are given: those of all processes, and further rows that all of them hold."""
    found = []
    parts = PARTS[size][1]
    own = slice(sum(parts[:rank]), sum(parts[: rank + 1]))
    n, g = sum(parts), torch.Generator().manual_seed(3)
    items, labels = batch(n, "plain", 3)
    past, past_labels = torch.randn(8, 4, generator=g).double(), torch.randint(0, 4, (8,), generator=g)
    for rule, ids in itertools.product(("all", "semihard", "random", "violating"), (True, False)):
        known = {"item_ids": torch.arange(n), "reference_ids": torch.arange(n + 8)} if ids else {}
        alone, together = (Model().double() for _ in range(2))
        rows = alone(items.double())
        value = triplet_loss(
            rows, labels, mining=rule, seed=4, references=torch.cat([rows, past]),
            reference_labels=torch.cat([labels, past_labels]), **known,
        )  # fmt: skip
        value.backward()
        rows = together(items[own].double())
        everyone = gathered(rows, labels[own])
        known = {"item_ids": torch.arange(n)[own], "reference_ids": torch.arange(n + 8)} if ids else {}
        part = triplet_loss(
            rows, labels[own], mining=rule, seed=4, references=torch.cat([everyone.rows, past]),
            reference_labels=torch.cat([everyone.labels, past_labels]), across_processes=True, **known,
        )  # fmt: skip
        part.backward()
        given, expected = gradient(together), gradient(alone)
        torch.distributed.all_reduce(given)
        found.append(
            {
                "case": f"{rule}, ids {ids}",
                "norm": float(expected.norm()),
                "gradient": float((given / size - expected).norm()),
                "value": abs(part.item() - value.item()),
            }
        )
    return found


def repeat(rank: int, size: int) -> list[dict[str, Any]]:
    """Equal calls with the same relations, with and without ids, and one process on the joined batch."""
    n, g = 12, torch.Generator().manual_seed(8)
    rows, references = torch.randn(n, 3, generator=g).double(), torch.randn(9, 3, generator=g).double()
    labels, others = torch.arange(n) % 3, torch.arange(9) % 3
    parts = torch.arange(n).tensor_split(size)
    own, found = parts[rank], []
    for ids in (None, torch.arange(n) % 9):
        known = (None, None) if ids is None else (ids[own], torch.arange(9))
        relations = Relations.from_labels(labels[own], others, item_ids=known[0], reference_ids=known[1])
        before = relations.anchor_ids.clone()
        settings = {"mining": "random", "references": references, "seed": 2}
        values = [
            triplet_loss(rows[own], relations, across_processes=True, **settings).item() for _ in range(3)
        ]
        joined = Relations.from_labels(
            labels, others, item_ids=ids, reference_ids=None if ids is None else torch.arange(9)
        )
        found.append(
            {
                "values": values,
                "alone": triplet_loss(rows, joined, **settings).item(),
                "unchanged": torch.equal(before, relations.anchor_ids),
            }
        )
    return found


def mistakes(rank: int, size: int) -> list[str]:
    """What is told where the processes do not fit together: the same everywhere."""
    labels, found = torch.tensor([0, 0, 1]), []
    for run in (
        lambda: triplet_loss(torch.ones(3, 2 + rank), labels, across_processes=True),
        lambda: triplet_loss(
            torch.ones(3, 2), labels, item_ids=labels if rank else None, across_processes=True
        ),
        lambda: triplet_loss(
            torch.ones(3, 2), Relations.from_masks(torch.ones(3, 3, dtype=torch.bool)), across_processes=True
        ),
        lambda: triplet_loss(torch.ones(3, 2), labels, reference_labels=labels, across_processes=True),
    ):
        try:
            run()
            found.append("nothing")
        except InputError as error:
            found.append(str(error))
    everyone = gathered(torch.full((rank, 2), float(rank)), torch.full((rank,), rank))
    return [*found, str(everyone.labels.tolist()), str(everyone.item_ids.tolist()), str(everyone.first)]


class Drifting(Model):
    """An encoder whose output depends on a buffer that every pass moves."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("drift", torch.zeros(4))

    def forward(self, items: Tensor) -> Tensor:
        out = super().forward(items) + self.drift
        if len(items):
            self.drift.lerp_(out.detach().mean(0), 0.5)
        return out


def drift(rank: int, size: int) -> list[dict[str, float]]:
    """Two cached steps beside one graph over the same chunks; buffers begin as the first process has them."""
    parts = PARTS[size][1]
    own = slice(sum(parts[:rank]), sum(parts[: rank + 1]))
    settings = {"mining": "all"}
    together, twin = DistributedDataParallel(Drifting().double()), Drifting().double()
    found = []
    for turn in range(2):
        items, labels = (each[own] for each in batch(sum(parts), "plain", turn))
        loss = loss_of(settings, True, None)
        cached_backward(together, items.double(), labels, loss, chunk=CHUNK)
        torch.distributed.broadcast(twin.drift, 0)
        loss(torch.cat([twin(part) for part in items.double().split(CHUNK)]), labels).backward()
        expected = gradient(twin)
        torch.distributed.all_reduce(expected)
        found.append(
            {
                "norm": float(expected.norm()),
                "gradient": float((gradient(together) - expected / size).norm()),
                "drift": float((together.module.drift - twin.drift).norm()),
            }
        )
        together.zero_grad()
        twin.zero_grad()
    return found


def everything(rank: int, size: int) -> dict[str, Any]:
    return {
        "compare": compare(rank, size),
        "refer": refer(rank, size),
        "repeat": repeat(rank, size),
        "mistakes": mistakes(rank, size),
        "drift": drift(rank, size),
    }

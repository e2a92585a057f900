"""One loss over the batches of several processes: local anchors, references from all processes.

Each process takes its own anchors against the rows of all, and its gradient is W times its part of the
gradient of the joined batch, W being the number of processes: averaged, as `DistributedDataParallel` does
it, the gradients are that of one process on the joined batch. Every process takes part in every collective,
with rows or without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from trine.distances import check_rows
from trine.eager import eager
from trine.engine.autograd import EarlyLoss
from trine.engine.objective import Tally
from trine.engine.relations import LabelRelations, Relations, check_labels
from trine.errors import InputError
from trine.mining.inputs import Batch, checked_batch
from trine.shapes import Float, Int, Int64


class Gathered(NamedTuple):
    """The rows of all processes, in the order of their ranks.

    Attributes:
        rows: The embeddings; a gradient at them goes back to the process that each came from.
        labels: The identity of each.
        item_ids: Which item each is: as given, or else a number for each row.
        first: Where the rows of this process start.
    """

    rows: Float[Tensor, "m d"]
    labels: Int64[Tensor, " m"]
    item_ids: Int64[Tensor, " m"]
    first: int


@eager
def gathered(
    embeddings: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    item_ids: Int[Tensor, " n"] | None = None,
) -> Gathered:
    """Gathers the rows of all processes; every process of the default group must call it.

    Gradients at the rows are added up over the processes on the way back, where every process has to take
    part again. Without `torch.distributed` the rows of this process are all there are.

    Args:
        embeddings: The rows of this process: any number, possibly none.
        labels: The identity of each.
        item_ids: Which item each is; given by all processes, or by none.

    Returns:
        Rows, labels and ids of all.

    Raises:
        InputError: Shapes do not fit, here or between the processes.

    Example:
        >>> gathered(torch.ones(2, 3), torch.tensor([4, 5])).item_ids
        tensor([0, 1])
    """
    check_rows(embeddings, "embeddings")
    check_labels(labels, "labels", len(embeddings))
    if item_ids is not None:
        check_labels(item_ids, "item_ids", len(embeddings))
    if processes() == 1:
        ids = torch.arange(len(labels), device=labels.device) if item_ids is None else item_ids.long()
        return Gathered(embeddings, labels.long(), ids, 0)
    sizes = _sizes(embeddings, item_ids)
    first = sum(sizes[: dist.get_rank()])
    own = item_ids
    if own is None:
        own = torch.arange(first, first + len(labels), device=labels.device)
    together = torch.stack([labels.long(), own.long()], 1).to(embeddings.device)
    known = _all_rows(together, sizes).to(labels.device)
    rows: Tensor = _Gather.apply(embeddings, sizes)
    return Gathered(rows, known[:, 0].contiguous(), known[:, 1].contiguous(), first)


def processes() -> int:
    """Returns the number of processes: 1 if `torch.distributed` is not initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def spread_batch(
    embeddings: Tensor,
    labels: Tensor | Relations,
    references: Tensor | None,
    reference_labels: Tensor | None,
    item_ids: Tensor | None,
    reference_ids: Tensor | None,
) -> Batch:
    """Returns the part of this process in the batch of all; see `checked_batch`.

    References that are given are the same in all processes; else they are the embeddings of all.
    """
    if processes() == 1:
        return checked_batch(embeddings, labels, references, reference_labels, item_ids, reference_ids)
    if references is not None:
        batch = checked_batch(embeddings, labels, references, reference_labels, item_ids, reference_ids)
        if item_ids is None:  # random rules draw by the number of a row in the joined batch
            first = sum(_sizes(embeddings, None)[: dist.get_rank()])
            batch = replace(batch, relations=batch.relations.numbered_from(first))
        return batch
    if isinstance(labels, Relations):
        raise InputError(
            "Relations with across_processes=True need references: pass those of all processes, such as the "
            "rows that trine.losses.gathered returns"
        )
    if reference_labels is not None or reference_ids is not None:
        raise InputError("reference_labels and reference_ids need references: pass references too")
    everyone = gathered(embeddings, labels, item_ids)
    own = slice(everyone.first, everyone.first + len(embeddings))
    relations = LabelRelations(
        everyone.labels[own],
        everyone.labels,
        everyone.item_ids[own],
        everyone.item_ids,
        own=False,
        offset=everyone.first,
    )
    return Batch(embeddings, everyone.rows, relations)


def join_tallies(device: torch.device) -> Callable[[Tally], Tally] | None:
    """Returns a function that sums the tallies of all processes; None for a single process."""
    if processes() == 1:
        return None
    add = join_sums(device)
    assert add is not None

    def whole(part: Tally) -> Tally:
        value, *numbers = add([part.value, part.active, part.triplets, part.anchors])
        return Tally(value, *(int(number) for number in numbers))

    return whole


def join_sums(device: torch.device) -> Callable[[list[float]], list[float]] | None:
    """Returns a function that adds the sums of all processes; None for a single process."""
    if processes() == 1:
        return None

    def whole(sums: list[float]) -> list[float]:
        # Numbers up to 2⁵³ are exact in float64, and so are their sums.
        together = torch.tensor(sums, dtype=torch.float64, device=device)
        dist.all_reduce(together)
        added: list[float] = together.tolist()
        return added

    return whole


def times_processes(run: EarlyLoss) -> EarlyLoss:
    """Returns a pass whose gradients are multiplied by W, to cancel averaging over W processes."""
    count = processes()
    if count == 1:
        return run

    def scaled(grad_x: bool, grad_y: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        loss, gx, gy = run(grad_x, grad_y)
        return loss, None if gx is None else gx.mul_(count), None if gy is None else gy.mul_(count)

    return scaled


def _sizes(rows: Tensor, ids: Tensor | None) -> list[int]:
    """The number of rows of each process, after checking that they fit together."""
    mine = torch.tensor([len(rows), rows.shape[1], ids is not None], device=rows.device)
    found = [torch.empty_like(mine) for _ in range(processes())]
    dist.all_gather(found, mine)
    sizes, widths, known = zip(*(each.tolist() for each in found), strict=True)
    if len(set(widths)) > 1:
        raise InputError(
            f"the processes have embeddings of {', '.join(map(str, widths))} columns (by rank), expected "
            "equally many: a process without rows gives a tensor of shape (0, columns)"
        )
    if len(set(known)) > 1:
        raise InputError("some processes have item_ids and others none: give them in all, or in none")
    return list(sizes)


def _all_rows(mine: Tensor, sizes: list[int]) -> Tensor:
    """The rows of all processes; backends exchange equal shapes, so shorter ones are padded."""
    padded = mine.new_zeros(max(sizes), *mine.shape[1:])
    padded[: len(mine)] = mine
    found = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(found, padded)
    return torch.cat([rows[:size] for rows, size in zip(found, sizes, strict=True)])


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: list[int]) -> Tensor:
        ctx.first = sum(sizes[: dist.get_rank()])
        ctx.count = len(rows)
        return _all_rows(rows, sizes)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        (gradient,) = upstream
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.first : ctx.first + ctx.count], None

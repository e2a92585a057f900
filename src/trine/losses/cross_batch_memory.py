"""Cross-batch memory: the embeddings of past batches as further positives and negatives of this one.

An encoder that has trained for a while drifts slowly, so a recent embedding of an item is still close to
its current one (Wang, Zhang, Huang, Scott 2020, "Cross-Batch Memory for Embedding Learning", §3.2). A queue
of them costs no forward and no backward pass, and lets a small batch choose among thousands of references.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trine.distances import check_rows
from trine.eager import eager
from trine.engine.relations import Relations, check_labels
from trine.errors import InputError, check_count
from trine.losses.distributed import gathered
from trine.shapes import Float, Int, Int64
from trine.triplets import Triplets


class Memory(nn.Module):
    """A ring of the last embeddings, with the identity and the item of each; the oldest are overwritten.

    Everything is a buffer: it moves with the module and is part of the state dict.

    Args:
        size: M ≥ 1, the most rows that are kept.
        dimension: D ≥ 1, the columns of an embedding.

    Attributes:
        rows: The embeddings, in float32 (`.double()` makes it float64); the first `len` are in use.
        labels: The identity of each.
        ids: The item of each.
        seen: How many rows have been added, which determines where the next one goes.

    Raises:
        InputError: A number is below 1.

    Example:
        >>> memory = Memory(3, dimension=1)
        >>> for item in range(5):
        ...     memory.enqueue(torch.tensor([[item / 2]]), torch.tensor([item % 2]), torch.tensor([item]))
        >>> len(memory), memory.ids.tolist(), memory.rows.flatten().tolist()
        (3, [3, 4, 2], [1.5, 2.0, 1.0])
    """

    rows: Tensor
    labels: Tensor
    ids: Tensor
    seen: Tensor

    def __init__(self, size: int, *, dimension: int) -> None:
        super().__init__()
        for name, value in (("size", size), ("dimension", dimension)):
            check_count(f"{name} of a memory", value)
        self.register_buffer("rows", torch.zeros(size, dimension))
        self.register_buffer("labels", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("ids", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        return min(int(self.seen), len(self.rows))

    @torch.no_grad()
    def enqueue(self, rows: Float[Tensor, "n d"], labels: Int[Tensor, " n"], ids: Int[Tensor, " n"]) -> None:
        """Adds a batch, in its order; rows that are not finite are left out.

        With several processes, pass the rows of all of them to each, in rank order, so that all hold the same
        memory.

        Args:
            rows: The embeddings; they are detached.
            labels: The identity of each.
            ids: The item of each.

        Raises:
            InputError: The shapes do not fit.
        """
        self.check(rows, labels, ids)
        finite = rows.isfinite().all(1)
        kept = finite.nonzero()[:, 0][-len(self.rows) :]
        arrived = int(finite.sum())
        first = int(self.seen) + arrived - len(kept)
        slots = (first + torch.arange(len(kept), device=self.rows.device)) % len(self.rows)
        self.rows[slots] = rows[kept].to(self.rows)
        self.labels[slots] = labels[kept].to(self.labels)
        self.ids[slots] = ids[kept].to(self.ids)
        self.seen += arrived

    def joined(
        self, rows: Float[Tensor, "n d"], labels: Int[Tensor, " n"], ids: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, "m d"], Int64[Tensor, " m"], Int64[Tensor, " m"]]:
        """Appends the memory to a batch: the references of a loss.

        Args:
            rows: The embeddings of the batch; they stay attached to the graph.
            labels: The identity of each.
            ids: The item of each.

        Returns:
            Embeddings, labels and ids, first those of the batch.

        Raises:
            InputError: The shapes do not fit.
        """
        self.check(rows, labels, ids)
        held = len(self)
        return (
            torch.cat([rows, self.rows[:held].to(rows.device)]),
            torch.cat([labels.long(), self.labels[:held].to(labels.device)]),
            torch.cat([ids.long(), self.ids[:held].to(ids.device)]),
        )

    def check(self, rows: Tensor, labels: Tensor, ids: Tensor) -> None:
        """Raises an `InputError` unless these fit each other and the memory."""
        check_rows(rows, "embeddings")
        check_labels(labels, "labels", len(rows))
        check_labels(ids, "item_ids", len(rows))
        if rows.shape[1] != self.rows.shape[1]:
            raise InputError(
                f"the memory holds embeddings of {self.rows.shape[1]} columns, given {rows.shape[1]}: "
                "set dimension= to their width"
            )

    def extra_repr(self) -> str:
        """Returns the settings, for `repr`."""
        return f"size={self.rows.shape[0]}, dimension={self.rows.shape[1]}"


class CrossBatchMemory(nn.Module):
    """A loss whose positives and negatives also come from the last embeddings of training.

    In training mode a call takes the loss of the batch against itself (with gradient on both sides) and
    the memory (detached), and then puts the batch into the memory. Before the warm-up has passed, and in
    evaluation mode, it is the plain loss, and nothing is kept.

    `item_ids` are required: a repeated item meets its own past embedding, which is neither a positive nor a
    negative of it, and only the id shows that. Pass the position in the data set, as trine's own training
    does; items that never repeat can be numbered consecutively.

    With several processes, construct the loss with `across_processes=True`: the memory then stores the rows
    of all of them, in rank order, and is the same in each.

    Args:
        loss: A `TripletLoss`, a `ContrastiveLoss`, or a module that takes `references=`,
            `reference_labels=` and `reference_ids=` as they do.
        size: M ≥ 1, the embeddings kept. It may be larger than the data set; past embeddings of one
            item then stand side by side.
        dimension: D, the columns of an embedding.
        warmup: Calls in training mode before the memory is used, ≥ 0: until then the encoder changes too
            fast for past embeddings to be useful.

    Attributes:
        loss: The loss.
        memory: The past embeddings.
        calls: The calls in training mode so far.

    Raises:
        InputError: A number is out of range.

    Example:
        >>> from trine.losses import TripletLoss
        >>> criterion = CrossBatchMemory(TripletLoss(margin=0.5, mining="hard"), size=100, dimension=1)
        >>> criterion(torch.tensor([[0.0], [9.0]]), torch.tensor([0, 1]), torch.tensor([5, 6])).item()
        0.0
        >>> later = torch.tensor([[1.0], [8.0]], requires_grad=True)
        >>> criterion(later, torch.tensor([0, 2]), torch.tensor([7, 8])).item()
        0.0
        >>> criterion(later, torch.tensor([1, 0]), torch.tensor([3, 4])).item()
        8.5
    """

    calls: Tensor

    def __init__(self, loss: nn.Module, *, size: int, dimension: int, warmup: int = 0) -> None:
        super().__init__()
        if not isinstance(loss, nn.Module):
            raise InputError(f"loss must be a module such as TripletLoss(), given {type(loss).__name__}")
        check_count("warmup", warmup, at_least=0)
        self.loss = loss
        self.memory = Memory(size, dimension=dimension)
        self.warmup = warmup
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    @eager
    def forward(
        self,
        embeddings: Float[Tensor, "n d"],
        labels: Int[Tensor, " n"],
        item_ids: Int[Tensor, " n"] | None = None,
        *,
        references: Float[Tensor, "m d"] | None = None,
        reference_labels: Int[Tensor, " m"] | None = None,
        reference_ids: Int[Tensor, " m"] | None = None,
    ) -> Float[Tensor, "..."]:
        """Returns the loss of a batch, and stores the batch.

        Args:
            embeddings: One row per item.
            labels: The identity of each.
            item_ids: Which item each row is.
            references: The rows to compare with and to store: by default the embeddings, or those of all
                processes if the loss has `across_processes=True`.
            reference_labels: The identity of each reference.
            reference_ids: Which item each reference is.

        Returns:
            What the loss returns.

        Raises:
            InputError: The item ids are missing, labels are not integers, or shapes do not fit.
        """
        if isinstance(labels, Relations | Triplets):
            raise InputError(
                f"a memory keeps the identity of each row, and {type(labels).__name__} name none: give labels"
            )
        batch = _known(embeddings, labels, item_ids)
        remembers = self.training and int(self.calls) >= self.warmup
        if references is not None:
            batch = _known(references, reference_labels, reference_ids)
        elif remembers and getattr(self.loss, "across_processes", False):
            rows, known, ids, _ = gathered(*batch)
            batch = rows, known, ids
        self.memory.check(*batch)
        given: dict[str, Tensor] = {}
        if remembers and len(self.memory):
            given = dict(zip(_REFERENCES, self.memory.joined(*batch), strict=True))
        elif references is not None:
            given = dict(zip(_REFERENCES, batch, strict=True))
        loss: Tensor = self.loss(embeddings, labels, item_ids, **given)
        if remembers:
            self.memory.enqueue(*batch)
        if self.training:
            self.calls += 1
        return loss

    if TYPE_CHECKING:  # torch's own is of any type
        __call__ = forward

    def extra_repr(self) -> str:
        """Returns the settings, for `repr`."""
        return f"warmup={self.warmup}"


_REFERENCES = ("references", "reference_labels", "reference_ids")


def _known(rows: Tensor, labels: Tensor | None, ids: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    if labels is None or ids is None:
        raise InputError(
            "a memory needs item_ids, or a repeated item becomes its own positive: pass item_ids (with "
            "references: reference_labels and reference_ids), such as positions in the data set"
        )
    return rows, labels, ids

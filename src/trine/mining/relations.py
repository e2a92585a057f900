"""Who may be whose positive and whose negative: from labels, or given outright."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trine.errors import InputError
from trine.shapes import Bool, Int, Int64


@dataclass(frozen=True)
class Relations:
    """Which reference is a positive, and which a negative, of which anchor.

    Attributes:
        positive: Whether the column is a positive of the row.
        negative: Whether the column is a negative of the row.
        anchor_ids: A number for each anchor, from which random rules draw.
        reference_ids: A number for each reference.
    """

    positive: Bool[Tensor, "n m"]
    negative: Bool[Tensor, "n m"]
    anchor_ids: Int64[Tensor, " n"]
    reference_ids: Int64[Tensor, " m"]

    @classmethod
    def from_labels(
        cls,
        labels: Int[Tensor, " n"],
        reference_labels: Int[Tensor, " m"] | None = None,
        *,
        item_ids: Int[Tensor, " n"] | None = None,
        reference_ids: Int[Tensor, " m"] | None = None,
    ) -> Relations:
        """Equal labels make a positive, unequal ones a negative, and an item never pairs with itself.

        Args:
            labels: The identity of each anchor: any integers.
            reference_labels: The identities of the references; left out where the anchors are their own
                references, and then no row is paired with itself.
            item_ids: Which item each anchor is; rows of equal id are never a pair.
            reference_ids: Which item each reference is.

        Raises:
            InputError: Labels or ids are no integers, or not as many as the rows they belong to.
        """
        check_labels(labels, "labels")
        own = reference_labels is None
        columns = labels if reference_labels is None else reference_labels
        check_labels(columns, "reference_labels")
        rows_id = torch.arange(len(labels), device=labels.device) if item_ids is None else item_ids
        if reference_ids is not None:
            columns_id = reference_ids
        elif own:
            columns_id = rows_id
        else:
            columns_id = torch.arange(len(columns), device=columns.device)
        if not own and (item_ids is None) != (reference_ids is None):
            raise InputError("item_ids and reference_ids go together: give both, or neither")
        check_labels(rows_id, "item_ids", len(labels))
        check_labels(columns_id, "reference_ids", len(columns))
        equal = labels[:, None] == columns[None, :]
        # Without ids, the n-th anchor and the n-th reference are the same item only in a set of its own.
        if own or (item_ids is not None and reference_ids is not None):
            apart = rows_id[:, None] != columns_id[None, :]
        else:
            apart = torch.ones_like(equal)
        if own:
            apart = apart & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        return cls(equal & apart, ~equal & apart, rows_id.long(), columns_id.long())


def check_labels(labels: Tensor, name: str, length: int | None = None) -> None:
    """Raises an `InputError` unless `labels` is a vector of integers (of that length)."""
    integers = not labels.is_floating_point() and not labels.is_complex() and labels.dtype != torch.bool
    if labels.ndim != 1 or not integers:
        raise InputError(
            f"{name} must be a vector of integers, one for each row, "
            f"given shape {tuple(labels.shape)} of {labels.dtype}"
        )
    if length is not None and len(labels) != length:
        raise InputError(f"{name} must have one entry for each of the {length} rows, given {len(labels)}")

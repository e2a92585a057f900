"""Which reference is a positive or a negative of which anchor: from labels, or given explicitly.

Relations are computed for a few anchors at a time: the full pair matrix is never materialised.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from trine.errors import InputError, check_count, check_flags
from trine.shapes import Bool, Int, Int64


@dataclass(frozen=True)
class RelationRows:
    """The relations of some anchors to every reference.

    Attributes:
        positive: Whether the column is a positive of the row.
        negative: Whether the column is a negative of the row.
        anchors: Which anchor each row is.
        anchor_ids: A number for each row, from which random rules draw.
        reference_ids: A number for each column.
        places: Which column each row is, where every positive pair is seen from both ends, as with labels
            of one set; None elsewhere.
    """

    positive: Bool[Tensor, "h m"]
    negative: Bool[Tensor, "h m"]
    anchors: Int64[Tensor, " h"]
    anchor_ids: Int64[Tensor, " h"]
    reference_ids: Int64[Tensor, " m"]
    places: Int64[Tensor, " h"] | None


class Relations(ABC):
    """Which reference is a positive, and which a negative, of which anchor.

    Made by `Relations.from_labels`, `Relations.from_masks` or `Relations.from_pairs`, and accepted wherever
    labels are.

    Attributes:
        anchor_ids: A number for each anchor, from which random rules draw.
        reference_ids: A number for each reference.
        own: Whether the anchors are their own references.
        offset: Which reference the first anchor is, where labels relate a set to itself or a run of its
            rows to the whole; None elsewhere.
        ids_given: Whether the numbers of the anchors are item ids, and not just counted.

    Example:
        >>> customer, item = torch.tensor([0, 0, 1]), torch.tensor([2, 3, 0])
        >>> bought = Relations.from_pairs(customer, item, anchors=2, references=4)
        >>> bought.rows(torch.tensor([1])).negative.tolist()
        [[False, True, True, True]]
    """

    anchor_ids: Int64[Tensor, " n"]
    reference_ids: Int64[Tensor, " m"]
    own: bool
    offset: int | None = None
    ids_given: bool = False

    @abstractmethod
    def rows(self, anchors: Int64[Tensor, " h"]) -> RelationRows:
        """Returns the relations of these anchors."""

    def _without_itself(self, anchors: Tensor, positive: Tensor, negative: Tensor) -> RelationRows:
        """Clears, in place, the pairs of each anchor with itself, and returns the masks."""
        if self.own:
            positive.scatter_(1, anchors[:, None], False)
            negative.scatter_(1, anchors[:, None], False)
        return RelationRows(positive, negative, anchors, self.anchor_ids[anchors], self.reference_ids, None)

    def whole(self) -> RelationRows:
        """Returns the relations of all anchors."""
        return self.rows(torch.arange(len(self.anchor_ids), device=self.anchor_ids.device))

    def numbered_from(self, first: int) -> Self:
        """Returns a copy whose anchors are counted from `first`; item ids stay as they are."""
        moved = copy.copy(self)
        if not self.ids_given:
            moved.anchor_ids = self.anchor_ids + first
        return moved

    @staticmethod
    def from_labels(
        labels: Int[Tensor, " n"],
        reference_labels: Int[Tensor, " m"] | None = None,
        *,
        item_ids: Int[Tensor, " n"] | None = None,
        reference_ids: Int[Tensor, " m"] | None = None,
    ) -> LabelRelations:
        """Equal labels make a positive, unequal ones a negative, and an item never pairs with itself.

        Args:
            labels: The identity of each anchor: any integers.
            reference_labels: The identities of the references; left out where the anchors are their own
                references, and then no row is paired with itself.
            item_ids: Which item each anchor is; rows of equal id are never a pair.
            reference_ids: Which item each reference is; given where `item_ids` are, and only there.

        Raises:
            InputError: Labels or ids are not integers, or do not match the rows in number.
        """
        check_labels(labels, "labels")
        own = reference_labels is None
        columns = labels if reference_labels is None else reference_labels
        check_labels(columns, "reference_labels")
        if own and reference_ids is not None:
            raise InputError("reference_ids need references: pass references and reference_labels too")
        if not own and (item_ids is None) != (reference_ids is None):
            raise InputError("item_ids and reference_ids must be passed together; pass both, or neither")
        if item_ids is not None:
            check_labels(item_ids, "item_ids", len(labels))
        if reference_ids is not None:
            check_labels(reference_ids, "reference_ids", len(columns))
        return LabelRelations(labels, columns, item_ids, item_ids if own else reference_ids, own)

    @staticmethod
    def from_masks(
        positive: Bool[Tensor, "n m"], negative: Bool[Tensor, "n m"] | None = None, *, own: bool = False
    ) -> MaskRelations:
        """Makes relations from masks, for sets small enough for a full matrix.

        Args:
            positive: Whether the column is a positive of the row.
            negative: Whether it is a negative; default: everything that is not a positive.
            own: Whether the anchors are their own references; then no row is paired with itself.

        Raises:
            InputError: The masks differ in shape, or a pair is both.
        """
        _check_mask("positive", positive)
        if negative is not None:
            _check_mask("negative", negative)
        check_flags(own=own)
        negative = ~positive if negative is None else negative
        if positive.shape != negative.shape:
            raise InputError(
                "positive and negative must have equal shape, "
                f"given {tuple(positive.shape)} and {tuple(negative.shape)}"
            )
        if own and positive.shape[0] != positive.shape[1]:
            raise InputError(f"own=True needs square masks, given {tuple(positive.shape)}")
        both = (positive & negative).nonzero()
        if len(both):
            raise InputError(f"row {int(both[0, 0])}, column {int(both[0, 1])} is both positive and negative")
        return MaskRelations(positive, negative, own)

    @staticmethod
    def from_pairs(
        anchor: Int[Tensor, " k"],
        positive: Int[Tensor, " k"],
        *,
        anchors: int,
        references: int | None = None,
    ) -> PairRelations:
        """Makes relations from a list of positive pairs; every other reference is a negative.

        Args:
            anchor: Row of the anchor of each pair.
            positive: Row of its positive among the references.
            anchors: The number of anchors.
            references: The number of references; left out where the anchors are their own references,
                and then no row is paired with itself.

        Raises:
            InputError: An index is out of range.
        """
        check_labels(anchor, "anchor")
        check_labels(positive, "positive", len(anchor))
        own = references is None
        check_count("anchors", anchors, at_least=0)
        columns = anchors if references is None else check_count("references", references, at_least=0)
        for name, index, limit in (("anchor", anchor, anchors), ("positive", positive, columns)):
            wrong = ((index < 0) | (index >= limit)).nonzero()
            if len(wrong):
                row = int(wrong[0, 0])
                raise InputError(f"{name}[{row}] is {int(index[row])}, but there are {limit} rows")
        return PairRelations(anchor.long(), positive.long(), anchors, columns, own)


class LabelRelations(Relations):
    """Relations from labels; see `Relations.from_labels`."""

    def __init__(
        self,
        labels: Tensor,
        reference_labels: Tensor,
        item_ids: Tensor | None,
        reference_ids: Tensor | None,
        own: bool,
        offset: int | None = None,
    ) -> None:
        self.labels, self.reference_labels, self.own = labels, reference_labels, own
        self.offset = 0 if own else offset
        # If no id repeats, a set paired with itself needs no ids to tell a row from itself.
        self.by_id = item_ids is not None and not (own and _all_differ(item_ids))
        self.ids_given = item_ids is not None
        self.anchor_ids = _numbered(labels) if item_ids is None else item_ids.long()
        self.reference_ids = _numbered(reference_labels) if reference_ids is None else reference_ids.long()

    def rows(self, anchors: Int64[Tensor, " h"]) -> RelationRows:
        """Returns the relations of these anchors."""
        positive = self.labels[anchors, None] == self.reference_labels[None, :]
        negative = ~positive
        ids = self.anchor_ids[anchors]
        if self.by_id:
            apart = ids[:, None] != self.reference_ids[None, :]
            positive &= apart
            negative &= apart
        if self.own:
            positive.scatter_(1, anchors[:, None], False)
        places = None if self.offset is None else anchors + self.offset
        return RelationRows(positive, negative, anchors, ids, self.reference_ids, places)

    def whole(self) -> RelationRows:
        """Returns the relations of all anchors."""
        if self.by_id or not self.own:
            return super().whole()
        positive = self.labels[:, None] == self.labels
        negative = ~positive
        positive.fill_diagonal_(False)
        rows = _numbered(self.labels)
        return RelationRows(positive, negative, rows, self.anchor_ids, self.reference_ids, rows)


class MaskRelations(Relations):
    """Relations given as matrices; see `Relations.from_masks`."""

    def __init__(self, positive: Tensor, negative: Tensor, own: bool) -> None:
        self.positive, self.negative, self.own = positive, negative, own
        self.anchor_ids, self.reference_ids = _numbered(positive), _numbered(positive.T)

    def rows(self, anchors: Int64[Tensor, " h"]) -> RelationRows:
        """Returns the relations of these anchors."""
        return self._without_itself(anchors, self.positive[anchors], self.negative[anchors])


class PairRelations(Relations):
    """Relations given as a list of positive pairs; see `Relations.from_pairs`."""

    def __init__(self, anchor: Tensor, positive: Tensor, anchors: int, references: int, own: bool) -> None:
        in_order = torch.argsort(anchor, stable=True)
        self.positive, self.own = positive[in_order], own
        self.anchor_ids = torch.arange(anchors, device=anchor.device)
        self.reference_ids = torch.arange(references, device=anchor.device)
        ends = torch.arange(anchors + 1, device=anchor.device)
        self.bounds = torch.searchsorted(anchor[in_order].contiguous(), ends)

    def rows(self, anchors: Int64[Tensor, " h"]) -> RelationRows:
        """Returns the relations of these anchors."""
        first, counts = self.bounds[anchors], self.bounds[anchors + 1] - self.bounds[anchors]
        row = torch.repeat_interleave(torch.arange(len(anchors), device=anchors.device), counts)
        within = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
        positive = torch.zeros(len(anchors), len(self.reference_ids), dtype=torch.bool, device=anchors.device)
        positive[row, self.positive[first[row] + within]] = True
        return self._without_itself(anchors, positive, ~positive)


def _all_differ(ids: Tensor) -> bool:
    in_order = ids.sort().values
    return bool((in_order[1:] != in_order[:-1]).all())


def _numbered(rows: Tensor) -> Tensor:
    return torch.arange(len(rows), device=rows.device)


def _check_mask(name: str, mask: object) -> None:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.ndim != 2:
        given = f"{tuple(mask.shape)} of {mask.dtype}" if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(
            f"{name} must be a Boolean tensor with anchors in rows and references in columns, given {given}"
        )


def check_labels(labels: object, name: str, length: int | None = None) -> None:
    """Raises an `InputError` unless `labels` is a vector of integers (of that length)."""
    if not isinstance(labels, Tensor):
        raise InputError(
            f"{name} must be a torch tensor of integers, given {type(labels).__name__}: "
            "convert with torch.as_tensor"
        )
    if labels.ndim == 1 and labels.is_floating_point() and bool(labels.isnan().any()):
        raise InputError(
            f"{name}[{int(labels.isnan().nonzero()[0])}] is NaN, expected an integer for each row: "
            "leave out rows without an identity"
        )
    integers = not labels.is_floating_point() and not labels.is_complex() and labels.dtype != torch.bool
    if labels.ndim != 1 or not integers:
        raise InputError(
            f"{name} must be a vector of integers, one for each row, "
            f"given shape {tuple(labels.shape)} of {labels.dtype}"
        )
    if length is not None and len(labels) != length:
        raise InputError(f"{name} must have one entry for each of the {length} rows, given {len(labels)}")

"""The checked input of a loss or a miner: the rows, and which of them may be paired."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from trine.distances import Distance, check_distance, check_rows
from trine.engine.relations import Relations, check_labels
from trine.errors import InputError
from trine.labels import Labels, codes
from trine.neighbours import as_rows
from trine.shapes import Float, Int64


@dataclass(frozen=True)
class Batch:
    """Anchors, references and relations that fit together.

    Attributes:
        anchors: One row per anchor.
        references: One row per reference; `None` where the anchors are their own.
        relations: Which pairs are positive and which negative.
    """

    anchors: Tensor
    references: Tensor | None
    relations: Relations

    @property
    def columns(self) -> Tensor:
        """The rows that positives and negatives are taken from."""
        return self.anchors if self.references is None else self.references


def checked_batch(
    embeddings: Tensor,
    labels: Tensor | Relations,
    references: Tensor | None = None,
    reference_labels: Tensor | None = None,
    item_ids: Tensor | None = None,
    reference_ids: Tensor | None = None,
) -> Batch:
    """Returns the batch, or raises an `InputError` that names the argument that does not fit."""
    check_rows(embeddings, "embeddings")
    if references is not None:
        check_rows(references, "references")
        if references.shape[1] != embeddings.shape[1]:
            raise InputError(
                "references must be as wide as embeddings, "
                f"given {references.shape[1]} and {embeddings.shape[1]} columns"
            )
    if isinstance(labels, Relations):
        if reference_labels is not None or item_ids is not None or reference_ids is not None:
            raise InputError("Relations replace labels and ids: pass one or the other")
        _check_relations(labels, embeddings, references)
        return Batch(embeddings, references, labels)
    check_labels(labels, "labels", len(embeddings))
    if (references is None) != (reference_labels is None):
        raise InputError("references and reference_labels must be passed together; pass both, or neither")
    if references is not None and reference_labels is not None:
        check_labels(reference_labels, "reference_labels", len(references))
    relations = Relations.from_labels(
        labels, reference_labels, item_ids=item_ids, reference_ids=reference_ids
    )
    return Batch(embeddings, references, relations)


def checked_set(
    embeddings: object, labels: Labels, distance: Distance
) -> tuple[Int64[np.ndarray, " n"], Float[Tensor, "n d"]]:
    """Returns the identity of each row, counted from 0 in the order of the labels, and the finite rows.

    Raises:
        InputError: The rows are not finite, the distance is unknown, or there is not one label for each.
    """
    check_distance(distance)
    rows = as_rows(embeddings, name="embeddings")
    return codes(labels, items=len(rows)), rows


def _check_relations(relations: Relations, embeddings: Tensor, references: Tensor | None) -> None:
    if relations.own != (references is None):
        raise InputError(
            "the relations are between anchors and references: pass references"
            if not relations.own
            else "the relations are of a set to itself: pass no references"
        )
    shape = (len(relations.anchor_ids), len(relations.reference_ids))
    rows = (len(embeddings), len(embeddings if references is None else references))
    if shape != rows:
        raise InputError(f"the relations are of {shape[0]} × {shape[1]} rows, given {rows[0]} × {rows[1]}")

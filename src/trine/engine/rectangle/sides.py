"""The order of anchors × references: both sorted by class, so that class-mates are a run of places."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from trine.engine.layout import Block, Layout
from trine.engine.relations import LabelRelations
from trine.shapes import Bool, Int64

PAIRS = 1 << 17  # pairs in a tile: half a megabyte of distances
ROOM = 1 << 17  # places for the positives of a block: anchors that have many share it with fewer
_SHORT = 8  # class-mates below which all anchors may share a block


class Sides(Layout):
    """Anchors, then references, both sorted by the number of references in the class, then label, then index.

    Rows of equal item have to be class-mates, see `items_keep_their_label`; they stand in the run, and are
    no positives.

    Attributes:
        order: Which row stands at each place; references are counted on from the anchors.
        place: Where each row stands; −1 after the last of them.
        anchors: The number of anchors.
        rows: The number of anchors and references.
        first: For each anchor, the place where the references of its class start.
        last: The place after the last of them.
        items: A number for the item at each place, where a row can meet itself.
        groups: Empty: a class has two sizes here.
    """

    def __init__(self, relations: LabelRelations) -> None:
        labels = torch.cat([relations.labels, relations.reference_labels])
        n, self.rows = len(relations.labels), len(labels)
        _, identity = torch.unique(labels, return_inverse=True)
        sizes = torch.bincount(identity[n:], minlength=self.rows)
        key = sizes[identity] * self.rows + identity
        own, others = key[:n].sort(stable=True), key[n:].sort(stable=True)
        self.anchors = n
        self.order = torch.cat([own.indices, others.indices + n])
        self.place = torch.full((self.rows + 1,), -1, device=labels.device)
        self.place[self.order] = torch.arange(self.rows, device=labels.device)
        self.first = torch.searchsorted(others.values, own.values) + n
        self.last = torch.searchsorted(others.values, own.values, right=True) + n
        self.groups = []
        self.items: Int64[Tensor, " r"] | None = None
        if relations.by_id or relations.own:
            self.items = torch.cat([relations.anchor_ids, relations.reference_ids])[self.order]

    @property
    def references(self) -> Block:
        """All references."""
        return Block(self.anchors, self.rows, 0)

    @property
    def mated(self) -> int:
        """How many pairs of an anchor and a reference are class-mates."""
        return int((self.last - self.first).sum())

    def negatives(self, block: Block) -> Int64[Tensor, " h"]:
        """Returns how many references are of another class than each anchor of a block."""
        return self.rows - self.anchors - (self.last - self.first)[block.rows]

    def mates(self, block: Block) -> tuple[Int64[Tensor, "h p"], Bool[Tensor, "h p"]]:
        """Returns the places of the class-mates of each anchor, and which of them are positives."""
        first, last = self.first[block.rows, None], self.last[block.rows, None]
        places = first + torch.arange(block.positives, device=first.device)
        positive = places < last
        if self.items is not None:
            places.clamp_(max=self.rows - 1)
            positive &= self.items[places] != self.items[block.rows, None]
        return places, positive

    def items_keep_their_label(self) -> bool:
        """Whether every reference that is the same item as an anchor is of its class too."""
        if self.items is None:
            return True
        own = self.items[: self.anchors]
        items, at = self.items[self.anchors :].sort(stable=True)
        for right in (False, True):  # of the references that are one item, the first and the last by class
            found = torch.searchsorted(items, own, right=right) - int(right)
            found.clamp_(0, len(items) - 1)
            place = at[found] + self.anchors
            apart = (place < self.first) | (place >= self.last)
            if bool(((items[found] == own) & apart).any()):
                return False
        return True

    def anchor_blocks(self, height: int) -> list[Block]:
        """Cuts the anchors that have class-mates into blocks, anew where they have four times as many."""
        mates = (self.last - self.first).tolist()
        blocks: list[Block] = []
        start, ceiling = 0, 0
        for place, number in enumerate([*mates, 0]):
            full = place - start == height or (place - start + 1) * number > ROOM
            if place == len(mates) or number >= ceiling or full:
                if place > start and mates[place - 1]:
                    blocks.append(Block(start, place, mates[place - 1]))
                start, ceiling = place, max(_SHORT, 4 * number) if number else 1
        return blocks

    def reference_blocks(self, height: int) -> list[Block]:
        """Cuts the references into blocks that make tiles with a block of anchors of this height."""
        cuts = [*range(self.anchors, self.rows, max(1, PAIRS // height)), self.rows]
        return [Block(i, j, 0) for i, j in pairwise(cuts)]

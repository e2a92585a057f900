"""The order of a batch in the tiled losses: rows of a class are adjacent, classes are sorted by size.

So the positives of an anchor are a contiguous range, the mask of a tile is a band, and a block holds anchors
with equally many positives: no anchor is padded to the largest class.

Two geometries share one layout. In a square one the anchors are their own references: every tile serves
its rows and its columns, and only the upper triangle is computed. In a rectangular one the places of the
references follow those of the anchors: a tile serves its anchors, and one block of anchors is finished before
the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from trine.engine.relations import LabelRelations
from trine.shapes import Bool, Int, Int64


@dataclass(frozen=True)
class Group:
    """Classes with equally many anchors, and equally many references.

    Attributes:
        start: The place of the first anchor.
        classes: The number of classes.
        anchors: Anchors in each.
        mates: The place of the first reference.
        references: References in each.
        positives: Room for the positives of an anchor: the references, itself left out.
    """

    start: int
    classes: int
    anchors: int
    mates: int
    references: int
    positives: int

    @property
    def stop(self) -> int:
        """The place after the last anchor."""
        return self.start + self.classes * self.anchors

    def part(self, start: int, classes: int, anchors: int) -> Group:
        """Returns whole classes from the anchor at `start` on, or some anchors of one class."""
        mates = self.mates + (start - self.start) // self.anchors * self.references
        return replace(self, start=start, classes=classes, anchors=anchors, mates=mates)


@dataclass(frozen=True)
class Block:
    """A contiguous range of places: one side of a tile.

    Attributes:
        start: The first place.
        stop: The place after the last.
        positives: Room for the positives of any of them.
    """

    start: int
    stop: int
    positives: int = 0

    @property
    def rows(self) -> slice:
        """The places as a slice."""
        return slice(self.start, self.stop)

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Part:
    """Anchors that are finished together: all of a square batch, or one block of a rectangular one.

    Attributes:
        groups: Their classes.
        blocks: The anchors, cut into sides of tiles.
        sides: The sides of tiles: the blocks, and those of the references if these are separate.
        square: Whether anchors are their own references, and each tile serves rows and columns.
    """

    groups: list[Group]
    blocks: list[Block]
    sides: list[Block]
    square: bool

    @property
    def places(self) -> slice:
        """The places of the anchors."""
        return slice(self.blocks[0].start, self.blocks[-1].stop)

    def tiles(self, layout: Layout) -> Iterator[tuple[int, int]]:
        """Yields the sides of each tile; tiles within one class are skipped: they hold no negative."""
        number, blocks = len(self.sides), self.blocks
        ends = torch.tensor([b.start for b in blocks] + [b.stop - 1 for b in blocks])
        first = layout.first[ends.to(layout.first.device)].tolist()
        for i in range(len(blocks)):
            for j in range(i if self.square else len(blocks), number):
                if not self.square or first[i] != first[len(blocks) + j]:
                    yield i, j

    def both_ends(self, i: int, j: int) -> bool:
        """Whether tile (i, j) also covers its transpose."""
        return self.square and i != j


class Layout:
    """Rows sorted by the number of references in the class, then of anchors, then label, then index.

    Args:
        labels: The identity of each anchor.
        reference_labels: That of each reference; `None` where the anchors are their own.
        items: Which item each anchor, and then each reference, is, where one may meet itself. Rows of one
            item have to be of one class: they stand in its run, and are no positives of each other.

    Attributes:
        order: Which row of the batch stands at each place; references are counted on from the anchors.
        square: Whether the anchors are their own references.
        anchors: The number of anchors.
        references: The places of the references.
        rows: The number of places.
        first: For each anchor, the place where the references of its class start.
        last: The place after the last of them.
        groups: The runs of classes of equal shape.
        items: The item at each place, where one may meet itself.
    """

    def __init__(
        self,
        labels: Int[Tensor, " n"],
        reference_labels: Int[Tensor, " m"] | None = None,
        items: Int64[Tensor, " r"] | None = None,
    ) -> None:
        self.square = reference_labels is None
        self.anchors = n = len(labels)
        joined = labels if reference_labels is None else torch.cat([labels, reference_labels])
        self.rows = len(joined)
        _, identity, counts = torch.unique(joined, return_inverse=True, return_counts=True)
        own = counts if self.square else torch.bincount(identity[:n], minlength=len(counts))
        others = counts if self.square else counts - own
        shape = others * (n + 1) + own
        classes = shape.argsort(stable=True)
        rank = torch.empty_like(classes)
        rank[classes] = torch.arange(len(classes), device=classes.device)
        key = rank[identity]
        self.order: Int64[Tensor, " r"] = key[:n].argsort(stable=True)
        self.references = Block(0, n)
        if not self.square:
            self.order = torch.cat([self.order, key[n:].argsort(stable=True) + n])
            self.references = Block(n, self.rows)
        own, others = own[classes], others[classes]
        ends = others.cumsum(0) + self.references.start
        self.last = torch.repeat_interleave(ends, own)
        self.first = self.last - torch.repeat_interleave(others, own)
        self.items = None if items is None else items[self.order]
        self.groups = self._groups(shape[classes])

    def _groups(self, shapes: Int64[Tensor, " c"]) -> list[Group]:
        found, numbers = torch.unique_consecutive(shapes, return_counts=True)
        groups, start, mates = [], 0, self.references.start
        for shape, classes in zip(found.tolist(), numbers.tolist(), strict=True):
            references, anchors = divmod(shape, self.anchors + 1)
            if anchors:
                group = Group(start, classes, anchors, mates, references, references - self.square)
                groups.append(group)
                start = group.stop
            mates += classes * references
        return groups

    @cached_property
    def place(self) -> Int64[Tensor, " r"]:
        """The place of each row of the batch."""
        place = torch.empty_like(self.order)
        place[self.order] = torch.arange(self.rows, device=place.device)
        return place

    @cached_property
    def triplets(self) -> Int64[Tensor, " n"]:
        """How many triplets each anchor has."""
        number = self.last - self.first
        positives = number - int(self.square)
        if self.items is not None:
            for group in self.groups:
                if group.positives:
                    positives[group.start : group.stop] = self.positive(group, self.mates(group)).sum(1)
        return positives * (len(self.references) - number)

    @property
    def positive_pairs(self) -> int:
        """An upper bound on the number of pairs of an anchor and a positive."""
        return sum((group.stop - group.start) * group.positives for group in self.groups)

    def mates(self, group: Group) -> Int64[Tensor, "r p"]:
        """Returns the places of the class-mates of each anchor of a group, itself left out."""
        device = self.order.device
        places = torch.arange(group.positives, device=device).expand(group.anchors, -1)
        if self.square:
            places = places + (places >= torch.arange(group.anchors, device=device)[:, None])
        starts = torch.arange(group.classes, device=device)[:, None, None] * group.references + group.mates
        return (places[None] + starts).flatten(0, 1)

    def mate(self, group: Group, pick: Int64[Tensor, "r k"]) -> Int64[Tensor, "r k"]:
        """Returns the places of some class-mates: one row of numbers, from 0, for each anchor of a group."""
        at = torch.arange(len(pick), device=pick.device)[:, None]
        if self.square:
            pick = pick + (pick >= at % group.anchors)
        return pick + (at // group.anchors * group.references + group.mates)

    def positive(self, group: Group, mates: Int64[Tensor, "r p"]) -> Bool[Tensor, "r p"]:
        """Returns which class-mates are positives: all that are not the same item."""
        if self.items is None:
            return torch.ones_like(mates, dtype=torch.bool)
        return self.items[mates] != self.items[group.start : group.stop, None]

    def parts(self, height: int, groups: list[Group], tile_pairs: int, positive_pairs: int) -> list[Part]:
        """Splits the anchors into parts that are finished together.

        Args:
            height: Anchors in a block, at most.
            groups: Which of them, where anchors and references differ; a square batch is one part.
            tile_pairs: Distances in a tile, where anchors and references differ.
            positive_pairs: Positives of a part, at most, where anchors and references differ.
        """
        if self.square:
            blocks = self._square_blocks(height)
            return [Part(self.groups, blocks, blocks, square=True)] if blocks else []
        parts: list[Part] = []
        pieces: list[Group] = []
        for piece in (p for g in groups if g.references for p in _pieces(g, height, positive_pairs)):
            if pieces:
                start, smallest = pieces[0].start, pieces[0].references
                number, most = piece.stop - start, max(piece.references, 8)
                full = number > height or (number * piece.references > positive_pairs)
                if full or most > 2 * max(smallest, 4) or piece.start != pieces[-1].stop:
                    parts.append(self._rectangle(pieces, tile_pairs))
                    pieces = []
            pieces.append(piece)
        return [*parts, self._rectangle(pieces, tile_pairs)] if pieces else parts

    def _rectangle(self, pieces: list[Group], tile_pairs: int) -> Part:
        block = Block(pieces[0].start, pieces[-1].stop, max(piece.positives for piece in pieces))
        width = max(1, tile_pairs // len(block))
        cuts = [*range(self.references.start, self.rows, width), self.rows]
        return Part(pieces, [block], [block, *(Block(i, j) for i, j in pairwise(cuts))], square=False)

    def _square_blocks(self, height: int) -> list[Block]:
        """Cuts the rows into blocks of at most `height`, and wherever the size of class has doubled."""
        cuts, smallest = [0], 1
        for group in self.groups:
            if group.references >= 2 * smallest:
                smallest = group.references
                if group.start > cuts[-1]:
                    cuts.append(group.start)
        cuts.append(self.rows)
        blocks = []
        for start, stop in pairwise(cuts):
            for i in range(start, stop, height):
                j = min(i + height, stop)
                blocks.append(Block(i, j, int(self.last[j - 1] - self.first[j - 1]) - 1))
        return blocks


def _pieces(group: Group, height: int, positive_pairs: int) -> Iterator[Group]:
    """Cuts a group into whole classes, or a class into runs of its anchors, of at most `height` anchors."""
    height = max(1, min(height, positive_pairs // group.references))
    if group.anchors <= height:
        step = height // group.anchors * group.anchors
        for start in range(group.start, group.stop, step):
            classes = (min(start + step, group.stop) - start) // group.anchors
            yield group.part(start, classes, group.anchors)
        return
    for first in range(group.start, group.stop, group.anchors):
        for start in range(first, first + group.anchors, height):
            yield group.part(start, 1, min(height, first + group.anchors - start))


def rectangular_layout(relations: LabelRelations) -> Layout | None:
    """Returns the layout of anchors and references, or of a set and itself seen from its anchors only.

    Returns `None` where a reference is the same item as an anchor of another class.
    """
    items = None
    if relations.by_id or relations.own:
        items = torch.cat([relations.anchor_ids, relations.reference_ids])
    layout = Layout(relations.labels, relations.reference_labels, items)
    return layout if layout.items is None or _items_keep_their_class(layout, layout.items) else None


def _items_keep_their_class(layout: Layout, placed: Int64[Tensor, " r"]) -> bool:
    """Whether every reference that is the same item as an anchor is of its class too."""
    own, n = placed[: layout.anchors], layout.anchors
    items, at = placed[n:].sort(stable=True)
    if not len(items):
        return True
    for right in (False, True):  # of the references that are one item, the first and the last by class
        found = torch.searchsorted(items, own, right=right) - int(right)
        found.clamp_(0, len(items) - 1)
        place = at[found] + n
        apart = (place < layout.first) | (place >= layout.last)
        if bool(((items[found] == own) & apart).any()):
            return False
    return True

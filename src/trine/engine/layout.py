"""The order in which the tiled passes see a batch: class-mates side by side, classes by size.

So the positives of a row are a run of its neighbours, the mask of a tile is a band, and rows that need
room for as many positives share a block: no row is padded to the largest class.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from trine.shapes import Int, Int64


@dataclass(frozen=True)
class Group:
    """Classes of equal size: rows `start` … `start + classes · size` − 1.

    Attributes:
        start: The first row.
        classes: The number of classes.
        size: Rows in each.
    """

    start: int
    classes: int
    size: int

    @property
    def stop(self) -> int:
        """The row after the last."""
        return self.start + self.classes * self.size


@dataclass(frozen=True)
class Block:
    """Consecutive rows that make one side of a tile.

    Attributes:
        start: The first row.
        stop: The row after the last.
        positives: Room for the positives of any of them.
    """

    start: int
    stop: int
    positives: int

    @property
    def rows(self) -> slice:
        """The rows as a slice."""
        return slice(self.start, self.stop)

    def __len__(self) -> int:
        return self.stop - self.start


class Layout:
    """A batch sorted by size of class, then label, then index.

    Attributes:
        order: Which row of the batch stands at each place.
        first: For each place, where its class starts.
        last: The place after the last of its class.
        groups: The runs of classes of equal size.
    """

    def __init__(self, labels: Int[Tensor, " n"]) -> None:
        _, inverse, counts = torch.unique(labels, return_inverse=True, return_counts=True)
        size = counts[inverse]
        self.order: Int64[Tensor, " n"] = torch.argsort(size * len(counts) + inverse, stable=True)
        self.rows = len(labels)
        ordered = counts.sort().values
        ends = ordered.cumsum(0)
        self.last = torch.repeat_interleave(ends, ordered)
        self.first = self.last - torch.repeat_interleave(ordered, ordered)
        sizes, classes = torch.unique_consecutive(ordered, return_counts=True)
        self.groups: list[Group] = []
        start = 0
        for size_of_group, number in zip(sizes.tolist(), classes.tolist(), strict=True):
            self.groups.append(Group(start, number, size_of_group))
            start = self.groups[-1].stop
        self.triplets = sum(g.classes * g.size * (g.size - 1) * (self.rows - g.size) for g in self.groups)
        self.positive_pairs = sum(g.classes * g.size * (g.size - 1) for g in self.groups)

    def blocks(self, height: int) -> list[Block]:
        """Cuts the rows into blocks of at most `height`, anew where the size of class has doubled."""
        cuts, smallest = [0], 1
        for group in self.groups:
            if group.size >= 2 * smallest:
                smallest = group.size
                if group.start > cuts[-1]:
                    cuts.append(group.start)
        cuts.append(self.rows)
        blocks = []
        for start, stop in pairwise(cuts):
            for i in range(start, stop, height):
                j = min(i + height, stop)
                blocks.append(Block(i, j, int(self.last[j - 1] - self.first[j - 1]) - 1))
        return blocks

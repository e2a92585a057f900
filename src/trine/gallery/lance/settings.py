"""When a gallery in LanceDB's tables is compacted, indexed, and how long a write is tried."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LanceSettings:
    """Settings of a `LanceStore`.

    Attributes:
        wait: Seconds for which a write is tried again while others write.
        large: Galleries with more items are searched through an index of LanceDB; smaller ones exactly, in
            memory.
        compact: The number of writes after which small files are merged; more in large galleries.
        keep: Seconds for which versions that were written over stay, for those who read them.
        lists: The number of items for each inverted list of the index.
        regrown: The index is built again for more lists in a gallery this many times as large.
        probed: The share of the inverted lists that a search visits.
        refine: How many times as many candidates as hits are compared with all their digits.
    """

    wait: float = 60.0
    large: int = 100_000
    compact: int = 16
    keep: float = 600.0
    lists: int = 1000
    regrown: int = 4
    probed: float = 0.6
    refine: int = 10

"""The sizes at which one implementation of a loss takes over from another."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Which implementation computes a loss, and in tiles of what size; the defaults are the fastest measured.

    Every plan gives the same results, so tests use small numbers to send small batches through every path.

    Attributes:
        small: The most rows of a batch, its own reference, that is computed at once in float64.
        tiled_from: Pairs of an anchor and a reference above which float32 tiles are used.
        numba: Whether tiles use numba kernels; `None` where numba is installed.
        workers: How many threads share the tiles; `None` uses torch's number.
        height: Anchors in a block at most; `None` for 256, or 512 in large square batches.
        tile_pairs: Distances in a tile, where anchors and references differ; `None` for the default.
        positive_pairs: Positives held at once, where anchors and references differ.
        ranks_from: Positives above which a negative looks up its rank among them; `None` for the default.
        sorted_from: References of a class above which semi-hard negatives are found from sorted positives.
        dense_from: References of a class above which numba takes its pairs as a product.
        block_pairs: Distances in a block of the float64 implementation.
        propose_from: Rows from which float32 may propose the hard triplets of a small batch.
    """

    small: int = 192
    tiled_from: int = 192**2
    numba: bool | None = None
    workers: int | None = None
    height: int | None = None
    tile_pairs: int | None = None
    positive_pairs: int = 1 << 17
    ranks_from: int | None = None
    sorted_from: int = 40
    dense_from: int = 64
    block_pairs: int = 1 << 19
    propose_from: int = 48


DEFAULT_PLAN = Plan()

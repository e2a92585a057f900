"""Open-set identification among the items themselves: each identity in turn is a stranger to the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from trine.distances import Distance
from trine.errors import InputError, check_count
from trine.evaluation.intervals import RESAMPLES
from trine.evaluation.metric_report import check_bootstrap, check_rates
from trine.evaluation.open_set import OpenSet
from trine.evaluation.relevance import relevant_blocks
from trine.labels import Labels, codes
from trine.neighbours import ExactSearch, as_rows
from trine.shapes import Float, Int64

__all__ = ["leave_one_out"]

TILE = 1 << 24
PROPOSED = 4
PROTOCOL = "open-set identification: an identity scored by its nearest embedding, each left out in turn"


def leave_one_out(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    labels: Labels,
    *,
    distance: Distance = "euclidean",
    at: tuple[float, ...] = (0.01, 0.05, 0.1),
    most: int = 5_000,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> OpenSet:
    """Measures identification with strangers where no identity was set aside as one.

    Every item is a probe twice. As a known one it meets all other items: it is named where an item of its
    own identity is the nearest. As a stranger it meets the items of all other identities, as if its own had
    never been enrolled. Each stranger thus meets one identity fewer than a real one does.

    Args:
        embeddings: One row per item.
        labels: The identity of each: integers of up to 64 bits, or strings.
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        at: The false-positive-identification rates to list in the report's JSON.
        most: The most probes; of more items, as many are drawn.
        resamples: The number of bootstrap samples; 0 for no interval.
        seed: The seed of the draw and of the bootstrap.

    Returns:
        The distances of both kinds of probes and their metrics, at rank 1.

    Raises:
        InputError: No two items share an identity, all do, a row is not finite, or the arguments do not fit.

    Example:
        >>> report = leave_one_out(np.array([[0.0], [0.1], [1.0], [1.3]]), ["a", "a", "b", "b"])
        >>> report.dir_at_fpir(0.0), report.unknowns.round(1).tolist()
        (1.0, [1.0, 0.9, 0.9, 1.2])
    """
    check_count("most", most)
    check_bootstrap(resamples, seed)
    check_rates(at)
    rows = as_rows(embeddings, name="embeddings")
    identity = codes(labels, items=len(rows))
    sizes = np.bincount(identity)
    if len(sizes) < 2 or sizes.max() < 2:
        raise InputError(
            "leaving identities out needs two items of one identity and a second identity, given "
            f"{len(rows):,} items of {len(sizes):,} identities; give more items"
        )
    probes = np.arange(len(rows))
    if len(rows) > most:
        probes = np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])
    search = ExactSearch(rows, distance=distance)
    other = _nearest_other(search, rows, probes, identity, unit=distance == "cosine")
    known = probes[sizes[identity[probes]] > 1]
    own = _nearest_own(search, rows, known, identity)
    # A tie names nobody with certainty.
    ranks = np.where(own < other[np.searchsorted(probes, known)], 1, 2)
    return OpenSet(
        own,
        ranks,
        identity[known],
        other,
        identity[probes],
        gallery=len(rows) - 1,
        identities=len(sizes),
        depth=1,
        distance=distance,
        protocol=PROTOCOL,
        at=at,
        resamples=resamples,
        seed=seed,
    )


def _nearest_own(
    search: ExactSearch, rows: Tensor, probes: Int64[np.ndarray, " p"], identity: Int64[np.ndarray, " n"]
) -> Float[np.ndarray, " p"]:
    """The distance of each probe to the nearest other item of its identity."""
    nearest = np.full(len(probes), np.inf)
    for block in relevant_blocks(identity[probes], identity):
        asked = probes[block.queries]
        found = search.distances(rows[torch.from_numpy(asked)], np.maximum(block.listed, 0))
        listed = (block.listed >= 0) & (block.listed != asked[:, None])
        nearest[block.queries] = np.where(listed, found, np.inf).min(1)
    return nearest


def _nearest_other(
    search: ExactSearch,
    rows: Tensor,
    probes: Int64[np.ndarray, " p"],
    identity: Int64[np.ndarray, " n"],
    *,
    unit: bool,
) -> Float[np.ndarray, " p"]:
    """The distance of each probe to the nearest item of another identity."""
    count = min(PROPOSED, int((identity != np.bincount(identity).argmax()).sum()))
    nearest = []
    for some, candidates in _candidates(rows, probes, identity, count=count, unit=unit):
        found = search.distances(rows[torch.from_numpy(some)], candidates)
        # With few items of other identities, some candidates are of the probe's own.
        nearest.append(np.where(identity[candidates] != identity[some, None], found, np.inf).min(1))
    return np.concatenate(nearest)


def _candidates(
    rows: Tensor,
    probes: Int64[np.ndarray, " p"],
    identity: Int64[np.ndarray, " n"],
    *,
    count: int,
    unit: bool,
) -> Iterator[tuple[Int64[np.ndarray, " q"], Int64[np.ndarray, "q c"]]]:
    """Some items of other identities that are nearest by a product, whose rounding exact distances settle."""
    centred = rows.float() if unit else (rows - rows.mean(0)).float()
    if unit:
        centred = torch.nn.functional.normalize(centred, dim=1)
    squares, labels = centred.square().sum(1), torch.from_numpy(identity)
    size = max(1, TILE // len(rows))
    for start in range(0, len(probes), size):
        some = probes[start : start + size]
        place = torch.from_numpy(some)
        near = squares - 2 * centred[place] @ centred.T
        near.masked_fill_(labels[place][:, None] == labels, torch.inf)
        yield some, near.topk(count, dim=1, largest=False).indices.numpy()

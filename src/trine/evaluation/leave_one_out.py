"""Open-set identification among the items themselves: each identity in turn is a stranger to the others."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trine.distances import PROPERTIES, Distance
from trine.errors import InputError, check_count
from trine.evaluation.intervals import RESAMPLES
from trine.evaluation.metric_report import check_bootstrap, check_rates
from trine.evaluation.open_set import OpenSet
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
    own, other = _nearest(rows, probes, identity, distance=distance)
    known = sizes[identity[probes]] > 1
    # A tie names nobody with certainty.
    ranks = np.where(own < other, 1, 2)
    return OpenSet(
        own[known],
        ranks[known],
        identity[probes[known]],
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


def _nearest(
    rows: Float[Tensor, "n d"],
    probes: Int64[np.ndarray, " p"],
    identity: Int64[np.ndarray, " n"],
    *,
    distance: Distance,
    tile: int = TILE,
) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    """The distance of each probe to the nearest other item of its identity, and to that of any other one.

    A product proposes the nearest few of both kinds; exact distances settle what its rounding leaves open.
    """
    search = ExactSearch(rows, distance=distance)
    directions = PROPERTIES[distance].of_directions
    scaled = F.normalize(rows.float(), dim=1) if directions else (rows - rows.mean(0)).float()
    squares, labels = scaled.square().sum(1), torch.from_numpy(identity)
    count, size = min(PROPOSED, len(rows)), max(1, tile // len(rows))
    nearest: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for start in range(0, len(probes), size):
        some = torch.from_numpy(probes[start : start + size])
        near = squares - 2 * scaled[some] @ scaled.T
        same = labels[some][:, None] == labels
        same_but_itself = same.clone()
        same_but_itself[torch.arange(len(some)), some] = False
        for kind, found in ((same_but_itself, nearest[0]), (~same, nearest[1])):
            candidates = near.masked_fill(~kind, torch.inf).topk(count, dim=1, largest=False).indices
            exact = search.distances(rows[some], candidates.numpy())
            found.append(np.where(kind.gather(1, candidates).numpy(), exact, np.inf).min(1))
    return np.concatenate(nearest[0]), np.concatenate(nearest[1])

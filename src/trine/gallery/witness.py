"""The identities of a gallery as strangers to each other.

Each identity is left out in turn, and its items are held against all others: how near they come is how near a
stranger comes who is like those enrolled. No further label is needed, and the figures are of this gallery and
of these items.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection
from dataclasses import replace

import numpy as np
import torch

from trine.evaluation.all_pairs import all_pairs
from trine.evaluation.calibration import impostor_rates
from trine.gallery.bulk_write import batched
from trine.gallery.identify import Identifier, Ranking
from trine.gallery.store import Store
from trine.interruption import check_interruption
from trine.rates import RateCurve, stranger_rates
from trine.shapes import Float32
from trine.strangers import Strangers

MOST_IDENTITIES = 1000
"""At most this many identities are left out in turn: enough for a firm rate of 1 %, at a bounded cost."""

MOST_ITEMS = 5
"""At most this many items of each."""

MOST_IN_PAIRS = 300
"""The pairs of at most this many identities are compared with what the model promises."""

_AT_ONCE = 256


def own_rates(
    store: Store, identifier: Identifier, ranking: Ranking, trained: Collection[str]
) -> RateCurve | None:
    """Measures how often the identities of a gallery are named as one another.

    At most 1,000 identities with at most 5 items each are left out; they are drawn by hashes of their names,
    so the same are drawn again.

    Args:
        store: The gallery.
        identifier: Ranks its identities.
        ranking: How they are scored.
        trained: Names of identities that the encoder was trained on, which are no strangers to it.

    Returns:
        The rates; None with fewer than two identities that were not trained on.
    """
    known = store.identities()
    usable = sorted(known.keys() - set(trained), key=_place)[:MOST_IDENTITIES]
    if len(usable) < 2:
        return None
    return _rates(_drawn(store, set(usable)), identifier, ranking, scale=len(known) / (len(known) - 1))


def outside_rates(
    store: Store, identifier: Identifier, ranking: Ranking, strangers: Strangers
) -> RateCurve | None:
    """Measures how often strangers are named by a gallery.

    Args:
        store: The gallery.
        identifier: Ranks its identities.
        ranking: How they are scored.
        strangers: People outside the gallery; those with a name of the gallery are left out.

    Returns:
        The rates; None without a stranger, and for an empty gallery.
    """
    known = store.identities()
    outside = strangers.without(known)
    if not len(outside) or not known:
        return None
    return _rates(outside, identifier, ranking)


def own_pairs(store: Store, trained: Collection[str]) -> RateCurve | None:
    """Measures how often pairs of a gallery's identities are accepted as the same.

    Args:
        store: The gallery.
        trained: As for `own_rates`.

    Returns:
        The rates, over one item of each of at most 300 identities; None with fewer than three.
    """
    usable = sorted(store.identities().keys() - set(trained), key=_place)[:MOST_IN_PAIRS]
    if len(usable) < 3:
        return None
    rows = torch.from_numpy(_drawn(store, set(usable), items=1).embeddings)
    return impostor_rates(all_pairs(rows, np.arange(len(rows)), distance=store.binding.distance))


def _rates(
    strangers: Strangers, identifier: Identifier, ranking: Ranking, scale: float | None = None
) -> RateCurve | None:
    """The rates of strangers; `scale` is given for identities of the gallery itself."""
    codes = {name: code for code, name in enumerate(strangers.names)}
    two = replace(ranking, candidates=2)
    distances, nearest = [], []
    for part in batched(iter(range(len(strangers))), _AT_ONCE):
        check_interruption()
        for place, ranked in zip(part, identifier.rank(strangers.embeddings[part], two), strict=True):
            own = None if scale is None else strangers.names[strangers.identity[place]]
            other = next((found for found in ranked if found.identity != own), None)
            if other is None:  # another process has just removed the others
                return None
            distances.append(other.score)
            nearest.append(codes.get(other.identity, -1))
    return stranger_rates(
        np.array(distances),
        strangers.identity,
        nearest=None if scale is None else np.array(nearest),
        scale=1.0 if scale is None else scale,
    )


def _drawn(store: Store, identities: Collection[str], *, items: int = MOST_ITEMS) -> Strangers:
    """The first items of some identities, by the hashes of their names."""
    held: dict[str, list[tuple[int, str, Float32[np.ndarray, " d"]]]] = {name: [] for name in identities}
    for record in store.scan():
        if record.identity not in held:
            continue
        # The heap keeps the smallest hashes: its first entry is the largest of them.
        entry = (-_place(record.item), record.item, record.embedding)
        if len(best := held[record.identity]) < items:
            heapq.heappush(best, entry)
        elif entry[:2] > best[0][:2]:
            heapq.heapreplace(best, entry)
    rows = [(name, row) for name in sorted(held) for _, _, row in sorted(held[name], key=lambda one: one[:2])]
    return Strangers.of(np.array([row for _, row in rows], dtype=np.float32), [name for name, _ in rows])


def _place(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(errors="replace"), digest_size=8).digest())

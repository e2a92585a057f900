"""The identities of a gallery as strangers to each other.

Each identity is left out in turn, and its items are held against all others: how near they come is how near a
stranger comes who is like those enrolled. No further label is needed, and the figures are of this gallery and
of these items.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from trine.gallery.bulk_write import batched
from trine.gallery.entries import Record
from trine.gallery.identify import Identifier, Ranking
from trine.gallery.store import Store
from trine.rates import RateCurve, stranger_rates
from trine.shapes import Float32

MOST_IDENTITIES = 1000
"""At most this many identities are left out in turn: enough for a firm rate of 1 %, at a bounded cost."""

MOST_ITEMS = 5
"""At most this many items of each."""

_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Probes:
    """Embeddings of strangers, with the identity of each.

    Attributes:
        embeddings: One row per item.
        names: The identity of each row.
    """

    embeddings: Float32[np.ndarray, "n d"]
    names: Sequence[str]


def own_rates(store: Store, identifier: Identifier, ranking: Ranking, trained: Collection[str]) -> RateCurve | None:
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


def outside_rates(store: Store, identifier: Identifier, ranking: Ranking, strangers: Probes) -> RateCurve | None:
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
    outside = [i for i, name in enumerate(strangers.names) if name not in known]
    if not outside or not known:
        return None
    rows = strangers.embeddings[outside]
    return _rates(Probes(rows, [strangers.names[i] for i in outside]), identifier, ranking)


def _rates(probes: Probes, identifier: Identifier, ranking: Ranking, scale: float | None = None) -> RateCurve:
    """The rates of probes; `scale` is given for identities of the gallery itself."""
    codes = {name: code for code, name in enumerate(dict.fromkeys(probes.names))}
    distances, nearest = [], []
    two = replace(ranking, candidates=2)
    for part in batched(iter(range(len(probes.names))), _AT_ONCE):
        for place, ranked in zip(part, identifier.rank(probes.embeddings[part], two), strict=True):
            other = next(found for found in ranked if scale is None or found.identity != probes.names[place])
            distances.append(other.score)
            nearest.append(codes.get(other.identity, -1))
    return stranger_rates(
        np.array(distances),
        np.array([codes[name] for name in probes.names]),
        nearest=None if scale is None else np.array(nearest),
        scale=1.0 if scale is None else scale,
    )


def _drawn(store: Store, identities: Collection[str]) -> Probes:
    """The first items of some identities, by the hashes of their names."""
    held: dict[str, list[tuple[int, str, Float32[np.ndarray, " d"]]]] = {name: [] for name in identities}
    for record in _of(store.scan(), identities):
        # The heap keeps the smallest hashes: its first entry is the largest of them.
        entry = (-_place(record.item), record.item, record.embedding)
        if len(items := held[record.identity]) < MOST_ITEMS:
            heapq.heappush(items, entry)
        elif entry[0] > items[0][0]:
            heapq.heapreplace(items, entry)
    rows = [(name, row) for name in sorted(held) for _, _, row in sorted(held[name], key=lambda one: one[:2])]
    return Probes(np.array([row for _, row in rows], dtype=np.float32), [name for name, _ in rows])


def _of(records: Iterator[Record], identities: Collection[str]) -> Iterator[Record]:
    return (record for record in records if record.identity in identities)


def _place(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(errors="replace"), digest_size=8).digest())

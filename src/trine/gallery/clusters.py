"""Clusters with stable numbers: new items join existing clusters, and no other item moves.

Two items are linked if one is among the nearest neighbours of the other and their distance is at most the
threshold; chains of links form clusters (single linkage, as in `trine.clustering.cluster`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trine.cluster_threshold import ClusterThreshold
from trine.errors import Argument, CalibrationError, GalleryError
from trine.evaluation import choose_cluster_threshold
from trine.evaluation.cluster_threshold import FEWEST_IDENTITIES, MOST_ITEMS
from trine.gallery.bulk_write import batched
from trine.gallery.entries import check_at_least
from trine.gallery.errors import damaged
from trine.gallery.store import Store, read_note

NOTE = "clusters"
"""The note that stores the threshold of the clusters."""

_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Clusters:
    """The cluster of every item of a gallery.

    Attributes:
        of: Maps each item to its cluster number, from 1; numbers are never reused.
        threshold: The longest link.
        added: The number of items that had no cluster before this call.
        joined: Pairs (number kept, number dropped) of clusters that new items merged.

    Example:
        >>> clusters = Clusters({"1": 1, "2": 1, "3": 2}, 0.5, 3)
        >>> print(clusters)
        2 clusters of 3 items (3 new)
        >>> clusters.members()
        {1: ['1', '2'], 2: ['3']}
    """

    of: Mapping[str, int]
    threshold: float
    added: int
    joined: tuple[tuple[int, int], ...] = ()

    def members(self) -> dict[int, list[str]]:
        """Returns the items of each cluster: largest cluster first, ties by number."""
        members: dict[int, list[str]] = {}
        for item in sorted(self.of):
            members.setdefault(self.of[item], []).append(item)
        return dict(sorted(members.items(), key=lambda entry: (-len(entry[1]), entry[0])))

    def to_json(self) -> dict[str, object]:
        """Returns the clusters as JSON values."""
        return {
            "threshold": self.threshold,
            "added": self.added,
            "joined": [list(pair) for pair in self.joined],
            "clusters": dict(self.of),
        }

    def __len__(self) -> int:
        return len(set(self.of.values()))

    def __str__(self) -> str:
        text = f"{len(self):,} clusters of {len(self.of):,} items ({self.added:,} new)"
        if not self.joined:
            return text
        return f"{text}; joined: " + ", ".join(f"{gone} is now {stays}" for stays, gone in self.joined)


def cluster(store: Store, *, threshold: float, neighbours: int, recluster: bool) -> Clusters:
    """Assigns every item of a store to a cluster; see `Gallery.cluster`."""
    check_at_least(1, neighbours=neighbours)
    before = {} if recluster else store.clusters()
    if before:
        _check(store, threshold)
    groups = Groups(before)
    fresh: list[str] = []
    for batch in batched((record for record in store.scan() if record.item not in before), _AT_ONCE):
        probes = np.stack([record.embedding for record in batch])
        for record, hits in zip(batch, store.search(probes, k=neighbours + 1), strict=True):
            fresh.append(record.item)
            near = [hit.item for hit in hits if hit.item != record.item and hit.score <= threshold]
            groups.link(record.item, near[:neighbours])
    after, joined = groups.numbered(store, fresh)
    store.note(NOTE, json.dumps(threshold))
    store.assign({item: number for item, number in after.items() if before.get(item) != number})
    return Clusters(after, threshold, len(fresh), joined)


def made_with(store: Store) -> float | None:
    """Returns the threshold of a store's clusters, or `None`."""
    noted = read_note(store, NOTE)
    if noted is not None and not isinstance(noted, float | int):
        raise damaged(store.address, f"its note {NOTE!r} is not a number")
    return noted


def threshold_for(store: Store, chosen: ClusterThreshold | None) -> float:
    """Returns the threshold for single linkage over all items of a store.

    Args:
        store: The store.
        chosen: How its encoder clusters.

    Raises:
        CalibrationError: That is not known.
    """
    if chosen is None or "connected" not in chosen.linkages:
        raise CalibrationError(
            f"the gallery {store.address} has no threshold for clusters: choose one with `trine evaluate "
            "--calibrate` on labelled items that were not trained on and open the gallery with that encoder, "
            "choose one on the gallery's own identities with ",
            Argument("choose", True),
            ", or pass ",
            Argument("threshold"),
        )
    return chosen.at(max(len(store), 1), "connected")


def chosen_on(store: Store, *, without: Collection[str], seed: int = 0) -> ClusterThreshold:
    """Chooses the threshold for single linkage on the identities of a store.

    Args:
        store: The store; of more than 5,000 items, some identities are drawn.
        without: Identities to leave out: those that the encoder was trained on.
        seed: The seed of the draw.

    Raises:
        CalibrationError: No two items share an identity, or all do.
    """
    sizes = {name: count for name, count in sorted(store.identities().items()) if name not in without}
    names = np.array(list(sizes), dtype=object)
    order = np.random.default_rng(seed).permutation(len(names))
    totals = np.cumsum([sizes[name] for name in names[order]])
    drawn = set(names[order[: max(int(np.searchsorted(totals, MOST_ITEMS)), FEWEST_IDENTITIES)]])
    taken = [record for record in store.scan() if record.identity in drawn]
    if not taken:
        raise CalibrationError(
            f"the gallery {store.address} has no identities to choose on: the encoder was trained on all "
            f"{len(store.identities()):,} of them; pass ",
            Argument("threshold"),
        )
    return choose_cluster_threshold(
        np.stack([record.embedding for record in taken]),
        [record.identity for record in taken],
        distance=store.binding.distance,
        linkages=["connected"],
    )


class Groups:
    """Linked items: a union-find forest in which the older root wins."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        """Starts from the existing clusters."""
        self._numbers = numbers
        # An existing cluster is one node, keyed by its number.
        self._parent: dict[str | int, str | int] = {number: number for number in numbers.values()}

    def link(self, item: str, others: Sequence[str]) -> None:
        """Links an item to others."""
        root = self._root(item)
        for other in others:
            root = self._join(root, self._root(other))

    def numbered(
        self, store: Store, fresh: Sequence[str]
    ) -> tuple[dict[str, int], tuple[tuple[int, int], ...]]:
        """Returns the cluster number of every item, and which existing clusters were merged."""
        roots = {item: self._root(item) for item in fresh}
        new: dict[str | int, list[str]] = {}
        for item, root in roots.items():
            if isinstance(root, str):
                new.setdefault(root, []).append(item)
        ordered = sorted(new.values(), key=lambda items: (-len(items), min(items)))
        given = store.new_clusters(len(ordered)) if ordered else []
        numbers = {item: number for number, items in zip(given, ordered, strict=True) for item in items}
        old = {number: self._root(number) for number in set(self._numbers.values())}
        joined = sorted((root, number) for number, root in old.items() if root != number)
        after = {item: old[number] for item, number in self._numbers.items()}
        after |= {item: numbers.get(item, root) for item, root in roots.items()}
        return {item: int(number) for item, number in after.items()}, tuple(
            (int(stays), int(gone)) for stays, gone in joined
        )

    def _root(self, node: str | int) -> str | int:
        if isinstance(node, str):
            node = self._numbers.get(node, node)
        path = []
        while self._parent.setdefault(node, node) != node:
            path.append(node)
            node = self._parent[node]
        for passed in path:
            self._parent[passed] = node
        return node

    def _join(self, one: str | int, other: str | int) -> str | int:
        """Merges two trees; of two existing clusters, the smaller (older) number stays."""
        if one == other:
            return one
        first, second = sorted((one, other), key=lambda node: (isinstance(node, str), node))
        self._parent[second] = first
        return first


def _check(store: Store, threshold: float) -> None:
    made = made_with(store)
    if made not in (None, threshold):
        raise GalleryError(
            f"the clusters of the gallery {store.address} were made with the threshold {made}, given "
            f"{threshold}: omit ",
            Argument("threshold"),
            ", or start over with ",
            Argument("recluster", True),
        )

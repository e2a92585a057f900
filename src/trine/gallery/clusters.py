"""Clusters with stable numbers: new items join existing clusters, and no other item moves.

With single linkage two items are linked if one is among the nearest neighbours of the other and their
distance is at most the threshold, and chains of links form clusters, as in `trine.clustering.cluster`. With
average linkage clusters grow as in `trine.clustering.extend_clusters`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

import numpy as np

from trine.cluster_threshold import ClusterThreshold
from trine.clustering import extend_clusters
from trine.errors import Argument, CalibrationError, GalleryError, SettingError
from trine.evaluation import choose_cluster_threshold
from trine.evaluation.cluster_threshold import FEWEST_IDENTITIES, MOST_ITEMS
from trine.gallery.bulk_write import batched
from trine.gallery.entries import check_at_least
from trine.gallery.errors import damaged
from trine.gallery.store import Store, read_note

NOTE = "clusters"
"""The note that stores how the clusters were made: a threshold, or a linkage and its threshold."""

Linkage = Literal["connected", "average"]
"""How the clusters of a gallery are joined."""

_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Clusters:
    """The cluster of every item of a gallery.

    Attributes:
        of: Maps each item to its cluster number, from 1; numbers are never reused.
        threshold: The longest link.
        added: The number of items that had no cluster before this call.
        joined: Pairs (number kept, number dropped) of clusters that new items merged; of a dropped one that
            was clustered again, the number that most of its items have now.

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


@dataclass(frozen=True)
class Made:
    """How the clusters of a store were made.

    Attributes:
        linkage: How they were joined.
        threshold: The longest link, or mean distance.
        by_hand: Whether the threshold was given, and not chosen; of average linkage only.
    """

    linkage: Linkage
    threshold: float
    by_hand: bool = False


@dataclass(frozen=True)
class KnownClusters:
    """What a person knows about clusters; it is kept whatever the distances are.

    Attributes:
        names: Names of clusters: two with different names are never joined.
        moved: Where an item belongs: to the cluster of this number, or with this name, which may be new; an
            empty name gives it a cluster of its own, which no item joins. A cluster that an item is moved to
            grows, but is joined with no other that there was.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    moved: Mapping[str, int | str] = field(default_factory=dict)


NOTHING_KNOWN = KnownClusters()


def cluster(
    store: Store,
    *,
    made: Made,
    neighbours: int,
    recluster: bool,
    known: KnownClusters,
    revise: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Clusters:
    """Assigns every item of a store to a cluster; see `Gallery.cluster`."""
    check_at_least(1, neighbours=neighbours)
    before = {} if recluster else store.clusters()
    if before:
        _check(store, made)
    if made.linkage == "average":
        return _averaged(store, made, before, known, revise=revise)
    for name, given in (("known", known != NOTHING_KNOWN), ("revise", revise)):
        if given:
            needs = Argument("linkage", "average")
            raise SettingError(Argument(name), " is kept with average linkage alone: pass ", needs)
    threshold = made.threshold
    groups = Groups(before)
    fresh: list[str] = []
    for batch in batched((record for record in store.scan() if record.item not in before), _AT_ONCE):
        probes = np.stack([record.embedding for record in batch])
        for record, hits in zip(batch, store.search(probes, k=neighbours + 1), strict=True):
            fresh.append(record.item)
            near = [hit.item for hit in hits if hit.item != record.item and hit.score <= threshold]
            groups.link(record.item, near[:neighbours])
        if progress is not None:
            progress(len(fresh))
    after, joined = groups.numbered(store, fresh)
    store.note(NOTE, json.dumps(threshold))
    store.assign({item: number for item, number in after.items() if before.get(item) != number})
    return Clusters(after, threshold, len(fresh), joined)


def _averaged(
    store: Store, made: Made, before: Mapping[str, int], known: KnownClusters, *, revise: bool
) -> Clusters:
    """Average linkage that begins with the clusters that there are, as a person has changed them."""
    rows = dict(sorted((record.item, record.embedding) for record in store.scan()))
    placed, alone, names = _placed(store, rows, before, known)
    items = [item for item in rows if item not in alone]
    held = np.array([placed.get(item, -1) for item in items], dtype=np.int64)
    found = held
    if (held < 0).any():
        fixed = {placed[item] for item in known.moved if item in placed}
        found = extend_clusters(
            np.stack([rows[item] for item in items]),
            held,
            threshold=made.threshold,
            distance=store.binding.distance,
            names=names,
            fixed=fixed,
            loose=set(held[held >= 0].tolist()) - fixed - {*names} if revise else (),
        )
        fresh = found > held.max()
        if fresh.any():
            numbers = np.unique(found[fresh], return_inverse=True)[1]
            found[fresh] = np.array(store.new_clusters(int(numbers.max()) + 1))[numbers]
    after = placed | dict(zip(items, found.tolist(), strict=True))
    store.note(NOTE, json.dumps(asdict(made)))
    store.assign({item: number for item, number in after.items() if before.get(item) != number})
    joined = _joined(placed, after)
    added = sum(item not in before for item in after)
    return Clusters(after, made.threshold, added, joined)


def _joined(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[tuple[int, int], ...]:
    """The clusters that there are no more, each after the one that has most of its items."""
    there = set(after.values())
    now: dict[int, Counter[int]] = {}
    for item, number in before.items():
        if number not in there:
            now.setdefault(number, Counter())[after[item]] += 1
    return tuple(sorted((max(sorted(to), key=to.__getitem__), number) for number, to in now.items()))


def _placed(
    store: Store, items: Collection[str], before: Mapping[str, int], known: KnownClusters
) -> tuple[dict[str, int], set[str], dict[int, str]]:
    """The clusters of items before others join them, the items that stay alone, and the names."""
    placed = {item: number for item, number in before.items() if item in items}
    moved = {item: to for item, to in known.moved.items() if item in items}
    names = dict(known.names)
    numbers = {name: number for number, name in sorted(names.items(), reverse=True) if name}
    alone = {item for item, to in moved.items() if to == ""}
    others = Counter(number for item, number in placed.items() if item not in alone)
    for item in sorted(alone):
        if item not in placed or placed[item] in others:
            (placed[item],) = store.new_clusters(1)
    wanted: dict[int, set[int | str | None]] = {}
    for item, number in placed.items():
        wanted.setdefault(number, set()).add(moved.get(item))
    for item, to in sorted(moved.items()):
        if item in alone:
            continue
        if isinstance(to, str) and to not in numbers:
            # A cluster that an earlier call made for this name, or a new one.
            own = placed.get(item)
            same = own is not None and own not in names and wanted[own] == {to}
            numbers[to] = own if same and own is not None else store.new_clusters(1)[0]
            names[numbers[to]] = to
        placed[item] = numbers[to] if isinstance(to, str) else to
    return placed, alone, names


def made_with(store: Store) -> Made | None:
    """Returns how a store's clusters were made, or `None`."""
    noted = read_note(store, NOTE)
    if noted is None:
        return None
    if isinstance(noted, float | int):
        return Made("connected", noted)
    try:
        made = Made(**noted)
        if made.linkage not in get_args(Linkage) or not isinstance(made.threshold, float | int):
            raise TypeError("not a linkage with its threshold")
    except TypeError as error:
        raise damaged(store.address, f"its note {NOTE!r} cannot be used ({error})") from error
    return made


def threshold_for(store: Store, chosen: ClusterThreshold | None, linkage: Linkage = "connected") -> float:
    """Returns the threshold for a linkage over all items of a store.

    Args:
        store: The store.
        chosen: How its encoder clusters.
        linkage: How clusters are joined.

    Raises:
        CalibrationError: That is not known.
    """
    if chosen is None or linkage not in chosen.linkages:
        raise CalibrationError(
            f"the gallery {store.address} has no threshold for clusters: choose one with `trine evaluate "
            "--calibrate` on labelled items that were not trained on and open the gallery with that encoder, "
            "choose one on the gallery's own identities with ",
            Argument("choose", True),
            ", or pass ",
            Argument("threshold"),
        )
    return chosen.at(max(len(store), 1), linkage)


def chosen_on(
    store: Store, *, without: Collection[str], linkage: Linkage = "connected", seed: int = 0
) -> ClusterThreshold:
    """Chooses the threshold for a linkage on the identities of a store.

    Args:
        store: The store; of more than 5,000 items, some identities are drawn.
        linkage: How clusters are joined.
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
        linkages=[linkage],
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


def _check(store: Store, made: Made) -> None:
    before = made_with(store)
    if before is None:
        return
    recluster = Argument("recluster", True)
    if before.linkage != made.linkage:
        raise GalleryError(
            f"the clusters of the gallery {store.address} were made by {before.linkage} linkage, given "
            f"{made.linkage!r}: omit ",
            Argument("linkage"),
            ", or start over with ",
            recluster,
        )
    # Means are compared afresh for every new item, so a smaller threshold moves no item.
    if before.threshold != made.threshold and not (
        made.linkage == "average" and made.threshold < before.threshold
    ):
        raise GalleryError(
            f"the clusters of the gallery {store.address} were made with the threshold {before.threshold}, "
            f"given {made.threshold}: omit ",
            Argument("threshold"),
            ", or start over with ",
            recluster,
        )

"""The gallery: who is this, what is like this, what belongs together? Over a persistent set of embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np

from trine.data import Items
from trine.errors import Argument, CalibrationError, InputError, SettingError
from trine.gallery.clusters import Clusters, cluster, made_with
from trine.gallery.decision import Candidate, Identification, Threshold, Verification
from trine.gallery.entries import Hit, Vector, Vectors, check_items, check_name, unknown_identity
from trine.gallery.filters import Filter
from trine.gallery.identify import Ranking, Scoring
from trine.gallery.index import scores_between
from trine.gallery.recommend import recommend
from trine.gallery.store import Scope
from trine.gallery.upkeep import Upkeep
from trine.shapes import Float32


@final
class Gallery(Upkeep):
    """A persistent set of embeddings with identity, item and metadata, bound to one encoder.

    What a call has written is on the disk when it returns. A gallery may be used from several threads,
    and its file by several processes at once.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> people = f"{folder.name}/people.db"
        >>> gallery = Gallery.open(people, dimension=2, fingerprint="by hand", threshold=0.5)
        >>> gallery.enrol("ann", "ann/1.png", embedding=[0.0, 1.0], metadata={"year": 2024})
        >>> gallery.enrol("bob", "bob/1.png", embedding=[1.0, 0.0])
        >>> print(gallery.identify(embedding=[0.0, 0.9]))
        this is ann (distance 0.10, threshold 0.50)
        >>> print(gallery.identify(embedding=[3.0, 3.0]))
        nobody we know: the nearest is ann at 3.61, above the threshold 0.50
        >>> [(hit.item, hit.metadata) for hit in gallery.search(embedding=[0.0, 0.9], k=1)]
        [('ann/1.png', {'year': 2024})]
        >>> gallery.close()
        >>> folder.cleanup()
    """

    def verify(
        self,
        a: Any = None,
        b: Any = None,
        *,
        embedding: Vector | None = None,
        other: Vector | None = None,
        identity: str | None = None,
        threshold: float | None = None,
    ) -> Verification:
        """Says whether two are of the same identity, or whether one is of the identity it claims.

        Either two probes, or one probe and an identity of the gallery, which is scored by its nearest
        embedding.

        Args:
            a: A probe for the encoder: a picture, a vector, a path.
            b: Another, unless an identity is claimed.
            embedding: (D,) the embedding of the first probe, in place of `a`.
            other: (D,) the embedding of the second, in place of `b`.
            identity: The claimed identity.
            threshold: The largest distance that is accepted; that of the gallery where left out.

        Returns:
            The decision, with its score, threshold and false-accept rate.

        Raises:
            CalibrationError: There is no threshold.
            GalleryError: The claimed identity is not in the gallery, or a probe cannot be used.
            InputError: Not exactly two things to compare.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     gallery = Gallery.open(f"{folder}/g.db", dimension=2, fingerprint="by hand")
            ...     gallery.enrol("ann", "ann/1.png", embedding=[0.0, 1.0])
            ...     print(gallery.verify(embedding=[0.0, 0.9], identity="ann", threshold=0.5))
            ...     gallery.close()
            the same: this is ann (distance 0.10, threshold 0.50)
        """
        limit = self._limit(threshold)
        if (b is not None) + (other is not None) + (identity is not None) != 1:
            raise InputError(
                "verify compares a probe with one thing: pass b, ",
                Argument("other"),
                " or ",
                Argument("identity"),
            )
        first = self._embedder.probe(a, embedding)
        if identity is None:
            second = self._embedder.probe(b, other)
            score = scores_between(first, second, distance=self.binding.distance).item()
        else:
            scope = Scope(only=frozenset([check_name(identity, "identity")]))
            (hits,) = self._store.search(first, k=1, scope=scope)
            if not hits:
                raise unknown_identity(identity, self._store.identities(), self._store.address)
            score = hits[0].score
        return Verification(**limit.judged(score), claim=identity)

    def identify(
        self,
        item: Any = None,
        *,
        embedding: Vector | None = None,
        threshold: float | None = None,
        candidates: int = 3,
        scoring: Scoring = "best",
        top: int = 3,
        quality: str | None = None,
    ) -> Identification:
        """Says who or what this is: the nearest identity, or nobody we know.

        The threshold was calibrated on pairs of single embeddings, so the false-accept rate it promises is
        that of one comparison; a mean or a centroid is a steadier score, and a little farther or nearer.

        Args:
            item: A probe for the encoder: a picture, a vector, a path.
            embedding: (D,) its embedding, in place of `item`.
            threshold: The largest distance that is accepted; that of the gallery where left out.
            candidates: How many of the nearest identities to name, at least 1.
            scoring: How an identity is scored: by its nearest embedding (`"best"`), by the mean distance of
                its nearest `top` embeddings (`"mean"`), or by the distance of the mean of its embeddings
                (`"centroid"`), put back to length 1 where all of them have length 1.
            top: Of how many embeddings the mean is taken; of all where an identity has fewer.
            quality: The key of metadata that says in [0, 1] how good an item is: its weight in a mean or a
                centroid.

        Returns:
            The decision, with its score, threshold and false-accept rate, and the nearest identities.

        Raises:
            CalibrationError: There is no threshold.
            GalleryError: The embedding is of another dimension or not finite, there is no encoder, or an
                item has no quality where it is asked for.
            SettingError: A number is below 1, or `quality` is given to `"best"`.
        """
        limit = self._limit(threshold)
        ranking = Ranking(scoring, top, quality, candidates)
        return self._identify(self._embedder.probe(item, embedding), limit, ranking)[0]

    def identify_many(
        self,
        items: Sequence[Any] | Items | None = None,
        *,
        embeddings: Vectors | None = None,
        threshold: float | None = None,
        candidates: int = 3,
        scoring: Scoring = "best",
        top: int = 3,
        quality: str | None = None,
    ) -> list[Identification]:
        """Says for each of several probes who or what it is; see `identify`."""
        limit = self._limit(threshold)
        ranking = Ranking(scoring, top, quality, candidates)
        return self._identify(self._embedder.probes(items, embeddings), limit, ranking)

    def search(
        self,
        item: Any = None,
        *,
        embedding: Vector | None = None,
        k: int = 10,
        where: Mapping[str, Any] | Filter | None = None,
        exclude: Sequence[str] = (),
        offset: int = 0,
    ) -> list[Hit]:
        """Finds the items most like this one.

        Args:
            item: A probe for the encoder: a picture, a vector, a path.
            embedding: (D,) its embedding, in place of `item`.
            k: How many to find, at least 1.
            where: What the metadata must match: `{"year": 2024}` is equality, `{"colour": {"red", "blue"}}`
                one of several, `{"price": (10, 20)}` a range with both ends; see `trine.gallery.Filter`.
            exclude: Items that are left out.
            offset: How many of the nearest are passed over: the second page of ten begins at 10.

        Returns:
            Hits with item, identity, score and metadata: nearest first, equal scores by the item's name;
            fewer than `k` where the gallery holds fewer.

        Raises:
            GalleryError: The embedding is of another dimension or not finite, or there is no encoder.
            InputError: A condition is of no kind that can be compared, or `exclude` is one text and no list.
            SettingError: `k` is below 1, or `offset` below 0.
        """
        if k < 1:
            raise SettingError(f"k is a number of items of at least 1, given {k}")
        if offset < 0:
            raise SettingError(f"offset is a number of items of at least 0, given {offset}")
        probe = self._embedder.probe(item, embedding)
        scope = Scope(where=Filter.of(where), exclude=frozenset(check_items(exclude, "exclude")))
        (hits,) = self._store.search(probe, k=k, offset=offset, scope=scope, metadata=True)
        return hits

    def recommend(
        self,
        like: Sequence[str],
        *,
        unlike: Sequence[str] = (),
        k: int = 10,
        diversity: float = 0.0,
        where: Mapping[str, Any] | Filter | None = None,
    ) -> list[Hit]:
        """Finds items near to some of the gallery's items and away from others.

        The query is the mean of the wanted embeddings, moved away from the mean of the unwanted ones by a
        quarter of their distance (Rocchio 1971). With a diversity, ten times as many items are looked at,
        and each choice weighs how near it is against how far it is from those chosen before (maximal
        marginal relevance: Carbonell, Goldstein 1998).

        Args:
            like: Names of items to be near to, at least one.
            unlike: Names of items to keep away from.
            k: How many to find, at least 1.
            diversity: The weight of being unlike what was chosen already, in [0, 1]; 0 for the nearest.
            where: As for `search`.

        Returns:
            Hits, never one of those named, in the order of choice; the score is the distance from the query.

        Raises:
            GalleryError: A named item is not there.
            InputError: Nothing is named in `like`.
            SettingError: `k` or `diversity` is out of range.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     with Gallery.open(f"{folder}/g.db", dimension=1, fingerprint="by hand") as gallery:
            ...         for name, x in [("a", 0.0), ("b", 0.1), ("c", 0.5), ("d", 0.52)]:
            ...             gallery.enrol("things", name, embedding=[x])
            ...         near = gallery.recommend(["a"], k=2)
            ...         varied = gallery.recommend(["a"], k=2, diversity=0.8)
            >>> [hit.item for hit in near], [hit.item for hit in varied]
            (['b', 'c'], ['b', 'd'])
        """
        return recommend(
            self._store, like=like, unlike=unlike, k=k, diversity=diversity, where=Filter.of(where)
        )

    def cluster(
        self, *, threshold: float | None = None, neighbours: int = 32, recluster: bool = False
    ) -> Clusters:
        """Puts every item into a cluster; those that have one keep its number.

        Two items are linked when their distance is at most the threshold, and a cluster is what a chain of
        links connects. The gallery keeps the clusters: a further call looks at items that are new, or have
        a new embedding, and each joins the cluster it is linked to or begins its own. Where a new item
        connects two clusters, they become one under the older number. Items that leave do not divide a
        cluster, until `recluster`.

        Args:
            threshold: The longest link; that of the clusters that are there, or of the gallery, where left
                out.
            neighbours: How many nearest neighbours of a new item may be linked to it, at least 1.
            recluster: Whether to forget all clusters and start anew, with new numbers.

        Returns:
            The cluster of every item, and which clusters became one.

        Raises:
            CalibrationError: There is no threshold.
            GalleryError: The clusters were made with another threshold.
            SettingError: A number is out of range.
        """
        if threshold is None and not recluster:
            threshold = made_with(self._store)
        limit = self._limit(threshold).value
        return cluster(self._store, threshold=limit, neighbours=neighbours, recluster=recluster)

    def _limit(self, given: float | None) -> Threshold:
        limit = self._threshold if given is None else Threshold(float(given))
        if limit is None:
            raise CalibrationError(
                f"the gallery {self._store.address} has no threshold: calibrate its encoder with "
                "`trine evaluate --calibrate` and open the gallery with it, or pass ",
                Argument("threshold"),
            )
        return limit

    def _identify(
        self, probes: Float32[np.ndarray, "n d"], limit: Threshold, ranking: Ranking
    ) -> list[Identification]:
        # The runner-up is looked for whatever is asked for, since the margin depends on it.
        wanted = replace(ranking, candidates=max(ranking.candidates, 2))
        return [
            _identification(found, limit, ranking.candidates)
            for found in self._identifier.rank(probes, wanted)
        ]


def _identification(found: Sequence[Candidate], limit: Threshold, wanted: int) -> Identification:
    best, other = (*found[:2], None, None)[:2]
    return Identification(
        **limit.judged(best.score if best else math.inf),
        nearest=best.identity if best else None,
        item=best.item if best else None,
        runner_up=other.identity if other else None,
        runner_up_score=other.score if other else None,
        candidates=tuple(found[:wanted]),
    )

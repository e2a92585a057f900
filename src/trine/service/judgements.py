"""What people say about pairs of items, kept, and exported as triplets to train with."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from trine.data.formula_cells import guarded
from trine.gallery import Gallery
from trine.service.state import State

Answer = Literal["same", "different", "wrong_label"]

COLUMNS = ("anchor", "positive", "negative")


@dataclass(frozen=True)
class KeptJudgement:
    """A judgement.

    Attributes:
        first: The item whose name comes first.
        second: The other item.
        answer: Whether they are the same; or that the identity of one of them is wrong.
        at: When, in seconds since 1970.
        who: The name of the key; "local" without keys.
    """

    first: str
    second: str
    answer: Answer
    at: float
    who: str


class Judgements:
    """The judgements of a service."""

    def __init__(self, state: State) -> None:
        """Takes the service's own file."""
        self._state = state

    def keep(self, gallery: str, first: str, second: str, answer: Answer, *, who: str) -> None:
        """Keeps a judgement in place of an earlier one about the same two items."""
        first, second = sorted((first, second))
        values = (gallery, first, second, answer, time.time(), who)
        self._state.changed("INSERT OR REPLACE INTO judgements VALUES (?, ?, ?, ?, ?, ?)", values)

    def drop(self, gallery: str, first: str, second: str) -> bool:
        """Takes a judgement back, and returns whether there was one."""
        first, second = sorted((first, second))
        where = "gallery = ? AND first = ? AND second = ?"
        return self._state.changed(f"DELETE FROM judgements WHERE {where}", (gallery, first, second)) > 0

    def all(self, gallery: str) -> list[KeptJudgement]:
        """Returns the judgements about a gallery, the latest first."""
        rows = self._state.rows(
            "SELECT first, second, answer, at, who FROM judgements WHERE gallery = ?"
            " ORDER BY at DESC, first, second",
            (gallery,),
        )
        return [KeptJudgement(*row) for row in rows]


def triplets_of(
    judgements: list[KeptJudgement], *, near: Callable[[str], str | None], far: Callable[[str], str | None]
) -> Iterator[tuple[str, str, str]]:
    """Makes triplets of what people said about pairs.

    "The same" gives an anchor and a positive, "different" an anchor and a negative, in both directions; all
    of these that share an anchor are combined. What is missing is taken from the gallery: for an anchor
    without a negative the nearest item of another identity, for one without a positive the farthest of its
    own.

    Args:
        judgements: The judgements.
        near: Finds the nearest item of another identity.
        far: Finds the farthest item of the same identity.

    Yields:
        Anchor, positive and negative.
    """
    same: dict[str, set[str]] = {}
    different: dict[str, set[str]] = {}
    for one in judgements:
        if one.answer == "wrong_label":  # whose is not said
            continue
        into = same if one.answer == "same" else different
        into.setdefault(one.first, set()).add(one.second)
        into.setdefault(one.second, set()).add(one.first)
    for anchor in sorted(same.keys() | different.keys()):
        positives, negatives = same.get(anchor, set()), different.get(anchor, set())
        if not negatives and (found := near(anchor)) is not None and found not in positives:
            negatives = {found}
        if not positives and (found := far(anchor)) is not None and found not in negatives:
            positives = {found}
        for positive in sorted(positives):
            for negative in sorted(negatives):
                yield anchor, positive, negative


def triplets_csv(gallery: Gallery, judgements: list[KeptJudgement]) -> str:
    """Writes the triplets of judgements as a table that `trine train --triplets` reads.

    Args:
        gallery: The gallery of the items.
        judgements: What people said.
    """

    def near(item: str) -> str | None:
        entry = gallery.get(item)
        wanted = 16
        while True:
            hits = gallery.search(embedding=entry.embedding, k=wanted)
            for hit in hits:
                if hit.identity != entry.identity:
                    return hit.item
            if len(hits) < wanted or wanted > 10_000:
                return None
            wanted *= 4

    def far(item: str) -> str | None:
        entry = gallery.get(item)
        others = [other.item for other in gallery.items(entry.identity, limit=1_000) if other.item != item]
        if not others:
            return None
        # In an order that does not depend on the store: by distance through the gallery's own search.
        hits = gallery.search(embedding=entry.embedding, k=10_000)
        ranked = [hit.item for hit in hits if hit.identity == entry.identity and hit.item != item]
        return ranked[-1] if ranked else others[-1]

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for triplet in triplets_of(judgements, near=near, far=far):
        writer.writerow(map(guarded, triplet))
    return text.getvalue()

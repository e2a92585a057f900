"""Train two towers on who liked what, and measure them: what `trine train` does with interactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trine.data import (
    HeldOut,
    InteractionColumns,
    Interactions,
    leave_last_out,
    read_features,
    read_interactions,
)
from trine.encoders import TwoTower, save
from trine.errors import Argument, GalleryError, SettingError, nearest
from trine.evaluation import Recommendation, recommendation, recommendation_from_scores
from trine.gallery import Enrolment, Entry, Gallery
from trine.io import write_json
from trine.shapes import Float
from trine.training import Diagnosis, Recipe, RunDir, fit_two_tower, read_findings

HELD_OUT = "held_out.json"
"""Which items were held out of whom: the file in the run's folder."""


@dataclass(frozen=True, eq=False)
class RecommendationReport:
    """What a run on interactions reached.

    Attributes:
        folder: The run.
        towers: The trained towers.
        test: Their figures on the last liked item of each user.
        popularity: The figures of the items that most users liked, for everybody: what needs no learning.
        at: k of the figures that are printed.
        notes: What there is to say about the data.
        doctor: What was wrong with the run.
    """

    folder: Path
    towers: TwoTower
    test: Recommendation
    popularity: Recommendation
    at: int
    notes: tuple[str, ...]
    doctor: tuple[Diagnosis, ...]

    def headline(self) -> dict[str, float]:
        """The figures of the card."""
        return {name: value for name, value, _ in _lines(self.test, self.at)}

    def __str__(self) -> str:
        rows = [("", "popularity", "towers", "95 % interval")]
        for (name, own, interval), (_, popular, _) in zip(
            _lines(self.test, self.at), _lines(self.popularity, self.at), strict=True
        ):
            rows.append((name, f"{popular:.3f}", f"{own:.3f}", interval))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        asked = (
            f"{len(self.test.users):,} users, each asked for the last item liked among {self.test.items:,}"
        )
        return "\n".join([asked, *table, *self.notes, *map(str, self.doctor)])


def train_recommender(
    table: str | Path | Interactions,
    recipe: Recipe,
    *,
    out: str | Path,
    users: str | Path | None = None,
    items: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> RecommendationReport:
    """Trains two towers on all but the last two liked items of each user, and asks for the last.

    The last liked item but one of each user chooses the weights that are kept.

    Args:
        table: A table of interactions, or such as were read.
        recipe: Every setting, with a section `interactions`.
        out: The run folder; a new one, unless `resume`.
        users: A table of what is known of the users.
        items: A table of what is known of the items.
        resume: Whether to go on with the run that is in the folder.
        progress: Whether to show progress in a terminal.

    Returns:
        The figures on the test items; the folder holds them and the model.

    Raises:
        DataError: A table cannot be used, or nobody liked three items.
        SettingError: The recipe has no section `interactions`, or a setting does not fit.
        InputError: The folder holds a run already, or none to resume.
    """
    how = recipe.interactions
    if how is None:
        raise SettingError(
            "the recipe says nothing of interactions; take the recipe recommendation, or give yours a "
            "section interactions"
        )
    interactions = table
    if not isinstance(interactions, Interactions):
        columns = InteractionColumns(user=how.user, item=how.item, time=how.time, rating=how.rating)
        interactions = read_interactions(table, columns=columns, at_least=how.at_least)  # type: ignore[arg-type]
    parts = leave_last_out(interactions)
    of_users = (
        None if users is None else read_features(users, interactions.users, of="user", only=how.user_features)
    )
    of_items = (
        None if items is None else read_features(items, interactions.items, of="item", only=how.item_features)
    )
    towers = fit_two_tower(
        interactions,
        parts,
        recipe,
        out=out,
        users=of_users,
        items=of_items,
        metric=lambda towers: measure_towers(towers, interactions, parts, part="validation").ndcg_at(how.at),
        resume=resume,
        progress=progress,
    )
    run = RunDir(Path(out))
    report = RecommendationReport(
        folder=run.path,
        towers=towers,
        test=measure_towers(towers, interactions, parts, part="test", resamples=1000),
        popularity=measure_scores(
            popularity(interactions, parts), interactions, parts, part="test", resamples=1000
        ),
        at=how.at,
        notes=(
            *_notes(interactions, parts),
            *(note for each in (of_users, of_items) if each for note in each.notes),
        ),
        doctor=read_findings(run)[1],
    )
    write_json(run.path / HELD_OUT, _record(interactions, parts))
    figures = {"towers": report.test.to_json(), "popularity": report.popularity.to_json()}
    write_json(run.path / "metrics.json", {"interactions": str(interactions), **figures})
    liked = int(interactions.liked[parts.train].sum())
    save(
        towers,
        run.model,
        metrics=report.headline(),
        trained_on=f"{liked:,} liked items of {interactions.source}",
    )
    return report


def measure_towers(
    towers: TwoTower, interactions: Interactions, parts: HeldOut, *, part: str = "test", resamples: int = 0
) -> Recommendation:
    """Asks towers for the held-out items of a part; see `trine.evaluation.recommendation`.

    Args:
        towers: The towers.
        interactions: Who liked what.
        parts: What is held out.
        part: `"test"`, where the validation items are known, or `"validation"`.
        resamples: How often users are drawn again for an interval.

    Returns:
        The figures.

    Raises:
        SettingError: There is no such part.
    """
    held_out, seen = _asked(interactions, parts, part)
    return recommendation(
        towers.embed("users"),
        towers.embed("items"),
        distance=towers.distance,
        resamples=resamples,
        held_out=held_out,
        seen=seen,
    )


def measure_scores(
    scores: Float[np.ndarray, "n m"] | Float[np.ndarray, " m"],
    interactions: Interactions,
    parts: HeldOut,
    *,
    part: str = "test",
    resamples: int = 0,
) -> Recommendation:
    """Asks any scores for the held-out items of a part, with the ranking that `measure_towers` has.

    Args:
        scores: Larger is better: of each item for each user, or of each item for everybody.
        interactions: Who liked what.
        parts: What is held out.
        part: As for `measure_towers`.
        resamples: As for `measure_towers`.

    Returns:
        The figures.

    Raises:
        SettingError: There is no such part.
    """
    held_out, seen = _asked(interactions, parts, part)
    shape = (len(interactions.users), len(interactions.items))
    every = np.broadcast_to(scores, shape)
    return recommendation_from_scores(
        lambda some: every[some],
        users=shape[0],
        items=shape[1],
        resamples=resamples,
        held_out=held_out,
        seen=seen,
    )


def enrol_items(
    towers: TwoTower, gallery: Gallery, *, metadata: Mapping[str, Mapping[str, Any]] | None = None
) -> Enrolment:
    """Puts the items of towers into a gallery, each an identity of its own, to be searched there.

    Args:
        towers: The towers.
        gallery: A gallery of their fingerprint, dimension and distance.
        metadata: What to keep with the items, by name; their title is kept besides.

    Returns:
        How many were new, replaced and there already.

    Raises:
        GalleryError: The gallery is one of other embeddings.
    """
    if gallery.binding.fingerprint != towers.fingerprint:
        raise GalleryError(
            f"the gallery {gallery.address} is one of other embeddings than these towers make; open a new "
            "one with the towers' ",
            *(Argument("dimension"), ", ", Argument("fingerprint"), " and ", Argument("distance")),
        )
    names = towers.settings.items
    titles = towers.settings.titles or ("",) * len(names)
    known = metadata or {}
    return gallery.enrol_many(
        Entry(
            identity=name,
            item=name,
            embedding=row,
            metadata={**({"title": title} if title else {}), **known.get(name, {})},
        )
        for name, title, row in zip(names, titles, towers.embed("items"), strict=True)
    )


def popularity(interactions: Interactions, parts: HeldOut) -> Float[np.ndarray, " m"]:
    """Counts by how many users each item was liked in the training part."""
    train = parts.train[interactions.liked[parts.train]]
    return np.bincount(interactions.item[train], minlength=len(interactions.items)).astype(np.float64)


def _asked(interactions: Interactions, parts: HeldOut, part: str) -> tuple[np.ndarray, np.ndarray]:
    """What a user is asked for in a part, and what is known then."""
    if part not in ("test", "validation"):
        raise SettingError(f"part is {part!r}; {nearest(part, ('test', 'validation'))}")
    pairs = interactions.pairs
    if part == "validation":
        return pairs[parts.validation], pairs[parts.train]
    return pairs[parts.test], pairs[np.concatenate([parts.train, parts.validation])]


def _lines(report: Recommendation, k: int) -> list[tuple[str, float, str]]:
    figures: tuple[tuple[str, str, tuple[int, ...]], ...] = (
        (f"HR@{k}", "hit_rate_at", (k,)),
        (f"NDCG@{k}", "ndcg_at", (k,)),
        ("MRR", "mrr", ()),
    )
    return [
        (name, float(report.per_query(figure, *rank).mean()), str(report.interval(figure, *rank)))
        for name, figure, rank in figures
    ]


def _notes(interactions: Interactions, parts: HeldOut) -> list[str]:
    notes = []
    if parts.unasked:
        notes.append(f"{parts.unasked:,} users liked fewer than three items and were not asked")
    known = np.bincount(interactions.item[parts.train], minlength=len(interactions.items)) > 0
    new = int((~known[interactions.item[parts.test]]).sum())
    if new:
        notes.append(
            f"{new:,} of the items asked for are in no training interaction, and can hardly be found"
        )
    return notes


def _record(interactions: Interactions, parts: HeldOut) -> Mapping[str, object]:
    def named(positions: np.ndarray) -> dict[str, str]:
        chosen = interactions.pairs[positions]
        return {interactions.users[user]: interactions.items[item] for user, item in chosen}

    return {"validation": named(parts.validation), "test": named(parts.test)}

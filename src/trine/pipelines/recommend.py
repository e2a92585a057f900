"""Train two towers on interactions of users and items, evaluate them, and put the items into a gallery."""

from __future__ import annotations

from collections.abc import Mapping
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
from trine.encoders import TwoTower
from trine.errors import Argument, GalleryError, SettingError, nearest
from trine.evaluation import Recommendation, recommendation, recommendation_from_scores
from trine.gallery import Enrolment, Entry, Gallery
from trine.io import write_json
from trine.pipelines.train import write_run
from trine.report import Baseline, BaselineKind, EvaluatedPart, Metrics, PageContext, Report
from trine.shapes import Float
from trine.training import Recipe, RunDir, fit_two_tower, lock_run, read_findings

HELD_OUT = "held_out.json"
"""The file of a run that names the held-out items of each user."""

POPULARITY = Baseline(BaselineKind.POPULARITY, "the most popular items, the same for every user")


def train_recommender(
    table: str | Path | Interactions,
    recipe: Recipe,
    *,
    out: str | Path,
    users: str | Path | None = None,
    items: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Report:
    """Trains two towers on all but the last two liked items of each user, and evaluates on the last.

    The last but one of each user chooses the weights that are kept.

    Args:
        table: A table of interactions, or interactions already read.
        recipe: Every setting, including a section `interactions`.
        out: The run folder; a new one, unless `resume`.
        users: A table of features of the users.
        items: A table of features of the items.
        resume: Whether to resume the run in the folder.
        progress: Whether to show progress in a terminal.

    Returns:
        The report on the last liked items, with the most popular items as the baseline. The folder holds it
        and the towers (`trine.encoders.load_two_tower`).

    Raises:
        DataError: A table cannot be used, or no user liked three items.
        SettingError: The recipe has no section `interactions`, or a setting is invalid for this data.
        InputError: The folder already holds a run, is used by another one, or holds none to resume.
    """
    how = recipe.interactions
    if how is None:
        raise SettingError(
            "the recipe has no section interactions; use the recipe recommendation, or add the section"
        )
    interactions = table
    if not isinstance(interactions, Interactions):
        columns = InteractionColumns(user=how.user, item=how.item, time=how.time, rating=how.rating)
        interactions = read_interactions(table, columns=columns, at_least=how.at_least)
    parts = leave_last_out(interactions)
    tables = (
        ("user", users, interactions.users, how.user_features),
        ("item", items, interactions.items, how.item_features),
    )
    features = {
        of: read_features(file, names, of=of, only=only)
        for of, file, names, only in tables
        if file is not None
    }
    run = RunDir(Path(out))
    with lock_run(run, resume=resume):
        towers = fit_two_tower(
            interactions,
            parts,
            recipe,
            out=out,
            users=features.get("user"),
            items=features.get("item"),
            metric=lambda towers: measure_towers(towers, interactions, parts, part="validation").ndcg_at(
                how.at
            ),
            resume=resume,
            progress=progress,
        )
        liked = int(interactions.liked[parts.train].sum())
        notes = (*_notes(interactions, parts), *(note for each in features.values() for note in each.notes))
        report = _report(towers, interactions, parts, run=run, k=how.at, notes=notes)
        write_json(run.path / HELD_OUT, _record(interactions, parts))
        about = f"{liked:,} liked items of {interactions.source}"
        write_run(PageContext(run.path.resolve().name, run.path, report, towers, about))
    return report


def _report(
    towers: TwoTower,
    interactions: Interactions,
    parts: HeldOut,
    *,
    run: RunDir,
    k: int,
    notes: tuple[str, ...],
) -> Report:
    test = measure_towers(towers, interactions, parts, resamples=1000)
    popular = measure_scores(popularity(interactions, parts), interactions, parts, resamples=1000)
    return Report(
        run.path,
        Path(interactions.source).stem,
        EvaluatedPart(f"{len(test.users):,} users, the last liked item of each among {test.items:,} items"),
        Metrics(recommendation=test),
        Metrics(recommendation=popular),
        POPULARITY,
        k=k,
        doctor=read_findings(run)[1],
        notes=notes,
    )


def measure_towers(
    towers: TwoTower, interactions: Interactions, parts: HeldOut, *, part: str = "test", resamples: int = 0
) -> Recommendation:
    """Evaluates towers on the held-out items of a part; see `trine.evaluation.recommendation`.

    Args:
        towers: The towers.
        interactions: The interactions.
        parts: The held-out items.
        part: `"test"`, with the validation items known, or `"validation"`.
        resamples: The number of bootstrap resamples of users; 0 for no intervals.

    Returns:
        The metrics.

    Raises:
        SettingError: The part is unknown.
    """
    held_out, seen = _held_out(interactions, parts, part)
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
    """Evaluates any scores on the held-out items of a part, ranked as `measure_towers` does.

    Args:
        scores: Larger is better; one per user and item, or one per item for all users.
        interactions: The interactions.
        parts: The held-out items.
        part: As for `measure_towers`.
        resamples: As for `measure_towers`.

    Returns:
        The metrics.

    Raises:
        SettingError: The part is unknown.
    """
    held_out, seen = _held_out(interactions, parts, part)
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
    """Enrols the items of towers in a gallery, each as an identity.

    Args:
        towers: The towers.
        gallery: A gallery with their fingerprint, dimension and distance.
        metadata: Metadata of the items, by name; their titles are added.

    Returns:
        The number of new, replaced and unchanged items.

    Raises:
        GalleryError: The gallery holds embeddings of another model.
    """
    if gallery.binding.fingerprint != towers.fingerprint:
        raise GalleryError(
            f"the gallery {gallery.address} holds embeddings of another model; open a new gallery with "
            "this model's ",
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
    """Counts how many users liked each item in the training part."""
    train = parts.train[interactions.liked[parts.train]]
    return np.bincount(interactions.item[train], minlength=len(interactions.items)).astype(np.float64)


def _held_out(interactions: Interactions, parts: HeldOut, part: str) -> tuple[np.ndarray, np.ndarray]:
    """The held-out items of a part, and the items known by then."""
    if part not in ("test", "validation"):
        raise SettingError(f"unknown part {part!r}; {nearest(part, ('test', 'validation'))}")
    pairs = interactions.pairs
    if part == "validation":
        return pairs[parts.validation], pairs[parts.train]
    return pairs[parts.test], pairs[np.concatenate([parts.train, parts.validation])]


def _notes(interactions: Interactions, parts: HeldOut) -> list[str]:
    notes = []
    if parts.unasked:
        notes.append(f"{parts.unasked:,} users liked fewer than three items and are not evaluated")
    known = np.bincount(interactions.item[parts.train], minlength=len(interactions.items)) > 0
    new = int((~known[interactions.item[parts.test]]).sum())
    if new:
        notes.append(f"{new:,} of the held-out items are in no training interaction and are hard to find")
    return notes


def _record(interactions: Interactions, parts: HeldOut) -> Mapping[str, object]:
    def named(positions: np.ndarray) -> dict[str, str]:
        chosen = interactions.pairs[positions]
        return {interactions.users[user]: interactions.items[item] for user, item in chosen}

    return {"validation": named(parts.validation), "test": named(parts.test)}

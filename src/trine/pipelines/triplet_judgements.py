"""Learning from people's judgements of which items are more alike, where no identities are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from trine.data import Dataset, TripletSplit, TripletTable, split_triplets
from trine.data.triplet_split import JudgementMethod
from trine.distances import Distance
from trine.encoders import Encoder, load, save
from trine.errors import SettingError
from trine.evaluation import TripletAccuracy, TripletConsistency, triplet_accuracy, triplet_consistency
from trine.io import write_json, write_text
from trine.model import read_model
from trine.pipelines.baseline import PRETRAINED, prepared_rows, start_of
from trine.pipelines.evaluate import FIGURES, PAGE, PICTURE, recipe_of
from trine.pipelines.judgement_parts import judged_part, told, write_judgements
from trine.pipelines.split_record import SPLIT, Part, check_part, counted, name_of, run_of, split_record
from trine.report import picture
from trine.report.pages.triplet_judgements import JudgedSubject, judged_page
from trine.report.selection import view
from trine.report.triplet_judgements_report import JudgedReport
from trine.shapes import Float32, Int64
from trine.training import Diagnosis, Recipe, RunDir, fit, read_findings

WAYS: tuple[tuple[str, Distance], ...] = (("cosine", "cosine"), ("Euclidean", "euclidean"))


def train_judged(
    dataset: Dataset,
    triplets: TripletTable,
    recipe: Recipe,
    *,
    out: str | Path,
    resume: bool = False,
    progress: bool = True,
) -> JudgedReport:
    """Trains on one part of people's judgements, and counts how many of another the encoder agrees with.

    Where the recipe sets a validation part apart, the weights of the look that agrees best with it are
    kept. There is no threshold: judgements say what is more alike, and not what is the same.

    Args:
        dataset: The items; their identities, where known, are not looked at.
        triplets: The judgements, by the names of the items.
        recipe: Every setting. `data.split` is `triplets` (judgements not seen, about known items), `items`
            (judgements about items not seen), or `auto`, which is `triplets`.
        out: The run folder; a new one, unless `resume`.
        resume: Whether to go on with the run that is in the folder.
        progress: Whether to show progress in a terminal.

    Returns:
        The agreement with the test part; the folder holds it, the model, the page and the picture, and
        `triplets.parquet`, which says of each judgement in which part it was.

    Raises:
        DataError: A judgement names no item, or the judgements do not allow the split.
        SettingError: A setting does not fit.
        InputError: The folder holds a run already, or none to resume.

    Example:
        >>> import tempfile
        >>> from trine.data import Vectors
        >>> from trine.training import load_recipe
        >>> rows = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
        >>> names = tuple(f"shoe {i}" for i in range(12))
        >>> data = Dataset(Vectors(rows), np.full(12, -1), (), names, root="shoes")
        >>> d = np.abs(rows[:, None, 0] - rows[None, :, 0])  # to these people the first number is all
        >>> said = [[names[i] for i in t] for t in np.ndindex(12, 12, 12)
        ...     if len(set(t)) == 3 and d[t[0], t[1]] < d[t[0], t[2]]]
        >>> judged = TripletTable("people", *zip(*said))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     recipe = load_recipe("judgements", overrides={"training.steps": 30})
        ...     report = train_judged(data, judged, recipe, out=f"{folder}/run")
        >>> report.after.accuracy > report.before.accuracy
        True
    """
    listed = triplets.positions(dataset.names)
    drawn = recipe.seed if recipe.data.seed is None else recipe.data.seed
    method = judgement_method(recipe)
    parts = split_triplets(
        listed,
        items=len(dataset),
        method=method,
        test=recipe.data.test,
        validation=recipe.data.validation,
        seed=drawn,
    )
    encoder = _fitted(dataset, parts, recipe, out=out, resume=resume, progress=progress)
    run = RunDir(Path(out))
    write_json(run.path / SPLIT, split_record(dataset, _items_of(parts), method=method))
    write_judgements(run.path, dataset, parts)
    items = counted(dataset.subset(_own_items(parts.train)[0]))
    learned = (
        f"{len(parts.train):,} judgements of {items} of {name_of(dataset)}, split by {method}, seed {drawn}"
    )
    seen = "known from others" if method == "triplets" else "never seen"
    left = f"{parts.left_out:,} judgements were left out: they mix items of several parts"
    report = measure_judged(
        encoder,
        dataset,
        parts.test,
        folder=run.path,
        part=f"test part ({told(parts.test)} {seen})",
        run=run.path,
        recipe=recipe,
        trained_on=learned,
        given=triplet_consistency(listed),
        doctor=read_findings(run)[1],
        notes=(left,) if parts.left_out else (),
    )
    save(encoder, run.model, metrics=report.headline(), trained_on=learned)
    return report


def evaluate_judged(
    run: str | Path,
    dataset: Dataset,
    triplets: TripletTable,
    *,
    part: Part = "auto",
    out: str | Path | None = None,
) -> JudgedReport:
    """Counts how many of people's judgements the encoder of a run agrees with.

    Args:
        run: The run folder, or a model folder.
        dataset: The items; their identities, where known, are not looked at.
        triplets: The judgements, by the names of the items.
        part: Which judgements; `auto` takes the test part of those that the run was trained on, and all
            of others.
        out: Where to write figures, page and picture; `evaluation/<data>` in the run folder where left out.

    Returns:
        The agreement; `out` holds it, the page and the picture.

    Raises:
        ModelError: There is no model, or the record of the judgements is damaged.
        DataError: A judgement names no item, or there is no such part.
        SettingError: The part is unknown.
    """
    check_part(part)
    encoder = load(run)
    listed = triplets.positions(dataset.names)
    chosen, words = judged_part(run, dataset, listed, part)
    kept = name_of(dataset) if part in ("auto", "test") else f"{name_of(dataset)}-{part}"
    folder = Path(out) if out is not None else run_of(Path(run)) / "evaluation" / kept
    return measure_judged(
        encoder,
        dataset,
        chosen,
        folder=folder,
        part=words,
        run=run_of(Path(run)),
        recipe=recipe_of(run),
        trained_on=read_model(Path(run)).trained_on,
        given=triplet_consistency(listed),
    )


def judgement_method(recipe: Recipe) -> JudgementMethod:
    """How a recipe divides judgements.

    Args:
        recipe: The recipe.

    Raises:
        SettingError: It divides items by their identities.
    """
    method = recipe.data.split
    if method == "auto":
        return "triplets"
    if method == "triplets" or method == "items":
        return method
    raise SettingError(
        f"data.split is {method}, and judgements say nothing of identities; set it to triplets or items, or "
        "give data whose identities are known"
    )


def measure_judged(
    encoder: Encoder,
    dataset: Dataset,
    triplets: Int64[np.ndarray, "t 3"],
    *,
    folder: Path,
    part: str,
    run: Path,
    recipe: Recipe | None,
    trained_on: str,
    given: TripletConsistency,
    doctor: tuple[Diagnosis, ...] = (),
    notes: tuple[str, ...] = (),
) -> JudgedReport:
    """Counts the judgements that the embeddings agree with, and those that the raw items do.

    Args:
        encoder: What embeds the items.
        dataset: The items.
        triplets: The judgements to count, as positions among the items.
        folder: Where figures, page and picture are written.
        part: Which judgements these are, in words.
        run: The run folder.
        recipe: The run's, for what it began with; None where it is not known.
        trained_on: What the encoder was trained on, in words.
        given: How far all judgements that were given agree among themselves.
        doctor: What was wrong with the training.
        notes: What else is to be said.

    Returns:
        What was found; the folder holds it.

    Raises:
        InputError: A file cannot be written.
    """
    used, listed = _own_items(triplets)
    chosen = dataset.subset(used)
    items = replace(chosen, labels=np.full(len(chosen), -1, dtype=np.int64), identities=())
    embeddings = encoder.embed(items)
    after = triplet_accuracy(embeddings, listed, distance=encoder.distance)
    before, how = _before(encoder, items, listed, recipe)
    report = JudgedReport(folder, name_of(dataset), part, before, how, after, given, doctor, notes)
    look = view(embeddings, items.labels, distance=encoder.distance)
    page = judged_page(JudgedSubject(run.resolve().name, run, report, items, encoder, trained_on, look))
    write_json(folder / FIGURES, report.to_json())
    write_text(folder / PAGE, page)
    picture(items, embeddings, path=folder / PICTURE, distance=encoder.distance, look=look, judged=after)
    return report


def _fitted(
    dataset: Dataset, parts: TripletSplit, recipe: Recipe, *, out: str | Path, resume: bool, progress: bool
) -> Encoder:
    trained, listed = _own_items(parts.train)
    held, looked_at = _own_items(parts.validation)
    distance = recipe.loss.distance

    def metric(embeddings: Float32[np.ndarray, "n d"], _: Int64[np.ndarray, " n"]) -> float:
        return triplet_accuracy(embeddings, looked_at, distance=distance, resamples=0).accuracy

    return fit(
        dataset.subset(trained),
        recipe,
        out=out,
        triplets=listed,
        validation=dataset.subset(held) if len(held) else None,
        metric=metric if len(held) else None,
        resume=resume,
        progress=progress,
    )


def _own_items(
    triplets: Int64[np.ndarray, "t 3"],
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, "t 3"]]:
    """The items that triplets are about, and the triplets as positions among these."""
    used, rows = np.unique(triplets, return_inverse=True)
    return used, rows.reshape(triplets.shape).astype(np.int64)


def _items_of(parts: TripletSplit) -> dict[str, Int64[np.ndarray, " n"]]:
    """The items of each part: one that was trained on is in no other."""
    train, held, tested = (np.unique(rows) for rows in parts.parts.values())
    held = np.setdiff1d(held, train)
    return {"train": train, "validation": held, "test": np.setdiff1d(tested, np.union1d(train, held))}


def _before(
    encoder: Encoder, items: Dataset, triplets: Int64[np.ndarray, "t 3"], recipe: Recipe | None
) -> tuple[TripletAccuracy | None, str]:
    """The most that the raw items reach on these very judgements, and how."""
    given: dict[str, Float32[np.ndarray, "n d"]] = {}
    if (raw := prepared_rows(encoder, items)) is not None:
        what = "pixels" if items.kind == "images" else "features"
        scaled = encoder.settings.table is not None and not encoder.settings.unit_rows
        given[f"{what} as {'prepared' if scaled else 'they are'}"] = raw
        if items.kind == "vectors":
            spread = raw.std(axis=0, dtype=float)
            standard = (raw - raw.mean(axis=0, dtype=float)) / np.where(spread > 1e-12, spread, 1.0)
            given["standardised features"] = standard.astype(np.float32)
    start = None if recipe is None else start_of(encoder, items, recipe.encoder)
    if start is not None and start.words == PRETRAINED:
        given["features of the pretrained network"] = start.rows
    if not given:
        return None, ""
    found = {
        f"{words}, {called} distance": triplet_accuracy(rows, triplets, distance=distance)
        for words, rows in given.items()
        for called, distance in WAYS
    }
    best = max(found, key=lambda words: found[words].accuracy)
    return found[best], f"{best}, the best of {len(found)} ways on these judgements"

"""Training runs: split, fit, calibrate, measure, write."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

from trine.data import Dataset, TripletTable, read_pairs
from trine.data.frames import Tabular
from trine.data.load import as_dataset
from trine.encoders import Encoder, TwoTower, save
from trine.pipelines.faces_for import training_faces
from trine.pipelines.held_out import calibrate_by_folds, calibrate_kept_out
from trine.pipelines.measure import cluster_threshold_of, measure
from trine.pipelines.split_data import SplitData, split_by_identity, split_by_judgements
from trine.pipelines.start import chosen_of
from trine.report import PageContext, Report, shown_items, write_report
from trine.training import (
    NO_GAIN,
    Loss,
    Recipe,
    RunDir,
    distributed_context,
    fit,
    lock_run,
    read_findings,
    with_loss,
)

START_KEPT = "the weights before training are kept, since training did not help people or things it never saw"

FOLDS = 3
"""How often a frozen network is trained again by default, where identities are too few to keep some out."""


def train_run(
    dataset: Dataset | Tabular,
    recipe: Recipe,
    *,
    out: str | Path,
    triplets: TripletTable | None = None,
    loss: Loss | None = None,
    pairs: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Report:
    """Trains on one part of the data, calibrates on another, and evaluates on a third.

    The threshold is calibrated on identities that no training saw: those of the validation part, or of the
    test part if there are none, or some that are kept out for it (`data.calibration`), or, in turn, those
    that folds of the training leave out (`data.calibration_folds`). On the test part the clusters, and the
    share of impostor pairs that the threshold accepts, are optimistic; no other metric depends on it. If
    identities of the test part were trained on, its items are also classified by their nearest neighbours in
    the training part.

    Where the recipe is for faces (`data.detect`), the faces are found on the photos and aligned first.

    Args:
        dataset: Labelled items.
        recipe: Every setting.
        out: The run folder; a new one, unless `resume`.
        triplets: Train only on these triplets, dropping those with an item outside the training part; None
            mines triplets from the labels.
        loss: A loss to use instead of the recipe's; see `fit`.
        pairs: A list of pairs, as for `evaluate_run`. Its pairs in the test part are measured as well, also
            at the threshold that is best for its pairs in the validation part. `data.split: folds` uses
            its folds.
        resume: Whether to resume the run in the folder.
        progress: Whether to show progress in a terminal.

    Returns:
        The report on the test part, in every process of a multi-process run; the folder holds it and the
        model.

    Raises:
        DataError: The data does not allow the split, or is too small for the sampler; the list cannot be
            read, or has no pairs in the test part.
        SettingError: A setting is invalid for this data.
        InputError: The folder already holds a run, is used by another one, or holds none to resume, or the
            loss cannot be used.
    """
    recipe = with_loss(recipe, loss)
    dataset, found = training_faces(as_dataset(dataset, "train_run"), recipe)
    listed = None if pairs is None else read_pairs(pairs)
    data = split_by_identity(dataset, recipe, triplets=triplets, pairs=listed)
    if found is not None:
        data = data.with_note(" ".join(str(found).split("\n")))
    with lock_run(RunDir(Path(out)), resume=resume, context=distributed_context(recipe.training)):
        return _train(data, recipe, out=Path(out), loss=loss, resume=resume, progress=progress)


def train_on_judgements(
    dataset: Dataset | Tabular,
    triplets: TripletTable,
    recipe: Recipe,
    *,
    out: str | Path,
    resume: bool = False,
    progress: bool = True,
) -> Report:
    """Trains on one part of the triplet judgements of people, and evaluates on another.

    If the recipe has a validation part, the weights that agree best with it are kept. There is no threshold:
    judgements tell what is more similar, not what is the same.

    Args:
        dataset: The items; their identities are ignored.
        triplets: The judgements, by the names of the items.
        recipe: Every setting. `data.split` is `triplets` (unseen judgements about seen items), `items`
            (judgements about unseen items), or `auto`, which is `triplets`.
        out: The run folder; a new one, unless `resume`.
        resume: Whether to resume the run in the folder.
        progress: Whether to show progress in a terminal.

    Returns:
        The report on the test part; the folder holds it, the model, and `triplets.parquet` with the part of
        each judgement.

    Raises:
        DataError: A judgement names an unknown item, or the judgements do not allow the split.
        SettingError: A setting is invalid for this data.
        InputError: The folder already holds a run, is used by another one, or holds none to resume.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from trine.data import Vectors
        >>> from trine.training import load_recipe
        >>> rows = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
        >>> names = tuple(f"shoe {i}" for i in range(12))
        >>> data = Dataset(Vectors(rows), np.full(12, -1), (), names, root="shoes")
        >>> d = np.abs(rows[:, None, 0] - rows[None, :, 0])  # people look at the first number only
        >>> judged = [[names[i] for i in t] for t in np.ndindex(12, 12, 12)
        ...     if len(set(t)) == 3 and d[t[0], t[1]] < d[t[0], t[2]]]
        >>> table = TripletTable("people", *zip(*judged))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     recipe = load_recipe("judgements", overrides={"training.steps": 30})
        ...     report = train_on_judgements(data, table, recipe, out=f"{folder}/run")
        >>> report.after.triplet_accuracy.accuracy > report.before.triplet_accuracy.accuracy
        True
    """
    dataset = as_dataset(dataset, "train_on_judgements", labelled=None)
    data = split_by_judgements(dataset, triplets, recipe)
    with lock_run(RunDir(Path(out)), resume=resume, context=distributed_context(recipe.training)):
        return _train(data, recipe, out=Path(out), resume=resume, progress=progress)


def _train(
    data: SplitData, recipe: Recipe, *, out: Path, loss: Loss | None = None, resume: bool, progress: bool
) -> Report:
    folds = folds_of(recipe, data)
    untrained = copy.deepcopy(loss) if folds else None
    encoder = fit(
        data.train,
        recipe,
        out=out,
        triplets=data.triplets,
        validation=data.validation,
        metric=data.metric,
        loss=loss,
        resume=resume,
        progress=progress,
    )
    is_main = distributed_context(recipe.training).is_main
    encoder = chosen_of(encoder, data, recipe, run=out if is_main else None)
    embed = cache(encoder.embed)
    if (items := data.calibrate_on) is not None:
        calibrate_kept_out(encoder, items, embed(items), recipe)
        encoder.cluster_threshold = cluster_threshold_of(
            embed(items), items.labels, distance=encoder.distance
        )
    elif folds:
        calibrate_by_folds(encoder, data.train, recipe, folds=folds, loss=untrained, progress=progress)
    if is_main:
        data.write(out)
    findings = read_findings(RunDir(out))[1] if is_main else ()
    report = measure(encoder, data.evaluated, folder=out, recipe=recipe, embed=embed, doctor=findings)
    if is_main:
        tested = data.evaluated.items
        shown = shown_items(tested, embed(tested), report, distance=encoder.distance)
        undone = any(found.name == NO_GAIN for found in findings)
        trained_on = f"{data.trained_on}; {START_KEPT}" if undone else data.trained_on
        write_run(PageContext(out.resolve().name, out, report, encoder, trained_on, shown))
    return report


def write_run(context: PageContext) -> None:
    """Writes the report and the model of a training run.

    Args:
        context: The report with what its page shows.
    """
    write_report(context)
    model: Encoder | TwoTower = context.model
    save(
        model,
        RunDir(context.run).model,
        metrics=context.report.card,
        trained_on=context.trained_on,
    )


def folds_of(recipe: Recipe, data: SplitData) -> int:
    """How many folds of the training leave identities out in turn, to calibrate on them; 0 for none."""
    if data.triplets is not None or not data.train.identities or data.calibrate_on is not None:
        return 0
    asked = recipe.data.calibration_folds
    if asked is None:
        alone = recipe.training.devices == 1
        return FOLDS if recipe.encoder.frozen and alone and recipe.data.calibration is None else 0
    return asked

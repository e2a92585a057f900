"""Splits the data of a run: what to train on, what selects the weights, what to evaluate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trine.data import (
    Dataset,
    IdentityLists,
    PairTable,
    Split,
    TripletTable,
    few_of_each,
    keep_out,
    of_identities,
    split,
    split_by_folds,
    split_triplets,
)
from trine.data.splits import JudgementMethod
from trine.errors import Argument, SettingError
from trine.evaluation import retrieval, triplet_accuracy, triplet_consistency
from trine.evaluation.listed_pairs import HeldOut, listed_pairs, pairs_within
from trine.io import write_json
from trine.pipelines.measure import EvaluationSet, gallery_for
from trine.pipelines.mine import triplets_left_out, triplets_of_part
from trine.pipelines.split_record import (
    copies_in,
    counted,
    has_pair,
    name_of,
    split_record,
    words_of_copies,
)
from trine.pipelines.trained_run import SPLIT
from trine.pipelines.triplet_record import counted_judgements, write_judgements
from trine.report import EvaluatedPart
from trine.shapes import Float32, Int64
from trine.training import Recipe

Metric = Callable[[Float32[np.ndarray, "n d"], Int64[np.ndarray, " n"]], float]

OPEN = "unseen items of seen identities, and unknown identities"
"""What the test part of an open split holds."""


@dataclass(frozen=True, eq=False)
class SplitData:
    """The data of a training run.

    Attributes:
        train: The items to train on.
        triplets: Triplets to train on, as positions among `train`; None trains on identities.
        validation: The items that select the weights; None keeps the last weights.
        metric: Scores embeddings and labels to select the weights; None without validation items.
        calibrate_on: Items of identities that no training sees, to calibrate the threshold on; None where
            there are none.
        evaluated: What to evaluate.
        trained_on: Describes the training data for the model's card.
        write: Records in the run folder which part each item is in.
    """

    train: Dataset
    triplets: Int64[np.ndarray, "t 3"] | None
    validation: Dataset | None
    metric: Metric | None
    calibrate_on: Dataset | None
    evaluated: EvaluationSet
    trained_on: str
    write: Callable[[Path], None]

    def with_note(self, note: str) -> SplitData:
        """The same with a further note for the reader of the report."""
        notes = (*self.evaluated.notes, note)
        return replace(self, evaluated=replace(self.evaluated, notes=notes))


def split_by_identity(
    dataset: Dataset, recipe: Recipe, *, triplets: TripletTable | None, pairs: PairTable | None
) -> SplitData:
    """Splits labelled items as the recipe specifies.

    Args:
        dataset: Labelled items.
        recipe: The recipe.
        triplets: Triplets to train on; those with an item outside the training part are dropped.
        pairs: Pairs to evaluate as well; their folds define the split if the recipe asks for it.

    Raises:
        DataError: The data does not allow the split, or the list has no pairs in the test part.
        SettingError: A setting is invalid for this data.
    """
    if recipe.data.identities is not None:
        dataset = of_identities(dataset, recipe.data.identities)
    parts, how = _split(dataset, recipe, pairs)
    if pairs is None and triplets is None:
        seed = recipe.seed if recipe.data.seed is None else recipe.data.seed
        parts = keep_out(parts, dataset.labels, share=recipe.data.calibration, seed=seed)
    notes = _left_out(dataset, parts)
    if recipe.data.shots is not None:
        few = few_of_each(dataset.labels[parts.train], most=recipe.data.shots, seed=recipe.seed)
        parts, how = (
            replace(parts, train=parts.train[few]),
            f"{how}, at most {recipe.data.shots} per identity",
        )
    own_triplets = None
    if triplets is not None:
        own_triplets, left_out = triplets_of_part(triplets, dataset, parts.train)
        notes += (triplets_left_out(left_out, "training part"),) if left_out else ()
    train, test = dataset.subset(parts.train), dataset.subset(parts.test)
    validation = dataset.subset(parts.validation) if len(parts.validation) else None
    distance = recipe.loss.distance

    def map_at_r(embeddings: Float32[np.ndarray, "n d"], labels: Int64[np.ndarray, " n"]) -> float:
        return retrieval(embeddings, labels, distance=distance).map_at_r

    listed = held_out = None
    if pairs is not None:
        listed = listed_pairs(pairs, dataset, parts.test)
        if validation is not None:
            held_out = HeldOut(validation, pairs_within(pairs, dataset, parts.validation))
    gallery = gallery_for(test, train)
    kind = "unseen identities" if gallery is None else "seen identities, unseen items"
    record = split_record(dataset, parts.parts, method=parts.method)
    copies = words_of_copies(copies_in(record, "test"))
    part = f"test part{copies} ({counted(test)}; {OPEN if parts.method == 'open' else kind})"
    chooses = validation is not None and has_pair(validation)
    return SplitData(
        train,
        own_triplets,
        validation if chooses else None,
        map_at_r if chooses else None,
        _unseen(dataset, parts),
        EvaluationSet(
            test, EvaluatedPart(part), recipe.evaluation.far, gallery, listed, held_out, notes=notes
        ),
        f"{counted(train)} of {name_of(dataset)}, split by {how}",
        lambda run: write_json(run / SPLIT, record),
    )


def _unseen(dataset: Dataset, parts: Split) -> Dataset | None:
    """The items of identities that were not trained on, of the first part that has two of them."""
    trained = np.unique(dataset.labels[parts.train])
    for part in (parts.calibration, parts.validation, parts.test):
        unseen = part[~np.isin(dataset.labels[part], trained)]
        if len(np.unique(dataset.labels[unseen])) >= 2:
            return dataset.subset(unseen)
    return None


def _left_out(dataset: Dataset, parts: Split) -> tuple[str, ...]:
    """Notes the items that are in no part, if any."""
    rest = np.setdiff1d(np.arange(len(dataset)), np.concatenate(list(parts.parts.values())))
    return (f"left out {counted(dataset.subset(rest))} that no part names",) if len(rest) else ()


def _split(dataset: Dataset, recipe: Recipe, pairs: PairTable | None) -> tuple[Split, str]:
    """The parts, and how they were made."""
    asked = recipe.data
    if asked.split == "folds":
        if pairs is None:
            raise SettingError(
                "data.split folds needs a list of pairs with folds; give one with ", Argument("pairs")
            )
        words = f"folds ({', '.join(map(str, asked.test_folds))} for test"
        if asked.validation_folds:
            words += f", {', '.join(map(str, asked.validation_folds))} for validation"
        parts = split_by_folds(dataset, pairs, test=asked.test_folds, validation=asked.validation_folds)
        return parts, f"{words})"
    if asked.split == "triplets" or asked.split == "items":
        raise SettingError(
            f"data.split is {asked.split}, which splits triplet judgements of items without identities; "
            "use train_on_judgements, or set data.split to auto"
        )
    seed = recipe.seed if asked.seed is None else asked.seed
    parts = split(
        dataset,
        method=asked.split,
        test=asked.test,
        validation=asked.validation,
        seed=seed,
        unknown=asked.unknown_identities,
        named=IdentityLists(asked.train_identities, asked.validation_identities, asked.test_identities),
    )
    return parts, f"{parts.method}, seed {seed}"


def split_by_judgements(dataset: Dataset, triplets: TripletTable, recipe: Recipe) -> SplitData:
    """Splits triplet judgements as the recipe specifies.

    Args:
        dataset: The items; their identities are ignored.
        triplets: The judgements, by the names of the items.
        recipe: The recipe.

    Raises:
        DataError: A judgement names an unknown item, or the judgements do not allow the split.
        SettingError: A setting is invalid for this data.
    """
    listed = triplets.positions(dataset.names)
    seed = recipe.seed if recipe.data.seed is None else recipe.data.seed
    method = judgement_method(recipe)
    parts = split_triplets(
        listed,
        items=len(dataset),
        method=method,
        test=recipe.data.test,
        validation=recipe.data.validation,
        seed=seed,
    )
    train, taught = items_of_judgements(dataset, parts.train)
    validation, held_out = items_of_judgements(dataset, parts.validation)
    test, evaluated = items_of_judgements(dataset, parts.test, identities=False)
    distance = recipe.loss.distance

    def accuracy(embeddings: Float32[np.ndarray, "n d"], _: Int64[np.ndarray, " n"]) -> float:
        return triplet_accuracy(embeddings, held_out, distance=distance, resamples=0).accuracy

    def write(run: Path) -> None:
        write_json(run / SPLIT, split_record(dataset, _items_of(parts), method=method))
        write_judgements(run, dataset, parts)

    seen = "items seen in training" if method == "triplets" else "unseen items"
    part = EvaluatedPart(f"test part ({counted_judgements(parts.test)}; {seen})")
    notes = (
        (f"left out {parts.left_out:,} judgements about items of several parts",) if parts.left_out else ()
    )
    described = f"{len(parts.train):,} judgements of {counted(train)} of {name_of(dataset)}"
    return SplitData(
        train,
        taught,
        validation if len(validation) else None,
        accuracy if len(validation) else None,
        None,
        EvaluationSet(test, part, triplets=evaluated, judgements=triplet_consistency(listed), notes=notes),
        f"{described}, split by {method}, seed {seed}",
        write,
    )


def judgement_method(recipe: Recipe) -> JudgementMethod:
    """How a recipe splits triplet judgements.

    Args:
        recipe: The recipe.

    Raises:
        SettingError: The recipe splits items by identity.
    """
    method = recipe.data.split
    if method == "auto":
        return "triplets"
    if method == "triplets" or method == "items":
        return method
    raise SettingError(
        f"data.split is {method}, which needs identities, and triplet judgements have none; set it to "
        "triplets or items, or give data with identities"
    )


def items_of_judgements(
    dataset: Dataset, triplets: Int64[np.ndarray, "t 3"], *, identities: bool = True
) -> tuple[Dataset, Int64[np.ndarray, "t 3"]]:
    """Selects the items of some judgements.

    Args:
        dataset: All items.
        triplets: The judgements, as positions among the items.
        identities: Whether to keep the identities of the items.

    Returns:
        The selected items, and the judgements as positions among them.
    """
    used, rows = np.unique(triplets, return_inverse=True)
    chosen = dataset.subset(used)
    if not identities:
        chosen = replace(chosen, labels=np.full(len(chosen), -1, dtype=np.int64), identities=())
    return chosen, rows.reshape(triplets.shape).astype(np.int64)


def _items_of(parts: Split) -> dict[str, Int64[np.ndarray, " n"]]:
    """The items of each part; an item of the training part is in no other part."""
    train, held, tested = (np.unique(rows) for rows in parts.parts.values())
    held = np.setdiff1d(held, train)
    return {"train": train, "validation": held, "test": np.setdiff1d(tested, np.union1d(train, held))}

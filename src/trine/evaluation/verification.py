"""Verification: whether two items are of one identity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from trine.data import Dataset, read_pairs
from trine.distances import PROPERTIES, Distance, check_distance
from trine.errors import InputError, check_count
from trine.evaluation.all_pairs import all_pairs
from trine.evaluation.index_arrays import boolean_flags, index_rows
from trine.evaluation.lfw_folds import evaluate_folds
from trine.evaluation.metric_report import check_bootstrap, check_rates
from trine.evaluation.pair_intervals import PAIR_RESAMPLES
from trine.evaluation.pairs import HELD, Pairs, given_pairs, sampled_pairs
from trine.evaluation.verification_report import Verification
from trine.labels import Labels, codes
from trine.neighbours import as_rows
from trine.shapes import Bool, Float, Int, Int64, Shaped

__all__ = ["Verification", "load_pairs", "verification"]

NEAREST, FARTHEST = 1e-30, 1e38
"""The range of the largest distance: those a million times smaller are still normal numbers in float32."""

MAX_PAIRS = 200_000_000
"""Up to this many pairs, all are measured by default: those of 20,000 items, in a few seconds."""


def verification(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    labels: Labels | None = None,
    *,
    pairs: Int[np.ndarray, "p 2"] | Int[Tensor, "p 2"] | Sequence[Sequence[int]] | None = None,
    same: Shaped[np.ndarray, " p"] | Shaped[Tensor, " p"] | Sequence[bool] | None = None,
    fold: Labels | None = None,
    distance: Distance = "euclidean",
    at: tuple[float, ...] = (0.001, 0.01, 0.1),
    max_pairs: int | None = MAX_PAIRS,
    resamples: int = PAIR_RESAMPLES,
    seed: int = 0,
) -> Verification:
    """Measures how well the distance of two items tells whether they share an identity.

    Args:
        embeddings: One row per item.
        labels: The identity of each item; every unordered pair of items is a trial. Optional with `pairs` and
            `same`; then no metric has an interval.
        pairs: The pairs to measure, as rows of their two items; by default all pairs.
        same: For each given pair whether it is genuine, as booleans or 1 and 0; by default the labels decide.
        fold: For each given pair its fold, of at least two: then there is an accuracy, with the threshold of
            each fold chosen on the others (the protocol of Labeled Faces in the Wild).
        distance: `"squared_euclidean"`, `"euclidean"` or `"cosine"`.
        at: The false-accept rates to list in the report's JSON.
        max_pairs: Up to this many pairs (from labels) all are measured, and every metric is exact. Of more, a
            random sample of ten million, or of `max_pairs` where that is less, is measured, and the report
            says so: all genuine pairs up to half of it, impostor pairs for the rest. None measures all pairs,
            however many: those of 50,000 items of 128 numbers in about a minute and in 1.5 GiB.
        resamples: The number of bootstrap samples; 0 for no intervals.
        seed: Seeds the sample and the bootstrap.

    Returns:
        The distances of both kinds of pairs and their metrics.

    Raises:
        InputError: There is no genuine or no impostor pair, a row is not finite, or the arguments do not fit.

    Example:
        >>> report = verification(np.array([[0.0], [0.1], [1.0], [1.3]]), ["a", "a", "b", "b"])
        >>> report.roc_auc, report.tar_at_far(0.01), report.impostor_pairs
        (1.0, 1.0, 4)
    """
    check_distance(distance)
    check_bootstrap(resamples, seed)
    check_rates(at)
    if max_pairs is not None:
        check_count("max_pairs", max_pairs, at_least=2)
    rows = as_rows(embeddings, name="embeddings")
    _check_range(rows, distance)
    identity = None if labels is None else codes(labels, items=len(rows))
    folds = None
    if pairs is not None:
        listed = index_rows(pairs, columns=2, items=len(rows), name="pair")
        genuine = _genuine(listed, same, identity)
        numbers = None if fold is None else codes(fold, items=len(listed), name="fold")
        measured, distances = given_pairs(rows, listed, genuine, identity, distance=distance)
        _check_both(measured)
        owners, protocol = None if identity is None else identity[listed], "verification: given pairs"
        if numbers is not None:
            folds = evaluate_folds(distances, genuine, numbers)
            protocol += f", {len(folds.thresholds)} folds, each at the threshold that is best on the others"
    elif identity is None or same is not None or fold is not None:
        raise InputError("verification needs labels, or pairs together with same; give one of the two")
    else:
        owners, protocol = identity, "verification: all pairs"
        if max_pairs is None or len(rows) * (len(rows) - 1) // 2 <= max_pairs:
            measured = all_pairs(rows, identity, distance=distance, seed=seed)
        else:
            size = min(max_pairs, HELD)
            measured = sampled_pairs(rows, identity, distance=distance, size=size, seed=seed)
            protocol = f"verification: a random sample of all pairs, seed {seed}"
        _check_both(measured)
    return Verification(
        measured,
        None if owners is None else len(np.unique(owners)),
        distance,
        protocol,
        folds,
        None if folds is None else owners,
        at=at,
        resamples=resamples,
        seed=seed,
    )


def load_pairs(
    dataset: Dataset, path: str | Path
) -> tuple[Int64[np.ndarray, "p 2"], Bool[np.ndarray, " p"], Int64[np.ndarray, " p"] | None]:
    """Reads a list of pairs and finds its items in a data set, as arguments of `verification`.

    Args:
        dataset: The items; the pairs go by their names.
        path: As for `trine.data.read_pairs`: a table of a, b, same and fold, or a list in the format of
            Labeled Faces in the Wild.

    Returns:
        Rows of the two items of each pair, whether they are of one identity, and the fold of each pair; None
        if the list has no folds.

    Raises:
        DataError: The list cannot be read, or a name in it is not an item of the data.
    """
    table = read_pairs(path)
    return table.positions(dataset.names), table.same, table.fold


def _check_range(rows: Tensor, distance: Distance) -> None:
    """Raises an `InputError` unless float32, in which distances are kept, can hold those of the rows."""
    properties = PROPERTIES[distance]
    if properties.of_directions:
        return
    largest = float(rows.abs().amax()) if rows.numel() else 0.0
    reach = 2 * rows.shape[1] ** 0.5 * largest
    reach = reach**2 * properties.factor if properties.squared else reach
    if reach and not NEAREST <= reach <= FARTHEST:
        raise InputError(
            f"verification keeps distances in float32: they must reach from {NEAREST:g} to {FARTHEST:g}, and "
            f"embeddings of at most {largest:g} are up to {reach:g} apart; multiply all rows by one number"
        )


def _genuine(pairs: np.ndarray, same: object, identity: np.ndarray | None) -> Bool[np.ndarray, " p"]:
    """Whether each pair is genuine, as `same` or the labels say; where both are given, they must agree."""
    said = None if same is None else boolean_flags(same, lines=len(pairs), name="same")
    if identity is None:
        if said is None:
            raise InputError("pairs need same, or labels that say which of them are genuine")
        return said
    flags: np.ndarray = identity[pairs[:, 0]] == identity[pairs[:, 1]]
    if said is not None and (said != flags).any():
        row = int((said != flags).argmax())
        marked = "same, but its items have different labels"
        if not said[row]:
            marked = "different, but its items share a label"
        advice = "correct one of the two, or give pairs and same alone"
        raise InputError(f"pair {row} is marked as {marked}; {advice}")
    return flags


def _check_both(pairs: Pairs) -> None:
    for kind, count, advice in (
        ("genuine", pairs.genuine.count, "two items of one identity"),
        ("impostor", pairs.impostor.count, "items of two identities"),
    ):
        if not count:
            raise InputError(f"verification needs a pair of each kind, given no {kind} one; add {advice}")

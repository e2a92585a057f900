"""Compare several runs on the same items."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, reduce
from pathlib import Path

import numpy as np

from trine.data import Dataset, read_pairs
from trine.data.frames import Tabular
from trine.data.load import as_dataset
from trine.errors import Argument, DataError, InputError
from trine.evaluation.listed_pairs import listed_pairs
from trine.pipelines.evaluate import check_asked, measured_run
from trine.pipelines.faces_for import faces_as_trained
from trine.pipelines.measure import EvaluationSet
from trine.pipelines.split_record import Part, name_of, part_of, trained_among, with_size
from trine.pipelines.trained_run import TrainedRun, open_trained_run, run_folder
from trine.report import Comparison, EvaluatedPart, write_comparison
from trine.shapes import Int64


def compare_runs(
    runs: Sequence[str | Path | TrainedRun],
    dataset: Dataset | Tabular,
    *,
    part: Part = "auto",
    far: float = 0.01,
    out: str | Path | None = None,
    pairs: str | Path | None = None,
) -> Comparison:
    """Evaluates several runs on the same items, and computes their differences with intervals.

    Args:
        runs: Run folders, model folders, or what `open_trained_run` returned for them; at least two.
        dataset: Labelled items.
        part: Which items; with `auto`, if the runs were trained on different parts of this data, the items
            in the test part of every run.
        far: A false-accept rate to report in addition to the usual ones, in (0, 1).
        out: Where to write metrics and page; in the first run's folder by default.
        pairs: As for `evaluate_run`.

    Returns:
        The reports and their differences from the first one; they are also written.

    Raises:
        InputError: There are fewer than two runs, or one is given twice; or they take differently aligned
            faces.
        ModelError: A model is missing or damaged.
        DataError: The data has no such part, or no item is in that part of every run.
        SettingError: The part is unknown, or the rate is out of range.
    """
    dataset = as_dataset(dataset, "compare_runs")
    check_asked(part, far)
    names = _names(runs)
    opened = [open_trained_run(run) for run in runs]
    dataset = _faces(opened, names, dataset)
    positions, common, notes = _common(opened, names, dataset, part)
    chosen = dataset.subset(positions)
    listed = None if pairs is None else listed_pairs(read_pairs(pairs), dataset, positions)
    evaluated = EvaluationSet(chosen, with_size(common, chosen), far, listed=listed)
    kept = f"{name_of(dataset)}-{'-'.join(Path(name).name for name in names)}"
    folder = Path(out) if out is not None else opened[0].folder / "evaluation" / kept
    contexts = [
        measured_run(run, evaluated, folder, cache(run.encoder.embed), name=name)
        for run, name in zip(opened, names, strict=True)
    ]
    notes += () if listed is None else listed.notes()
    reports = {context.name: context.report for context in contexts}
    comparison = Comparison(folder, name_of(dataset), evaluated.part, reports, notes)
    write_comparison(contexts, comparison)
    return comparison


def _names(runs: Sequence[str | Path | TrainedRun]) -> list[str]:
    """The last part of each path; the whole path if two are the same."""
    folders = [run.folder if isinstance(run, TrainedRun) else run_folder(Path(run)) for run in runs]
    resolved = [folder.resolve() for folder in folders]
    if len(runs) < 2:
        raise InputError(f"a comparison needs at least two runs, given {len(runs)}")
    twice = next(
        (each for each, path in zip(folders, resolved, strict=True) if resolved.count(path) > 1), None
    )
    if twice is not None:
        raise InputError(f"{twice} is named twice; name each run once")
    short = [path.name for path in resolved]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]


def _faces(runs: Sequence[TrainedRun], names: Sequence[str], dataset: Dataset) -> Dataset:
    """The faces on photos if one of the runs takes faces: all are compared on the same items."""
    given = {name: run.encoder.settings.alignment for name, run in zip(names, runs, strict=True)}
    taken = {name: alignment for name, alignment in given.items() if alignment is not None}
    if len(set(taken.values())) > 1 and dataset.kind == "images":
        said = ", ".join(f"{name}: {alignment}" for name, alignment in taken.items())
        raise InputError(f"the runs take differently aligned faces ({said}); evaluate each alone")
    # Those that take faces first: an alignment of another would not suit them.
    for run in sorted(runs, key=lambda run: run.encoder.settings.alignment is None):
        dataset = faces_as_trained(run, dataset)
    return dataset


def _common(
    runs: Sequence[TrainedRun], names: Sequence[str], dataset: Dataset, part: Part
) -> tuple[Int64[np.ndarray, " n"], EvaluatedPart, tuple[str, ...]]:
    """The items in the part of every run, their description, and notes about them."""
    parts = [part_of(run.path, dataset, part) for run in runs]
    positions = reduce(np.intersect1d, (each for each, _ in parts)).astype(np.int64)
    chosen = dataset.subset(positions)
    notes = tuple(
        f"{name} was trained on {trained:,} of these items, so its metrics are too optimistic"
        for name, run in zip(names, runs, strict=True)
        if (trained := trained_among(run.path, chosen))
    )
    described = {each.description for _, each in parts}
    if all(np.array_equal(each, positions) for each, _ in parts):
        same = len(described) == 1
        return positions, parts[0][1] if same else EvaluatedPart("all items"), notes
    each = "; ".join(f"{name}: {own}" for name, (_, own) in zip(names, parts, strict=True))
    if not len(positions):
        raise DataError(
            f"no item of {name_of(dataset)} is in the part of every run ({each}); train them with the same "
            "split and data.seed, or use ",
            Argument("part", "all"),
        )
    note = f"The parts of the runs differ ({each}); the comparison uses the items they have in common."
    if len(described) == 1:
        note += " Train them with the same data.seed to compare on more items."
    return positions, EvaluatedPart("items in the part of every run"), (note, *notes)

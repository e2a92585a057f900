"""Several runs on the same items: what `trine evaluate` does with more than one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np

from trine.data import Dataset, read_pairs
from trine.encoders import load
from trine.errors import DataError, InputError
from trine.evaluation.listed_pairs import listed_pairs
from trine.io import write_json, write_text
from trine.model import read_model
from trine.pipelines.evaluate import FIGURES, PAGE, check_asked, measure, recipe_of
from trine.pipelines.split_record import Part, counted, name_of, part_of, run_of
from trine.report.evaluation_report import Report
from trine.report.metrics_table import long_lines, printed_lines, short_lines
from trine.report.pages import comparison_page, subject_of
from trine.report.paired_difference import Difference, difference
from trine.shapes import Int64


@dataclass(frozen=True)
class Comparison:
    """What several runs reach on the same items.

    Attributes:
        folder: Where it is written.
        data: What the data is called.
        part: Which items, in words.
        far: The false-accept rate of the table.
        reports: What each run reaches, by its name, in the order given.
        differences: For each run but the first, by name, its figures less those of the first.
        notes: What else is to be said.
    """

    folder: Path
    data: str
    part: str
    far: float
    reports: Mapping[str, Report]
    differences: Mapping[str, Mapping[str, Difference]]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Everything as values that JSON knows."""
        return {
            "data": self.data,
            "part": self.part,
            "runs": {name: report.to_json() for name, report in self.reports.items()},
            "differences": {
                name: {line: found.to_json() for line, found in of.items()}
                for name, of in self.differences.items()
            },
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        first, *others = self.reports
        lines = printed_lines(self.reports[first].after, self.far)
        width = max(map(len, lines))
        columns = [max(len(name), 5) for name in self.reports]
        names = "   ".join(f"{name:>{size}}" for name, size in zip(self.reports, columns, strict=True))
        written = [f"{self.data}, {self.part}", f"{'':{width}}   {names}"]
        for name, line in lines.items():
            values = (line.value(report.after) for report in self.reports.values())
            row = "   ".join(f"{value:>{size}.3f}" for value, size in zip(values, columns, strict=True))
            written.append(f"{name:{width}}   {row}")
        for other in others:
            written.append(f"{other} less {first}, with the interval over the same draws of identities:")
            for name, line in lines.items():
                found = self.differences[other][line.key]
                ends = (
                    ""
                    if found.interval is None
                    else f"   ({found.interval.low:+.3f} to {found.interval.high:+.3f})"
                )
                written.append(f"{name:{width}}   {found.value:+.3f}{ends}")
        return "\n".join([*written, *self.notes])


def compare_runs(
    runs: Sequence[str | Path],
    dataset: Dataset,
    *,
    part: Part = "auto",
    far: float = 0.01,
    out: str | Path | None = None,
    pairs: str | Path | None = None,
) -> Comparison:
    """Evaluates several runs on the same items, and says how sure their differences are.

    Args:
        runs: The run folders, or model folders; two at least.
        dataset: Labelled items.
        part: Which items; with `auto`, where the runs were trained on parts of this data that differ, the
            items that are in the test part of every one.
        far: The false-accept rate of the table, in (0, 1).
        out: Where to write figures and page; in the first run's folder where left out.
        pairs: As for `evaluate_run`.

    Returns:
        The figures of each and their differences from the first; `out` holds them and the page.

    Raises:
        InputError: There are not two runs, or one is given twice.
        ModelError: There is no model.
        DataError: The data has no such part, or no item that is in it for every run.
        SettingError: The part is unknown, or the rate is out of range.
    """
    check_asked(part, far)
    names = _names(runs)
    encoders = [load(run) for run in runs]
    positions, words, notes = _common(runs, names, dataset, part)
    chosen = dataset.subset(positions)
    said = f"{words} ({counted(chosen)})"
    kept = f"{name_of(dataset)}-{'-'.join(Path(name).name for name in names)}"
    folder = Path(out) if out is not None else run_of(Path(runs[0])) / "evaluation" / kept
    listed = None if pairs is None else listed_pairs(read_pairs(pairs), dataset, positions)
    subjects = []
    for run, name, encoder in zip(runs, names, encoders, strict=True):
        rows = encoder.embed(chosen)
        report = measure(
            encoder,
            chosen,
            rows,
            folder=folder,
            part=said,
            far=far,
            recipe=recipe_of(run),
            listed=listed,
        )
        about = read_model(Path(run)).trained_on
        subjects.append(
            subject_of(encoder, chosen, rows, report, run=run_of(Path(run)), trained_on=about, name=name)
        )
    first, *others = subjects
    differences = {
        other.name: {
            line.key: found
            for lines in (short_lines(far), *long_lines(far).values())
            for line in lines
            if (found := difference(line, first.report.after, other.report.after)) is not None
        }
        for other in others
    }
    notes += () if listed is None else listed.notes()
    reports = {subject.name: subject.report for subject in subjects}
    comparison = Comparison(folder, name_of(dataset), said, far, reports, differences, notes)
    page = comparison_page(subjects, differences, notes)
    write_json(folder / FIGURES, comparison.to_json())
    write_text(folder / PAGE, page)
    return comparison


def _names(runs: Sequence[str | Path]) -> list[str]:
    """The last part of each path; the whole path where two are called the same."""
    folders = [run_of(Path(run)) for run in runs]
    resolved = [folder.resolve() for folder in folders]
    if len(runs) < 2:
        raise InputError(f"a comparison needs two runs at least, given {len(runs)}; name another one")
    twice = next((run for run, path in zip(runs, resolved, strict=True) if resolved.count(path) > 1), None)
    if twice is not None:
        raise InputError(f"{twice} is given twice; name each run once")
    short = [path.name for path in resolved]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]


def _common(
    runs: Sequence[str | Path], names: Sequence[str], dataset: Dataset, part: Part
) -> tuple[Int64[np.ndarray, " n"], str, tuple[str, ...]]:
    """The items that belong to the part for every run, and how they came about in words."""
    parts = [part_of(run, dataset, part) for run in runs]
    positions = reduce(np.intersect1d, (each for each, _ in parts)).astype(np.int64)
    trained = tuple(
        f"{name} was trained on some of these items, so its figures look better than it is: {words}"
        for name, (_, words) in zip(names, parts, strict=True)
        if "trained on" in words and part == "all"
    )
    if all(np.array_equal(each, positions) for each, _ in parts):
        words = parts[0][1] if len({words for _, words in parts}) == 1 else "all items"
        return positions, words, trained
    each = "; ".join(f"{name}: {words}" for name, (_, words) in zip(names, parts, strict=True))
    if not len(positions):
        raise DataError(
            f"no item of {name_of(dataset)} is in the part of every run ({each}); train them with the same "
            "split and data.seed, or use --part all"
        )
    note = (
        f"The runs were to be evaluated on different items ({each}); these are the ones they have in common."
    )
    if len({words for _, words in parts}) == 1:
        note += " Train them with one data.seed to compare them on more."
    return positions, "items that belong to the part of every run", (note, *trained)

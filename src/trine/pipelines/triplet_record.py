"""The record of which part each triplet judgement of a run is in: a table that can be trained on again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trine.data import Dataset, Split, query_numbers
from trine.data.sources.triplets import COLUMNS
from trine.data.table_file import open_table
from trine.errors import Argument, DataError, ModelError, require
from trine.io import output_file, readable
from trine.pipelines.split_record import Part, name_of, recorded_places, trained_among
from trine.pipelines.trained_run import run_folder
from trine.report import EvaluatedPart
from trine.shapes import Int64

TABLE = "triplets.parquet"
PARTS = ("train", "validation", "test")


def counted_judgements(triplets: Int64[np.ndarray, "t 3"]) -> str:
    """Formats the number of judgements and of their items."""
    return f"{len(triplets):,} judgements of {len(np.unique(triplets)):,} items"


def write_judgements(run: Path, dataset: Dataset, parts: Split) -> None:
    """Writes each judgement of a run with its part.

    Args:
        run: The run folder.
        dataset: The items.
        parts: The judgements of each part, as positions among the items.

    Raises:
        InputError: The table cannot be written.
    """
    pa = require("pyarrow", extra="train")
    parquet = require("pyarrow.parquet", extra="train")
    rows = np.concatenate(list(parts.parts.values()))
    names = np.array(dataset.names, dtype=object)
    columns = {column: pa.array(names[rows[:, at]], pa.string()) for at, column in enumerate(COLUMNS)}
    sizes = [len(each) for each in parts.parts.values()]
    table = pa.table({**columns, "part": pa.array(np.repeat(PARTS, sizes).tolist(), pa.string())})
    with output_file(run / TABLE) as partial:
        parquet.write_table(table, partial)


def judgements_part(
    run: str | Path, dataset: Dataset, triplets: Int64[np.ndarray, "t 3"], part: Part
) -> tuple[Int64[np.ndarray, "t 3"], EvaluatedPart]:
    """Finds the judgements of one part of a run's judgements.

    Args:
        run: The run folder.
        dataset: The items.
        triplets: The judgements, as positions among the items. They count as the run's own if they judge
            every triplet that the run's judgements judge; items are known by their content.
        part: The part; `auto` is the test part of the run's own judgements, and all of other judgements.

    Returns:
        The judgements, and a description of the part.

    Raises:
        DataError: The part does not exist.
        ModelError: The record of the judgements is damaged.
    """
    recorded, kind = _recorded(run_folder(Path(run)), dataset)
    asked = query_numbers(np.concatenate([recorded, triplets]))
    before, now = asked[: len(recorded)], asked[len(recorded) :]
    part_at = np.full(int(asked.max(initial=-1)) + 1, -1, dtype=np.int64)
    part_at[before] = kind
    own = len(recorded) > 0 and bool((kind >= 0).all()) and bool(np.isin(before, now).all())
    if part == "all" or (part == "auto" and not own):
        known = int((part_at[now] == 0).sum())
        items = trained_among(run, dataset.subset(np.unique(triplets)))
        leaks = [f"{known:,} of them trained on"] if known else []
        leaks += [f"{items:,} of their items trained on"] if items and not known else []
        words = ", ".join([f"all {counted_judgements(triplets)}", *leaks])
        return triplets, EvaluatedPart(words, known or items)
    if not own:
        raise DataError(
            f"these judgements of {name_of(dataset)} are not those that {run} was trained on, so they have "
            f"no {part} part; use ",
            Argument("part", "all"),
        )
    wanted = "test" if part == "auto" else part
    chosen = triplets[part_at[now] == PARTS.index(wanted)]
    if not len(chosen):
        raise DataError(f"the {wanted} part of {run} is empty; choose another ", Argument("part"))
    trained = len(chosen) if wanted == "train" else 0
    return chosen, EvaluatedPart(f"{wanted} part ({counted_judgements(chosen)})", trained)


def _recorded(run: Path, dataset: Dataset) -> tuple[Int64[np.ndarray, "t 3"], Int64[np.ndarray, " t"]]:
    """The judgements of a run and the numbers of their parts; −1 for items not in the data."""
    path = run / TABLE
    with readable(path, ModelError):
        if not path.is_file():
            return np.empty((0, 3), dtype=np.int64), np.empty(0, dtype=np.int64)
        path.open("rb").close()
    try:
        table = open_table(path, of="triplet").read()
        columns = [table.texts(name) for name in (*COLUMNS, "part")]
        kind = np.array([PARTS.index(part) for part in columns[3]], dtype=np.int64)
    except (DataError, KeyError, ValueError) as error:
        raise ModelError(
            f"{path} is damaged ({error}): delete it and use ", Argument("part", "all")
        ) from error
    place = recorded_places(run, dataset)
    rows = np.array([[place.get(name, -1) for name in names] for names in columns[:3]], dtype=np.int64).T
    kind[(rows < 0).any(axis=1)] = -1
    return np.ascontiguousarray(rows), kind

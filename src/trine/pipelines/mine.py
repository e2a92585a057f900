"""The triplets of a whole set as a table, and such a table as something to train on."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trine.data import Dataset, TripletTable
from trine.encoders import Encoder, load
from trine.errors import DataError, InputError, require
from trine.io import output_file
from trine.mining import MinedTriplets, OfflineMining, stream_triplets
from trine.pipelines.split_record import Part, check_part, counted, part_of
from trine.shapes import Int64

COLUMNS = ("anchor", "positive", "negative", "d_ap", "d_an")


@dataclass(frozen=True)
class MiningReport:
    """What was mined.

    Attributes:
        items: Which items, in words.
        triplets: How many triplets were written.
        wanted: How many there would be had every pair of anchor and positive found all its negatives.
        mean_positive_distance: Mean d_ap of those written; NaN without any.
        mean_negative_distance: Mean d_an of those written; NaN without any.
    """

    items: str
    triplets: int
    wanted: int
    mean_positive_distance: float
    mean_negative_distance: float

    def __str__(self) -> str:
        lines = [f"{self.items}: {self.triplets:,} triplets"]
        if self.triplets:
            lines.append(
                f"mean distance to the positive {self.mean_positive_distance:.3f}, to the negative "
                f"{self.mean_negative_distance:.3f}"
            )
        if self.triplets < self.wanted:
            lines.append(
                f"{self.wanted - self.triplets:,} more were asked for, and no negative that the rule and the "
                "guards allow was among those looked at"
            )
        return "\n".join(lines)


def mine_run(
    run: str | Path,
    dataset: Dataset,
    *,
    out: str | Path,
    how: OfflineMining | None = None,
    part: Part = "auto",
) -> MiningReport:
    """Writes hard or semi-hard triplets of a data set, as the encoder of a run sees it.

    Args:
        run: The run folder, or a model folder.
        dataset: Labelled items.
        out: The .parquet or .csv file, with the columns anchor, positive and negative (the names of the
            items), d_ap and d_an.
        how: The rule and the guards; the defaults of `OfflineMining` where left out.
        part: Which items; `auto` takes the training part of data that the run was trained on, and all
            items of other data.

    Returns:
        What was mined.

    Raises:
        ModelError: There is no model.
        DataError: The data has no such part.
        SettingError: The part is unknown.
        InputError: The file is of another kind, or cannot be written.
    """
    check_part(part)
    _check_kind(Path(out))
    encoder = load(run)
    positions, words = _training_part(run, dataset) if part == "auto" else part_of(run, dataset, part)
    chosen = dataset.subset(positions)
    return write_triplets(encoder, chosen, out=out, how=how, words=f"{words} ({counted(chosen)})")


def write_triplets(
    encoder: Encoder,
    dataset: Dataset,
    *,
    out: str | Path,
    how: OfflineMining | None = None,
    words: str = "all items",
) -> MiningReport:
    """Writes the triplets that `mine_offline` lists, as they are found; see `mine_run`."""
    _check_kind(Path(out))
    embeddings = encoder.embed(dataset)
    totals = np.zeros(4)

    def parts() -> Iterator[MinedTriplets]:
        for part in stream_triplets(embeddings, dataset.labels, how=how, distance=encoder.distance):
            totals[:] += len(part), part.wanted, part.d_ap.sum(dtype=float), part.d_an.sum(dtype=float)
            yield part

    about = {"trine.fingerprint": encoder.fingerprint, "trine.distance": encoder.distance}
    with output_file(Path(out)) as partial:
        if Path(out).suffix.lower() == ".csv":
            _write_csv(partial, parts(), dataset)
        else:
            _write_parquet(partial, parts(), dataset, about)
    count, wanted = int(totals[0]), int(totals[1])
    means = totals[2:] / count if count else np.full(2, np.nan)
    return MiningReport(words, count, wanted, float(means[0]), float(means[1]))


def triplets_of_part(
    table: TripletTable, dataset: Dataset, positions: Int64[np.ndarray, " n"], *, part: str = "training part"
) -> tuple[Int64[np.ndarray, "t 3"], int]:
    """Takes the triplets whose items are all in one part of the data.

    Args:
        table: The triplets.
        dataset: The whole data.
        positions: The positions of the part's items.
        part: What it is called.

    Returns:
        The triplets, as positions within the part; and how many were left out.

    Raises:
        DataError: A name is no item of the data, or no triplet lies within the part.
    """
    place = np.full(len(dataset), -1, dtype=np.int64)
    place[positions] = np.arange(len(positions))
    within = place[table.positions(dataset.names)]
    kept = within[(within >= 0).all(axis=1)]
    if not len(kept):
        raise DataError(
            f"none of the {len(table):,} triplets of {table.source} has all its items in the {part}; "
            "divide the items as they were when the triplets were made, or name another part"
        )
    return kept, len(table) - len(kept)


def triplets_left_out(count: int, part: str) -> str:
    """Says that some triplets have items outside a part."""
    return f"{count:,} triplets were left out: they name items outside the {part}"


def _training_part(run: str | Path, dataset: Dataset) -> tuple[Int64[np.ndarray, " n"], str]:
    try:
        return part_of(run, dataset, "train")
    except DataError:
        return part_of(run, dataset, "all")


def _check_kind(out: Path) -> None:
    if out.suffix.lower() not in (".parquet", ".csv"):
        raise InputError(
            f"triplets are written as Parquet or CSV, and {out} is neither: end it with .parquet or .csv"
        )


def _columns(part: MinedTriplets, dataset: Dataset) -> dict[str, list[Any]]:
    names = dataset.names
    items = {column: [names[at] for at in getattr(part, column).tolist()] for column in COLUMNS[:3]}
    return {**items, "d_ap": part.d_ap.tolist(), "d_an": part.d_an.tolist()}


def _write_csv(path: Path, parts: Iterator[MinedTriplets], dataset: Dataset) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for part in parts:
            table.writerows(zip(*_columns(part, dataset).values(), strict=True))


def _write_parquet(
    path: Path, parts: Iterator[MinedTriplets], dataset: Dataset, about: dict[str, str]
) -> None:
    pa = require("pyarrow", extra="train")
    parquet = require("pyarrow.parquet", extra="train")
    kinds = [pa.string()] * 3 + [pa.float32()] * 2
    schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)), metadata=about)
    with parquet.ParquetWriter(path, schema) as writer:
        for part in parts:
            writer.write_table(pa.table(_columns(part, dataset), schema=schema))

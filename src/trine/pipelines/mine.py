"""Mine triplets of a whole data set with the encoder of a run, and select mined triplets for training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trine.data import Dataset, TripletTable
from trine.data.frames import Tabular
from trine.data.load import as_dataset
from trine.display import printable
from trine.encoders import Encoder
from trine.errors import DataError, require
from trine.io import output_file
from trine.mining import MinedTriplets, OfflineMining, stream_triplets
from trine.pipelines.export import check_output, write_csv
from trine.pipelines.faces_for import faces_as_trained
from trine.pipelines.split_record import Part, check_part, part_of, with_size
from trine.pipelines.trained_run import TrainedRun, open_trained_run
from trine.report import EvaluatedPart
from trine.shapes import Int64

COLUMNS = ("anchor", "positive", "negative", "d_ap", "d_an")
SUFFIXES = (".parquet", ".csv")
ALL = EvaluatedPart("all items")


@dataclass(frozen=True)
class MiningReport:
    """The result of mining.

    Attributes:
        items: The items that were mined.
        triplets: The number of triplets written.
        wanted: Their number if every pair of anchor and positive had all the negatives asked for.
        mean_positive_distance: Mean d_ap of the written triplets; NaN without any.
        mean_negative_distance: Mean d_an of the written triplets; NaN without any.
    """

    items: EvaluatedPart
    triplets: int
    wanted: int
    mean_positive_distance: float
    mean_negative_distance: float

    def __str__(self) -> str:
        lines = [f"{self.items}: {self.triplets:,} triplets"]
        if self.triplets:
            lines.append(
                f"mean distance: positive {self.mean_positive_distance:.3f}, "
                f"negative {self.mean_negative_distance:.3f}"
            )
        if self.triplets < self.wanted:
            lines.append(
                f"{self.wanted - self.triplets:,} fewer than requested: the candidates include no other "
                "negative that the rule and the guards allow"
            )
        return "\n".join(map(printable, lines))


def mine_run(
    run: str | Path | TrainedRun,
    dataset: Dataset | Tabular,
    *,
    out: str | Path,
    how: OfflineMining | None = None,
    part: Part = "auto",
) -> MiningReport:
    """Writes hard or semi-hard triplets of a data set, as the encoder of a run sees it.

    Args:
        run: The run folder, a model folder, or what `open_trained_run` returned for one.
        dataset: Labelled items.
        out: The .parquet or .csv file, with the columns anchor, positive and negative (the names of the
            items), d_ap and d_an.
        how: The rule and the guards; `OfflineMining()` by default.
        part: Which items; `auto` takes the training part of data that the run was trained on, and all
            items of other data.

    Returns:
        Counts and mean distances of the triplets.

    Raises:
        ModelError: The model is missing or damaged.
        DataError: The data has no such part.
        SettingError: The part is unknown.
        InputError: The file is neither .parquet nor .csv, or cannot be written.
    """
    dataset = as_dataset(dataset, "mine_run")
    check_part(part)
    check_output(out, *SUFFIXES)
    opened = open_trained_run(run)
    dataset = faces_as_trained(opened, dataset)
    if part == "auto":
        positions, mined = _training_part(opened.path, dataset)
    else:
        positions, mined = part_of(opened.path, dataset, part)
    chosen = dataset.subset(positions)
    return write_triplets(opened.encoder, chosen, out=out, how=how, items=with_size(mined, chosen))


def write_triplets(
    encoder: Encoder,
    dataset: Dataset | Tabular,
    *,
    out: str | Path,
    how: OfflineMining | None = None,
    items: EvaluatedPart = ALL,
) -> MiningReport:
    """Writes the triplets of `mine_offline` as they are found; see `mine_run`."""
    dataset = as_dataset(dataset, "write_triplets")
    check_output(out, *SUFFIXES)
    embeddings = encoder.embed(dataset)
    totals = np.zeros(4)

    def parts() -> Iterator[MinedTriplets]:
        for part in stream_triplets(embeddings, dataset.labels, how=how, distance=encoder.distance):
            totals[:] += len(part), part.wanted, part.d_ap.sum(dtype=float), part.d_an.sum(dtype=float)
            yield part

    about = {"trine.fingerprint": encoder.fingerprint, "trine.distance": encoder.distance}
    if Path(out).suffix.lower() == ".csv":
        rows = (row for part in parts() for row in zip(*_columns(part, dataset).values(), strict=True))
        write_csv(Path(out), COLUMNS, rows)
    else:
        with output_file(Path(out)) as partial:
            _write_parquet(partial, parts(), dataset, about)
    count, wanted = int(totals[0]), int(totals[1])
    means = totals[2:] / count if count else np.full(2, np.nan)
    return MiningReport(items, count, wanted, float(means[0]), float(means[1]))


def triplets_of_part(
    table: TripletTable, dataset: Dataset, positions: Int64[np.ndarray, " n"], *, part: str = "training part"
) -> tuple[Int64[np.ndarray, "t 3"], int]:
    """Selects the triplets whose items are all in one part of the data.

    Args:
        table: The triplets.
        dataset: The whole data.
        positions: The positions of the part's items.
        part: Its name, for messages.

    Returns:
        The triplets, as positions within the part, and the number of triplets left out.

    Raises:
        DataError: A name is not in the data, or no triplet is within the part.
    """
    place = np.full(len(dataset), -1, dtype=np.int64)
    place[positions] = np.arange(len(positions))
    within = place[table.positions(dataset.names)]
    kept = within[(within >= 0).all(axis=1)]
    if not len(kept):
        raise DataError(
            f"none of the {len(table):,} triplets of {table.source} has all its items in the {part}; use the "
            "split that the triplets were made with, or another part"
        )
    return kept, len(table) - len(kept)


def triplets_left_out(count: int, part: str) -> str:
    """The note about triplets that have an item outside a part."""
    return f"left out {count:,} triplets with items outside the {part}"


def _training_part(run: str | Path, dataset: Dataset) -> tuple[Int64[np.ndarray, " n"], EvaluatedPart]:
    try:
        return part_of(run, dataset, "train")
    except DataError:
        return part_of(run, dataset, "all")


def _columns(part: MinedTriplets, dataset: Dataset) -> dict[str, list[Any]]:
    names = dataset.names
    positions = {"anchor": part.anchor, "positive": part.positive, "negative": part.negative}
    items = {column: [names[at] for at in rows.tolist()] for column, rows in positions.items()}
    return {**items, "d_ap": part.d_ap.tolist(), "d_an": part.d_an.tolist()}


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

"""Mine triplets of a whole data set with the encoder of a run, and select mined triplets for training."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trine.data import Dataset, TripletTable
from trine.data.embedding_files import DISTANCE, FINGERPRINT, lay_out
from trine.data.frames import Tabular
from trine.data.load import as_dataset
from trine.display import printable
from trine.encoders import Encoder
from trine.errors import DataError, InputError, require
from trine.io import output_file
from trine.mining import MinedTriplets, OfflineMining, stream_triplets
from trine.mining.offline import ANCHORS
from trine.neighbours import DiskSearch
from trine.neighbours.inverted import PROBED
from trine.neighbours.on_disk import GIB, LEAST_MEMORY
from trine.pipelines.export import check_output, write_csv
from trine.pipelines.faces_for import faces_as_trained
from trine.pipelines.split_record import Part, check_part, part_of, with_size
from trine.pipelines.trained_run import TrainedRun, open_trained_run
from trine.report import EvaluatedPart
from trine.settings import Range, check_number
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
    mined = stream_triplets(encoder.embed(dataset), dataset.labels, how=how, distance=encoder.distance)
    about = {FINGERPRINT: encoder.fingerprint, DISTANCE: encoder.distance}

    def names(rows: Int64[np.ndarray, " m"]) -> list[str]:
        return [dataset.names[at] for at in rows.tolist()]

    return _written(mined, names, about, out=out, items=items)


def mine_embeddings(
    source: str | Path,
    *,
    out: str | Path,
    how: OfflineMining | None = None,
    memory: float = 2.0,
    probed: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> MiningReport:
    """Writes hard or semi-hard triplets of items whose embeddings need not fit in memory.

    The rules are those of `mine_offline`. Embeddings of which four copies fit in the memory are searched
    exactly; of others, neighbours are found through inverted lists on disk, and measured exactly. Beside
    `memory`, labels take some dozen bytes an item. The disk must have room for twice the embeddings, next to
    the output, while it runs.

    Args:
        source: What `trine embed` wrote: a .parquet file, or a folder of them.
        out: The .parquet or .csv file; see `mine_run`.
        how: The rule and the guards; `OfflineMining()` by default.
        memory: GiB to work in.
        probed: One list in so many is searched for each item, also where the memory would hold an exact
            search; 1 searches all. `None` searches one in 32 where it has to.
        progress: Called with the number of items that are done.

    Returns:
        Counts and mean distances of the triplets.

    Raises:
        DataError: There are no such embeddings, or they are of several encoders or of items without identity.
        InputError: The file is neither .parquet nor .csv, or cannot be written; or the memory is too small.
        MissingDependencyError: FAISS or pyarrow is not installed.
    """
    check_output(out, *SUFFIXES)
    check_number("memory", memory, Range(at_least=LEAST_MEMORY / GIB))
    folder = Path(out).absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".trine-mine-", dir=folder) as work:
            laid = lay_out(source, Path(work))
            search = None
            if probed is not None or 4 * laid.rows.nbytes > memory * GIB:
                search = DiskSearch(
                    laid.rows,
                    folder=Path(work),
                    distance=laid.distance,
                    memory=int(memory * GIB),
                    probed=PROBED if probed is None else probed,
                )

            def parts() -> Iterator[MinedTriplets]:
                done = 0
                for part in stream_triplets(
                    laid.rows, laid.codes, how=how, distance=laid.distance, search=search
                ):
                    yield part
                    done = min(done + ANCHORS, len(laid))
                    if progress is not None:
                        progress(done)

            about = {FINGERPRINT: laid.fingerprint, DISTANCE: laid.distance}
            counts = f"{len(laid):,} items of {laid.codes.max(initial=-1) + 1:,} identities"
            items = EvaluatedPart(f"all items ({counts})")
            return _written(parts(), laid.names, about, out=out, items=items)
    except OSError as error:
        raise InputError(
            f"cannot work in {folder} ({error.strerror or error}); choose another folder with --out, or free "
            "disk space"
        ) from error


def _written(
    mined: Iterator[MinedTriplets],
    names: Callable[[Int64[np.ndarray, " m"]], Sequence[str]],
    about: dict[str, str],
    *,
    out: str | Path,
    items: EvaluatedPart,
) -> MiningReport:
    """Writes triplets as they are found."""
    totals = np.zeros(4)

    def columns() -> Iterator[dict[str, Sequence[Any]]]:
        for part in mined:
            totals[:] += len(part), part.wanted, part.d_ap.sum(dtype=float), part.d_an.sum(dtype=float)
            rows = {"anchor": part.anchor, "positive": part.positive, "negative": part.negative}
            named = {column: names(at) for column, at in rows.items()}
            yield {**named, "d_ap": part.d_ap.tolist(), "d_an": part.d_an.tolist()}

    if Path(out).suffix.lower() == ".csv":
        write_csv(Path(out), COLUMNS, (row for part in columns() for row in zip(*part.values(), strict=True)))
    else:
        with output_file(Path(out)) as partial:
            _write_parquet(partial, columns(), about)
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


def _write_parquet(path: Path, parts: Iterator[dict[str, Sequence[Any]]], about: dict[str, str]) -> None:
    pa = require("pyarrow", extra="train")
    parquet = require("pyarrow.parquet", extra="train")
    kinds = [pa.string()] * 3 + [pa.float32()] * 2
    schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)), metadata=about)
    with parquet.ParquetWriter(path, schema) as writer:
        for part in parts:
            writer.write_table(pa.table(part, schema=schema))

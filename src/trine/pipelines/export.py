"""Export embeddings and clusters as tables for other programs."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trine.clustering import Method, cluster
from trine.data import Dataset
from trine.data.embedding_files import DISTANCE, FINGERPRINT
from trine.data.formula_cells import guarded
from trine.data.frames import Tabular
from trine.data.load import as_dataset
from trine.encoders import Encoder
from trine.errors import Argument, CalibrationError, InputError, require
from trine.io import output_file
from trine.shapes import Float32, Int64

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""An address such as s3://bucket, also after pathlib took a slash away; a drive has a single letter."""


def check_output(out: str | Path, *suffixes: str) -> None:
    """Raises an `InputError` for an address, and for a file with none of the suffixes, if any."""
    if _ADDRESS.match(str(out)):
        raise InputError(f"output must be a local path, given {out}: write it here, and copy it there")
    if suffixes and Path(out).suffix.lower() not in suffixes:
        raise InputError(f"output must end in {' or '.join(suffixes)}, given {out}")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes rows as CSV; see `output_file`. A spreadsheet shows each cell and runs none; see `guarded`."""
    with output_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(header)
        table.writerows(map(guarded, row) for row in rows)


def write_embeddings(encoder: Encoder, dataset: Dataset | Tabular, *, out: str | Path) -> None:
    """Writes one row per item: its name, its identity, its columns and its embedding, as Parquet.

    The file metadata holds the fingerprint of the encoder and its distance.

    Args:
        encoder: Embeds the items.
        dataset: The items.
        out: The file.

    Raises:
        InputError: The file is not .parquet, or cannot be written.
    """
    dataset = as_dataset(dataset, "write_embeddings", labelled=None)
    check_output(out, ".parquet")
    parquet = require("pyarrow.parquet", extra="train")
    table = with_embeddings(item_table(encoder, dataset), encoder.embed(dataset))
    with output_file(Path(out)) as partial:
        parquet.write_table(table, partial)


def item_table(encoder: Encoder, dataset: Dataset) -> Any:
    """The name, the identity and the columns of each item as a table of Arrow, without embeddings.

    Args:
        encoder: What will embed the items; its fingerprint and its distance are the metadata.
        dataset: The items.
    """
    pa = require("pyarrow", extra="train")
    table = pa.table(
        {
            "item": pa.array(dataset.names, pa.string()),
            "identity": pa.array([dataset.identity(i) for i in range(len(dataset))], pa.string()),
            **{name: pa.array(values) for name, values in dataset.columns.items()},
        }
    )
    about = {FINGERPRINT: encoder.fingerprint, DISTANCE: encoder.distance}
    return table.replace_schema_metadata(about)


def with_embeddings(table: Any, rows: Float32[np.ndarray, "n d"]) -> Any:
    """Adds the embedding of each item to rows of an `item_table`."""
    pa = require("pyarrow", extra="train")
    width = pa.list_(pa.float32(), rows.shape[1])
    column = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), type=width)
    return table.append_column("embedding", column)


def cluster_items(
    encoder: Encoder,
    dataset: Dataset | Tabular,
    *,
    threshold: float | None = None,
    linkage: Method | None = None,
) -> Int64[np.ndarray, " n"]:
    """Clusters items by the model's cluster threshold for as many items, or by a given one.

    Args:
        encoder: Embeds the items.
        dataset: The items; their identities are ignored.
        threshold: The largest distance that joins; the model's for this linkage and as many items by default.
        linkage: How clusters are joined, as for `trine.clustering.cluster`; by default the model's best one
            (`"connected"` for more than 10,000 items), or `"connected"` with a given threshold.

    Returns:
        The cluster of each item, numbered from 0 by decreasing size.

    Raises:
        CalibrationError: No threshold is given, and the model has none for clusters.
        InputError: The threshold is negative, or the linkage is unknown.
    """
    dataset = as_dataset(dataset, "cluster_items", labelled=None)
    if threshold is None:
        chosen = encoder.cluster_threshold
        if chosen is None:
            raise CalibrationError(
                "the model has no cluster threshold: choose one with `trine evaluate --calibrate` on items "
                "with identities that it was not trained on, or pass ",
                Argument("threshold"),
            )
        linkage = linkage or chosen.linkage_for(len(dataset))
        threshold = chosen.at(max(len(dataset), 1), linkage)
    rows = encoder.embed(dataset)
    return cluster(rows, threshold=threshold, method=linkage or "connected", distance=encoder.distance)


def write_clusters(
    names: Sequence[str],
    clusters: Sequence[int],
    *,
    out: str | Path,
    about: Mapping[str, Sequence[object]] | None = None,
) -> None:
    """Writes a CSV file with the columns item and cluster.

    Args:
        names: The items.
        clusters: The cluster of each.
        out: The file.
        about: Further columns, with a value for each item.

    Raises:
        InputError: The file cannot be written.
    """
    columns = about or {}
    rows = zip(names, clusters, *columns.values(), strict=True)
    write_csv(Path(out), ("item", "cluster", *columns), rows)

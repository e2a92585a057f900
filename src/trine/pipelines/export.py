"""Embeddings and clusters as tables that others can read."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trine.clustering import cluster
from trine.data import Dataset
from trine.encoders import Encoder
from trine.errors import CalibrationError, InputError, require
from trine.io import output_file
from trine.shapes import Int64


def write_embeddings(encoder: Encoder, dataset: Dataset, *, out: str | Path) -> None:
    """Writes one row per item: its name, its identity, its columns and its embedding, as Parquet.

    The fingerprint of the encoder and its distance stand in the file's own metadata.

    Args:
        encoder: What embeds the items.
        dataset: The items.
        out: The file.

    Raises:
        InputError: The file is no .parquet, or cannot be written.
    """
    if Path(out).suffix.lower() != ".parquet":
        raise InputError(
            f"embeddings are written as Parquet, and {out} is no such name: end it with .parquet"
        )
    pa = require("pyarrow", extra="train")
    parquet = require("pyarrow.parquet", extra="train")
    rows = encoder.embed(dataset)
    width = pa.list_(pa.float32(), rows.shape[1])
    table = pa.table(
        {
            "item": pa.array(dataset.names, pa.string()),
            "identity": pa.array([dataset.identity(i) for i in range(len(dataset))], pa.string()),
            **{name: pa.array(values) for name, values in dataset.columns.items()},
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), type=width),
        }
    )
    about = {"trine.fingerprint": encoder.fingerprint, "trine.distance": encoder.distance}
    with output_file(Path(out)) as partial:
        parquet.write_table(table.replace_schema_metadata(about), partial)


def cluster_items(
    encoder: Encoder, dataset: Dataset, *, threshold: float | None = None
) -> Int64[np.ndarray, " n"]:
    """Puts items together that a chain of near neighbours connects.

    Args:
        encoder: What embeds the items.
        dataset: The items; their identities are not looked at.
        threshold: The largest distance that links two items; the encoder's calibrated one where left out.

    Returns:
        The cluster of each item, numbered from 0, the largest first.

    Raises:
        CalibrationError: There is no threshold.
        InputError: The threshold is negative.
    """
    if threshold is None:
        if encoder.calibration is None:
            raise CalibrationError(
                "the model has no calibrated threshold: give one, or train with data.validation above 0"
            )
        threshold = encoder.calibration.threshold
    return cluster(encoder.embed(dataset), threshold=threshold, distance=encoder.distance)


def write_clusters(names: Sequence[str], clusters: Sequence[int], *, out: str | Path) -> None:
    """Writes a CSV file with the columns item and cluster.

    Args:
        names: The items.
        clusters: The cluster of each.
        out: The file.

    Raises:
        InputError: The file cannot be written.
    """
    with output_file(Path(out)) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["item", "cluster"])
        table.writerows(zip(names, clusters, strict=True))

"""The record of which part of the data each item of a run is in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from trine.data import Dataset
from trine.data.load_report import count
from trine.errors import Argument, DataError, ModelError, SettingError, nearest
from trine.pipelines.trained_run import SPLIT, run_folder
from trine.report import EvaluatedPart
from trine.shapes import Int64

Part = Literal["auto", "train", "validation", "test", "all"]
"""A part of the data; `auto` is the test part of the data that a run was trained on, or all other data."""


def check_part(part: str) -> None:
    """Raises a `SettingError` for an unknown part."""
    if part not in get_args(Part):
        raise SettingError(f"unknown part {part!r}: {nearest(part, get_args(Part))}")


def part_of(run: str | Path, dataset: Dataset, part: Part) -> tuple[Int64[np.ndarray, " n"], EvaluatedPart]:
    """Finds the items of a part of the data that a run was trained on.

    Args:
        run: The run folder.
        dataset: The data; it counts as the run's own if it contains every item of the run's split with the
            same identity.
        part: The part; `auto` is the test part of the run's own data, and all items of other data.

    Returns:
        Their positions, ascending, and a description of the part.

    Raises:
        DataError: The data has no such part.
        ModelError: The record of the split is damaged.
    """
    record = _read_split(run_folder(Path(run)))
    names = {key: i for i, key in enumerate(_keys(dataset))}
    own_data = record is not None and all(key in names for keys in record.values() for key in keys)
    whole = part == "all" or (part == "auto" and not own_data)
    if whole:
        positions, words = np.arange(len(dataset), dtype=np.int64), "all items"
    elif record is None or not own_data:
        raise DataError(
            f"{name_of(dataset)} is not the data that {run} was trained on, so it has no {part} part; use ",
            Argument("part", "all"),
        )
    else:
        wanted = "test" if part == "auto" else part
        words = f"{wanted} part"
        positions = np.array(sorted(names[key] for key in record[wanted]), dtype=np.int64)
        if not len(positions):
            raise DataError(f"the {wanted} part of {run} is empty; choose another ", Argument("part"))
    trained = trained_among(run, dataset.subset(positions))
    if trained and whole:
        words += f", {trained:,} of them trained on"
    return positions, EvaluatedPart(words, trained)


def with_size(part: EvaluatedPart, dataset: Dataset) -> EvaluatedPart:
    """The part, described with the number of its items and identities."""
    return replace(part, description=f"{part} ({counted(dataset)})")


def trained_among(run: str | Path, dataset: Dataset) -> int:
    """Counts the items of a data set that a run was trained on.

    Args:
        run: The run folder.
        dataset: Any items; one counts as trained on if its name and its identity are in the record.

    Raises:
        ModelError: The record of the split is damaged.
    """
    record = _read_split(run_folder(Path(run)))
    trained = set() if record is None else set(record["train"])
    # Runs on triplet judgements record items without identities, so compare these by name only.
    return sum(key in trained or (key[0], "") in trained for key in _keys(dataset))


def training_items(
    run: str | Path, dataset: Dataset, positions: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " m"] | None:
    """Finds the items that a run was trained on, to serve as a gallery for others.

    Args:
        run: The run folder.
        dataset: The data.
        positions: The items that are the probes.

    Returns:
        Their positions, ascending; None if some are not in the data, or are probes.

    Raises:
        ModelError: The record of the split is damaged.
    """
    record = _read_split(run_folder(Path(run)))
    if record is None:
        return None
    places = {key: i for i, key in enumerate(_keys(dataset))}
    if not all(key in places for key in record["train"]):
        return None
    trained = np.array(sorted(places[key] for key in record["train"]), dtype=np.int64)
    return None if np.isin(trained, positions).any() else trained


def split_record(
    dataset: Dataset, parts: Mapping[str, Int64[np.ndarray, " n"]], *, method: str
) -> dict[str, Any]:
    """The name and identity of the items of each part, as JSON values."""
    keys = _keys(dataset)
    items = {part: [keys[i] for i in positions] for part, positions in parts.items()}
    return {"data": dataset.root, "method": method, "parts": items}


def _read_split(run: Path) -> Mapping[str, list[tuple[str, str]]] | None:
    path = run / SPLIT
    if not path.is_file():
        return None
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))["parts"]
        return {part: [(str(name), str(identity)) for name, identity in parts[part]] for part in parts}
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} is damaged ({error}): delete it and use ", Argument("part", "all")
        ) from error


def _keys(dataset: Dataset) -> list[tuple[str, str]]:
    return [(name, dataset.identity(i)) for i, name in enumerate(dataset.names)]


def has_pair(dataset: Dataset) -> bool:
    """Whether there are two items of one identity and a second identity, as metrics require."""
    counts = np.bincount(dataset.labels, minlength=1)
    return bool((counts >= 2).any() and (counts > 0).sum() >= 2)


def counted(dataset: Dataset) -> str:
    """The number of items and identities of a data set, in words."""
    known = ""
    if dataset.identities:
        known = f" of {count(len(np.unique(dataset.labels)), 'identity', 'identities')}"
    return f"{count(len(dataset), 'item', 'items')}{known}"


def name_of(dataset: Dataset) -> str:
    """A short name of the data: that of its file, its folder, or the built-in data set."""
    return Path(dataset.root).stem or "data"

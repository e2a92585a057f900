"""Which item of a run's data was in which part, and what a part is called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from trine.data import Dataset
from trine.data.load_report import count
from trine.errors import DataError, ModelError, SettingError, nearest
from trine.shapes import Int64

SPLIT = "split.json"

Part = Literal["auto", "train", "validation", "test", "all"]
"""Which items of the data to look at; `auto` is the test part of the data a run was trained on."""


def check_part(part: str) -> None:
    """Raises a `SettingError` where there is no such part."""
    if part not in get_args(Part):
        raise SettingError(f"unknown part {part!r}: {nearest(part, get_args(Part))}")


def part_of(run: str | Path, dataset: Dataset, part: Part) -> tuple[Int64[np.ndarray, " n"], str]:
    """Finds the items of a part of the data that a run was trained on.

    Args:
        run: The run folder.
        dataset: The data; it is taken for the run's own where it holds every item of the run's split,
            under the same identity.
        part: Which items; `auto` is the test part of the run's own data, and all items of other data.

    Returns:
        Their positions, ascending, and the part in words.

    Raises:
        DataError: The data has no such part.
        ModelError: The record of the split is damaged.
    """
    record = _read_split(run_of(Path(run)))
    names = {key: i for i, key in enumerate(_keys(dataset))}
    same_data = record is not None and all(key in names for keys in record.values() for key in keys)
    if part == "all" or (part == "auto" and not same_data):
        trained = trained_among(run, dataset)
        leak = f", {trained:,} of them trained on" if trained else ""
        return np.arange(len(dataset), dtype=np.int64), f"all items{leak}"
    if record is None or not same_data:
        raise DataError(
            f"{name_of(dataset)} is not the data that {run} was trained on, so it has no {part} part of it; "
            "use --part all"
        )
    wanted = "test" if part == "auto" else part
    positions = np.array(sorted(names[key] for key in record[wanted]), dtype=np.int64)
    if not len(positions):
        raise DataError(f"{run} has no {wanted} part: name another one")
    return positions, f"{wanted} part"


def trained_among(run: str | Path, dataset: Dataset) -> int:
    """Counts the items of a data set that a run was trained on.

    Args:
        run: The run folder.
        dataset: Any items; one is the run's where its name and its identity are.

    Raises:
        ModelError: The record of the split is damaged.
    """
    record = _read_split(run_of(Path(run)))
    trained = set() if record is None else set(record["train"])
    # A run that learned from judgements knew no identities: its items go by their names alone.
    return sum(key in trained or (key[0], "") in trained for key in _keys(dataset))


def trained_apart(
    run: str | Path, dataset: Dataset, positions: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " m"] | None:
    """Finds the items that a run was trained on, where all of them are in the data.

    Args:
        run: The run folder.
        dataset: The data.
        positions: The items that are to be recognised by them.

    Returns:
        Their positions, ascending; None where some are not there, or are to be recognised themselves.

    Raises:
        ModelError: The record of the split is damaged.
    """
    record = _read_split(run_of(Path(run)))
    if record is None:
        return None
    places = {key: i for i, key in enumerate(_keys(dataset))}
    if not all(key in places for key in record["train"]):
        return None
    trained = np.array(sorted(places[key] for key in record["train"]), dtype=np.int64)
    return None if np.isin(trained, positions).any() else trained


def run_of(folder: Path) -> Path:
    """The run that a model folder lies in, where it lies in one; else the folder itself."""
    return folder.parent if folder.name == "model" and (folder.parent / SPLIT).is_file() else folder


def split_record(
    dataset: Dataset, parts: Mapping[str, Int64[np.ndarray, " n"]], *, method: str
) -> dict[str, Any]:
    """The name and identity of every item of every part, as values that JSON knows."""
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
        raise ModelError(f"{path} is damaged ({error}): delete it to evaluate with --part all") from error


def _keys(dataset: Dataset) -> list[tuple[str, str]]:
    return [(name, dataset.identity(i)) for i, name in enumerate(dataset.names)]


def has_pair(dataset: Dataset) -> bool:
    """Says whether there are two items of one identity, and two identities: what figures need."""
    counts = np.bincount(dataset.labels, minlength=1)
    return bool((counts >= 2).any() and (counts > 0).sum() >= 2)


def counted(dataset: Dataset) -> str:
    """Puts the size of a data set in words."""
    known = ""
    if dataset.identities:
        known = f" of {count(len(np.unique(dataset.labels)), 'identity', 'identities')}"
    return f"{count(len(dataset), 'item', 'items')}{known}"


def name_of(dataset: Dataset) -> str:
    """A short name of the data: that of its file, its folder, or the built-in one."""
    return Path(dataset.root).stem or "data"

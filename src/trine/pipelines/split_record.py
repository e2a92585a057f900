"""The record of which part of the data each item of a run is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from trine.data import Dataset, Table, content_digests
from trine.data.load_report import count
from trine.errors import Argument, DataError, InputError, ModelError, SettingError, nearest
from trine.io import readable
from trine.model import read_trained_on
from trine.pipelines.trained_run import SPLIT, run_folder
from trine.plain_json import parse_json
from trine.report import EvaluatedPart
from trine.shapes import Int64

Part = Literal["auto", "train", "validation", "test", "calibration", "all"]
"""A part of the data; `auto` is the test part of the data that a run was trained on, or all other data."""


def check_part(part: str) -> None:
    """Raises a `SettingError` for an unknown part."""
    if part not in get_args(Part):
        raise SettingError(f"unknown part {part!r}: {nearest(part, get_args(Part))}")


@dataclass(frozen=True)
class SplitRecord:
    """Which item was in which part of a run's data.

    Attributes:
        parts: Name and identity of the items of each part.
        digests: The digest of the content of each item in hexadecimal, by its name; None in a record that an
            earlier version wrote, by which items are known by name.
        columns: The columns of a table that these digests are of.
    """

    parts: Mapping[str, list[tuple[str, str]]]
    digests: Mapping[str, str] | None = None
    columns: tuple[str, ...] | None = None

    def positions(
        self, dataset: Dataset, parts: Sequence[str] | None = None
    ) -> dict[str, Int64[np.ndarray, " n"]] | None:
        """Finds the items of some parts, or of all of them, in a data set.

        Returns:
            The positions of the items of each part, ascending; None if the data does not contain all of them
            with the same identities.

        Raises:
            DataError: A picture cannot be read.
        """
        wanted = list(self.parts) if parts is None else parts
        recorded = [key for part in wanted for key in self.parts[part]]
        identities = [dataset.identity(i) for i in range(len(dataset))]
        found = self._found(dataset, recorded, identities)
        if found is None or None in found:
            return None
        of_part = np.repeat(np.arange(len(wanted)), [len(self.parts[part]) for part in wanted])
        places = np.array(found, dtype=np.int64)
        return {part: np.sort(places[of_part == at]) for at, part in enumerate(wanted)}

    def places(self, dataset: Dataset) -> dict[str, int]:
        """Finds the items that are in a data set, whatever their identities: positions by recorded name.

        Raises:
            DataError: A picture cannot be read.
        """
        recorded = [(name, "") for keys in self.parts.values() for name, _ in keys]
        found = self._found(dataset, recorded, [""] * len(dataset)) or [None] * len(recorded)
        return {name: at for (name, _), at in zip(recorded, found, strict=True) if at is not None}

    def _found(
        self, dataset: Dataset, recorded: Sequence[tuple[str, str]], identities: Sequence[str]
    ) -> list[int | None] | None:
        """The position of each recorded item; None if the data has no such columns."""
        place = {name: i for i, name in enumerate(dataset.names)}
        contents: Sequence[str] = dataset.names
        if self.digests is not None:
            try:
                contents = _hexadecimal(dataset, self.columns)
            except InputError:  # a table without these columns
                return None
        keys = list(zip(contents, identities, strict=True))
        sought = [
            (name if self.digests is None else self.digests[name], identity) for name, identity in recorded
        ]
        # Of several items with the same content, the one with the recorded name is preferred.
        found = [
            at if (at := place.get(name)) is not None and keys[at] == key else None
            for (name, _), key in zip(recorded, sought, strict=True)
        ]
        free: dict[tuple[str, str], list[int]] = {}
        for at in sorted(set(range(len(keys))) - set(found), reverse=True):
            free.setdefault(keys[at], []).append(at)
        return [
            at if at is not None else free[key].pop() if free.get(key) else None
            for at, key in zip(found, sought, strict=True)
        ]


def part_of(run: str | Path, dataset: Dataset, part: Part) -> tuple[Int64[np.ndarray, " n"], EvaluatedPart]:
    """Finds the items of a part of the data that a run was trained on.

    Args:
        run: The run folder.
        dataset: The data; it counts as the run's own if it contains every item of the run's split with the
            same identity. Items are known by their content: their names and their order may differ.
        part: The part; `auto` is the test part of the run's own data, and all items of other data.

    Returns:
        Their positions, ascending, and a description of the part.

    Raises:
        DataError: The data has no such part, or a picture cannot be read.
        ModelError: The record of the split is damaged.
    """
    record = _read_split(run_folder(Path(run)))
    parts = None if record is None else record.positions(dataset)
    whole = part == "all" or (part == "auto" and parts is None)
    if whole:
        positions, words = np.arange(len(dataset), dtype=np.int64), "all items"
    elif parts is None:
        raise DataError(
            f"{name_of(dataset)} is not the data that {run} was trained on, so it has no {part} part; use ",
            Argument("part", "all"),
        )
    else:
        wanted = "test" if part == "auto" else part
        words, positions = f"{wanted} part", parts[wanted]
        if not len(positions):
            raise DataError(f"the {wanted} part of {run} is empty; choose another ", Argument("part"))
        if wanted != "train":
            copies = trained_among(run, dataset.subset(positions))
            return positions, EvaluatedPart(words + words_of_copies(copies))
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
        run: The run folder, or a model folder.
        dataset: Any items; one counts as trained on if the model knows its content. A model that an earlier
            version wrote knows none: then the names and identities that the run recorded decide.

    Raises:
        ModelError: The record of the split, or of the training items, is damaged.
        DataError: A picture cannot be read.
    """
    known = read_trained_on(Path(run))
    if known is not None:
        return int(known.items(dataset).sum())
    record = _read_split(run_folder(Path(run)))
    trained = set() if record is None else set(record.parts["train"])
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
        DataError: A picture cannot be read.
    """
    record = _read_split(run_folder(Path(run)))
    parts = None if record is None else record.positions(dataset, ("train",))
    if parts is None:
        return None
    trained = parts["train"]
    return None if np.isin(trained, positions).any() else trained


def recorded_places(run: str | Path, dataset: Dataset) -> Mapping[str, int]:
    """Finds the items of a run in a data set, whatever they are called there.

    Args:
        run: The run folder.
        dataset: The data.

    Returns:
        The position of each item of the run that is in the data, by its name in the run.

    Raises:
        ModelError: The record of the split is damaged.
        DataError: A picture cannot be read.
    """
    record = _read_split(run_folder(Path(run)))
    if record is None:
        return {name: at for at, name in enumerate(dataset.names)}
    return record.places(dataset)


def copies_in(record: Mapping[str, Any], part: str) -> int:
    """Counts the items of a part whose content is that of an item of the training part.

    Args:
        record: What `split_record` returned.
        part: The part.
    """
    digests, parts = record["content"]["digests"], record["parts"]
    trained = {digests[name] for name, _ in parts["train"]}
    return sum(digests[name] in trained for name, _ in parts[part])


def words_of_copies(count: int) -> str:
    """What the description of a part says about copies of training items in it; empty without any.

    Example:
        >>> f"test part{words_of_copies(3)}"
        'test part, 3 of them copies of items trained on'
    """
    return f", {count:,} of them copies of items trained on" if count else ""


def split_record(
    dataset: Dataset, parts: Mapping[str, Int64[np.ndarray, " n"]], *, method: str
) -> dict[str, Any]:
    """The name, identity and content of the items of each part, as JSON values."""
    keys = _keys(dataset)
    columns = dataset.items.features if isinstance(dataset.items, Table) else None
    digests = _hexadecimal(dataset, columns)
    return {
        "data": dataset.root,
        "method": method,
        "parts": {part: [keys[i] for i in positions] for part, positions in parts.items()},
        "content": {
            "columns": columns,
            "digests": {dataset.names[i]: digests[i] for each in parts.values() for i in each},
        },
    }


def _read_split(run: Path) -> SplitRecord | None:
    path = run / SPLIT
    with readable(path, ModelError):
        if not path.is_file():
            return None
        content_of_file = path.read_bytes()
    try:
        written = parse_json(content_of_file)
        parts = {
            part: [(str(name), str(identity)) for name, identity in keys]
            for part, keys in written["parts"].items()
        }
        content = written.get("content")
        if content is None:
            return SplitRecord(parts)
        digests = {name: str(content["digests"][name]) for keys in parts.values() for name, _ in keys}
        columns = content["columns"]
        return SplitRecord(parts, digests, None if columns is None else tuple(map(str, columns)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path} is damaged ({error}): delete it and use ", Argument("part", "all")
        ) from error


def _keys(dataset: Dataset) -> list[tuple[str, str]]:
    return [(name, dataset.identity(i)) for i, name in enumerate(dataset.names)]


def _hexadecimal(dataset: Dataset, columns: Sequence[str] | None) -> list[str]:
    return [row.tobytes().hex() for row in content_digests(dataset, columns=columns)]


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

"""What a run learns from, known again by its content when the run is resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trine.data import Dataset, Features, Interactions, content_digests
from trine.data.load_report import count, some
from trine.errors import InputError, ModelError, require
from trine.io import atomic_write, check_readable
from trine.plain_json import parse_json
from trine.shapes import Int64, UInt8


@dataclass(frozen=True, eq=False)
class RunData:
    """What a run learns from: items by their content, and digests of everything else.

    Attributes:
        names: The name of each item, first those of training, then those of validation.
        identities: The identity of each; empty if it is unknown.
        digests: The digest of the content of each; see `trine.data.content`.
        validation: How many are for validation.
        others: A digest of everything else, by what it is, such as `"triplets"`.

    Example:
        >>> from trine.data import Vectors
        >>> rows = np.arange(6, dtype=np.float32).reshape(3, 2)
        >>> def data(rows):
        ...     return RunData.of(Dataset(Vectors(rows), np.array([0, 0, 1]), ("a", "b"), ("x", "y", "z")))
        >>> data(rows).changes(data(rows.copy())), data(rows).changes(data(rows + [[0], [1], [0]]))
        ([], ['1 training item has other content (y)'])
    """

    names: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    digests: UInt8[np.ndarray, "n 16"] = field(default_factory=lambda: np.empty((0, 16), dtype=np.uint8))
    validation: int = 0
    others: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        *,
        validation: Dataset | None = None,
        triplets: Int64[np.ndarray, "t 3"] | None = None,
    ) -> RunData:
        """Takes the content of labelled items.

        Images that loading decoded have a digest already, so this costs nothing for them.

        Args:
            dataset: The training items.
            validation: The validation items.
            triplets: Positions of anchors, positives and negatives among the training items.

        Raises:
            DataError: An image cannot be read.
        """
        parts = [part for part in (dataset, validation) if part is not None]
        others = {"columns": _of_texts(getattr(dataset.items, "features", ()))}
        if triplets is not None:
            others["triplets"] = _of_array(np.ascontiguousarray(triplets, "<i8"))
        return cls(
            tuple(name for part in parts for name in part.names),
            tuple(part.identity(index) for part in parts for index in range(len(part))),
            np.concatenate([content_digests(part) for part in parts]),
            0 if validation is None else len(validation),
            others,
        )

    @classmethod
    def of_interactions(
        cls,
        interactions: Interactions,
        train: Int64[np.ndarray, " t"],
        *,
        users: Features | None = None,
        items: Features | None = None,
    ) -> RunData:
        """Takes the content of interactions, and of the features of users and items.

        Args:
            interactions: All of them.
            train: The positions of those for training.
            users: Features of the users.
            items: Features of the items.
        """
        rows = np.column_stack([interactions.pairs, interactions.liked]).astype("<i8")
        others = {
            "users": _of_texts(interactions.users),
            "items": _of_texts(interactions.items),
            "interactions": _of_array(rows),
            "split": _of_array(np.ascontiguousarray(train, "<i8")),
        }
        for name, features in (("user features", users), ("item features", items)):
            if features is not None:
                texts = _of_texts((*features.columns, "", *(features.titles or ())))
                others[name] = texts + _of_array(np.ascontiguousarray(features.values, "<f4"))
        return cls(others=others)

    @cached_property
    def digest(self) -> str:
        """A SHA-256 of all of it, in its order."""
        known = json.dumps([self.names, self.identities, self.validation, sorted(self.others.items())])
        return hashlib.sha256(known.encode() + np.ascontiguousarray(self.digests).tobytes()).hexdigest()

    def changes(self, other: RunData) -> list[str]:
        """Says how other data differs from this; nothing if it is the same.

        Args:
            other: The data of now.

        Returns:
            Phrases that name items, such as "2 training items have other content (a.png, b.png)".
        """
        if self.digest == other.digest:
            return []
        found = []
        for part, before, now in zip(("training", "validation"), self._items(), other._items(), strict=True):
            common = [name for name in before if name in now]
            content = [name for name in common if before[name][1] != now[name][1]]
            relabelled = [name for name in common if before[name][0] != now[name][0]]
            missing = [name for name in before if name not in now]
            new = [name for name in now if name not in before]
            for names, one, many in (
                (content, "has other content", "have other content"),
                (relabelled, "has another identity", "have another identity"),
                (missing, "is missing", "are missing"),
                (new, "is new", "are new"),
            ):
                if names:
                    what = count(len(names), f"{part} item {one}", f"{part} items {many}")
                    found.append(f"{what} ({some(names)})")
        kinds = [*self.others, *(kind for kind in other.others if kind not in self.others)]
        found += [
            f"other {kind}" for kind in kinds if self.others.get(kind, "") != other.others.get(kind, "")
        ]
        return found or ["the items are in another order"]

    def _items(self) -> list[dict[str, tuple[str, bytes]]]:
        """Identity and digest of each training item, and of each validation item, by name."""
        rows = [row.tobytes() for row in self.digests]
        items = list(zip(self.names, zip(self.identities, rows, strict=True), strict=True))
        training = len(items) - self.validation
        return [dict(items[:training]), dict(items[training:])]

    def write(self, path: Path) -> None:
        """Writes a safetensors file.

        Raises:
            OSError: It cannot be written.
        """
        known = {
            "names": self.names,
            "identities": self.identities,
            "validation": self.validation,
            "others": dict(self.others),
        }
        tensors = {"digests": torch.from_numpy(np.ascontiguousarray(self.digests))}
        safetensors = require("safetensors.torch", extra="train")
        atomic_write(path, safetensors.save(tensors, {"data": json.dumps(known)}))

    @classmethod
    def read(cls, path: Path) -> RunData:
        """Reads a file that `write` wrote.

        Raises:
            ModelError: It is damaged.
            InputError: It cannot be read.
        """
        check_readable(path, InputError)
        try:
            with require("safetensors", extra="train").safe_open(path, framework="pt") as file:
                digests, known = file.get_tensor("digests").numpy(), parse_json(file.metadata()["data"])
            data = cls(
                tuple(map(str, known["names"])),
                tuple(map(str, known["identities"])),
                digests,
                int(known["validation"]),
                {str(name): str(digest) for name, digest in known["others"].items()},
            )
            if digests.dtype != np.uint8 or digests.shape != (len(data.names), 16):
                raise ValueError(f"digests of shape {digests.shape} for {len(data.names)} items")
            data._items()
        except Exception as error:  # safetensors' exceptions have no public base class
            raise ModelError(
                f"{path} is damaged ({error}), so it is unknown what the run was started on; restore it from "
                "a copy, or start the run again in a new folder"
            ) from error
        return data


def _of_texts(texts: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps([str(text) for text in texts]).encode()).hexdigest()


def _of_array(array: np.ndarray) -> str:
    return hashlib.sha256(f"{array.shape} ".encode() + array.tobytes()).hexdigest()

"""Embeddings of people that no training saw: an encoder is calibrated on them, and so is a gallery."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trine.errors import InputError, ModelError, require
from trine.shapes import Float32, Int64


@dataclass(frozen=True, eq=False)
class Strangers:
    """Embeddings of identities that an encoder was not trained on.

    Attributes:
        embeddings: One row per item.
        identity: The identity of each row, as a position among the names.
        names: The names of the identities.

    Raises:
        InputError: The arguments do not fit.

    Example:
        >>> strangers = Strangers.of(np.zeros((3, 2), np.float32), ["ann", "bob", "ann"])
        >>> strangers.names, strangers.without({"bob"}).names, len(strangers)
        (('ann', 'bob'), ('ann',), 3)
    """

    embeddings: Float32[np.ndarray, "n d"]
    identity: Int64[np.ndarray, " n"]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.embeddings) != len(self.identity):
            raise InputError(
                "strangers need one identity for each embedding, given "
                f"{len(self.embeddings)} embeddings and {len(self.identity)} identities"
            )
        if len(self.identity) and not 0 <= self.identity.min() <= self.identity.max() < len(self.names):
            raise InputError(
                f"identities of strangers must be positions among their {len(self.names)} names, given "
                f"{self.identity.min()} to {self.identity.max()}"
            )

    @classmethod
    def of(cls, embeddings: Float32[np.ndarray, "n d"], identities: Sequence[str]) -> Strangers:
        """Takes embeddings with the name of the identity of each."""
        places = {name: place for place, name in enumerate(dict.fromkeys(identities))}
        return cls(embeddings, np.array([places[name] for name in identities], np.int64), tuple(places))

    def without(self, names: Collection[str]) -> Strangers:
        """Leaves out some identities, by name."""
        left = [place for place, name in enumerate(self.names) if name not in names]
        kept = np.isin(self.identity, left)
        identity = np.searchsorted(left, self.identity[kept]).astype(np.int64)
        return Strangers(self.embeddings[kept], identity, tuple(self.names[place] for place in left))

    def to_file(self) -> bytes:
        """Writes them as safetensors, with the names as JSON beside."""
        save = require("safetensors.numpy", extra="train").save
        tensors = {"embeddings": np.ascontiguousarray(self.embeddings), "identity": self.identity}
        written: bytes = save(tensors, {"names": json.dumps(self.names, ensure_ascii=False)})
        return written

    @classmethod
    def from_file(cls, path: Path) -> Strangers:
        """Reads what `to_file` wrote.

        Raises:
            ModelError: The file is damaged.
        """
        try:
            with require("safetensors", extra="train").safe_open(path, framework="numpy") as file:
                names = json.loads(file.metadata()["names"])
                return cls(file.get_tensor("embeddings"), file.get_tensor("identity"), tuple(map(str, names)))
        except Exception as error:  # safetensors' exceptions have no public base class
            raise ModelError(
                f"{path} is damaged ({error}); copy the folder again, or delete this file: the model then "
                "keeps no strangers"
            ) from error

    def __len__(self) -> int:
        return len(self.embeddings)

"""Embeddings of people that no training saw: an encoder is calibrated on them, and so is a gallery."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trine.errors import InputError, ModelError, require
from trine.plain_json import parse_json
from trine.rates import RateCurve, stranger_rates
from trine.shapes import Bool, Float32, Int64


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
        kept, identity, left = _without(self.identity, self.names, names)
        return Strangers(self.embeddings[kept], identity, left)

    def to_file(self) -> bytes:
        """Writes them as safetensors, with the names as JSON beside."""
        about = json.dumps({"names": self.names}, ensure_ascii=False)
        return _written({"embeddings": self.embeddings, "identity": self.identity}, about)

    @classmethod
    def from_file(cls, path: Path) -> Strangers:
        """Reads what `to_file` wrote.

        Raises:
            ModelError: The file is damaged.
        """
        with _opened(path) as (tensor, about):
            return cls(tensor("embeddings"), tensor("identity"), tuple(map(str, about["names"])))

    def __len__(self) -> int:
        return len(self.embeddings)


@dataclass(frozen=True, eq=False)
class LeftOut:
    """How near identities came to those that an encoder was trained on, each when it was left out of a fold.

    Attributes:
        distances: Of each item, the distance to the nearest item that its fold was trained on.
        identity: The identity of each, as a position among the names.
        names: The names of the identities.
        met: How many identities a fold was trained on, on average.

    Example:
        >>> left_out = LeftOut(np.arange(1, 41, dtype=np.float32), np.arange(40), ("a",) * 40, met=30.0)
        >>> round(left_out.rates(60).at(2.0)[0], 3)
        0.098
    """

    distances: Float32[np.ndarray, " n"]
    identity: Int64[np.ndarray, " n"]
    names: tuple[str, ...]
    met: float

    def rates(self, identities: int) -> RateCurve:
        """The false-positive identification rates of a gallery of so many identities."""
        return stranger_rates(self.distances.astype(np.float64), self.identity, scale=identities / self.met)

    def without(self, names: Collection[str]) -> LeftOut:
        """Leaves out some identities, by name."""
        kept, identity, left = _without(self.identity, self.names, names)
        return LeftOut(self.distances[kept], identity, left, self.met)

    def to_file(self) -> bytes:
        """Writes them as safetensors, with the names as JSON beside."""
        about = json.dumps({"names": self.names, "met": self.met}, ensure_ascii=False)
        return _written({"distances": self.distances, "identity": self.identity}, about)

    @classmethod
    def from_file(cls, path: Path) -> LeftOut:
        """Reads what `to_file` wrote.

        Raises:
            ModelError: The file is damaged.
        """
        with _opened(path) as (tensor, about):
            names = tuple(map(str, about["names"]))
            return cls(tensor("distances"), tensor("identity"), names, float(about["met"]))


def _without(
    identity: Int64[np.ndarray, " n"], names: tuple[str, ...], gone: Collection[str]
) -> tuple[Bool[np.ndarray, " n"], Int64[np.ndarray, " m"], tuple[str, ...]]:
    """Which rows are left without some identities, their renumbered identities, and the names left."""
    left = [place for place, name in enumerate(names) if name not in gone]
    kept = np.isin(identity, left)
    numbered = np.searchsorted(left, identity[kept]).astype(np.int64)
    return kept, numbered, tuple(names[place] for place in left)


def _written(tensors: dict[str, np.ndarray], about: str) -> bytes:
    arrays = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    written: bytes = require("safetensors.numpy", extra="train").save(arrays, {"about": about})
    return written


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Callable[[str], Any], Any]]:
    safetensors = require("safetensors", extra="train")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            yield file.get_tensor, parse_json(file.metadata()["about"])
    except Exception as error:  # safetensors' exceptions have no public base class
        raise ModelError(
            f"{path} is damaged ({error}); copy the folder again, or delete this file: the model then keeps "
            "no strangers"
        ) from error

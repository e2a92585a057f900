"""Labelled items as one value: what every source becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trine.data.image_cache import PASS_SHARE, ImageCache
from trine.data.image_decoding import MAX_PIXELS, decode
from trine.data.pixels import as_pixels
from trine.errors import DataError, InputError
from trine.shapes import Int64, Shaped, UInt8

Kind = Literal["images", "vectors", "texts"]
"""The kind of items: images, rows of numbers and categories, or texts."""

Indices = Sequence[int] | NDArray[np.integer[Any]]
"""Positions of items, from 0."""


@runtime_checkable
class Items(Protocol):
    """A sequence of items with subsets.

    `items[i]` is one item. By `kind` it is: "images": uint8 (height, width, channels) with 1 or 3 channels;
    "vectors": numbers (dimensions,), or a mapping from column to value; "texts": a string.
    """

    @property
    def kind(self) -> Kind:
        """The kind of the items."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...

    def subset(self, indices: Indices, /) -> Items:
        """Returns some of the items, in the order given."""
        ...


@runtime_checkable
class FromFiles(Protocol):
    """Items of which each is a file, or a part of one."""

    def file(self, index: int, /) -> tuple[Path, str] | None:
        """The file of an item, and the part of it, such as "xywh=10,20,30,40"; "" for all of it.

        None for an item that no file holds.
        """
        ...


@dataclass(frozen=True)
class ImageFiles:
    """Pictures in files, decoded on access; sizes may differ.

    Args:
        paths: One file for each item.
        max_pixels: The most pixels that an image may have.
        cache: Keeps decoded images in memory while they fit; subsets share it.
    """

    paths: tuple[Path, ...]
    max_pixels: int = MAX_PIXELS
    cache: ImageCache = field(default_factory=ImageCache, compare=False, repr=False)
    kind: Literal["images"] = field(default="images", init=False)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> UInt8[np.ndarray, "h w c"]:
        return self.decoded(index)

    def decoded(self, index: int, *, share: float = 1.0) -> UInt8[np.ndarray, "h w c"]:
        """Returns an image, from the cache or decoded.

        Args:
            index: The position of the image.
            share: Whether to keep it: the share of the cache that may be filled; see `PASS_SHARE`.
        """
        path = self.paths[int(index)]
        pixels: UInt8[np.ndarray, "h w c"] | None = self.cache.decoded.get(path)
        if pixels is None:
            pixels = decode(path, max_pixels=self.max_pixels)
            self.cache.keep(path, pixels, share=share)
        return pixels

    def file(self, index: int, /) -> tuple[Path, str]:
        """The file of an image, which is all of it."""
        return self.paths[int(index)], ""

    def shape(self, index: int) -> tuple[int, ...]:
        """Returns height, width and channels of an image; it is decoded only if it never was."""
        return self.cache.shapes.get(self.paths[int(index)]) or self.decoded(index, share=PASS_SHARE).shape

    def subset(self, indices: Indices, /) -> ImageFiles:
        """Returns some of the items, in the order given."""
        return replace(self, paths=tuple(self.paths[int(index)] for index in indices))


@dataclass(frozen=True, eq=False)
class ImageArray:
    """Pictures of one size in one array.

    Args:
        pixels: uint8, N × height × width, or with 1 or 3 channels at the end.
    """

    pixels: UInt8[np.ndarray, "n h w *c"]
    kind: Literal["images"] = field(default="images", init=False)

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if self.pixels.ndim not in (3, 4) or (self.pixels.ndim == 4 and shape[3] not in (1, 3)):
            raise InputError(
                f"images have shape {shape}, expected (N, height, width) or "
                "(N, height, width, channels) with 1 or 3 channels: move the channels to the last axis"
            )
        if self.pixels.ndim == 3:
            object.__setattr__(self, "pixels", self.pixels[..., None])

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int, /) -> UInt8[np.ndarray, "h w c"]:
        image: UInt8[np.ndarray, "h w c"] = self.pixels[int(index)]
        return image

    def subset(self, indices: Indices, /) -> ImageArray:
        """Returns some of the items, in the order given."""
        return ImageArray(self.pixels[np.asarray(indices, dtype=np.int64)])


@dataclass(frozen=True, eq=False)
class ImageObjects:
    """Images that Python holds, made arrays on access, such as those of Pillow or of a data set of torch.

    Args:
        images: What `as_pixels` takes, by position.
        positions: The position of each item.
        cache: Keeps the arrays while they fit; subsets share it.
    """

    images: Sequence[Any]
    positions: tuple[int, ...]
    cache: ImageCache = field(default_factory=ImageCache, repr=False)
    kind: Literal["images"] = field(default="images", init=False)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int, /) -> UInt8[np.ndarray, "h w c"]:
        at = self.positions[int(index)]
        kept: UInt8[np.ndarray, "h w c"] | None = self.cache.decoded.get(at)
        return as_pixels(self.images[at], name=f"item {at}") if kept is None else kept

    def keep(self, position: int, image: Any) -> None:
        """Makes an array of an image that was just read, and keeps it if it fits."""
        pixels = as_pixels(image, name=f"item {position}")
        self.cache.decoded.put(position, pixels, pixels.nbytes)

    def subset(self, indices: Indices, /) -> ImageObjects:
        """Returns some of the items, in the order given."""
        return replace(self, positions=tuple(self.positions[int(index)] for index in indices))


@dataclass(frozen=True, eq=False)
class Vectors:
    """Rows of numbers, one for each item.

    Args:
        rows: N × dimensions: float32, or float64 or whole numbers where float32 does not hold every digit.
    """

    rows: Shaped[np.ndarray, "n d"]
    kind: Literal["vectors"] = field(default="vectors", init=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Shaped[np.ndarray, " d"]:
        row: Shaped[np.ndarray, " d"] = self.rows[int(index)]
        return row

    def subset(self, indices: Indices, /) -> Vectors:
        """Returns some of the items, in the order given."""
        return Vectors(self.rows[np.asarray(indices, dtype=np.int64)])


@dataclass(frozen=True)
class Texts:
    """Texts, such as questions or titles.

    Args:
        texts: One for each item.
    """

    texts: tuple[str, ...]
    kind: Literal["texts"] = field(default="texts", init=False)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int, /) -> str:
        return self.texts[int(index)]

    def subset(self, indices: Indices, /) -> Texts:
        """Returns some of the items, in the order given."""
        return Texts(tuple(self.texts[int(index)] for index in indices))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled items and what else is known about them.

    Args:
        items: The N items.
        labels: For each item the index of its identity; −1 for all items if identities are unknown.
        identities: The name of each identity.
        names: The unique name of each item: a relative path, the entry of a column or array of names,
            "row 17" of a table (from 1, the header not counted) or "item 17" of an array (from 0).
        columns: Further columns, strings or integers: "camera", "group" or "split", if the data has them.
        root: The source that was loaded: a path or the name of a built-in data set.

    Raises:
        DataError: The arguments do not fit each other.

    Example:
        >>> import numpy as np
        >>> rows = Vectors(np.zeros((3, 2), dtype=np.float32))
        >>> data = Dataset(rows, np.array([0, 1, 1]), ("ann", "bob"), ("a", "b", "c"))
        >>> len(data), data.kind, data.identity(2)
        (3, 'vectors', 'bob')
        >>> data.subset([2]).names
        ('c',)
    """

    items: Items
    labels: Int64[np.ndarray, " n"]
    identities: tuple[str, ...]
    names: tuple[str, ...]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    root: str = ""

    def __post_init__(self) -> None:
        n = len(self.items)
        lengths = {"labels": len(self.labels), "names": len(self.names)}
        lengths |= {f"column {name!r}": len(column) for name, column in self.columns.items()}
        for name, length in lengths.items():
            if length != n:
                raise DataError(f"{name} has {length} entries for {n} items, expected one for each")
        lowest = 0 if self.identities else -1
        if n and not lowest <= self.labels.min() <= self.labels.max() < max(len(self.identities), lowest + 1):
            raise DataError(
                f"labels run from {self.labels.min()} to {self.labels.max()}, "
                f"expected indices into the {len(self.identities)} identities"
            )
        if len(set(self.names)) != n:
            raise DataError("two items have the same name, expected unique names")

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"<Dataset: {len(self):,} {self.kind}, {len(self.identities):,} identities>"

    @property
    def kind(self) -> Kind:
        """The kind of the items: "images", "vectors" or "texts"."""
        return self.items.kind

    def identity(self, index: int) -> str:
        """Returns the name of the identity of one item; empty if it is unknown."""
        return self.identities[int(self.labels[index])] if self.identities else ""

    def subset(self, indices: Indices) -> Dataset:
        """Returns some of the items; identities keep their numbers and names.

        Args:
            indices: Positions of the items, in the order wanted.

        Returns:
            The subset, with the same `identities`.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            items=self.items.subset(chosen),
            labels=self.labels[chosen],
            names=tuple(self.names[index] for index in chosen),
            columns={name: column[chosen] for name, column in self.columns.items()},
        )

"""Data that Python holds: images, arrays, pairs of an item and its label, and data sets of torch.

This is the one place that decides what such an argument is: `load` and `Encoder.embed` both ask it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from trine.data.dataset import ImageFiles, ImageObjects
from trine.data.image_decoding import reason
from trine.data.pixels import CHANNELS, is_image, is_pillow
from trine.data.sources.arrays import array_items
from trine.data.validation import Found
from trine.errors import DataError, InputError
from trine.labels import as_array, is_missing

EXPECTED = (
    "expected a path or a name; an image of Pillow, an array or a tensor; a list of images or of paths; "
    "pairs (item, label); a data set of torch that has a length; or a DataFrame or a mapping of columns"
)
"""The end of the error about an argument that is no data."""


def sequence_of(given: Any, *, images: bool = False) -> Any:
    """Returns data that Python holds as something with a length, and with items by position.

    Args:
        given: One image or one path; an array or a tensor of items; a pair of items and their labels; or any
            sequence of items, or of pairs (item, label).
        images: Whether items are images: then an array of two dimensions is one of them, not rows.

    Returns:
        A sequence of items, or of pairs (item, label).

    Raises:
        InputError: It is none of these, or may be one image as well as several.
    """
    if is_pillow(given) or isinstance(given, str | Path):
        return [given]
    if isinstance(given, np.ndarray | Tensor):
        return _of_array(given, images=images)
    if isinstance(given, tuple) and len(given) == 2 and _are_columns(*given):
        return list(zip(given[0], as_array(given[1]).tolist(), strict=True))
    kind = type(given)
    if hasattr(kind, "__getitem__") and hasattr(kind, "__len__"):
        if not (hasattr(given, "keys") or hasattr(given, "columns")):
            return given
    elif hasattr(given, "dataset"):
        raise InputError(
            f"data cannot be of type {kind.__name__}, which gives batches: pass its attribute dataset"
        )
    raise InputError(f"data cannot be of type {kind.__name__}: {EXPECTED}")


def without_labels(sequence: Any) -> Any:
    """Returns the items of a sequence: of pairs (item, label) the first of each, read on access."""
    return _Items(sequence) if len(sequence) and _is_pair(sequence[0]) else sequence


def has_labels(given: Any) -> bool:
    """Whether data that Python holds is pairs (item, label)."""
    sequence = sequence_of(given)
    return len(sequence) > 0 and _is_pair(sequence[0])


def read_objects(given: Any, *, max_pixels: int, labelled: bool) -> Found:
    """Finds items in data that Python holds; each is read once.

    Args:
        given: What `sequence_of` takes.
        max_pixels: The most pixels that an image in a file may have.
        labelled: Whether the items need labels.

    Returns:
        The items: paths and images are images, arrays of one dimension are vectors. Their identities are the
        labels of the pairs; where the data set has `classes`, a number is that of a class.

    Raises:
        InputError: It is no data, or labels are needed and there are none.
    """
    sequence = sequence_of(given)
    if len(sequence) == 0:
        raise DataError(f"the {type(given).__name__} is empty, expected at least one item")
    paired, first = _is_pair(sequence[0]), without_labels(sequence)[0]
    if labelled and not paired:
        raise DataError(
            f"the {type(given).__name__} has no labels, expected pairs (item, label); load it with "
            "labelled=False if identities are unknown"
        )
    images = ImageObjects(without_labels(sequence), tuple(range(len(sequence))))
    kept: list[Any] = []
    labels: list[Any] = []
    failed: dict[int, str] = {}
    for at in range(len(sequence)):
        item = label = None
        try:
            item, label = sequence[at] if paired else (sequence[at], None)
            if is_image(first):
                images.keep(at, item)
        except Exception as error:
            failed[at] = reason(error).removeprefix(f"item {at}").removeprefix(":").strip()
        kept.append(item)
        labels.append(label)
    names = [f"item {at}" for at in range(len(sequence))]
    texts = _texts(labels, _classes(given)) if labelled else None
    if isinstance(first, str | Path):
        paths = [Path("" if item is None else item) for item in kept]
        names = [path.as_posix() for path in paths]
        return Found(ImageFiles(tuple(paths), max_pixels), names, texts, unreadable=failed)
    if is_image(first):
        return Found(images, names, texts, unreadable=failed)
    rows = sequence if isinstance(sequence, np.ndarray) else _stacked(kept, given)
    items, unreadable, missing = array_items(f"the {type(given).__name__}", rows)
    return Found(items, names, texts, unreadable=unreadable, missing=missing)


@dataclass(frozen=True)
class _Items(Sequence[Any]):
    """The first of each pair of a sequence."""

    pairs: Any

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: Any) -> Any:
        return self.pairs[index][0]


def _of_array(array: Any, *, images: bool) -> Any:
    shape = tuple(array.shape)
    if images and array.ndim == 2:
        return [array]
    if array.ndim == 3 and (shape[2] in CHANNELS or (shape[0] in CHANNELS and isinstance(array, Tensor))):
        return [array]
    if array.ndim == 3 and shape[0] in CHANNELS[1:]:
        raise InputError(
            f"an array of shape {shape} may be one image, its channels first, or {shape[0]} grey images: "
            "pass [array] for one, or array[..., None] for several"
        )
    if array.ndim in (1, 2, 3, 4):
        return list(array) if array.dtype == object else array
    raise InputError(
        f"data cannot be an array of shape {shape}, expected (N, D) for vectors, or (N, height, width) or "
        "(N, height, width, channels) for images"
    )


def _are_columns(items: Any, labels: Any) -> bool:
    """Whether two values are items and their labels, as in `load((x, y))`."""
    if isinstance(items, str) or isinstance(labels, str):
        return False
    try:
        array = as_array(labels)
        return array.ndim == 1 and len(items) == len(array) > 0 and _is_pair((items[0], array[0]))
    except (TypeError, ValueError, KeyError, IndexError):  # no length, or no positions
        return False


def _is_pair(item: Any) -> bool:
    """Whether an item is a pair of an item and its label."""
    if not isinstance(item, tuple | list) or len(item) != 2:
        return False
    first, label = item
    is_vector = isinstance(first, np.ndarray | Tensor) and first.ndim == 1
    if not (is_vector or is_image(first) or isinstance(first, str | Path)) or is_pillow(label):
        return False
    if isinstance(label, np.ndarray | Tensor):
        return tuple(label.shape) in ((), (1,))
    return isinstance(label, str | bytes) or not isinstance(label, Collection)


def _classes(given: Any) -> Sequence[str]:
    """The names of the classes of a data set, also of one that is part of it."""
    while given is not None:
        classes = getattr(given, "classes", None)
        if isinstance(classes, list | tuple):
            return classes
        given = getattr(given, "dataset", None)
    return ()


def _texts(labels: Sequence[Any], classes: Sequence[str]) -> list[str]:
    array = as_array(labels)
    return [
        "" if missing else _text(label, classes)
        for label, missing in zip(array.tolist(), is_missing(array).tolist(), strict=True)
    ]


def _text(label: Any, classes: Sequence[str]) -> str:
    if isinstance(label, np.ndarray | Tensor):
        label = label.item()
    if isinstance(label, bytes):
        return label.decode("utf-8", "backslashreplace").strip()
    if isinstance(label, float) and not label.is_integer():
        raise DataError(f"the label {label!r} has a fraction, expected integers or strings")
    if isinstance(label, int | float):
        return str(classes[int(label)]) if 0 <= label < len(classes) else str(int(label))
    return str(label).strip()


def _stacked(items: Sequence[Any], given: Any) -> np.ndarray:
    arrays = [np.asarray(item) for item in items]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or any(array.ndim != 1 or array.dtype.kind not in "fiub" for array in arrays):
        kinds = ", ".join(sorted({type(item).__name__ for item in items})[:3])
        raise InputError(
            f"the {type(given).__name__} holds items that are not of one kind of data ({kinds}): {EXPECTED}"
        )
    return np.stack(arrays)

"""Preprocessing: from items to tensors for the network, independent of the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trine.data import ImageFiles, ImageObjects, Items, Table, Vectors
from trine.data.image_cache import PASS_SHARE
from trine.data.parallel import in_threads
from trine.data.pixels import as_pixels
from trine.errors import InputError
from trine.shapes import Float32, Shaped, UInt8

# ITU-R BT.601, as in Pillow's conversion to grey.
LUMINANCE = torch.tensor([0.299, 0.587, 0.114])
STRIP = 1 << 22
"""Pixels of a large picture that become grey at one time: as floats they take twelve times their memory."""

ARRAYS_PER_THREAD = 64
"""Pictures that are decoded already take so little time that fewer are not worth a thread."""


def prepare_images(
    items: Sequence[Any] | Items,
    *,
    channels: int,
    size: tuple[int, int],
    first: int = 0,
    threads: int | None = None,
) -> UInt8[Tensor, "n c h w"]:
    """Resizes images and converts them to the network's number of channels.

    Args:
        items: What `as_pixels` takes, such as uint8 arrays (h, w), (h, w, 1) or (h, w, 3); sizes may differ.
            Those of `ImageFiles` that were prepared before come from their cache.
        channels: 1 (colours become grey) or 3 (grey is repeated).
        size: Height and width that every image is resized to, with antialiasing.
        first: The number of the first item, for errors.
        threads: How many threads decode and resize; None takes `decoding_threads()`.

    Returns:
        One batch.

    Raises:
        InputError: An item is no image.
    """
    images = torch.empty((len(items), channels, *size), dtype=torch.uint8)

    def prepare(position: int) -> None:
        images[position] = _prepared_image(items[position], first + position, channels, size)

    def prepare_file(files: ImageFiles, position: int) -> None:
        key = (files.paths[position], channels, size)
        known = files.cache.prepared.get(key)
        if known is not None:
            images[position] = known
            return
        pixels = files.decoded(position, share=PASS_SHARE)
        images[position] = _prepared_image(pixels, first + position, channels, size)
        files.cache.prepared.put(key, images[position], images[position].nbytes)

    if isinstance(items, ImageFiles):
        in_threads(partial(prepare_file, items), len(items), threads=threads)
    else:
        # A data set of torch may not be read by several threads at once.
        threads = 1 if isinstance(items, ImageObjects) else threads
        in_threads(prepare, len(items), threads=threads, fewest=ARRAYS_PER_THREAD)
    return images


def prepare_vectors(items: Sequence[Any] | Items, *, features: int, first: int = 0) -> Float32[Tensor, "n d"]:
    """Checks and stacks vectors.

    Args:
        items: Numeric arrays (features,), finite; or a table, by the order of its features.
        features: The expected length.
        first: The number of the first item, for errors.

    Returns:
        One batch.

    Raises:
        InputError: An item has another shape, or holds NaN or infinity.
    """
    with np.errstate(over="ignore"):
        vectors = stacked_vectors(items, features=features, first=first).astype(np.float32)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise InputError(
            f"item {first + int(np.argmin(finite))} holds NaN or infinity; impute or drop missing values "
            "before embedding"
        )
    return torch.from_numpy(vectors)


def stacked_vectors(items: Any, *, features: int, first: int) -> Shaped[np.ndarray, "n d"]:
    """Stacks vectors of numbers; an `InputError` where one has names, texts, or another shape."""
    if isinstance(items, Table | Vectors):
        items = items.rows
    if isinstance(items, np.ndarray) and items.shape[1:] == (features,) and items.dtype.kind in "fiub":
        return items
    vectors = []
    for position in range(len(items)):
        if isinstance(items[position], Mapping):
            raise InputError(
                f"item {first + position} has named columns, but this encoder was trained on arrays of "
                f"{features} numbers; give such an array"
            )
        vector = np.asarray(items[position])
        # Of the columns of a table, only texts are read as categories: an array must hold numbers.
        if vector.shape != (features,) or vector.dtype.kind not in "fiub":
            raise InputError(
                f"item {first + position} has shape {vector.shape}, but this encoder takes vectors of "
                f"{features} features; give the columns that it was trained on"
            )
        vectors.append(vector)
    return np.stack(vectors) if vectors else np.empty((0, features), dtype=np.float32)


def _prepared_image(item: Any, position: int, channels: int, size: tuple[int, int]) -> UInt8[Tensor, "c h w"]:
    array = as_pixels(item, name=f"item {position}")
    # torch takes no array that must not be written to.
    array = np.ascontiguousarray(array) if array.flags.writeable else array.copy()
    image = torch.from_numpy(array).permute(2, 0, 1)
    if image.shape[0] == 3 and channels == 1:
        rows = STRIP // image.shape[2] + 1
        starts = range(0, image.shape[1], rows)
        image = torch.cat([_grey(image[:, start : start + rows]) for start in starts], dim=1)
    if tuple(image.shape[1:]) != size:
        image = F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
    return image.expand(channels, *size)


def _grey(image: UInt8[Tensor, "3 h w"]) -> UInt8[Tensor, "1 h w"]:
    grey = torch.einsum("chw,c->hw", image.float(), LUMINANCE)
    return grey.round_().to(torch.uint8)[None]

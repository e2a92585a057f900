"""Built-in data sets, which are loaded by name."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from trine.data.dataset import ImageArray
from trine.data.validation import Found
from trine.errors import DataError, require
from trine.shapes import UInt8

FASHION_MNIST_PACKAGE = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package dataset-fashion-mnist puts its files."""

FASHION_MNIST_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def digits() -> Found:
    """Reads scikit-learn's handwritten digits: 1,797 grey images of 8 × 8, brightest 255.

    Returns:
        The images, labelled "0" to "9".

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    bunch = require("sklearn.datasets", extra="train").load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    return Found(
        items=ImageArray(pixels),
        names=[f"item {place}" for place in range(len(pixels))],
        labels=[str(label) for label in bunch.target],
    )


SHIFTS = (-2, -1, 0, 1, 2)
"""The shifts of a digit to the right, in pixels of 8; Hadsell, Chopra, LeCun 2006 shift by 6 of 28."""


def shifted_digits() -> Found:
    """Makes images of shifted digits: the fours and nines of `digits`, moved sideways.

    Each digit appears five times in an image of 8 × 12, shifted by up to two pixels to either side; the
    identity is the scan, not its class. So only the labels say that a shift does not matter (Hadsell,
    Chopra, LeCun 2006, section 3.3).

    Returns:
        1,805 images of 361 identities, such as "4 (item 12)".

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    still = digits()
    assert isinstance(still.items, ImageArray)
    assert still.labels is not None
    scans = [at for at, label in enumerate(still.labels) if label in ("4", "9")]
    room = max(SHIFTS)
    moved = np.zeros((len(scans), len(SHIFTS), 8, 8 + 2 * room), dtype=np.uint8)
    for number, shift in enumerate(SHIFTS):
        moved[:, number, :, room + shift : room + shift + 8] = still.items.pixels[scans, :, :, 0]
    return Found(
        items=ImageArray(moved.reshape(-1, *moved.shape[2:])),
        names=[f"{still.names[at]} moved by {shift}" for at in scans for shift in SHIFTS],
        labels=[f"{still.labels[at]} ({still.names[at]})" for at in scans for _ in SHIFTS],
    )


def fashion_mnist(package: Path = FASHION_MNIST_PACKAGE) -> Found:
    """Reads Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): 70,000 grey images of 28 × 28.

    It is read from the Debian package if that is installed, else from the copy under `$TRINE_DATA` or
    ~/.cache/trine, which torchvision downloads if there is none.

    Args:
        package: Where the Debian package puts the files.

    Returns:
        The images, labelled with the names of the classes; 60,000 are "train" and 10,000 "test" in
        the column "split".

    Raises:
        DataError: No copy exists and none could be downloaded, or the copy is damaged.
    """
    folder = _fashion_mnist_folder(package)
    parts = [("train", "train"), ("t10k", "test")]
    pixels = [_idx(folder, f"{name}-images-idx3-ubyte", dimensions=3) for name, _ in parts]
    labels = [_idx(folder, f"{name}-labels-idx1-ubyte", dimensions=1) for name, _ in parts]
    for images, numbers in zip(pixels, labels, strict=True):
        if len(images) != len(numbers) or numbers.max(initial=0) >= len(FASHION_MNIST_CLASSES):
            raise DataError(f"images and labels in {folder} do not match: delete it and load again")
    both = np.concatenate(pixels)
    return Found(
        items=ImageArray(both),
        names=[f"item {place}" for place in range(len(both))],
        labels=[FASHION_MNIST_CLASSES[label] for label in np.concatenate(labels)],
        columns={"split": np.repeat([part for _, part in parts], [len(part) for part in pixels])},
    )


BUILTIN: dict[str, Callable[[], Found]] = {
    "digits": digits,
    "shifted-digits": shifted_digits,
    "fashion-mnist": fashion_mnist,
}
"""The name of each, and the function that reads it."""


def _fashion_mnist_folder(package: Path) -> Path:
    root = Path(os.environ.get("TRINE_DATA") or Path.home() / ".cache" / "trine")
    downloaded = root / "FashionMNIST" / "raw"
    for folder in (package, downloaded):
        if all(_find(folder, f"{part}-images-idx3-ubyte") for part in ("train", "t10k")):
            return folder
    try:
        datasets = require("torchvision.datasets", extra="images")
        root.mkdir(parents=True, exist_ok=True)
        for train in (True, False):
            datasets.FashionMNIST(root, train=train, download=True)
    except (ImportError, OSError, RuntimeError) as error:
        why = str(error).partition("\n")[0]
        raise DataError(
            "fashion-mnist is not on this machine: install it with 'apt install "
            "dataset-fashion-mnist', or let torchvision download it (pip install 'trine[images]' "
            f"and a network connection), which failed here with: {why}"
        ) from error
    return downloaded


def _find(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)


def _idx(folder: Path, name: str, *, dimensions: int) -> UInt8[np.ndarray, "..."]:
    """Reads the idx format: magic 0, 0, 8 (uint8), dimensions, big-endian sizes, values."""
    path = _find(folder, name)
    if path is None:
        raise DataError(f"{name} is missing from {folder}: delete the folder and load again")
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: delete it and load again") from error
    start = 4 + 4 * dimensions
    shape = tuple(np.frombuffer(content[4:start], dtype=">u4").tolist())
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) - start != np.prod(shape):
        raise DataError(f"{path} is damaged: delete it and load again")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)

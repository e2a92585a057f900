"""A small network with weights, and images to learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import timm
import torch
from sklearn.datasets import load_digits

from trine.data import Dataset, ImageArray

DIGITS = load_digits()


def digits(count: int, *, first: int = 0) -> Dataset:
    """Some of scikit-learn's digits, as images."""
    chosen = slice(first, first + count)
    pixels = (DIGITS.images[chosen] * 15.9375).astype(np.uint8)
    names = tuple(f"item {first + i}" for i in range(count))
    labels = DIGITS.target[chosen].astype(np.int64)
    return Dataset(ImageArray(pixels), labels, tuple("0123456789"), names, root="digits")


def saved_weights(folder: Path) -> Path:
    """The weights of timm's smallest network, which training takes for pretrained ones."""
    torch.manual_seed(5)
    path = folder / "weights.pth"
    torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), path)
    return path

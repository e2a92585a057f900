"""Small data and runs for the tests of training: rows around centres; a run takes a second or two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from trine.data import Dataset, Vectors
from trine.training import RunDir, fit, load_recipe, read_findings


def rows(sizes: list[int], *, spread: float, seed: int = 1, features: int = 16) -> Dataset:
    """Rows around one random centre for each identity; `spread` is their scale, that of the centres is 1."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    centres = random.normal(size=(len(sizes), features))
    items = centres[labels] + spread * random.normal(size=(len(labels), features))
    names = tuple(f"row {i}" for i in range(len(labels)))
    identities = tuple(f"id {i}" for i in range(len(sizes)))
    return Dataset(Vectors(items.astype(np.float32)), labels, identities, names, root="rows")


def mislabelled(data: Dataset, share: float, *, seed: int = 0) -> tuple[Dataset, set[str]]:
    """Gives some items the label of another identity; also returns the names of these items."""
    random = np.random.default_rng(seed)
    labels = data.labels.copy()
    chosen = random.permutation(len(labels))[: round(share * len(labels))]
    for at in chosen:
        labels[at] = random.choice(np.setdiff1d(np.unique(data.labels), labels[at]))
    wrong = {data.names[at] for at in chosen}
    return Dataset(data.items, labels, data.identities, data.names, root=data.root), wrong


def findings(data: Dataset, out: Path, recipe: str | None = None, **settings: Any) -> Any:
    """Trains, and returns the doctor's diagnoses by name, and the names of the items it suspects."""
    # Rows have one view, whatever a recipe takes of pictures.
    overrides = {
        "encoder.views": "one",
        **{name.replace("__", "."): value for name, value in settings.items()},
    }
    fit(data, load_recipe(recipe, overrides=overrides), out=out, progress=False)
    _, diagnoses, suspects = read_findings(RunDir(out))
    return {found.name: found for found in diagnoses}, [suspect.item for suspect in suspects]

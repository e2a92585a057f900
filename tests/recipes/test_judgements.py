"""The recipe for people's judgements, in a small form, on the judgements of shoes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.paths import SHARED_DATA
from trine.data import TripletTable, load, read_triplets
from trine.pipelines import train_on_judgements
from trine.training import load_recipe

ZAPPOS = SHARED_DATA / "triplets_zappos"


@pytest.mark.parametrize(("split", "gain"), [("triplets", 0.1), ("items", 0.03)])
def test_it_beats_the_features(split: str, gain: float, tmp_path: Path) -> None:
    if not ZAPPOS.is_dir():
        pytest.skip("the judgements of shoes are not beside the checkout")
    data, _ = load(ZAPPOS / "alexnet_feats.npz", labelled=False)
    table = read_triplets(ZAPPOS / "triplets.csv.gz")
    drawn = np.random.default_rng(0).permutation(len(table))[:40_000].tolist()
    few = TripletTable(
        table.source,
        *(tuple(column[at] for at in drawn) for column in (table.anchor, table.positive, table.negative)),
    )
    settings = {"training.steps": 40, "training.threads": 1, "data.split": split, "data.test": 0.3}
    recipe = load_recipe("judgements", overrides=settings)
    report = train_on_judgements(data, few, recipe, out=tmp_path / "run", progress=False)
    assert report.before is not None
    assert report.after.triplet_accuracy.accuracy > report.before.triplet_accuracy.accuracy + gain
    assert report.after.triplet_accuracy.contradictions == 0

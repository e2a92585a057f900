"""The recipe `intents` in a small form on real questions."""

import numpy as np
import pytest

from support.paths import SHARED_DATA
from trine.data import load
from trine.pipelines import train_run
from trine.report import BaselineKind
from trine.training import load_recipe

REAL = SHARED_DATA / "text_banking77"


@pytest.mark.slow
def test_intents_are_told_better_after_a_few_steps(tmp_path):
    if not REAL.exists():
        pytest.skip("real data text_banking77 is not beside the checkout")
    data, _ = load(REAL, label="category")
    few = data.subset(np.flatnonzero(data.labels < 8))
    few = few.subset(np.arange(0, len(few), 3))
    overrides = {
        "data.shots": 10,
        "training.steps": 12,
        "sampler.identities": 8,
        "training.threads": 1,
    }
    report = train_run(few, load_recipe("intents", overrides=overrides), out=tmp_path / "run", progress=False)
    assert report.before is not None
    assert report.baseline.kind is BaselineKind.PRETRAINED
    assert report.after.retrieval.map_at_r > report.before.retrieval.map_at_r + 0.03
    assert report.after.knn_classification.gallery == 80
    page = (tmp_path / "run" / "report.html").read_text()
    assert few.items[0].split()[0] in page

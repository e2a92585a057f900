"""Real pictures, an encoder that learned from other people, and unknowns among the probes."""

import numpy as np
import pytest

from support import open_set_trial
from support.paths import SHARED_DATA
from trine.data import load
from trine.rates import State
from trine.training import load_recipe

FACES = SHARED_DATA / "faces_orl"


@pytest.mark.slow
def test_a_gallery_knows_whom_it_knows(tmp_path):
    if not FACES.is_dir():
        pytest.skip(f"the faces are not here: {FACES}")
    data, _ = load(FACES)
    recipe = load_recipe("default", overrides={"training.steps": 40})
    trial = open_set_trial.run_trial(data, recipe, learn=16, choose=8, seed=0, folder=tmp_path)
    assert len(trial.probes.known) == 16 * 5
    assert len(trial.probes.unknowns) == 16 * 10
    assert trial.promise.state is State.PROVISIONAL  # 8 people are few
    for made, named in trial.galleries:
        assert (made.source, made.identities, made.promise.identities) == ("gallery", 8, 8)
        # The people who were not enrolled are named about as often as the gallery says of its own.
        assert made.promise.interval[0] <= named <= made.promise.bound
    assert trial.probes.right.mean() > 0.9
    assert trial.probes.dir_at_fpir(0.1) > 0.5
    assert trial.interval.low <= trial.promise.bound
    assert trial.promise.interval[0] <= trial.interval.high
    assert trial.same_as_evaluation


def test_the_rates_of_a_threshold_by_hand():
    probes = open_set_trial.Probes(
        np.array([0.1, 0.2, 0.3, 0.9]), np.array([True, True, False, True]), np.array([0.25, 0.5, 0.8, 1.0])
    )
    assert probes.at(0.25) == (0.5, 0.25)
    assert probes.dir_at_fpir(0.0) == 0.5
    assert probes.dir_at_fpir(0.25) == 0.5
    assert probes.dir_at_fpir(0.75) == 0.75


def test_the_rate_among_strangers_is_a_count():
    rows = np.array([[0.0], [0.2], [1.0], [1.1], [5.0], [5.1]], dtype=np.float32)
    labels = np.array([0, 0, 1, 1, 2, 2])
    realised, interval = open_set_trial.far_of(rows, labels, 0.95)
    assert realised == 2 / 12  # of four pairs between 0 and 1, those with 0.2
    assert interval.low == 0.0
    assert interval.high >= realised

"""Thresholds are chosen on identities that no training saw."""

import shutil

import numpy as np
import pytest

from trine.data import Dataset, Vectors, keep_out
from trine.data.splits import Split
from trine.encoders import load
from trine.errors import CalibrationError, DataError, SettingError
from trine.gallery import Gallery
from trine.model import STRANGERS, read_model
from trine.pipelines import evaluate_run, train_run
from trine.pipelines.held_out import strangers_of
from trine.rates import State
from trine.training import load_recipe

QUICK = {"training.steps": 20, "encoder.dimension": 4, "data.split": "stratified"}


def people(identities, each=6, seed=0):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(identities), each)
    rows = random.normal(size=(identities, 8))[labels] + 0.4 * random.normal(size=(len(labels), 8))
    names = tuple(f"row {i}" for i in range(len(labels)))
    return Dataset(Vectors(rows.astype(np.float32)), labels, tuple(f"p{i}" for i in range(identities)), names)


@pytest.fixture(scope="module")
def kept_out(tmp_path_factory):
    """A run on sixty people, a fifth of whom are kept out."""
    out = tmp_path_factory.mktemp("run") / "run"
    train_run(people(60), load_recipe("default", overrides=QUICK), out=out, progress=False)
    return out


def test_people_who_are_kept_out_are_strangers_to_the_model(kept_out):
    encoder = load(kept_out)
    assert encoder.trained is not None
    assert encoder.strangers is not None
    assert len(encoder.strangers.names) == 12
    assert encoder.trained.identities.isdisjoint(encoder.strangers.names)
    assert encoder.calibration.promise.identities == 12
    # Too few for 1 %: the smallest round rate that 12 people can tell.
    assert encoder.calibration.promise.rate == 0.1
    assert encoder.calibration.promise.state is State.PROVISIONAL
    rows = people(60)
    chosen = [i for i in range(len(rows)) if rows.identity(i) in encoder.strangers.names]
    assert np.isin(encoder.strangers.embeddings[:, 0], encoder.embed(rows.subset(chosen))[:, 0]).all()


def test_a_gallery_of_trained_people_is_calibrated_with_the_strangers_of_the_model(kept_out, tmp_path):
    encoder = load(kept_out)
    run = shutil.copytree(kept_out, tmp_path / "run")
    data = people(60)
    with Gallery.open(tmp_path / "g.db", encoder=encoder, model=run / "model") as gallery:
        known = [i for i in range(len(data)) if data.identity(i) in encoder.trained.identities]
        gallery.enrol_dataset(data.subset(known))
        found = gallery.calibration()
        assert (found.source, found.promise.identities) == ("model", 12)
        forgotten = encoder.strangers.names[0]
        gallery.forget(forgotten)
        assert forgotten not in encoder.strangers.names
    assert forgotten not in read_model(run).strangers.names
    assert load(run).fingerprint == encoder.fingerprint


def test_strangers_can_be_left_out_of_the_model(tmp_path):
    overrides = {**QUICK, "data.keep_strangers": False}
    train_run(people(60), load_recipe("default", overrides=overrides), out=tmp_path / "run", progress=False)
    encoder = load(tmp_path / "run")
    assert encoder.calibration is not None
    assert encoder.strangers is None
    assert not (tmp_path / "run/model" / STRANGERS).exists()


def test_few_people_are_all_trained_on_unless_folds_leave_them_out(tmp_path):
    few = people(12, each=8)
    report = train_run(few, load_recipe("default", overrides=QUICK), out=tmp_path / "a", progress=False)
    assert load(tmp_path / "a").calibration is None
    assert report.threshold_sentence().startswith("uncalibrated: no threshold")
    with pytest.raises(CalibrationError, match="was trained on all identities of these items"):
        evaluate_run(tmp_path / "a", few, part="test", store_threshold=True, too_few="smallest")
    folds = load_recipe("default", overrides={**QUICK, "data.calibration_folds": 3})
    train_run(few, folds, out=tmp_path / "b", progress=False)
    encoder = load(tmp_path / "b")
    assert encoder.calibration.promise.identities == 12
    assert encoder.calibration.promise.state is State.PROVISIONAL
    assert encoder.left_out.met == 8
    assert sorted(np.unique(encoder.left_out.identity).tolist()) == list(range(12))
    with Gallery.open(tmp_path / "g.db", encoder=encoder) as gallery:
        gallery.enrol_dataset(few)
        found = gallery.calibration()
    assert (found.source, found.state) == ("folds", State.PROVISIONAL)


def test_other_people_of_other_data_are_calibrated_on(kept_out, tmp_path):
    other = people(40, seed=5)  # the same names, and nothing that was trained on
    run = shutil.copytree(kept_out, tmp_path / "run")
    evaluate_run(run, other, store_threshold=True, too_few="smallest", far=0.05, out=tmp_path / "out")
    encoder = load(run)
    assert (encoder.calibration.promise.identities, len(encoder.strangers.names)) == (40, 40)


def test_identities_are_kept_out_only_where_no_part_has_unseen_ones():
    labels = np.repeat(np.arange(60), 4)
    even, odd, none = np.arange(0, 240, 2), np.arange(1, 240, 2), np.zeros(0, np.int64)
    parts = keep_out(Split(even, none, odd, "stratified"), labels, share=None, seed=3)
    assert len(np.unique(labels[parts.calibration])) == 12
    assert np.intersect1d(labels[parts.calibration], labels[np.append(parts.train, parts.test)]).size == 0
    assert sorted(np.concatenate(list(parts.parts.values()))) == list(range(240))
    again = keep_out(Split(even, none, odd, "stratified"), labels, share=None, seed=3)
    assert np.array_equal(again.calibration, parts.calibration)
    unseen = Split(np.flatnonzero(labels < 40), none, np.flatnonzero(labels >= 40), "identity")
    assert keep_out(unseen, labels, share=0.5, seed=0) is unseen
    small = Split(even[:20], none, odd[:20], "stratified")
    assert keep_out(small, labels, share=None, seed=0) is small
    with pytest.raises(DataError, match=r"data\.calibration 0\.9 keeps 9 of 10 identities out of training"):
        keep_out(small, labels, share=0.9, seed=0)


def test_one_fold_is_refused():
    with pytest.raises(SettingError, match=r"data\.calibration_folds is 1"):
        load_recipe("default", overrides={"data.calibration_folds": 1})


def test_some_of_each_identity_are_kept():
    labels = np.array([0] * 20 + [1] * 3 + [2])
    rows = np.arange(24, dtype=np.float32)[:, None]
    data = Dataset(Vectors(rows), labels, ("a", "b", "c"), tuple(map(str, range(24))))
    kept = strangers_of(data, rows, most=4)
    assert [(kept.identity == kept.names.index(name)).sum() for name in "abc"] == [4, 3, 1]
    assert (np.diff(kept.embeddings[:, 0]) > 0).all()
    assert labels[kept.embeddings[:, 0].astype(int)].tolist() == [
        "abc".index(kept.names[at]) for at in kept.identity
    ]
    assert len(strangers_of(data, rows, most=4, identities=2).names) == 2


def test_a_gallery_without_an_encoder_knows_whom_its_model_was_trained_on(kept_out, tmp_path):
    encoder = load(kept_out)
    data = people(60)
    trained = [i for i in range(len(data)) if data.identity(i) in encoder.trained.identities]
    with Gallery.open(tmp_path / "g.db", encoder=encoder, model=kept_out) as gallery:
        gallery.enrol_dataset(data.subset(trained))
        expected = gallery.calibration()
        gallery.enrol_dataset(data.subset(trained[:1]))
    with Gallery.open(tmp_path / "g.db") as gallery:
        gallery.remove(data.names[trained[0]])  # calibrated again, without the encoder
        found = gallery.calibration()
        assert (found.source, expected.source) == ("model", "model")
        assert found.promise.identities == expected.promise.identities == len(encoder.strangers.names)
        assert gallery.rates().identities == len(encoder.strangers.names)

"""A gallery keeps the threshold of its own rate: stored, read again, made again when it changes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from support.fake_encoder import FakeEncoder, calibration
from trine.data import Dataset, Vectors
from trine.errors import GalleryError, InputError, SettingError
from trine.gallery import Entry, Gallery, GalleryCalibration
from trine.rates import State
from trine.strangers import Strangers

BY_HAND = {"dimension": 8, "fingerprint": "f" * 64}


def entries(count, seed=0, *, name="person", scale=1.0, items=1):
    rows = np.random.default_rng(seed).normal(size=(count, 1, 8)) * scale
    noise = 0.05 * np.random.default_rng([seed, 1]).normal(size=(count, items, 8))
    return [
        Entry(f"{name} {i}", f"{name} {i}/{k}", row)
        for i, each in enumerate(rows + noise)
        for k, row in enumerate(each)
    ]


@pytest.fixture
def path(tmp_path):
    with Gallery.open(tmp_path / "g.db", **BY_HAND) as gallery:
        gallery.enrol_many(entries(40))
    return tmp_path / "g.db"


def stored(gallery):
    return json.loads(gallery._store.notes().get("calibration", "{}"))


def test_it_is_stored_and_read_by_another_process(path):
    with Gallery.open(path, **BY_HAND) as gallery:
        made = gallery.calibrate(0.1)
        assert (made.asked, made.source, made.items, made.identities) == (0.1, "gallery", 40, 40)
        assert (made.promise.name, made.promise.rate, made.promise.identities) == ("fpir", 0.1, 40)
        answer = gallery.identify(embedding=np.zeros(8))
        assert (answer.threshold, answer.promise) == (made.threshold, made.promise)
        with Gallery.open(path, **BY_HAND) as other:
            assert other.calibration() == made
            assert GalleryCalibration.from_json(json.loads(json.dumps(made.to_json()))) == made
            again = other.calibrate(0.2)
            assert (again.promise.rate, again.content) == (0.2, made.content)
            assert again.threshold != made.threshold
    with Gallery.open(path, **BY_HAND) as later:
        assert later.calibration() == again


def test_one_per_cent_is_asked_for_and_the_smallest_possible_rate_taken(path):
    with Gallery.open(path, **BY_HAND) as gallery:
        found = gallery.calibration()
        assert found.asked == 0.01
        assert found.promise.rate > 0.02
        assert f"by 40 of its own identities, too few for {100 * found.asked:g} %" in str(found)
        assert gallery.calibrate(0.01).promise == found.promise


def test_it_is_made_again_when_people_come_or_go(path):
    with Gallery.open(path, **BY_HAND) as gallery:
        made = gallery.calibrate(0.2)
        gallery.enrol_many(entries(40))  # nothing new
        assert gallery.calibration() == made
        first = entries(40)[0]
        gallery.enrol("new", "new/0", embedding=np.asarray(first.embedding) + 1e-3)
        nearer = gallery.calibration()
        assert (nearer.asked, nearer.identities) == (0.2, 41)
        assert nearer.content != made.content
        gallery.remove("new/0")
        assert gallery.calibration() == made
        gallery.rename("person 0", "Änne")
        assert gallery.calibration().promise == made.promise
        gallery.enrol("person 1", "person 1/0", embedding=np.zeros(8))  # replaced
        assert gallery.calibration().content != made.content


def test_each_scoring_has_its_own(path):
    with Gallery.open(path, **BY_HAND) as gallery:
        gallery.enrol_many(entries(40, items=3))
        best, mean = gallery.calibrate(0.2), gallery.calibrate(0.1, scoring="mean", top=2)
        assert (gallery.calibration(), gallery.calibration(scoring="mean", top=2)) == (best, mean)
        assert gallery.calibration(scoring="mean", top=3).asked == 0.01
        assert len(stored(gallery)) == 3
        assert gallery.identify(embedding=np.zeros(8), scoring="mean", top=2).threshold == mean.threshold
        assert gallery.identify(embedding=np.zeros(8)).threshold == best.threshold


def test_too_few_have_no_verdict(tmp_path):
    with Gallery.open(tmp_path / "g.db", **BY_HAND) as gallery:
        for count in (0, 1):
            gallery.enrol_many(entries(count))
            found = gallery.calibration()
            assert (found.threshold, found.promise, found.limit) == (None, None, None)
            assert found.state is State.UNCALIBRATED
            assert str(found).startswith("uncalibrated: there are too few strangers")
            assert gallery.rates() is None
        assert gallery.identify(embedding=np.zeros(8)).accepted is None


def test_the_rates_are_those_of_the_strangers_that_the_threshold_was_chosen_by(path):
    rows = np.array([entry.embedding for entry in entries(30, seed=5)])
    with Gallery.open(path, **BY_HAND) as gallery:
        made = gallery.calibrate(0.1)
        assert gallery.rates() is gallery.rates()
        assert gallery.rates().threshold(0.1) == (made.threshold, made.promise)
        given = gallery.calibrate(0.1, embeddings=rows)
        assert gallery.rates().identities == 30
        assert gallery.rates().threshold(0.1) == (given.threshold, given.promise)
        assert gallery.rates(scoring="mean").identities == 40
        assert gallery.rates().identities == 30
    with Gallery.open(path, **BY_HAND) as later:
        assert later.rates().identities == 40  # strangers that were given are not kept
    # The model's strangers stand in at the rate that was asked for, as in the calibration.
    others = np.random.default_rng(3).normal(size=(90, 8)).astype(np.float32)
    kept = Strangers(others, np.arange(90), ("",) * 90)
    with Gallery.open(path.with_name("h.db"), encoder=encoder_with(strangers=kept)) as gallery:
        gallery.enrol_many(entries(12))
        for fpir, source, count in ((0.02, "model", 90), (0.3, "gallery", 12)):
            assert gallery.calibrate(fpir).source == source
            assert gallery.rates().identities == count


def test_a_damaged_note_is_made_again(path):
    for damage in ("{", "[]", '{"[\\"best\\", null, null]": {"asked": 1}}', "3"):
        with Gallery.open(path, **BY_HAND) as gallery:
            gallery._store.note("calibration", damage)
        with Gallery.open(path, **BY_HAND) as gallery:
            assert gallery.calibration().promise.name == "fpir"
            assert len(stored(gallery)) == 1


def test_strangers_are_given_as_embeddings(path):
    rows = np.array([entry.embedding for entry in entries(30, seed=5)])
    with Gallery.open(path, **BY_HAND) as gallery:
        found = gallery.calibrate(0.1, embeddings=rows)
        assert (found.source, found.promise.identities) == ("strangers", 30)
        assert "by 30 of the strangers given" in str(found)
        answers = gallery.identify_many(embeddings=rows)
        assert sum(answer.accepted for answer in answers) / 30 <= 0.1
        two_each = gallery.calibrate(0.1, embeddings=rows, identities=[str(i // 2) for i in range(30)])
        assert two_each.promise.identities == 15
        # It stays until the gallery is calibrated again.
        gallery.enrol_many(entries(3, seed=9, name="new"))
        assert gallery.calibration() == two_each
        with pytest.raises(
            GalleryError, match="no stranger is left: all of the data is of identities of the ga"
        ):
            gallery.calibrate(0.1, embeddings=rows, identities=["person 3"] * 30)
        assert gallery.calibration() == two_each


def test_strangers_are_given_as_data(path):
    rows = np.array([entry.embedding for entry in entries(24, seed=5)], dtype=np.float32)
    names = tuple(f"visitor {i}" for i in range(12))
    data = Dataset(Vectors(rows), np.arange(24) // 2, names, tuple(map(str, range(24))))
    with Gallery.open(path, encoder=FakeEncoder(dimension=8)) as gallery:
        found = gallery.calibrate(0.1, strangers=data)
        assert (found.source, found.promise.identities) == ("strangers", 12)
        same = gallery.calibrate(0.1, embeddings=rows, identities=[names[i // 2] for i in range(24)])
        assert same == found


def test_what_cannot_be_used_is_named(path, as_in_production):
    rows = np.zeros((2, 8))
    data = Dataset(Vectors(rows.astype(np.float32)), np.arange(2), ("a", "b"), ("1", "2"))
    with Gallery.open(path, **BY_HAND) as gallery:
        with pytest.raises(InputError, match="fpir must be a number > 0 and < 1, given 0"):
            gallery.calibrate(0)
        with pytest.raises(
            InputError, match="pass strangers either as data, or as embeddings and identities"
        ):
            gallery.calibrate(strangers=data, embeddings=rows)
        with pytest.raises(InputError, match="identities name the embeddings of strangers: pass embeddings="):
            gallery.calibrate(identities=["a"])
        with pytest.raises(GalleryError, match="was opened without an encoder"):
            gallery.calibrate(strangers=data)
        with pytest.raises(SettingError, match="weights the embeddings of a mean or a centroid"):
            gallery.calibrate(quality="sharp")
        with pytest.raises(InputError, match="one identity for each embedding, given 2"):
            gallery.calibrate(embeddings=rows, identities=["a"])


def encoder_with(*, trained=(), strangers=None, threshold=None, **known):
    encoder = FakeEncoder(dimension=8)
    encoder.trained = SimpleNamespace(identities=frozenset(trained))
    encoder.strangers = strangers
    encoder.calibration = None if threshold is None else calibration(threshold, **known)
    return encoder


def test_those_who_were_trained_on_are_no_strangers(path):
    everybody = [f"person {i}" for i in range(40)]
    with Gallery.open(path, encoder=encoder_with(trained=everybody[:10])) as gallery:
        assert gallery.calibration().promise.identities == 30
    with Gallery.open(path, encoder=encoder_with(trained=everybody[1:])) as gallery:
        assert gallery.calibrate().state is State.UNCALIBRATED


def test_the_strangers_of_the_model_stand_in_and_never_firmly(path):
    rows = np.array([entry.embedding for entry in entries(400, seed=5)], dtype=np.float32)
    kept = Strangers.of(rows, [f"kept {i}" for i in range(400)])
    everybody = [f"person {i}" for i in range(40)]
    with Gallery.open(path, encoder=encoder_with(trained=everybody, strangers=kept)) as gallery:
        found = gallery.calibrate(0.01)
        assert (found.source, found.promise.identities) == ("model", 400)
    with Gallery.open(path, encoder=encoder_with(strangers=kept)) as gallery:
        found = gallery.calibrate(0.01)
        assert (found.source, found.promise.rate, found.state) == ("model", 0.01, State.PROVISIONAL)
        assert "of the identities kept with the model" in str(found)
        # Of those enrolled there are enough for a higher rate.
        assert gallery.calibrate(0.1).source == "gallery"


def test_a_gallery_that_contradicts_the_model_says_so(path):
    with Gallery.open(path, encoder=encoder_with(threshold=3.5, far=0.001)) as gallery:
        found = gallery.calibrate(0.1)
        assert found.warning.startswith(
            "the model was calibrated so that at most 0.1 % of impostor pairs are accepted, firm; among this "
            "gallery's own identities "
        )
        assert "Calibrate the model on such data, or train on some" in found.warning
    with Gallery.open(path, encoder=encoder_with(threshold=0.1, far=0.001)) as gallery:
        assert gallery.calibrate(0.1).warning == ""


def test_who_is_forgotten_is_no_stranger_of_the_model_either(path):
    rows = np.zeros((3, 8), np.float32)
    encoder = encoder_with(strangers=Strangers.of(rows, ["ann", "bob", "ann"]))
    with Gallery.open(path, encoder=encoder) as gallery:
        assert gallery.forget("ann") == 0
        assert encoder.strangers.names == ("bob",)


def test_a_gallery_that_cannot_be_written_is_calibrated_all_the_same(path, monkeypatch):
    with Gallery.open(path, **BY_HAND) as gallery:

        def refuse(*_):
            raise GalleryError("is read-only")

        monkeypatch.setattr(type(gallery._store), "note", refuse)
        found = gallery.calibrate(0.1)
        assert found.promise.name == "fpir"
        assert gallery.calibration() == found
        assert stored(gallery) == {}


class Magnified(FakeEncoder):
    """Embeds an array as a hundred times itself."""

    def embed(self, items):
        return 100 * super().embed(items)


def test_another_encoder_makes_it_again(tmp_path):
    rows = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    names = tuple(f"p{i}" for i in range(40))
    data = Dataset(Vectors(rows), np.arange(40), names, names)
    with Gallery.open(tmp_path / "g.db", encoder=FakeEncoder(dimension=4)) as gallery:
        gallery.enrol_dataset(data)
        before = gallery.calibrate(0.1, embeddings=np.random.default_rng(1).normal(size=(50, 4)))
        gallery.rebuild(Magnified(dimension=4, fingerprint="m" * 64), data=data)
        after = gallery.calibration()
    assert (before.source, after.source) == ("strangers", "gallery")
    assert after.threshold > 10 * before.threshold


def test_what_is_asked_for_wins_over_a_stored_threshold_by_hand_but_not_over_a_passed_one(tmp_path):
    rows = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    path = tmp_path / "g.db"
    with Gallery.open(path, dimension=4, fingerprint="x", threshold=9.0) as gallery:
        gallery.enrol_many(Entry(f"p{i}", f"{i}", row) for i, row in enumerate(rows))
        assert gallery.identify(embedding=rows[0]).threshold == 9.0
    with Gallery.open(path) as gallery:
        gallery.calibration()  # a look changes nothing
        assert gallery.identify(embedding=rows[0]).threshold == 9.0
        found = gallery.calibrate(np.float32(0.1))
        assert gallery.identify(embedding=rows[0]).threshold == found.threshold
    with Gallery.open(path, threshold=9.0) as gallery:
        assert gallery.identify(embedding=rows[0]).threshold == 9.0


def test_a_calibration_with_strangers_ends_when_a_tenth_has_changed(tmp_path):
    rows = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    with Gallery.open(tmp_path / "g.db", dimension=4, fingerprint="x") as gallery:
        gallery.enrol_many(Entry(f"p{i}", f"{i}", row) for i, row in enumerate(rows[:50]))
        gallery.calibrate(0.1, embeddings=rows + 0.5)
        gallery.enrol("p50", "50", embedding=rows[50])
        assert gallery.calibration().source == "strangers"
        gallery.enrol_many(Entry(f"p{i}", f"{i}", rows[i]) for i in range(51, 60))
        found = gallery.calibration()
    assert (found.source, found.asked, found.chosen) == ("gallery", 0.1, True)

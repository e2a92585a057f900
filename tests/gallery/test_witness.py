"""The identities of a gallery as strangers to each other, against loops that leave one out."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest

from trine.gallery import Entry, Gallery, witness
from trine.gallery.identify import Identifier, Ranking
from trine.gallery.witness import outside_rates, own_pairs, own_rates
from trine.rates import stranger_rates
from trine.strangers import Strangers


def people(count=9, items=3, seed=0):
    """Names with their embeddings; everybody has another number of items."""
    random = np.random.default_rng(seed)
    return {
        f"person {i}": random.normal(size=2) * 3 + 0.5 * random.normal(size=(1 + i % items, 2))
        for i in range(count)
    }


def opened(folder, rows):
    gallery = Gallery.open(Path(folder) / "g.db", dimension=2, fingerprint="by hand")
    gallery.enrol_many(
        Entry(name, f"{name}/{i}", row)
        for name, embeddings in rows.items()
        for i, row in enumerate(embeddings)
    )
    return gallery


def score(rows, probe, scoring, top):
    rows = rows.astype(np.float32).astype(float)
    if scoring == "centroid":
        return math.dist(rows.mean(axis=0), probe)
    near = sorted(math.dist(row, probe) for row in rows)
    return near[0] if scoring == "best" else float(np.mean(near[:top]))


def naive(rows, scoring, top=3, trained=()):
    """Each item of each identity, with the score and the place of the nearest other identity."""
    names = sorted(rows)
    usable = [name for name in names if name not in trained]
    found = []
    for own in usable:
        for probe in rows[own].astype(np.float32).astype(float):
            others = [(score(rows[name], probe, scoring, top), name) for name in names if name != own]
            distance, nearest = min(others)
            found.append((distance, names.index(own), names.index(nearest)))
    distances, identity, nearest = map(np.array, zip(*found, strict=True))
    return stranger_rates(distances, identity, nearest=nearest, scale=len(names) / (len(names) - 1))


def assert_alike(found, expected):
    assert (found.identities, found.scale, found.name) == (expected.identities, expected.scale, "fpir")
    np.testing.assert_allclose(found.limits, expected.limits, atol=1e-5)
    np.testing.assert_allclose(found.estimate, expected.estimate, atol=1e-9)
    np.testing.assert_allclose(found.effective[1:-1], expected.effective[1:-1], rtol=1e-6)


@pytest.mark.parametrize("ranking", [Ranking(), Ranking("mean", 2), Ranking("mean"), Ranking("centroid")])
@pytest.mark.parametrize("trained", [(), ("person 1", "person 4", "nobody")])
def test_each_is_left_out_in_turn(tmp_path, ranking, trained):
    rows = people()
    with opened(tmp_path, rows) as gallery:
        found = own_rates(gallery._store, Identifier(gallery._store), ranking, trained)
    assert found.identities == (9 if not trained else 7)
    assert_alike(found, naive(rows, ranking.scoring, ranking.top, trained))


def test_fewer_than_two_strangers_have_no_rate():
    for count, trained in ((0, ()), (1, ()), (2, ("person 1",)), (3, ("person 0", "person 2"))):
        with tempfile.TemporaryDirectory() as folder, opened(folder, people(count)) as gallery:
            store = gallery._store
            assert own_rates(store, Identifier(store), Ranking(), trained) is None
            assert own_pairs(store, trained) is None


def test_a_bounded_number_is_left_out_and_always_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(witness, "MOST_IDENTITIES", 5)
    rows = people(12, items=4)
    with opened(tmp_path, rows) as gallery:
        store = gallery._store
        found = own_rates(store, Identifier(store), Ranking(), ())
        again = own_rates(store, Identifier(store), Ranking(), ())
        drawn = witness._drawn(store, set(rows), items=2)
    assert (found.identities, found.scale) == (5, 12 / 11)
    np.testing.assert_array_equal(found.limits, again.limits)
    counts = np.bincount(drawn.identity)
    assert [int(count) for count in counts] == [min(2, len(rows[name])) for name in drawn.names]
    # The same names are drawn in another gallery, whatever the order of enrolment.
    with tempfile.TemporaryDirectory() as folder, opened(folder, dict(reversed(rows.items()))) as gallery:
        other = own_rates(gallery._store, Identifier(gallery._store), Ranking(), ())
    np.testing.assert_array_equal(found.limits, other.limits)
    np.testing.assert_array_equal(found.estimate, other.estimate)


@pytest.mark.parametrize("scoring", ["best", "mean", "centroid"])
def test_people_outside_are_held_against_the_gallery(tmp_path, scoring):
    rows, outside = people(6), people(8, seed=1)
    names = [name.replace("person", "stranger") for name, each in outside.items() for _ in each]
    names[0] = "person 0"  # enrolled, so no stranger
    strangers = Strangers.of(np.concatenate(list(outside.values())).astype(np.float32), names)
    with opened(tmp_path, rows) as gallery:
        store = gallery._store
        found = outside_rates(store, Identifier(store), Ranking(scoring), strangers)
        assert outside_rates(store, Identifier(store), Ranking(), strangers.without(strangers.names)) is None
        known = Strangers.of(strangers.embeddings[:1], ["person 3"])
        assert outside_rates(store, Identifier(store), Ranking(), known) is None
    nearest, identity = [], []
    for name, row in zip(names[1:], strangers.embeddings[1:].astype(float), strict=True):
        nearest.append(min(score(each, row, scoring, 3) for each in rows.values()))
        identity.append(sorted(set(names)).index(name))
    expected = stranger_rates(np.array(nearest), np.array(identity))
    assert (found.identities, found.scale) == (len(set(names)) - 1, 1.0)
    np.testing.assert_allclose(found.limits, expected.limits, atol=1e-5)
    np.testing.assert_allclose(found.estimate, expected.estimate, atol=1e-9)
    with tempfile.TemporaryDirectory() as folder, opened(folder, {}) as empty:
        assert outside_rates(empty._store, Identifier(empty._store), Ranking(), strangers) is None


def test_pairs_are_of_one_item_each(tmp_path):
    rows = people(7)
    with opened(tmp_path, rows) as gallery:
        found = own_pairs(gallery._store, ("person 2",))
        chosen = witness._drawn(gallery._store, set(rows) - {"person 2"}, items=1).embeddings.astype(float)
    assert (found.name, found.identities, len(chosen)) == ("far", 6, 6)
    distances = [math.dist(chosen[i], chosen[j]) for i in range(6) for j in range(i)]
    for threshold in (0.5, 1.0, 2.0, 4.0, 8.0):
        assert found.at(threshold)[0] == pytest.approx(np.mean([d <= threshold for d in distances]))

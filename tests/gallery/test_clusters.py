"""Clusters that are kept: the same partition as one made at once, under numbers that stay."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.fake_encoder import FakeEncoder, calibration, cluster_threshold
from support.gallery_stores import sqlite
from trine.clustering import cluster
from trine.errors import CalibrationError, GalleryError, InputError, SettingError
from trine.gallery import Entry, Gallery, KnownClusters


def opened(path, **opening):
    return Gallery.open(
        path,
        dimension=1,
        fingerprint="x",
        **{"threshold": 1.0, **opening},
    )


def enrol(gallery, positions):
    gallery.enrol_many(Entry("?", f"{i:03}", [float(x)]) for i, x in positions.items())


def partition(of):
    groups = {}
    for item, number in of.items():
        groups.setdefault(number, set()).add(item)
    return sorted(map(sorted, groups.values()))


@given(batches=st.lists(st.lists(st.integers(0, 60), max_size=8), min_size=1, max_size=4))
def test_a_few_at_a_time_gives_the_partition_of_all_at_once(batches):
    known, before = {}, {}
    with sqlite() as path, opened(path) as gallery:
        for batch in batches:
            added = {len(known) + i: x for i, x in enumerate(batch)}
            known |= added
            enrol(gallery, added)
            found = gallery.cluster(threshold=1.0, neighbours=99)
            assert found.added == len(added)
            assert set(found.of) == {f"{i:03}" for i in known}
            gone = {lost: stays for stays, lost in found.joined}
            for item, number in before.items():
                assert found.of[item] == gone.get(number, number)
                assert number not in gone or gone[number] < number
            fresh = set(found.of.values()) - set(before.values())
            assert all(number > max(before.values(), default=0) for number in fresh)
            before = found.of
            again = gallery.cluster()
            assert (again.of, again.added, again.joined) == (found.of, 0, ())
        if known:
            rows = np.array([[float(x)] for x in known.values()])
            naive = cluster(rows, threshold=1.0, neighbours=99)
            assert partition(before) == partition({f"{i:03}": n for i, n in zip(known, naive, strict=True)})


def test_a_new_item_joins_starts_or_connects(tmp_path):
    with opened(tmp_path / "g.db") as gallery:
        enrol(gallery, {1: 0, 2: 1, 3: 2, 10: 10, 11: 11, 20: 30})
        found = gallery.cluster(threshold=1.0)
        assert found.of == {"001": 1, "002": 1, "003": 1, "010": 2, "011": 2, "020": 3}
        assert str(found) == "3 clusters of 6 items (6 new)"
        assert found.members() == {1: ["001", "002", "003"], 2: ["010", "011"], 3: ["020"]}
        enrol(gallery, {4: 3, 50: 50})
        found = gallery.cluster()
        assert (found.of["004"], found.of["050"], found.joined) == (1, 4, ())
        enrol(gallery, {i: i - 1 for i in (5, 6, 7, 8, 9)} | {12: 9})
        found = gallery.cluster()
        assert found.joined == ((1, 2),)
        assert str(found).endswith("; joined: 2 is now 1")
        assert {found.of[f"{i:03}"] for i in range(1, 13)} == {1}
        enrol(gallery, {60: 60})
        assert gallery.cluster().of["060"] == 5  # no number comes back


def test_clusters_outlive_the_process_and_what_changes_loses_its_place(tmp_path):
    with opened(tmp_path / "g.db") as gallery:
        enrol(gallery, {1: 0, 2: 1, 3: 9})
        gallery.cluster(threshold=1.0)
    with opened(tmp_path / "g.db") as gallery:
        enrol(gallery, {2: 9})
        gallery.enrol("named", "001", embedding=[0.0], metadata={"new": True})
        gallery.merge("named", "?")
        found = gallery.cluster()
        assert found.of == {"001": 1, "002": 2, "003": 2}
        assert found.added == 1
        gallery.remove("003")
        assert gallery.cluster().of == {"001": 1, "002": 2}


def test_starting_anew_divides_what_a_removed_item_connected(tmp_path):
    with opened(tmp_path / "g.db") as gallery:
        enrol(gallery, {1: 0, 2: 1, 3: 2})
        gallery.cluster(threshold=1.0)
        gallery.remove("002")
        assert gallery.cluster().of == {"001": 1, "003": 1}
        anew = gallery.cluster(threshold=1.0, recluster=True)
        assert anew.of == {"001": 2, "003": 3}
        assert gallery.cluster(threshold=5, recluster=True).of == {"001": 4, "003": 4}
        assert gallery.cluster().threshold == 5  # that of the clusters goes before any other
        assert gallery.stats().clusters == 1


def test_only_so_many_neighbours_are_linked(tmp_path):
    with opened(tmp_path / "g.db") as gallery:
        enrol(gallery, dict.fromkeys(range(10), 0))
        gallery.cluster(threshold=1.0)
        enrol(gallery, dict.fromkeys(range(10, 20), 0))
        assert set(gallery.cluster(neighbours=1).of.values()) == {1}


def test_what_cannot_be_clustered(tmp_path):
    with opened(tmp_path / "g.db", threshold=None) as gallery:
        assert gallery.cluster(threshold=1).of == {}
    with opened(tmp_path / "g.db", threshold=None) as gallery:
        enrol(gallery, {1: 0})
        gallery.cluster(threshold=1)
        with pytest.raises(GalleryError, match=r"made with the threshold 1.0, given 2.0: omit threshold="):
            gallery.cluster(threshold=2)
        with pytest.raises(SettingError, match="neighbours must be at least 1, given 0"):
            gallery.cluster(neighbours=0)
        with pytest.raises(CalibrationError, match="no threshold for clusters: choose one with `trine eval"):
            gallery.cluster(recluster=True)
        with pytest.raises(SettingError, match="must be a finite number of at least 0"):
            gallery.cluster(threshold=-1, recluster=True)


def test_the_threshold_was_chosen_for_clusters_of_as_many_items(tmp_path):
    chosen = cluster_threshold(0.9, by_items={2: 2.0, 8: 1.0})
    encoder = FakeEncoder(1, calibration=calibration(30.0), cluster_threshold=chosen)
    with Gallery.open(tmp_path / "g.db", encoder=encoder) as gallery:
        enrol(gallery, {1: 0, 2: 1.9})
        assert gallery.cluster().of == {"001": 1, "002": 1}
        enrol(gallery, {i: 100 * i for i in range(3, 9)})
        # The clusters keep their threshold; started over, they take that of eight items, and never 30.
        assert gallery.cluster().threshold == 2.0
        anew = gallery.cluster(recluster=True)
        assert (anew.threshold, len(anew)) == (1.0, 8)
    with Gallery.open(tmp_path / "g.db", create=False) as gallery:
        assert gallery.binding.cluster_threshold == chosen
        assert gallery.cluster(recluster=True).threshold == 1.0
        gallery.use_encoder(FakeEncoder(1, cluster_threshold=cluster_threshold(0.3)))
        assert gallery.cluster(recluster=True).threshold == 0.3


def test_an_encoder_of_another_program_need_not_know_clusters(tmp_path):
    class Encoder:
        fingerprint, distance, calibration = "theirs", "euclidean", calibration(1.0)
        settings = SimpleNamespace(dimension=1)

        def embed(self, items):
            return np.array(items, dtype=np.float32).reshape(-1, 1)

    with Gallery.open(tmp_path / "g.db", encoder=Encoder()) as gallery:
        enrol(gallery, {1: 0})
        with pytest.raises(CalibrationError, match="or pass threshold="):
            gallery.cluster()
        assert gallery.cluster(threshold=1).of == {"001": 1}


def people_of(gallery, names, each=4):
    """Enrols people on a line, 10 apart, with items 1 apart."""
    gallery.enrol_many(
        Entry(name, f"{name}/{i}", [10.0 * at + i]) for at, name in enumerate(names) for i in range(each)
    )


def test_the_threshold_may_be_chosen_on_the_gallerys_own_identities(tmp_path):
    with opened(tmp_path / "g.db", threshold=50.0) as gallery:
        people_of(gallery, [f"p{i}" for i in range(6)])
        found = gallery.cluster(choose=True)
        assert 1 < found.threshold < 7
        assert len(found) == 6
        assert all(len({item.split("/")[0] for item in items}) == 1 for items in found.members().values())
        assert gallery.cluster().threshold == found.threshold
        with pytest.raises(SettingError, match="choose=True chooses the threshold: omit threshold="):
            gallery.cluster(choose=True, threshold=1.0)


def test_identities_that_were_trained_on_do_not_choose(tmp_path):
    encoder = FakeEncoder(1)
    encoder.trained = SimpleNamespace(identities=frozenset({"near", "beside"}))
    with Gallery.open(tmp_path / "g.db", encoder=encoder) as gallery:
        people_of(gallery, [f"p{i}" for i in range(6)])
        # Trained on, these two are apart by 0.1 only; they would make the threshold smaller.
        gallery.enrol_many(Entry("near", f"n{i}", [500 + 0.2 * i]) for i in range(30))
        gallery.enrol_many(Entry("beside", f"b{i}", [500.1 + 0.2 * i]) for i in range(30))
        assert gallery.cluster(choose=True).threshold > 1
        encoder.trained = SimpleNamespace(identities=frozenset(gallery.identities()))
        with pytest.raises(CalibrationError, match="the encoder was trained on all 8 of them; pass"):
            gallery.cluster(choose=True, recluster=True)


def test_average_linkage_grows_clusters_and_keeps_their_numbers(tmp_path):
    with opened(tmp_path / "g.db") as gallery:
        enrol(gallery, {1: 0, 2: 0.4, 10: 5, 11: 5.2, 20: 30})
        found = gallery.cluster(threshold=0.5, linkage="average")
        assert found.of == {"001": 1, "002": 1, "010": 2, "011": 2, "020": 3}
        enrol(gallery, {3: 0.2, 21: 40, 22: 40.1})
        found = gallery.cluster()
        assert (found.of["003"], found.of["021"], found.of["022"], found.added) == (1, 4, 4, 3)
        assert gallery.cluster().added == 0
        gallery.remove("003")
        assert "003" not in gallery.cluster().of
        enrol(gallery, {50: 17, 51: 17.3})
        assert gallery.cluster().of["050"] == 5
        with pytest.raises(GalleryError, match="by average linkage, given 'connected': omit linkage="):
            gallery.cluster(linkage="connected")
        with pytest.raises(GalleryError, match=r"with the threshold 0.5, given 0.6: omit threshold="):
            gallery.cluster(threshold=0.6)
        assert gallery.cluster(threshold=0.4).threshold == 0.4
        again = gallery.cluster(threshold=0.6, recluster=True)
        assert again.of["001"] == 6
        with pytest.raises(InputError, match=r"unknown linkage 'complete'"):
            gallery.cluster(linkage="complete")


def test_two_clusters_join_by_a_new_item_unless_their_names_differ(tmp_path):
    for names, joined in (({}, ((1, 2),)), ({1: "ann"}, ((1, 2),)), ({1: "ann", 2: "bob"}, ())):
        with opened(":memory:") as gallery:
            enrol(gallery, {1: 0, 2: 1.1})
            gallery.cluster(threshold=1.0, linkage="average")
            enrol(gallery, {3: 0.4, 4: 0.5, 5: 0.6})
            assert gallery.cluster(known=KnownClusters(names)).joined == joined


def test_clusters_without_a_name_are_put_together_anew_with_new_items():
    for names in ({}, {1: "ann"}):
        with opened(":memory:") as gallery:
            enrol(gallery, {1: 0, 2: 0.9, 20: 9})
            assert gallery.cluster(threshold=1.0, linkage="average").of["002"] == 1
            enrol(gallery, {3: 1.0, 4: 1.1, 5: 1.2})
            found = gallery.cluster(known=KnownClusters(names), revise=True)
            # As all at once, unless a person has named what was joined.
            apart = {"001": 1, "002": 3, "003": 3, "004": 3, "005": 3, "020": 2}
            assert found.of == (dict.fromkeys(apart, 1) | {"020": 2} if names else apart)
            assert (found.added, found.joined) == (3, ())
            assert gallery.cluster(known=KnownClusters(names), revise=True).of == found.of
            with pytest.raises(SettingError, match="revise= is kept with average linkage alone: pass"):
                gallery.cluster(revise=True, linkage="connected", recluster=True, threshold=0.5)


def test_a_correction_is_not_undone_when_clusters_are_put_together_anew():
    with opened(":memory:") as gallery:
        enrol(gallery, {1: 0, 2: 0.1, 3: 0.2})
        gallery.cluster(threshold=0.5, linkage="average")
        known = KnownClusters({}, {"003": "bob"})
        assert gallery.cluster(known=known, revise=True).of == {"001": 1, "002": 1, "003": 2}
        enrol(gallery, {4: 0.05, 9: 7})
        found = gallery.cluster(known=known, revise=True)
        assert (found.of["001"], found.of["002"], found.of["003"]) == (1, 1, 2)


def test_what_a_person_moved_stays_moved(tmp_path):
    with opened(":memory:") as gallery:
        enrol(gallery, {1: 0, 2: 0.1, 3: 0.2, 4: 0.3, 9: 5, 10: 5.1})
        gallery.cluster(threshold=0.5, linkage="average")
        known = KnownClusters({1: "ann"}, {"002": "bob", "003": 2, "004": "", "gone": "ann"})
        found = gallery.cluster(known=known)
        assert found.of == {"001": 1, "002": 4, "003": 2, "004": 3, "009": 2, "010": 2}
        assert gallery.cluster(known=known).of == found.of
        enrol(gallery, {5: 0.15, 6: 0.05})
        found = gallery.cluster(known=known)
        assert {found.of[name] for name in ("005", "006")} <= {1, 4}
        assert (found.of["002"], found.of["003"], found.of["004"], found.joined) == (4, 2, 3, ())
        with pytest.raises(SettingError, match=r"known= is kept with average linkage alone"):
            gallery.cluster(known=known, linkage="connected", recluster=True, threshold=0.5)


def test_the_threshold_of_average_linkage_falls_as_a_gallery_grows(tmp_path):
    chosen = cluster_threshold(by_items={10: 0.5, 40: 0.4}, linkage="average")
    encoder = FakeEncoder(calibration=calibration(threshold=1.0), cluster_threshold=chosen)
    with Gallery.open(tmp_path / "g.db", encoder=encoder) as gallery:
        gallery.enrol_many(Entry("?", str(i), [float(i), 0.0]) for i in range(10))
        first = gallery.cluster(linkage="average").threshold
        gallery.enrol_many(Entry("?", str(i), [float(i), 0.0]) for i in range(10, 40))
        second = gallery.cluster().threshold
        assert (first, second) == (0.5, 0.4)
        for i in range(30):
            gallery.remove(str(i))
        assert gallery.cluster().threshold == second

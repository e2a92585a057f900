"""Rebuilding: wholly the old encoder or wholly the new, whatever happens on the way."""

import multiprocessing
from dataclasses import replace

import numpy as np
import pytest

from support.fake_encoder import FakeEncoder, FileEncoder, calibration, cluster_threshold, write_number_files
from support.gallery_processes import rebuild_from_files
from support.gallery_stores import STORES
from trine.data import Dataset, Vectors
from trine.errors import GalleryError
from trine.gallery import Entry, Gallery


@pytest.fixture(params=STORES.values(), ids=STORES)
def address(request):
    with request.param() as where:
        yield where


@pytest.fixture
def photos(tmp_path):
    return write_number_files(tmp_path / "photos", 25)


def contents(gallery):
    return {record.item: tuple(record.embedding.tolist()) for record in gallery._store.scan()}


def test_everything_is_of_the_new_encoder_at_once(address, photos, tmp_path):
    old = FileEncoder("old", 2)
    new = FileEncoder("new", 3, calibration=calibration(0.7), cluster_threshold=cluster_threshold(0.6))
    with Gallery.open(address, encoder=old) as gallery:
        gallery.enrol_many(Entry(path.stem[:3], str(path), metadata={"n": 1}) for path in photos)
        gallery.enrol("named", "by another name", content=str(photos[0]))
        clusters = gallery.cluster(threshold=1).of
        seen = []
        done = gallery.rebuild(new, chunk=10, progress=seen.append, model=tmp_path)
        assert (done.embedded, done.dropped) == (26, ())
        assert seen == [10, 20, 26]
        assert contents(gallery) == {
            **{str(path): new.row_of(path) for path in photos},
            "by another name": new.row_of(photos[0]),
        }
        assert (gallery.binding.fingerprint, gallery.binding.dimension) == ("new", 3)
        assert gallery.model == str(tmp_path)
        assert gallery.threshold.value == 0.7
        assert gallery.search(str(photos[3]), k=1)[0].score == 0
        assert gallery.get(str(photos[3])).metadata == {"n": 1}
        assert gallery.identities()["named"] == 1
        assert gallery.check() == []
        gallery.enrol("more", "more", embedding=[0, 0, 0])
        # Clusters keep their numbers; what is new is linked by the new threshold for clusters, 0.6.
        found = gallery.cluster()
        assert found.threshold == 0.6
        assert found.of == {**clusters, "more": max(clusters.values()) + 1}
    with Gallery.open(address, encoder=new) as gallery:
        assert len(gallery) == 27
    with pytest.raises(GalleryError, match="holds embeddings of the encoder 'new', given the encoder 'old'"):
        Gallery.open(address, encoder=old)


def test_what_has_no_source_keeps_the_gallery_as_it_is(address, photos):
    with Gallery.open(address, encoder=FileEncoder("old", 2)) as gallery:
        gallery.enrol_many(Entry("ann", str(path)) for path in photos)
        gallery.enrol("bob", "from elsewhere", embedding=[1, 1])
        photos[7].unlink()
        before = contents(gallery)
        with pytest.raises(
            GalleryError, match=r"is unchanged: 2 of its items can no longer be read"
        ) as error:
            gallery.rebuild(FileEncoder("new", 3))
        assert "'from elsewhere'" in str(error.value)
        assert "drop_missing=True" in str(error.value)
        assert contents(gallery) == before
        assert gallery.binding.fingerprint == "old"
        new = FileEncoder("new", 3)
        done = gallery.rebuild(new, drop_missing=True)
        assert done.dropped == tuple(sorted(["from elsewhere", str(photos[7])]))
        assert done.embedded == 0  # what was embedded the first time was kept
        assert new.embedded == 0
        assert str(done) == "0 items embedded, 2 dropped"
        assert gallery.identities() == {"ann": 24}


def test_a_file_that_only_has_the_name_of_an_item_is_not_taken_for_it(address, photos, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "1.png").write_bytes(photos[1].read_bytes())
    with Gallery.open(address, encoder=FileEncoder("old", 2)) as gallery:
        gallery.enrol("ann", "1.png", content=str(photos[0]))
        photos[0].unlink()
        monkeypatch.chdir(elsewhere)
        with pytest.raises(GalleryError, match=r"can no longer be read: '1\.png'"):
            gallery.rebuild(FileEncoder("new", 3))


def test_items_are_found_in_data_by_their_names(address):
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    data = Dataset(Vectors(rows), np.array([0, 0, 1]), ("ann", "bob"), ("1", "2", "3"))
    with Gallery.open(address, encoder=FakeEncoder()) as gallery:
        gallery.enrol_dataset(data)
        with pytest.raises(GalleryError, match="3 of its items can no longer be read"):
            gallery.rebuild(FakeEncoder(fingerprint="new"))
        moved = replace(data, items=Vectors(rows + 10))
        assert gallery.rebuild(FakeEncoder(fingerprint="new"), data=moved).embedded == 3
        assert contents(gallery) == {str(i + 1): tuple(row) for i, row in enumerate((rows + 10).tolist())}


def test_who_else_has_it_open_is_told(address, photos):
    old = FileEncoder("old", 2)
    with Gallery.open(address, encoder=old) as gallery, Gallery.open(address, encoder=old) as other:
        gallery.enrol("ann", str(photos[0]))
        assert other.search(str(photos[0]))[0].score == 0
        gallery.rebuild(FileEncoder("new", 3))
        for use in (
            lambda: other.search(str(photos[0])),
            lambda: other.enrol("bob", str(photos[1])),
            lambda: other.remove(str(photos[0])),
        ):
            with pytest.raises(GalleryError, match="was rebuilt with another encoder or restored after"):
                use()
        assert len(gallery) == 1


def test_what_is_enrolled_meanwhile_is_not_lost(address, photos):
    old = FileEncoder("old", 2)
    with Gallery.open(address, encoder=old) as gallery, Gallery.open(address, encoder=old) as other:
        gallery.enrol_many(Entry("ann", str(path)) for path in photos[:10])
        new = FileEncoder("new", 3)

        def meanwhile(done):
            if done == 4:
                other.enrol("late", str(photos[20]))
                other.enrol("ann", str(photos[0]), content=str(photos[21]))
                other.remove(str(photos[1]))

        gallery.rebuild(new, chunk=4, progress=meanwhile)
        assert contents(gallery) == {
            **{str(path): new.row_of(path) for path in photos[2:10]},
            str(photos[20]): new.row_of(photos[20]),
            str(photos[0]): new.row_of(photos[21]),
        }


def test_killed_at_any_moment_it_is_the_one_or_the_other(tmp_path, photos):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trine.gallery"])
    path = tmp_path / "g.db"
    old, new = FileEncoder("old", 2), FileEncoder("new", 3)
    rng = np.random.default_rng(0)
    ends = set()
    for _ in range(12):
        for left in path.parent.glob("g.db*"):
            left.unlink()
        with Gallery.open(path, encoder=old) as gallery:
            gallery.enrol_many(Entry("ann", str(photo)) for photo in photos)
        ours, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=rebuild_from_files, args=(path, theirs))
        worker.start()
        theirs.close()
        ours.recv()
        worker.join(rng.uniform(0, 0.12))
        worker.kill()
        worker.join()
        with Gallery.open(path) as gallery:
            bound = gallery.binding.fingerprint
            ends.add(bound)
            encoder = {"old": old, "new": new}[bound]
            assert contents(gallery) == {str(photo): encoder.row_of(photo) for photo in photos}
            assert gallery.check() == []
            if bound == "old":
                assert gallery.rebuild(new).embedded <= 25
                assert contents(gallery) == {str(photo): new.row_of(photo) for photo in photos}
    assert "old" in ends

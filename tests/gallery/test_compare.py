"""Two encoders on a gallery's own items: nothing is switched, and the numbers are those of the evaluation."""

import numpy as np
import pytest

from support.fake_encoder import FileEncoder, write_number_files
from support.gallery_stores import STORES
from trine.errors import GalleryError, InputError
from trine.evaluation import retrieval
from trine.gallery import Entry, Gallery


@pytest.fixture(params=STORES.values(), ids=STORES)
def address(request):
    with request.param() as where:
        yield where


@pytest.fixture
def photos(tmp_path):
    return write_number_files(tmp_path / "photos", 24)


def identity(path):
    """Six identities of four photos."""
    return f"id {int(path.stem) % 6}" if path.stem.isdigit() else f"id {sum(map(ord, path.stem)) % 6}"


def test_both_are_measured_and_the_first_stays_in_use(address, photos):
    old, new = FileEncoder("old", 2), FileEncoder("new", 3)
    with Gallery.open(address, encoder=old) as gallery:
        gallery.enrol_many(Entry(identity(path), str(path)) for path in photos)
        before = {record.item: record.embedding.tolist() for record in gallery._store.scan()}
        seen = []
        found = gallery.compare(new, chunk=10, progress=seen.append)
        assert seen == [10, 20, 24]
        assert (found.items, found.embedded, found.skipped) == (24, 24, ())
        labels = [identity(path) for path in photos]
        reports = [
            retrieval(np.array([encoder.row_of(path) for path in photos], dtype="f4"), labels, at=(1,))
            for encoder in (old, new)
        ]
        for pair, metric in zip(found.metrics, ("precision_at_1", "map_at_r"), strict=True):
            assert pair.first == pytest.approx(getattr(reports[0], metric))
            assert pair.second == pytest.approx(getattr(reports[1], metric))
            assert pair.interval.low <= pair.difference <= pair.interval.high
        assert 0 <= found.agreement <= 1
        assert "24 items of " in str(found)
        assert found.to_json()["metrics"]["MAP@R"]["second"] == found.metrics[1].second
        # It answers by the first, also about what comes later; the second follows.
        assert gallery.binding.fingerprint == "old"
        assert {record.item: record.embedding.tolist() for record in gallery._store.scan()} == before
        gallery.enrol("id 0", "later", content=str(photos[0]))
        gallery.enrol("id 0", "no file", embedding=[0, 0])
        photos[1].unlink()  # embedded already
        again = gallery.compare(new)
        assert (again.items, again.embedded, again.skipped) == (25, 1, ("no file",))
        done = gallery.rebuild(new, drop_missing=True)
        assert (done.embedded, done.dropped) == (0, ("no file",))
        assert gallery.binding.fingerprint == "new"


def test_an_encoder_agrees_with_itself(tmp_path, photos):
    with Gallery.open(tmp_path / "g.db", encoder=FileEncoder("old", 2)) as gallery:
        gallery.enrol_many(Entry(identity(path), str(path)) for path in photos)
        found = gallery.compare(FileEncoder("old", 2))
        assert found.agreement == 1
        assert [(pair.difference, pair.interval.low, pair.interval.high) for pair in found.metrics] == [
            (0, 0, 0),
            (0, 0, 0),
        ]


def test_what_cannot_be_compared(tmp_path, photos):
    with Gallery.open(tmp_path / "g.db", encoder=FileEncoder("old", 2)) as gallery:
        gallery.enrol_many(Entry(path.stem, str(path)) for path in photos)
        with pytest.raises(InputError, match="needs two items of one identity"):
            gallery.compare(FileEncoder("new", 3))
        for path in photos:
            path.unlink()
        with pytest.raises(GalleryError, match=r"no item of the gallery .* can be read"):
            gallery.compare(FileEncoder("another", 3))

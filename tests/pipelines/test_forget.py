"""A person is forgotten with the crops that trine made, and never with a photo."""

import pytest

from trine.faces import Face, FoundFace, PhotoResult
from trine.faces.journal import Journal
from trine.gallery import Entry, Gallery
from trine.pipelines import forget_person

Image = pytest.importorskip("PIL.Image")
POINTS = ((40.0, 40.0), (60.0, 40.0), (50.0, 52.0), (42.0, 62.0), (58.0, 62.0))


def test_crops_go_and_photos_stay(tmp_path):
    faces = tmp_path / "faces"
    found = [
        PhotoResult(
            f"{name}.jpg", 1, 1, name, (FoundFace(f"{name}.jpg", 0, Face((1, 2, 50, 60), POINTS, 1), 0.1),)
        )
        for name in ("a", "b")
    ]
    Journal.open(faces, {"photos": "photos", "requirements": {}}).rewrite(found)
    (faces / "kept").mkdir()
    crops = [faces / result.faces[0].crop for result in found]
    for crop in crops:
        Image.new("RGB", (150, 150)).save(crop)
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"my own")
    with Gallery.open(tmp_path / "people.db", dimension=1, fingerprint="x") as gallery:
        gallery.enrol_many(Entry("ann", str(path), [0.0], source=str(path)) for path in (crops[0], photo))
        gallery.enrol("bob", str(crops[1]), embedding=[1.0])
        assert gallery.crops("ann") == [crops[0]]
        assert gallery.crops("bob") == []
        done = forget_person(gallery, "ann")
    assert (done.items, done.crops, done.library) == (2, (crops[0],), None)
    assert not crops[0].exists()
    assert crops[1].exists()
    assert photo.read_bytes() == b"my own"
    assert "a.jpg" not in (faces / "faces.csv").read_text()
    assert "b.jpg" in (faces / "faces.csv").read_text()
    assert "b.jpg" in (faces / "index.html").read_text()


def test_nobody_is_forgotten_by_an_unknown_name(tmp_path):
    with Gallery.open(tmp_path / "people.db", dimension=1, fingerprint="x") as gallery:
        assert forget_person(gallery, "ann").items == 0

"""A journal tells the crops that trine made from all other files, and forgets some of them."""

import json

import pytest

from trine.errors import InputError
from trine.faces import Face, FoundFace, PhotoResult
from trine.faces.journal import JOURNAL, PAGE, TABLE, Journal, crops_among, forget_crops

POINTS = ((40.0, 40.0), (60.0, 40.0), (50.0, 52.0), (42.0, 62.0), (58.0, 62.0))
SETTINGS = {"photos": "/photos", "requirements": {"size": 40.0}}


def found(photo, number=0, **failures):
    return FoundFace(photo, number, Face((30.0, 20.0, 40.0, 56.0), POINTS, 0.9), 0.05, failures)


@pytest.fixture
def faces(tmp_path):
    """A folder of three faces on two photos, one of which was left out."""
    folder = tmp_path / "faces"
    journal = Journal.open(folder, SETTINGS)
    first = PhotoResult("ann/a.jpg", 10, 7, "d1", (found("ann/a.jpg"), found("ann/a.jpg", 1)))
    second = PhotoResult("b.jpg", 10, 7, "d2", (found("b.jpg", blurred="sharpness 0.001, at least 0.003"),))
    journal.rewrite([first, second])
    for face in (*first.faces, *second.faces):
        (folder / face.crop).parent.mkdir(parents=True, exist_ok=True)
        (folder / face.crop).write_bytes(b"a face")
    (folder / TABLE).write_text("face")
    (folder / PAGE).write_text("a page with faces")
    return folder


def test_crops_are_those_of_the_journal(faces, tmp_path):
    crops = [faces / "kept/ann/a.jpg-0.png", faces / "left_out/b.jpg-0.png"]
    mine = faces / "kept/ann/mine.png"
    mine.write_bytes(b"my own")
    photo = tmp_path / "photos/ann/a.jpg"
    assert crops_among([crops[0], mine, photo, crops[1], faces / "kept/../../photo.png"]) == crops


def test_forgotten_crops_are_gone_with_all_that_shows_them(faces):
    crop, other = faces / "kept/ann/a.jpg-0.png", faces / "kept/ann/a.jpg-1.png"
    mine = faces / "kept/ann/mine.png"
    mine.write_bytes(b"my own")
    assert forget_crops([crop, mine]) == [faces]
    assert not crop.exists()
    assert other.exists()
    assert mine.exists()
    assert not (faces / TABLE).exists()
    assert not (faces / PAGE).exists()
    first, second = Journal.read(faces).results.values()
    assert [face.crop for face in first.faces] == ["kept/ann/a.jpg-1.png"]
    assert (first.modified, second.modified) == (0, 7), "the photo is looked at again, if it is there"
    assert forget_crops([crop]) == []
    mine.unlink()
    assert forget_crops([other]) == [faces]
    assert not (faces / "kept/ann").exists()


def test_a_file_of_the_same_name_is_no_journal(tmp_path):
    for text in ("", "dear", "[1]", '{"photo": 1}'):
        (tmp_path / JOURNAL).write_text(text)
        (tmp_path / "a.png").write_bytes(b"mine")
        assert forget_crops([tmp_path / "a.png"]) == []
    assert (tmp_path / "a.png").exists()


def test_a_damaged_journal_is_named_before_anything_is_removed(faces):
    crop = faces / "kept/ann/a.jpg-0.png"
    journal = faces / JOURNAL
    lines = journal.read_text().splitlines()
    changed = json.loads(lines[1]) | {"faces": [{"photo": "../x"}]}
    journal.write_text("\n".join([lines[0], json.dumps(changed), *lines[2:], ""]))
    with pytest.raises(InputError, match=r"photos.jsonl is damaged"):
        forget_crops([crop])
    assert crop.exists()
    with pytest.raises(InputError, match=r"cannot read .*photos.jsonl"):
        Journal.read(faces / "kept")

"""The two tables of a library: what is written is read again, and what a person may write into them."""

import csv

import pytest

from trine.errors import InputError
from trine.faces import Face, FacesReport, FoundFace
from trine.faces.found import PhotoResult
from trine.faces.people import Person
from trine.pipelines.library_tables import Tables, read_tables, write_tables

POINTS = ((40.0, 40.0), (60.0, 40.0), (50.0, 52.0), (42.0, 62.0), (58.0, 62.0))
FACE = Face((30.0, 20.0, 40.0, 56.0), POINTS, 0.9)
FACES = (
    FoundFace("a, b.jpg", 0, FACE, 0.05),
    FoundFace("a, b.jpg", 1, FACE, 0.05),
    FoundFace("c.jpg", 0, FACE, 0.05),
)
LEFT = FoundFace("c.jpg", 1, FACE, 0.05, {"too small": "9 pixels"})
CLUSTERS = {FACES[0].crop: 3, FACES[1].crop: 12, FACES[2].crop: 3}


@pytest.fixture
def folder(tmp_path):
    """The tables of two people: ann with two faces, and somebody seen once."""
    photos = (PhotoResult("a, b.jpg", faces=FACES[:2]), PhotoResult("c.jpg", faces=(FACES[2], LEFT)))
    people = (Person("ann", True, (3,), (FACES[0], FACES[2])), Person("x", False, (12,), (FACES[1],)))
    write_tables(
        tmp_path, people, FacesReport("faces", photos),
        clusters=CLUSTERS, names={3: "ann"}, move_to={FACES[1].crop: "?"},
    )  # fmt: skip
    return tmp_path


def rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_what_is_written_is_read_again(folder):
    assert read_tables(folder) == Tables({3: "ann", 12: ""}, {FACES[1].crop: "?"}, CLUSTERS)
    assert rows(folder / "people.csv") == [
        ["cluster", "name", "faces", "photos"], ["3", "ann", "2", "2"], ["12", "", "1", "1"],
    ]  # fmt: skip
    assert rows(folder / "faces.csv")[1:] == [
        ["faces/kept/a, b.jpg-0.png", "a, b.jpg", "3", "ann", "", ""],
        ["faces/kept/a, b.jpg-1.png", "a, b.jpg", "12", "person-0012", "?", ""],
        ["faces/kept/c.jpg-0.png", "c.jpg", "3", "ann", "", ""],
        ["faces/left_out/c.jpg-1.png", "c.jpg", "", "", "", "too small: 9 pixels"],
    ]


def test_tables_that_are_missing_say_nothing(tmp_path):
    assert read_tables(tmp_path) == Tables()


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (" ann   lee ", "ann lee"),
        ("e\u0301ve", "\u00e9ve"),
        ("person-0003", ""),
        ("3", ""),
        ("person-0004", "person-0004"),
    ],
)
def test_names_are_compared_as_a_reader_sees_them(tmp_path, cell, name):
    (tmp_path / "people.csv").write_text(f"cluster,name\nperson-0003,{cell}\n", encoding="utf-8")
    assert read_tables(tmp_path).names == {3: name}


@pytest.mark.parametrize(
    ("table", "text", "said"),
    [
        ("people.csv", "cluster,name\ntwo,ann\n", r"row 1 has 'two' as its cluster, expected a number"),
        ("people.csv", "cluster,name\n1,ann\n1,bob\n", r"row 2 names cluster 1 'bob', and another row 'ann'"),
        ("faces.csv", "face,cluster,move_to\nfaces/x.png,,ann\n", r"row 1 moves faces/x.png to 'ann', but"),
        ("faces.csv", "face,cluster,move_to\nfaces/x.png,q,\n", r"faces.csv, row 1 has 'q' as its cluster"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(tmp_path, table, text, said):
    (tmp_path / table).write_text(text)
    with pytest.raises(InputError, match=said):
        read_tables(tmp_path)

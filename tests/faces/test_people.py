"""People on photos: their photos, their labels, and what a report says of them."""

import pytest

from trine.faces import Face, FacesReport, FoundFace
from trine.faces.found import PhotoResult
from trine.faces.people import LibraryReport, Person, label_of, number_of

POINTS = ((40.0, 40.0), (60.0, 40.0), (50.0, 52.0), (42.0, 62.0), (58.0, 62.0))
FACE = Face((30.0, 20.0, 40.0, 56.0), POINTS, 0.9)


def found(photo, number=0):
    return FoundFace(photo, number, FACE, 0.05)


def test_a_photo_with_two_faces_of_a_person_counts_once():
    twin = Person("ann", True, (1, 4), (found("b.jpg"), found("b.jpg", 1), found("a.jpg")))
    assert twin.photos == ("b.jpg", "a.jpg")


@pytest.mark.parametrize(("named", "faces", "once"), [(False, 1, True), (True, 1, False), (False, 2, False)])
def test_seen_once_is_one_face_without_a_name(named, faces, once):
    assert Person("x", named, (1,), tuple(found(f"{at}.jpg") for at in range(faces))).seen_once == once


@pytest.mark.parametrize("number", [1, 9_999, 10_000, 123_456])
def test_a_label_names_its_number(number):
    assert number_of(label_of(number, {})) == number_of(str(number)) == number
    assert label_of(number, {number: ""}) == label_of(number, {})


@pytest.mark.parametrize("text", ["", "person-12", "person-", "-1", "1.5", "²", "٣", "Person-0001"])
def test_what_names_no_number(text):
    assert number_of(text) is None


def test_a_report_counts_people_and_changes():
    faces = FacesReport("people/faces", (PhotoResult("a.jpg", faces=(found("a.jpg"), found("a.jpg", 1))),))
    people = (Person("ann", True, (1,), (found("a.jpg"),)), Person("x", False, (2,), (found("a.jpg", 1),)))
    report = LibraryReport("people", faces, people, new=1, gone=3, joined=((1, 5),), copied=2)
    assert [person.label for person in report.seen_once] == ["x"]
    assert str(report).split("\n")[-3:] == [
        "1 person (1 named) and 1 seen once; 1 new face, 3 gone",
        "joined: 5 is now 1",
        "2 photos copied, because links cannot be made here",
    ]
    told = report.to_json()
    assert told["people"][1] == {"name": "", "clusters": [2], "faces": 1, "photos": 1}
    assert (told["new"], told["gone"], told["joined"], told["copied"]) == (1, 3, [[1, 5]], 2)

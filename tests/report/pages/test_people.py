"""The page of a library: every person with links, and names that could do harm."""

from dataclasses import replace
from pathlib import Path

import pytest

from support.page_reader import Reader
from trine.faces import Face, FacesReport, FoundFace
from trine.faces.found import PhotoResult
from trine.faces.people import LibraryReport, Person
from trine.report.pages import people as page
from trine.report.pages.people import people_page

Image = pytest.importorskip("PIL.Image")
POINTS = ((40.0, 40.0), (60.0, 40.0), (50.0, 52.0), (42.0, 62.0), (58.0, 62.0))


def report(folder: Path, people: int) -> LibraryReport:
    """So many people with two faces each, and somebody seen once."""
    faces = [
        FoundFace(f"a #{at}.jpg", 0, Face((0.0, 0.0, 90.0, 90.0), POINTS, 0.9), 0.05)
        for at in range(2 * people + 1)
    ]
    for face in faces:
        path = folder / "faces" / face.crop
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    left = replace(faces[0], number=1, failures={"blurred": "0.001"})
    photos = tuple(PhotoResult(face.photo, faces=(face,)) for face in faces)
    found = FacesReport("faces", (*photos, PhotoResult("b.jpg", faces=(left,)), PhotoResult("none.jpg")))
    those = [
        Person(f"<b>{at}</b>", True, (at,), tuple(faces[2 * at : 2 * at + 2]), f"by_person/b {at}")
        for at in range(people)
    ]
    return LibraryReport(str(folder), found, (*those, Person("person-0099", False, (99,), (faces[-1],))))


def test_every_person_is_shown_with_links(tmp_path: Path) -> None:
    html = people_page(report(tmp_path / "people", 2), tmp_path / "people", tmp_path / "photos")
    assert not Reader(html).all("script")
    assert "<b>0</b>" not in html
    for text in (
        "&lt;b&gt;0&lt;/b&gt;", "2 faces on 2 photos, cluster 1", 'href="by_person/b%201/"',
        'href="../photos/a%20%230.jpg"', "person-0099", "1 blurred", "5 faces on 7 photos",
    ):  # fmt: skip
        assert text in html


def test_a_page_of_many_people_says_how_many_it_leaves_out(tmp_path: Path) -> None:
    many = page.MOST_PEOPLE + 2
    html = people_page(report(tmp_path, many), tmp_path, tmp_path)
    assert f"The first {page.MOST_PEOPLE} of {many}." in html
    assert 'href="by_person/b%2081/"' in html

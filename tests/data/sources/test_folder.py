"""Folders as people keep them: links, pipes, odd names, and all problems in one error."""

import os
from pathlib import Path

import pytest

from support.pictures import grey_file
from trine.data import LoadPolicy, load, read_items
from trine.errors import DataError


@pytest.fixture
def people(tmp_path: Path) -> Path:
    for place, name in enumerate(["ann/1.png", "ann/2.png", "bob/1.png", "bob/2.png"]):
        grey_file(tmp_path / "people" / name, place)
    return tmp_path / "people"


class TestLinks:
    @pytest.mark.parametrize("alias", ["aaa", "zoe"])
    def test_a_link_to_an_identity_replaces_none(self, people: Path, alias: str) -> None:
        (people / alias).symlink_to(people / "bob")
        with pytest.raises(DataError, match=r"2 images listed more than once: \w+/1\.png, \w+/2\.png; fix"):
            load(people)
        data, report = load(people, policy=LoadPolicy(duplicates="skip"))
        assert data.names == ("ann/1.png", "ann/2.png")
        assert len(report.duplicates) == 4
        data, _ = load(people, policy=LoadPolicy(duplicates="keep"))
        assert set(data.identities) == {"ann", "bob", alias}

    def test_what_lies_elsewhere_is_read(self, people: Path, tmp_path: Path) -> None:
        grey_file(tmp_path / "elsewhere" / "film" / "1.png", 7)
        (people / "cid").symlink_to(tmp_path / "elsewhere")
        (people / "ann" / "3.png").symlink_to(grey_file(tmp_path / "other.png", 8))
        data, report = load(people)
        assert data.names[2::3] == ("ann/3.png", "cid/film/1.png")
        assert report.notes == ()

    def test_circles_end_and_are_named(self, people: Path) -> None:
        (people / "ann" / "up").symlink_to(people)
        (people / "bob" / "self").symlink_to(".")
        (people / "cid").symlink_to(people.parent)
        (people / "dan").symlink_to("dan")
        data, report = load(people)
        assert len(data) == 4
        assert report.notes == (
            "skipped: 1 file that is not an image (1 dan)",
            "skipped: 3 links to folders that are read already (cid, ann/up, bob/self)",
        )

    def test_folders_full_of_links_to_each_other_end(self, tmp_path: Path) -> None:
        names = [f"p{number}" for number in range(12)]
        for value, name in enumerate(names):
            grey_file(tmp_path / name / "1.png", value)
            for other in names:
                if other != name:
                    (tmp_path / name / other).symlink_to(tmp_path / other)
        with pytest.raises(DataError, match="12 images listed more than once"):
            load(tmp_path)

    def test_a_link_to_nothing_cannot_be_read(self, people: Path) -> None:
        (people / "ann" / "gone.png").symlink_to(people / "nothing.png")
        (people / "gone").symlink_to(people / "nothing")
        with pytest.raises(DataError, match=r"1 image that cannot be read: ann/gone\.png \(no such file\);"):
            load(people)


def test_pipes_are_named_and_not_waited_for(people: Path) -> None:
    os.mkfifo(people / "ann" / "0.png")
    os.mkfifo(people / "ann" / "control")
    with pytest.raises(
        DataError, match=r"1 image that cannot be read: ann/0\.png \(a named pipe, not a file\)"
    ):
        load(people)
    data, report = load(people, policy=LoadPolicy(unreadable="skip"))
    assert len(data) == 4
    assert report.notes == ("skipped: 1 file that is not an image (1 control)",)


def test_all_problems_are_in_one_error(people: Path) -> None:
    (people / "ann" / "0.png").write_text("no picture")
    (people / "bob" / "3.png").symlink_to(people / "bob" / "1.png")
    grey_file(people / "stray.png", 9)
    grey_file(people / "cid" / "1.png", 5)
    strict = LoadPolicy(singletons="error")
    with pytest.raises(DataError) as caught:
        load(people, policy=strict)
    assert str(caught.value) == (
        f"{people}: 1 image without an identity: stray.png; 1 image listed more than once: bob/3.png; 1 "
        "image that cannot be read: ann/0.png (not an image); 1 identity with only one image: cid; fix the "
        "data, or skip them with unlabelled='skip', duplicates='skip', unreadable='skip', singletons='skip'"
    )
    assert "--unlabelled skip, --duplicates skip, --unreadable skip" in caught.value.with_options()
    skip = LoadPolicy(unlabelled="skip", duplicates="skip", unreadable="skip", singletons="skip")
    assert load(people, policy=skip)[0].names == ("ann/1.png", "ann/2.png", "bob/1.png", "bob/2.png")


def test_names_that_are_not_utf8_are_read_and_shown(people: Path) -> None:
    grey_file(Path(os.fsdecode(os.fsencode(people) + b"/caf\xe9/1.png")), 5)
    data, report = load(people)
    assert data.names[-1] == "caf\\xe9/1.png"
    assert data.identities == ("ann", "bob", "caf\\xe9")
    assert data.items[4][0, 0, 0] == 5
    assert report.notes == ("1 name that is not UTF-8, with bytes written as \\xNN (caf\\xe9/1.png)",)
    str(report).encode()


def test_a_source_that_is_not_utf8(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/p\xff"))
    grey_file(folder / "ann" / "1.png", 1)
    data, report = load(folder)
    assert data.root == report.source == f"{tmp_path}/p\\xff"
    assert data.items[0][0, 0, 0] == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(people: Path) -> None:
    (people / "bob").chmod(0)
    with pytest.raises(DataError, match=r"bob/ \(cannot be listed: Permission denied\)"):
        load(people)


def test_a_folder_whose_path_is_too_long_is_named(tmp_path: Path) -> None:
    grey_file(tmp_path / "ann" / "1.png", 1)
    here = os.open(tmp_path / "ann", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=here)
        below = os.open("x" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(
        DataError, match=r"1 image that cannot be read: .*x/ \(cannot be listed: File name too"
    ):
        load(tmp_path)


def test_files_that_vanish_while_they_are_read(people: Path) -> None:
    data, _ = load(people)
    kept = data.items[0]
    (people / "ann" / "1.png").unlink()
    assert data.items[0] is kept
    with pytest.raises(DataError, match=r"1 image that cannot be read: .*1\.png \(no such file\)$"):
        read_items([people / "ann" / "1.png"])

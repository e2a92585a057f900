"""Links to photos: names that are safe anywhere, nothing of anybody else is touched, copies where needed."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.errors import InputError
from trine.pipelines.library_links import LONGEST, Made, folder_names, link_photos, safe_name


@given(st.lists(st.text(max_size=200), max_size=8))
def test_any_names_become_folders_that_differ_on_any_system(names):
    folders = list(folder_names(names).values())
    assert len({folder.casefold() for folder in folders}) == len(set(names))
    for folder in folders:
        assert folder not in ("", ".", "..")
        assert not set(folder) & set('/\\:*?"<>|')
        assert folder == folder.strip()
        assert not folder.startswith(".")
        assert not folder.endswith(".")
        assert not [letter for letter in folder if unicodedata.category(letter)[0] == "C"]
        assert len(folder.encode()) <= LONGEST + len(" (99)")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("ann", "ann"),
        ("../../etc", "_._.._etc"),
        (".hidden", "_hidden"),
        ("nul.jpg", "nul.jpg_"),
        ("a\nb\x1b[2K", "a_b_[2K"),
        ("\u202egnp.ann", "_gnp.ann"),
        ("e\u0301ve", "\u00e9ve"),
        ("ann. . ", "ann"),
        ("x" * 300, "x" * LONGEST),
    ],
)
def test_names_that_would_do_harm(name, folder):
    assert safe_name(name) == folder


class Library:
    """A folder of links with what it has noted."""

    def __init__(self, folder, root):
        self.folder, self.root, self.made = folder, root, Made()

    def note(self, made):
        self.made = made

    def link(self, **wanted):
        return link_photos(self.folder, wanted, root=self.root, made=self.made, note=self.note)

    def held(self):
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if not path.is_dir()}


@pytest.fixture
def library(tmp_path):
    for name in ("a.jpg", "trip/b.jpg", "trip/B.jpg", "trip_b.jpg"):
        photo = tmp_path / "photos" / name
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_text(name)
    return Library(tmp_path / "by_person", tmp_path / "photos")


def test_links_follow_what_is_wanted(library):
    library.link(ann=["a.jpg", "trip/b.jpg", "trip/B.jpg", "trip_b.jpg"], bob=["a.jpg"])
    ann = {"a.jpg": "a.jpg", "trip_b.jpg": "trip/b.jpg", "trip_B (2).jpg": "trip/B.jpg"}
    ann["trip_b (3).jpg"] = "trip_b.jpg"
    for name, photo in ann.items():
        assert (library.folder / "ann" / name).read_text() == photo
    (library.folder / "ann" / "mine.txt").write_text("my own")
    (library.folder / "ann" / "other.jpg").symlink_to(library.root / "a.jpg")
    library.link(ann=["trip/b.jpg"], bob=["a.jpg"])
    assert library.held() == {"ann/trip_b.jpg", "ann/mine.txt", "ann/other.jpg", "bob/a.jpg"}
    library.link(ann=["trip/b.jpg"])
    assert not (library.folder / "bob").exists()
    assert (library.root / "a.jpg").is_file()


def test_links_of_photos_that_moved_lead_to_the_new_place(library, tmp_path):
    library.link(ann=["a.jpg"])
    library.root = library.root.rename(tmp_path / "moved")
    library.link(ann=["a.jpg"])
    assert (library.folder / "ann" / "a.jpg").read_text() == "a.jpg"
    assert library.held() == {"ann/a.jpg"}


def test_a_file_of_that_name_stays(library):
    (library.folder / "ann").mkdir(parents=True)
    (library.folder / "ann" / "A.JPG").write_text("my own")
    library.link(ann=["a.jpg"])
    assert library.held() == {"ann/A.JPG", "ann/a (2).jpg"}
    assert (library.folder / "ann" / "A.JPG").read_text() == "my own"


def test_what_a_killed_run_made_is_known(library):
    def killed(made):
        library.made = made
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        link_photos(library.folder, {"ann": ["a.jpg"]}, root=library.root, made=Made(), note=killed)
    (library.folder / "ann").mkdir(parents=True)
    (library.folder / "ann" / "a.jpg").symlink_to(library.root / "a.jpg")
    library.link()
    assert library.held() == set()


def test_copies_where_links_cannot_be_made(library, monkeypatch):
    def refuses(self, target):
        raise OSError("no links here")

    monkeypatch.setattr("pathlib.Path.symlink_to", refuses)
    made = library.link(ann=["a.jpg", "trip/b.jpg"])
    assert made == Made(copies=frozenset({"ann/a.jpg", "ann/trip_b.jpg"}))
    before = (library.folder / "ann" / "a.jpg").stat()
    library.link(ann=["a.jpg"])
    assert library.held() == {"ann/a.jpg"}
    assert (library.folder / "ann" / "a.jpg").stat().st_ino == before.st_ino
    (library.root / "a.jpg").write_text("another photo")
    library.link(ann=["a.jpg"])
    assert (library.folder / "ann" / "a.jpg").read_text() == "another photo"
    monkeypatch.undo()
    library.link(ann=["trip/b.jpg"])
    assert library.held() == {"ann/trip_b.jpg"}
    assert (library.folder / "ann" / "trip_b.jpg").is_symlink()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(library):
    library.folder.mkdir(mode=0o500)
    with pytest.raises(InputError, match=r"cannot write to .*by_person .*run it again"):
        library.link(ann=["a.jpg"])


def test_a_file_in_place_of_the_folder_is_named(library):
    library.folder.write_text("a file")
    with pytest.raises(InputError, match=r"cannot write to .*by_person .*run it again"):
        library.link(ann=["a.jpg"])

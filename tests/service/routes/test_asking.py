"""Verify, identify, search, recommend: the gallery's own answers, and pictures within their limits."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from support.services import error_of, people, picture, served

P = "/v1/galleries/people"
SHOP = "/v1/galleries/shop"


def test_answers_are_those_of_the_gallery(client):
    gallery = client.service.galleries["people"].gallery
    (answer,) = client.post(f"{P}/identify", json={"embedding": [0, 0.9], "candidates": 2}).json()["answers"]
    ours = gallery.identify(embedding=[0, 0.9], candidates=2)
    assert answer["sentence"] == str(ours)
    assert (answer["identity"], answer["score"], answer["margin"]) == (ours.identity, ours.score, ours.margin)
    assert [one["identity"] for one in answer["candidates"]] == [one.identity for one in ours.candidates]
    asked = {"embedding": [0, 0.9], "k": 2, "where": {"year": {"from": 2021, "to": None}}}
    hits = client.post(f"{P}/search", json=asked).json()["hits"]
    assert [hit["item"] for hit in hits] == ["ann/1", "bob/1"]
    by_item = client.post(f"{P}/search", json={"item": "ann/1", "exclude": ["ann/1"], "k": 1}).json()["hits"]
    assert by_item[0]["item"] == "ann/2"
    hits = client.post(f"{P}/recommend", json={"like": ["ann/1"], "k": 1}).json()["hits"]
    assert hits[0]["item"] == "ann/2"
    answer = client.post(f"{P}/verify", json={"a": {"item": "ann/1"}, "b": {"item": "bob/1"}}).json()
    assert (answer["accepted"], answer["claim"]) == (False, None)
    answers = client.post(f"{P}/identify_many", json={"probes": [{"item": "ann/1"}, {"embedding": [9, 9]}]})
    assert [one["nearest"] for one in answers.json()["answers"]] == ["ann", "bob"]


def test_an_empty_gallery_answers_without_a_score(pictures):
    (answer,) = pictures.post(f"{SHOP}/identify", files={"picture": picture(255)}).json()["answers"]
    assert (answer["score"], answer["identity"]) == (None, None)
    assert answer["sentence"] == "no match: the gallery is empty"


@pytest.mark.parametrize(
    ("call", "given", "code"),
    [
        ("search", {"embedding": [0, 1], "k": 1001}, "too_many"),
        ("search", {"embedding": [0, 1], "k": 0}, "invalid_request"),
        ("search", {"embedding": [0, 1], "where": {"a": {"over": 1}}}, "invalid_request"),
        ("search", {"embedding": [0, 1], "where": {"a": {"from": 2, "to": 1}}}, "invalid_request"),
        ("recommend", {"like": []}, "invalid_request"),
        ("recommend", {"like": ["ann/1"] * 1001}, "too_many"),
        ("identify", {"embedding": [0, 1], "candidates": 1001}, "too_many"),
        ("identify", {"embedding": [0, 1], "quality": "x"}, "invalid_setting"),
        ("identify_many", {"probes": [{"embedding": [0, 1]}] * 1001}, "too_many"),
        ("verify", {"a": {"embedding": [0, 1]}}, "invalid_request"),
    ],
)
def test_limits_of_questions(client, call, given, code):
    error_of(client.post(f"{P}/{call}", json=given), 422, code)


def test_a_picture_comes_in_a_form_or_in_base64(pictures):
    red = picture(255)
    form = pictures.post(
        f"{SHOP}/enrol", data={"identity": "red", "item": "r", "metadata": '{"n": 1}'}, files={"picture": red}
    )
    assert form.json() == {"new": 1, "replaced": 0, "unchanged": 0}
    text = base64.b64encode(picture(0, 255)).decode()
    given = {"identity": "green", "item": "g", "picture": text}
    assert pictures.post(f"{SHOP}/enrol", json=given).json()["new"] == 1
    data = {"picture": f"data:image/png;base64,{base64.b64encode(red).decode()}", "threshold": 0.1}
    (answer,) = pictures.post(f"{SHOP}/identify", json=data).json()["answers"]
    assert (answer["identity"], answer["face"]) == ("red", None)
    found = pictures.post(f"{SHOP}/search", data={"k": "1"}, files={"picture": picture(0, 250)}).json()
    assert [hit["item"] for hit in found["hits"]] == ["g"]


def big(side, form="PNG"):
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\0", "not an image"),
        (b"GIF89a", ""),
        (picture(255)[:44], ""),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (b"\x7fELF" + bytes(100), "not an image"),
        (b"PK\x03\x04" + bytes(100), "not an image"),
    ],
)
def test_what_is_no_picture(pictures, content, said):
    answer = pictures.post(f"{SHOP}/identify", files={"picture": content})
    assert said in error_of(answer, 422, "invalid_request")
    form = {"identity": "x", "item": "x"}
    error_of(pictures.post(f"{SHOP}/enrol", data=form, files={"picture": content}), 422, "invalid_request")
    assert len(pictures.service.galleries["shop"].gallery) == 0
    assert list((pictures.service.settings.state / "pictures" / "shop").iterdir()) == []


def test_a_bomb_is_refused_before_it_is_unpacked(pictures):
    content = big(20_000)
    assert len(content) < 100_000
    answer = pictures.post(f"{SHOP}/identify", files={"picture": content})
    assert "larger than 40,000,000 pixels" in error_of(answer, 422, "invalid_request")


def test_items_of_another_kind_are_refused(pictures):
    for probe in ({"text": "hello"}, {"vector": [1, 2]}, {"row": {"a": 1}}):
        answer = pictures.post(f"{SHOP}/identify", json=probe)
        assert "embeds images" in error_of(answer, 422, "invalid_request")


def test_a_name_is_never_a_path(pictures, tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(picture(9))
    for name in (str(path), f"../{path.name}"):
        error_of(pictures.post(f"{SHOP}/identify", json={"item": name}), 404, "unknown_name")
        error_of(pictures.post(f"{SHOP}/enrol", json={"identity": "a", "item": name}), 422, "invalid_request")
        given = {"identity": "a", "item": name, "embedding": [0, 1]}
        assert pictures.post(f"{SHOP}/enrol", json=given).json()["new"] == 1
        error_of(pictures.get(f"{SHOP}/thumbnail", params={"item": name}), 404, "no_picture")
        kept = pictures.post(
            f"{SHOP}/enrol", data={"identity": "a", "item": name}, files={"picture": picture(1)}
        )
        assert kept.json()["replaced"] == 1
    assert path.read_bytes() == picture(9)
    folder = pictures.service.settings.state / "pictures" / "shop"
    assert len(list(folder.iterdir())) == 2


def test_faces_of_a_picture_are_answered_one_by_one(tmp_path):
    from trine.service.faces import Seen

    class TwoFaces:
        faces = True

        def find(self, pixels):
            half = pixels.shape[1] // 2
            parts = [(0, half), (half, pixels.shape[1] - half)]
            return [
                Seen(pixels[:, left : left + width], (left, 0, width, pixels.shape[0]), 0.9, ("blurred",))
                for left, width in parts
            ]

    from support.services import PictureEncoder

    gallery = people(tmp_path, encoder=PictureEncoder())
    with served({"shop": gallery}, tmp_path, keep_pictures=True) as client:
        client.service.galleries["shop"]._finder = TwoFaces()
        client.post(f"{SHOP}/enrol", json={"identity": "red", "item": "r", "embedding": [1, 0]})
        client.post(f"{SHOP}/enrol", json={"identity": "green", "item": "g", "embedding": [0, 1]})
        pixels = np.zeros((10, 20, 3), np.uint8)
        pixels[:, :10, 0] = pixels[:, 10:, 1] = 255
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        both = buffer.getvalue()
        answers = client.post(f"{SHOP}/identify", files={"picture": both}, data={"threshold": "0.1"}).json()[
            "answers"
        ]
        assert [one["identity"] for one in answers] == ["red", "green"]
        assert answers[1]["face"] == {"box": [10, 0, 10, 10], "score": 0.9, "problems": ["blurred"]}
        (one,) = client.post(f"{SHOP}/identify", files={"picture": both}, data={"face": "1"}).json()[
            "answers"
        ]
        assert one["nearest"] == "green"
        form = {"identity": "x", "item": "x"}
        refused = client.post(f"{SHOP}/enrol", files={"picture": both}, data=form)
        assert "there are 2 faces" in error_of(refused, 422, "invalid_picture")
        refused = client.post(f"{SHOP}/identify", files={"picture": both}, data={"face": "2"})
        assert "2 were found" in error_of(refused, 422, "invalid_request")
        client.post(f"{SHOP}/enrol", files={"picture": both}, data={**form, "face": "1"})
        thumbnail = client.get(f"{SHOP}/thumbnail", params={"item": "x"})
        shown = np.asarray(Image.open(io.BytesIO(thumbnail.content)))
        assert shown[:, -5:, 1].mean() > 200, "the face, and a margin around it"
        assert shown.shape[1] == 12

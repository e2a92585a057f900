"""What changes a gallery: enrol, remove, rename, merge, split, move and back, forget with every trace."""

import pytest

from support.services import error_of, picture

P = "/v1/galleries/people"
SHOP = "/v1/galleries/shop"


def files_below(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def post(client, call, **given):
    answer = client.post(f"{P}/{call}", json=given)
    assert answer.status_code == 200, answer.text
    return answer.json()


def undo(client, change):
    for step in change["undo"]:
        post(client, step["call"], **step["body"])


def test_every_change_is_taken_back(client):
    gallery = client.service.galleries["people"].gallery
    before = {entry.item: entry.identity for entry in gallery.entries()}
    for call, given in [
        ("rename", {"identity": "ann", "to": "Änne"}),
        ("merge", {"identity": "ann", "other": "bob"}),
        ("split", {"items": ["ann/2"], "identity": "cid"}),
        ("move", {"items": ["ann/1", "bob/1"], "identity": "cid"}),
    ]:
        change = post(client, call, **given)
        assert change["moved"] > 0
        assert {entry.item: entry.identity for entry in gallery.entries()} != before
        undo(client, change)
        assert {entry.item: entry.identity for entry in gallery.entries()} == before, call


@pytest.mark.parametrize(
    ("call", "given", "status", "code"),
    [
        ("rename", {"identity": "no", "to": "x"}, 404, "unknown_name"),
        ("rename", {"identity": "ann", "to": "bob"}, 409, "conflict"),
        ("merge", {"identity": "ann", "other": "ann"}, 409, "conflict"),
        ("merge", {"identity": "ann", "other": "no"}, 404, "unknown_name"),
        ("split", {"items": ["ann/1", "bob/1"], "identity": "x"}, 409, "conflict"),
        ("move", {"items": ["no"], "identity": "x"}, 404, "unknown_name"),
        ("move", {"items": [], "identity": "x"}, 422, "invalid_request"),
        ("move", {"items": ["ann/1"] * 1001, "identity": "x"}, 422, "too_many"),
        ("enrol", {"identity": "", "item": "x", "embedding": [0, 1]}, 422, "invalid_request"),
        ("enrol", {"identity": "x", "item": "x" * 5000, "embedding": [0, 1]}, 422, "invalid_request"),
        ("enrol", {"identity": "x", "item": "x"}, 422, "invalid_request"),
        ("enrol_many", {"entries": []}, 422, "invalid_request"),
    ],
)
def test_a_change_that_cannot_be_made(client, call, given, status, code):
    gallery = client.service.galleries["people"].gallery
    revision = gallery.revision
    error_of(client.post(f"{P}/{call}", json=given), status, code)
    assert gallery.revision == revision
    assert client.get("/v1/changes").json()["changes"] == []


def test_several_items_are_enrolled_all_or_none(client):
    good = {"identity": "cid", "item": "c1", "embedding": [1, 1]}
    for bad in (
        {"identity": "cid", "item": "c2", "embedding": [1, 1, 1]},
        {"identity": "cid", "item": "c2", "embedding": [1, 1e300]},
        {"identity": "cid", "item": "c1", "embedding": [2, 2]},
    ):
        assert client.post(f"{P}/enrol_many", json={"entries": [good, bad]}).status_code in (409, 422)
        assert "cid" not in client.service.galleries["people"].gallery.identities()
    assert post(client, "enrol_many", entries=[good])["new"] == 1


def test_the_log_says_who_changed_what(client):
    key = client.service.keys.add("desk", ["write"])
    client.headers["authorization"] = f"Bearer {key}"
    post(client, "enrol", identity="cid", item="c1", embedding=[1, 1])
    post(client, "rename", identity="cid", to="sid")
    post(client, "remove", item="c1")
    post(client, "remove", item="c1")
    log = client.get("/v1/changes", params={"limit": 2}).json()
    assert [(one["who"], one["action"]) for one in log["changes"]] == [("desk", "remove"), ("desk", "rename")]
    rest = client.get("/v1/changes", params={"before": log["next"]}).json()
    assert [one["action"] for one in rest["changes"]] == ["enrol"]
    assert rest["next"] is None


def test_pictures_are_kept_if_asked_and_removed_with_their_items(pictures):
    folder = pictures.service.settings.state / "pictures" / "shop"
    for item, red in (("r1", 255), ("r2", 250)):
        form = {"identity": "red", "item": item}
        pictures.post(f"{SHOP}/enrol", data=form, files={"picture": picture(red)})
    assert len(list(folder.iterdir())) == 2
    shown = pictures.get(f"{SHOP}/thumbnail", params={"item": "r1"})
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/jpeg")
    pictures.post(f"{SHOP}/enrol", data={"identity": "red", "item": "r1"}, files={"picture": picture(0, 255)})
    assert len(list(folder.iterdir())) == 2, "a picture takes the place of the earlier one"
    assert pictures.get(f"{SHOP}/thumbnail", params={"item": "r1"}).content != shown.content
    pictures.post(f"{SHOP}/remove", json={"item": "r1"})
    assert len(list(folder.iterdir())) == 1
    error_of(pictures.get(f"{SHOP}/thumbnail", params={"item": "r1"}), 404, "unknown_name")


def test_forgetting_removes_everything(pictures, tmp_path):
    state = pictures.service.settings.state
    form = {"identity": "Secretname", "item": "secret item", "metadata": '{"note": "secretnote"}'}
    pictures.post(f"{SHOP}/enrol", data=form, files={"picture": picture(77, 78)})
    pictures.post(f"{SHOP}/enrol", json={"identity": "bob", "item": "b", "embedding": [1, 1]})
    pictures.post(f"{SHOP}/rename", json={"identity": "Secretname", "to": "Othersecret"})
    pictures.post(f"{SHOP}/judgements", json={"first": "secret item", "second": "b", "answer": "same"})
    pictures.get(f"{SHOP}/thumbnail", params={"item": "secret item"})
    pictures.get(f"{SHOP}/map")
    assert b"secret" in files_below(tmp_path).lower()
    answer = pictures.post(f"{SHOP}/forget", json={"identity": "Othersecret"})
    assert answer.json() == {"deleted": 1}
    assert list((state / "pictures" / "shop").iterdir()) == []
    assert b"secret" not in files_below(tmp_path).lower()
    assert "secret" not in pictures.get("/v1/changes").text.lower()
    assert "secret" not in pictures.get(f"{SHOP}/map").text.lower()
    assert pictures.get(f"{SHOP}/judgements").json() == {"judgements": []}
    assert not pictures.service.galleries["shop"].pictures._cache


def test_pictures_of_nobody_are_swept_at_the_start(pictures):
    hosted = pictures.service.galleries["shop"]
    form = {"identity": "red", "item": "r"}
    pictures.post(f"{SHOP}/enrol", data=form, files={"picture": picture(255)})
    kept = hosted.pictures.keep("killed", picture(1))
    assert hosted.pictures.sweep(entry.source for entry in hosted.gallery.entries()) == 1
    assert kept is not None
    assert pictures.get(f"{SHOP}/thumbnail", params={"item": "r"}).status_code == 200


def test_pictures_are_not_kept_unless_asked(tmp_path):
    from support.services import PictureEncoder, people, served

    with served({"shop": people(tmp_path, encoder=PictureEncoder())}, tmp_path) as client:
        client.post(f"{SHOP}/enrol", data={"identity": "a", "item": "a"}, files={"picture": picture(5)})
        error_of(client.get(f"{SHOP}/thumbnail", params={"item": "a"}), 404, "no_picture")
        assert not (client.service.settings.state / "pictures").exists()

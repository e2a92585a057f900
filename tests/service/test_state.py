"""The folder of a service: used by one at a time."""

import pytest

from support.services import error_of, people, served
from trine.errors import InputError
from trine.service.service import Service
from trine.service.state import State


def test_two_services_do_not_share_a_folder(client, tmp_path):
    settings = client.service.settings
    with pytest.raises(InputError, match=r"another service uses the folder .*--state"):
        Service(client.service.galleries, settings)
    other = State(settings.state)  # as `trine keys` does
    other.close()
    client.service.close()
    with Service({"people": people(tmp_path, name="other.db")}, settings):
        pass


@pytest.mark.parametrize("what", ["file", "gallery", "folder"])
def test_what_is_no_folder_of_a_service(tmp_path, what):
    state = tmp_path / "state"
    if what == "file":
        state.write_text("x")
    else:
        state.mkdir()
        (state / "service.db").mkdir() if what == "folder" else people(state, name="service.db").close()
    with pytest.raises(InputError, match="--state"):
        State(state)


def test_forgotten_names_leave_the_log(tmp_path):
    with served({"people": people(tmp_path)}, tmp_path) as client:
        path = "/v1/galleries/people"
        for item in ("old/1", "old/2"):
            client.post(f"{path}/enrol", json={"identity": "old", "item": item, "embedding": [1.0, 1.0]})
        client.post(f"{path}/remove", json={"item": "old/1"})
        client.post(f"{path}/merge", json={"identity": "ann", "other": "old"})
        assert "old" in client.get("/v1/changes").text
        client.post(f"{path}/forget", json={"identity": "ann"})
        assert "old" not in client.get("/v1/changes").text
        assert [one["action"] for one in client.get("/v1/changes").json()["changes"]][-1] == "enrol"


def test_a_gallery_that_is_gone_is_not_ready(client, tmp_path):
    assert client.get("/v1/ready").status_code == 200
    for file in tmp_path.glob("people.db*"):
        file.unlink()
    path = "/v1/galleries/people"
    for answer in (
        client.get("/v1/ready"),
        client.get(f"{path}/items"),
        client.post(f"{path}/search", json={"embedding": [0.0, 1.0]}),
        client.post(f"{path}/enrol", json={"identity": "x", "item": "y", "embedding": [0.0, 1.0]}),
    ):
        message = error_of(answer, 503, "unavailable")
        assert "was deleted or replaced" in message
        assert str(tmp_path) not in message


@pytest.mark.parametrize("how", ["cut short", "overwritten"])
def test_a_gallery_whose_file_changed_in_place_is_not_ready(client, tmp_path, how):
    file = tmp_path / "people.db"
    client.service.galleries["people"].gallery._store._database.run("PRAGMA wal_checkpoint(TRUNCATE)")
    assert client.get("/v1/ready").status_code == 200
    sound = file.read_bytes()
    file.write_bytes(sound[:9000] if how == "cut short" else b"hello" * (len(sound) // 5))
    message = error_of(client.get("/v1/ready"), 503, "unavailable")
    assert "damaged or cut short" in message
    assert str(tmp_path) not in message
    assert client.get("/v1/health").status_code == 200, "a restart does not help"
    file.write_bytes(sound)
    assert client.get("/v1/ready").status_code == 200


def test_a_damaged_gallery_is_unavailable(client, tmp_path):
    database = client.service.galleries["people"].gallery._store._database
    database.run("PRAGMA wal_checkpoint(TRUNCATE)")
    file = tmp_path / "people.db"
    file.write_bytes(file.read_bytes()[:4096] + bytes(file.stat().st_size - 4096))
    answer = client.post("/v1/galleries/people/search", json={"embedding": [0.0, 1.0]})
    assert "damaged" in error_of(answer, 503, "unavailable")


def test_forgetting_that_is_cut_short_is_done_by_the_next(client, monkeypatch):
    path = "/v1/galleries/people"
    client.post(f"{path}/enrol", json={"identity": "secret", "item": "s/1", "embedding": [3.0, 3.0]})
    client.post(f"{path}/judgements", json={"first": "s/1", "second": "ann/1", "answer": "same"})
    gallery = client.service.galleries["people"].gallery
    with monkeypatch.context() as patched:
        patched.setattr(type(gallery), "forget", lambda self, identity: 1 / 0)  # as if it were killed here
        assert client.post(f"{path}/forget", json={"identity": "secret"}).status_code == 500
    assert "secret" in gallery.identities()
    assert "secret" not in client.get("/v1/changes").text
    assert client.post(f"{path}/forget", json={"identity": "secret"}).json() == {"deleted": 1}
    state = client.service.state
    files = [state.path, state.path.with_name(f"{state.path.name}-wal")]
    assert not any(b"secret" in file.read_bytes() or b"s/1" in file.read_bytes() for file in files)


def test_judgements_taken_back_are_in_the_log(client):
    path, pair = "/v1/galleries/people", {"first": "ann/1", "second": "bob/1"}
    client.post(f"{path}/judgements", json={**pair, "answer": "different"})
    for removed in (True, False):
        assert client.post(f"{path}/judgements/drop", json=pair).json() == {"removed": removed}
    changes = client.get("/v1/changes").json()["changes"]
    assert [one["action"] for one in changes] == ["unjudge", "judge"]

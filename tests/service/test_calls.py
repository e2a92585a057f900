"""Routes that are called directly: which they are, and that they do as FastAPI's own."""

import threading

import pytest

from support.services import error_of, people, picture, running, served
from trine import Client
from trine.service.calls import CallRoute
from trine.service.routes import asking, changing


@pytest.mark.parametrize("router", [asking.router, changing.router])
def test_all_calls_that_ask_or_change_are_direct(router):
    assert router.routes
    for route in router.routes:
        assert isinstance(route, CallRoute)
        assert route._is_direct(), route.path


def test_a_route_with_a_query_goes_the_usual_way(client):
    @asking.router.get("/unused")
    def with_query(word: str = "x"):
        return {"word": word}

    made = asking.router.routes.pop()
    assert isinstance(made, CallRoute)
    assert not made._is_direct()


def test_rights_are_asked_for(tmp_path):
    with served({"people": people(tmp_path)}, tmp_path) as client:
        key = client.service.keys.add("ann", ["read"])
        path, ask = "/v1/galleries/people", {"embedding": [0.0, 1.0]}
        error_of(client.post(f"{path}/search", json=ask), 401, "no_key")
        headers = {"authorization": f"Bearer {key}"}
        assert len(client.post(f"{path}/search", json=ask, headers=headers).json()["hits"]) == 3
        error_of(client.post(f"{path}/remove", json={"item": "ann/1"}, headers=headers), 403, "not_allowed")
        error_of(client.post("/v1/galleries/no/search", json=ask, headers=headers), 404, "unknown_gallery")


def test_keys_are_read_while_something_is_written(client):
    state = client.service.state
    key = client.service.keys.add("ann")
    found = []

    def ask():
        found.append((client.service.keys.are_needed, client.service.keys.caller(key).name))

    with state.transaction():
        state.changed("INSERT INTO notes VALUES ('slow', '')")
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(5)
        assert found == [(True, "ann")]


def test_one_item_is_enrolled_by_one_request(tmp_path, monkeypatch):
    with (
        served({"people": people(tmp_path)}, tmp_path) as made,
        running(made.service) as address,
        Client(f"{address}/people") as client,
    ):
        sent, send = [], client._send
        monkeypatch.setattr(client, "_send", lambda *call: (sent.append(call[1]), send(*call))[1])
        client.enrol("dan", "dan/1", embedding=[1.0, 2.0])
        assert sent == ["/v1/galleries/people/enrol"]
        assert client.get("dan/1").identity == "dan"


def test_a_name_that_an_object_has_twice(client):
    path = "/v1/galleries/people/search"
    for text in ('{"embedding": [0, 1], "k": 1, "k": 2}', '{"embedding": [0, 1], "where": {"a": 1, "a": 2}}'):
        answer = client.post(path, content=text, headers={"content-type": "application/json"})
        assert "twice" in error_of(answer, 422, "invalid_request")


def test_what_an_encoder_refuses(pictures, monkeypatch):
    def embed(items):
        assert items
        raise ValueError("too many legs")

    monkeypatch.setattr(pictures.encoder, "embed", embed)
    answer = pictures.post("/v1/galleries/shop/search", files={"picture": ("a.png", picture(), "image/png")})
    message = error_of(answer, 422, "invalid_request")
    assert message == "the encoder cannot embed this (too many legs)"

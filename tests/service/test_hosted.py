"""The server of a gallery goes away while it is served, and comes back."""

import pytest

pytest.importorskip("psycopg", reason="needs psycopg: pip install 'trine[pgvector]'")

from support import postgres_server
from support.services import PEOPLE, error_of, people, served
from trine.gallery import Gallery, PostgresStore
from trine.gallery.postgres.settings import PostgresSettings


def test_a_server_that_goes_and_comes_back_needs_no_restart_of_the_service(tmp_path):
    server = postgres_server.server(1)
    address, patient = f"{server.get_uri()}&gallery=served", PostgresSettings(reconnect=0.5)
    Gallery.open(address, dimension=2, fingerprint="by hand", threshold=0.5).close()
    remote = Gallery(PostgresStore(address, settings=patient))
    with served({"people": remote, "local": people(tmp_path)}, tmp_path) as client:
        path = "/v1/galleries/people"
        for identity, item, row, metadata in PEOPLE:
            given = {"identity": identity, "item": item, "embedding": list(row), "metadata": metadata}
            assert client.post(f"{path}/enrol", json=given).status_code == 200
        listed = client.get("/v1/galleries").json()
        search, new = {"embedding": [0.0, 1.0]}, {"identity": "x", "item": "x/1", "embedding": [9.0, 9.0]}
        found = client.post(f"{path}/search", json=search).json()
        server._stop()
        for answer in (
            client.get("/v1/ready"),
            client.get(f"{path}/identities"),
            client.post(f"{path}/search", json=search),
            client.post(f"{path}/enrol", json=new),
        ):
            message = error_of(answer, 503, "unavailable")
            assert "the server of the gallery people cannot be reached" in message
        assert client.get("/v1/health").status_code == 200
        assert client.get("/v1/galleries").json() == listed, "the page still opens"
        assert 'trine_gallery_items{gallery="local"} 3.0' in client.get("/metrics").text
        assert client.post("/v1/galleries/local/search", json=search).json() == found
        server.ensure_postgres_running()
        assert client.get("/v1/ready").status_code == 200
        assert client.post(f"{path}/search", json=search).json() == found
        assert client.post(f"{path}/enrol", json=new).json()["new"] == 1
        assert client.get(f"{path}/item?name=x/1").json()["embedding"] == [9.0, 9.0]

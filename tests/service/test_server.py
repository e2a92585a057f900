"""Connections: closed when their other end does nothing, answered in order, and finished at the end."""

import base64
import http.client
import json
import re
import socket
import threading
import time
from contextlib import suppress

from support.services import PictureEncoder, people, picture, running
from trine.service import server
from trine.service.server import bind, server_of, timed
from trine.service.service import Service
from trine.service.settings import Limits, ServiceSettings


def connected(address):
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def test_connections_that_say_nothing_are_closed(tmp_path):
    limits = Limits(upload_seconds=0.5)
    settings = ServiceSettings(tmp_path / "state", limits=limits)
    with (
        Service({"people": people(tmp_path)}, settings) as service,
        running(service) as address,
        connected(address) as silent,
        connected(address) as slow,
        connected(address) as asking,
    ):
        began = time.monotonic()
        slow.sendall(b"GET /v1/health HTTP/1.1\r\nHost: local")
        for _ in range(3):
            asking.sendall(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += asking.recv(10_000)
            assert answer.startswith(b"HTTP/1.1 200 OK")
            time.sleep(0.3)
        for each in (silent, slow):
            with suppress(ConnectionResetError):
                assert each.recv(100) == b""
        assert 0.4 < time.monotonic() - began < 5


def test_an_answer_that_nobody_reads_is_given_up():
    import uvicorn

    ended = threading.Event()

    async def endless(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(64):
            await send({"type": "http.response.body", "body": b"x" * (1 << 20), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        ended.set()

    config = uvicorn.Config(endless, lifespan="off", log_level="critical")
    config.load()
    config.http_protocol_class = timed(config.http_protocol_class, seconds=0.5)
    endlessly, listener = uvicorn.Server(config), bind("127.0.0.1", 0)
    thread = threading.Thread(target=endlessly.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        with socket.create_connection(listener.getsockname(), timeout=10) as reader:
            reader.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert ended.wait(10), "the request stays in work"
    finally:
        endlessly.should_exit = True
        thread.join(30)
        listener.close()


def stopped_while_enrolling(tmp_path, monkeypatch, *, patience):
    """Stops a service while it embeds; returns the answer, and who is enrolled afterwards."""
    monkeypatch.setattr(server, "STOP_SECONDS", 1)
    begun, go_on = threading.Event(), threading.Event()

    class Waiting(PictureEncoder):
        def embed(self, items):
            begun.set()
            go_on.wait(20)
            return super().embed(items)

    settings = ServiceSettings(tmp_path / "state", limits=Limits(rate=0), keep_pictures=True)
    with Service({"shop": people(tmp_path, encoder=Waiting())}, settings) as service:
        stopping, listener = server_of(service), bind("127.0.0.1", 0)
        thread = threading.Thread(target=stopping.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        item = {"identity": "red", "item": "r", "picture": base64.b64encode(picture(200)).decode()}
        asking = http.client.HTTPConnection(*listener.getsockname(), timeout=30)
        asking.request(
            "POST", "/v1/galleries/shop/enrol", json.dumps(item), {"Content-Type": "application/json"}
        )
        assert begun.wait(20)
        stopping.should_exit = True
        time.sleep(patience)
        go_on.set()
        answer = asking.getresponse()
        status, body = answer.status, json.loads(answer.read())
        thread.join(30)
        listener.close()
        return status, body, service.galleries["shop"].gallery.identities()


def test_what_is_in_work_when_the_service_stops_is_finished(tmp_path, monkeypatch):
    status, body, known = stopped_while_enrolling(tmp_path, monkeypatch, patience=0.3)
    assert (status, body["new"], known) == (200, 1, {"red": 1})


def test_what_takes_longer_than_that_is_not_acknowledged(tmp_path, monkeypatch):
    status, body, _ = stopped_while_enrolling(tmp_path, monkeypatch, patience=1.8)
    assert (status, body["error"]["message"]) == (503, "the service stops")


def test_requests_that_are_sent_ahead_are_answered_in_order(tmp_path):
    settings = ServiceSettings(tmp_path / "state", limits=Limits(rate=0))
    with (
        Service({"people": people(tmp_path)}, settings) as service,
        running(service) as address,
    ):
        names = [b"ann/1", b"none", b"bob/1", b"ann/2"]
        with connected(address) as ahead:
            get = b"GET /v1/galleries/people/item?name=%s HTTP/1.1\r\nHost: localhost\r\n"
            ahead.sendall(b"".join(get % name + b"\r\n" for name in names[:-1]))
            ahead.sendall(get % names[-1] + b"Connection: close\r\n\r\n")
            answers = b"".join(iter(lambda: ahead.recv(10_000), b""))
        assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"404", b"200", b"200"]
        assert re.findall(rb'"item":"([^"]+)"', answers) == [b"ann/1", b"bob/1", b"ann/2"]
        # A body that is refused is not read as the next request.
        post = b"POST /v1/galleries/people/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
        with connected(address) as ahead:
            ahead.sendall(post + b"1073741824\r\n\r\n" + get % b"ann/1" + b"\r\n")
            answers = b"".join(iter(lambda: ahead.recv(10_000), b""))
        assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"413"]

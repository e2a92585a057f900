"""Connections: closed when their other end does nothing."""

import socket
import threading
import time
from contextlib import suppress

from support.services import people, running
from trine.service.server import bind, timed
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
    server, listener = uvicorn.Server(config), bind("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        with socket.create_connection(listener.getsockname(), timeout=10) as reader:
            reader.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert ended.wait(10), "the request stays in work"
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()

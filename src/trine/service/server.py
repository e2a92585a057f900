"""Runs a service: binds its address, answers until it is told to stop, and stops cleanly."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from trine.errors import InputError, require
from trine.service.app import create_app
from trine.service.service import Service

STOP_SECONDS = 10
"""How long requests in work may take when the service stops."""


def bind(host: str, port: int) -> socket.socket:
    """Takes an address to listen at.

    Args:
        host: A name or an address of this machine.
        port: The port; 0 takes a free one.

    Raises:
        InputError: The address is in use, may not be used, or is not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1024)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        hint = {
            errno.EADDRINUSE: "another program listens there: choose another with --port (0: a free one)",
            errno.EACCES: "choose a port from 1024 on with --port",
        }.get(error.errno or 0, "choose an address of this machine with --host")
        raise InputError(f"cannot listen at {host}:{port} ({error.strerror or error}); {hint}") from error
    return listener


def address_of(listener: socket.socket) -> str:
    """The address of the page at a socket that listens."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def timed(protocol: type[Any], *, seconds: float) -> type[Any]:
    """Makes a protocol of uvicorn that closes connections whose other end does nothing.

    Each connection counts, so that silent ones would keep others out.

    Args:
        protocol: The protocol.
        seconds: How long the head of a request may take to arrive, and how long nothing of an answer may
            be read.
    """

    class Timed(protocol):  # type: ignore[misc]
        _silent: Any = None
        _unread: Any = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._expect()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._expect()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._cancel(self._unread)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._cancel(self._silent)
            self._cancel(self._unread)

        def _expect(self) -> None:
            self._cancel(self._silent)
            self._silent = self.loop.call_later(seconds, self._check)

        def _check(self) -> None:
            if self.cycle is None or self.cycle.response_complete:  # none began meanwhile
                self.transport.abort()

        @staticmethod
        def _cancel(timer: Any) -> None:
            if timer is not None:
                timer.cancel()

    return Timed


def server_of(service: Service, *, ready: Callable[[], object] | None = None) -> Any:
    """Makes the server of a service.

    Args:
        service: The service.
        ready: Called when it answers.

    Returns:
        A `uvicorn.Server`; set its `should_exit` to stop it.

    Raises:
        MissingDependencyError: The extra `serve` is not installed.
    """
    uvicorn = require("uvicorn", extra="serve")
    config = uvicorn.Config(
        create_app(service),
        log_level="warning",
        access_log=False,  # addresses hold names of people
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        limit_concurrency=4 * service.limits.waiting,
        ws="none",
        lifespan="on",
    )

    config.load()
    config.http_protocol_class = timed(config.http_protocol_class, seconds=service.limits.upload_seconds)

    class Server(uvicorn.Server):  # type: ignore[name-defined, misc]
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if ready is not None and self.started:
                ready()

    return Server(config)


def serve(service: Service, listener: socket.socket, *, ready: Callable[[], object] | None = None) -> None:
    """Answers requests until SIGINT or SIGTERM arrives, and then finishes those in work.

    Args:
        service: The service.
        listener: The socket, from `bind`; closed at the end.
        ready: Called when it answers.

    Raises:
        KeyboardInterrupt: SIGINT arrived; all is closed.
        MissingDependencyError: The extra `serve` is not installed.
    """
    try:
        server_of(service, ready=ready).run(sockets=[listener])
    finally:
        listener.close()

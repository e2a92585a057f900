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

"""Connects to Ray: starts one on this machine and stops it, or joins a cluster."""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import trine
from trine.errors import Argument, SettingError, TrineError, require

LOCAL = "ray"
"""The address of a Ray that is started on this machine, and stopped at the end."""

HEAD = {"node:__internal_head__": 0.001}
"""What a task takes to run on the node where a cluster was started, by Ray's name for it."""

_CLUSTER = re.compile(r"ray://(?:\[([0-9a-fA-F:.]+)\]|([^\s/:\[\]]+)):(\d{1,5})")
_ANSWERS_WITHIN = 10.0  # seconds


def check_address(on: str) -> str:
    """Checks where to compute.

    Args:
        on: "ray" for this machine, or "ray://HOST:PORT" for the head of a cluster.

    Returns:
        The address.

    Raises:
        SettingError: It is neither.

    Example:
        >>> check_address("ray://head:10001")
        'ray://head:10001'
        >>> check_address("head")
        Traceback (most recent call last):
        trine.errors.SettingError: on= must be ray for this machine, or ray://HOST:PORT for the head of a \
cluster (the port of Ray's clients, 10001 by default), given 'head'
    """
    found = _CLUSTER.fullmatch(on)
    if on != LOCAL and (found is None or not 0 < int(found[3]) < 1 << 16):
        raise SettingError(
            Argument("on"),
            " must be ray for this machine, or ray://HOST:PORT for the head of a cluster (the port of Ray's "
            f"clients, 10001 by default), given {on!r}",
        )
    return on


def is_cluster(on: str) -> bool:
    """Whether an address is that of a cluster, whose nodes may be other machines.

    Example:
        >>> is_cluster("ray"), is_cluster("ray://head:10001")
        (False, True)
    """
    return on != LOCAL


def workers_import_this_trine() -> dict[str, Any]:
    """The runtime environment in which workers import the trine of this process, wherever it is installed.

    Ray copies the package to every node. What trine imports (torch, numpy and the packages of the extras)
    must be installed there, in the same versions of Python and Ray.
    """
    return {"py_modules": [str(Path(trine.__file__).parent)]}


@contextmanager
def connected(on: str) -> Iterator[ModuleType]:
    """Lends Ray: one that is started on this machine and stopped afterwards, or a cluster.

    A Ray that is started here takes all cores that this process may use, has no dashboard, reports no usage,
    and answers only to a random token of this process, unless the variable RAY_AUTH_MODE says otherwise.
    A Ray that this process is connected to already is used, and left running.

    Args:
        on: "ray" or "ray://HOST:PORT"; see `check_address`.

    Yields:
        The module `ray`, connected.

    Raises:
        SettingError: The address cannot be used, or no Ray answers there.
        MissingDependencyError: Ray is not installed.
    """
    check_address(on)
    before = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reads these when it is imported
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if on == LOCAL and not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} & os.environ.keys():
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token()}
    try:
        ray = require("ray", extra="ray")
        if ray.is_initialized():
            yield ray
            return
        _start(ray, on)
        try:
            yield ray
        finally:
            ray.shutdown()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


@cache
def _token() -> str:
    """The token of this process: Ray remembers the first that it reads, also once another is set."""
    return secrets.token_hex(32)


def _start(ray: ModuleType, on: str) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    quiet["runtime_env"] = workers_import_this_trine()
    try:
        if on == LOCAL:
            ray.init("local", include_dashboard=False, **quiet)
        else:
            _check_answers(on)
            ray.init(on, **quiet)
    except TrineError:
        raise
    except Exception as error:  # Ray raises errors of many kinds, such as for another version of itself
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        advice = (
            "see the files in session_latest/logs of Ray's temporary folder"
            if on == LOCAL
            else "a cluster needs the same versions of Python and Ray, and the variables RAY_AUTH_MODE and "
            "RAY_AUTH_TOKEN if it asks for a token"
        )
        raise SettingError(f"Ray cannot be used at {on} ({reason}); {advice}") from error


def _check_answers(on: str) -> None:
    """Raises a `SettingError` at once if nothing listens at an address: Ray itself would wait long."""
    found = _CLUSTER.fullmatch(on)
    assert found is not None, "the address was checked"
    try:
        socket.create_connection((found[1] or found[2], int(found[3])), timeout=_ANSWERS_WITHIN).close()
    except OSError as error:
        raise SettingError(
            f"no Ray answers at {on} ({error.strerror or error}); start its head with `ray start --head`, "
            "and name the host and the port of its clients (--ray-client-server-port, 10001 by default)"
        ) from error

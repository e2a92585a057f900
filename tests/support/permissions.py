"""Takes from root the right to read and write what permissions deny, so that tests see what users see."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

VERSION = 0x20080522
DAC_OVERRIDE, DAC_READ_SEARCH = 1 << 1, 1 << 2


class Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class Capabilities(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextmanager
def permissions_hold() -> Iterator[None]:
    """Lets permissions hold for this thread, and for those that it starts, though it is root's (Linux)."""
    if os.name != "posix" or not hasattr(os, "geteuid"):
        pytest.skip("permissions of POSIX")
    if os.geteuid() != 0:
        yield
        return
    libc, held = ctypes.CDLL(None, use_errno=True), (Capabilities * 2)()
    if libc.capget(ctypes.byref(Header(VERSION, 0)), held):
        pytest.skip("capabilities of Linux")
    before = held[0].effective
    held[0].effective = before & ~(DAC_OVERRIDE | DAC_READ_SEARCH)
    assert libc.capset(ctypes.byref(Header(VERSION, 0)), held) == 0
    try:
        yield
    finally:
        held[0].effective = before
        assert libc.capset(ctypes.byref(Header(VERSION, 0)), held) == 0

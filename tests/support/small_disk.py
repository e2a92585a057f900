"""A small private file system, and a way to fill it."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import resource
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path


def mounted(path: Path, *, size: str) -> bool:
    """Mounts a private in-memory file system for this process; returns whether the system allowed it."""
    new_user, new_mounts = 0x10000000, 0x00020000
    system = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if system.unshare(new_user | new_mounts) != 0:
        return False
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    mounted: int = system.mount(b"tmpfs", bytes(path), b"tmpfs", 0, f"size={size}".encode())
    return mounted == 0


def fill(disk: Path) -> Path:
    """Fills every free page, and returns the file that did."""
    with (disk / "filler").open("ab", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))
    return disk / "filler"


def run_limited(pipe: Connection, words: Sequence[str], size: int) -> None:
    """Runs a command line in a process whose files may not grow beyond a size; sends exit code and error."""
    from trine.cli import main

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        code = main(words)
    pipe.send((code, said.getvalue()))

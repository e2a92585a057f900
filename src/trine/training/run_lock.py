"""The lock of a run folder: one run at a time, for exactly as long as its process lives.

The kernel holds the lock (`flock`) and drops it when the process ends, however it ends, so a killed run can
be resumed at once. What the file holds is for the error message of a second run only.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from trine.display import printable
from trine.errors import InputError
from trine.io import lock_at_once, readable
from trine.training.distributed import SINGLE_PROCESS, DistributedContext
from trine.training.run_dir import RunDir, check_run_dir

logger = logging.getLogger("trine.training")

_held: ContextVar[frozenset[Path]] = ContextVar("_held", default=frozenset())
"""The folders that are locked by the callers of this function. Another thread has a context of its own."""

_descriptors: set[int] = set()
"""The open lock files of this process."""


@contextmanager
def lock_run(run: RunDir, *, resume: bool, context: DistributedContext = SINGLE_PROCESS) -> Iterator[None]:
    """Locks a run folder, and checks that a run can start or resume in it.

    Nothing is done if a caller holds the lock already. The first process of a run holds it for all.

    Args:
        run: The folder; created for a new run, and removed again if it is still empty at the end.
        resume: Whether to resume the run in it.
        context: The processes of the run.

    Raises:
        InputError: Another run uses the folder; or it is not empty, holds no run to resume, or cannot be
            written.
    """
    held, folder = _held.get(), Path(os.path.realpath(run.path))
    if not context.is_main or folder in held:
        yield
        return
    _check_before(run, resume=resume)
    new = not run.path.exists()
    try:
        descriptor = _locked(run)
    except OSError as error:
        raise InputError(
            f"cannot write to the run folder {run.path} ({error.strerror}); name another one"
        ) from error
    token = _held.set(held | {folder})
    try:
        check_run_dir(run, resume=resume)
        yield
    finally:
        _held.reset(token)
        _unlock(run, descriptor, remove=new)


def _check_before(run: RunDir, *, resume: bool) -> None:
    """Checks a folder that no run uses, before anything is created in it."""
    with readable(run.path, InputError):
        used = run.lock.exists()
    if resume or not used:
        check_run_dir(run, resume=resume)


def _locked(run: RunDir) -> int:
    """Opens and locks the lock file, and returns its descriptor."""
    while True:
        run.path.mkdir(parents=True, exist_ok=True)
        # Not inherited by programs that this process starts; for forked ones see below.
        descriptor = os.open(run.lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            _acquire(run, descriptor)
            # The run before this one may have removed the file between the two calls.
            if os.fstat(descriptor).st_nlink:
                break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    _descriptors.add(descriptor)
    os.ftruncate(descriptor, 0)
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}, started {started}\n".encode(), 0)
    return descriptor


def _acquire(run: RunDir, descriptor: int) -> None:
    try:
        without = lock_at_once(descriptor)
    except BlockingIOError as error:
        raise InputError(
            f"{run.path} is used by another run ({_holder(descriptor)}); wait until it ends, stop it, or "
            "name another folder"
        ) from error
    if without:
        logger.warning(
            "%s is on a file system without locks (%s): nothing stops a second run in this folder",
            run.path,
            without,
        )


def _holder(descriptor: int) -> str:
    """What the holder of the lock wrote, which it does at once."""
    time.sleep(0.05)
    text = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
    return printable(text) or "which has just started"


def _unlock(run: RunDir, descriptor: int, *, remove: bool) -> None:
    """Removes the lock file while it is still locked, and a new folder in which nothing was kept."""
    with suppress(OSError):
        run.lock.unlink()
    if remove:
        with suppress(OSError):
            run.path.rmdir()
    _descriptors.discard(descriptor)
    os.close(descriptor)


def _forget_in_child() -> None:
    """Closes the locks that a forked process inherits: it may outlive the run, and would keep them."""
    for descriptor in _descriptors:
        with suppress(OSError):
            os.close(descriptor)
    _descriptors.clear()
    _held.set(frozenset())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)

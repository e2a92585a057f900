"""Files that are whole or not there, whatever ends the process; and one sentence where the disk refuses."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trine.errors import InputError

UNFINISHED = (".unfinished", ".replaced", ".partial")
"""How the names end of what a kill leaves behind."""


def write_whole(path: Path, content: str | bytes | memoryview) -> None:
    """Writes a file whole or not at all, and on the disk when the call returns.

    Args:
        path: The file; one that stands there is replaced.
        content: Its content; a text is written in UTF-8, its lines ending as they do in it.

    Raises:
        OSError: The disk refuses; nothing is left behind.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
        rename_durably(unfinished, path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def rename_durably(unfinished: Path, path: Path) -> None:
    """Puts a finished file in its place once it has reached the disk.

    Args:
        unfinished: The file under its first name.
        path: Its place, in the same folder; a file there is replaced.
    """
    _synchronise(unfinished)
    unfinished.replace(path)
    # The new name stands in the folder, which has to reach the disk as well; Windows opens no folders.
    if os.name == "posix":
        _synchronise(path.parent)


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Clears away what a kill left behind in a folder, where there is anything.

    Args:
        folder: The folder.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        if left_behind(path) and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif left_behind(path):
            path.unlink(missing_ok=True)


def left_behind(path: Path) -> bool:
    """Says whether a path is named as what a kill leaves behind."""
    return path.name.startswith(".") and path.name.endswith(UNFINISHED)


@contextmanager
def writing(path: Path, *, checkpoint: Path) -> Iterator[None]:
    """Turns a refusal of the disk into one sentence.

    Args:
        path: What is written.
        checkpoint: The run's checkpoint, from which it can go on.

    Raises:
        InputError: The disk is full, or refuses otherwise.
    """
    try:
        yield
    except OSError as error:
        raise refusal(error, path=path, checkpoint=checkpoint) from error


def refusal(error: OSError, *, path: Path, checkpoint: Path) -> InputError:
    """Says what could not be written, and what to do.

    Args:
        error: What the system said.
        path: What was written.
        checkpoint: The run's checkpoint, from which it can go on.
    """
    then = (
        f"it goes on from {checkpoint}, which is whole"
        if checkpoint.is_file()
        else "it begins anew, since it has no checkpoint yet"
    )
    reason = error.strerror or error
    return InputError(
        f"{path} cannot be written ({reason}); make room on the disk, and resume the run: {then}"
    )

"""Standard output and standard error, which may be full, closed, or lack letters."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

from trine.errors import InputError


def prepare() -> None:
    """Has letters that the encoding of the terminal lacks written as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write(text: str, *, file: TextIO | None = None) -> None:
    """Prints a text and a line break.

    Args:
        text: The text; it is printed as it is.
        file: Where to; None is standard output.

    Raises:
        InputError: It cannot be written, as on a full disk.
        BrokenPipeError: The program that reads it has ended.
    """
    try:
        print(text, file=file)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(error) from error


def complete() -> None:
    """Writes what standard output still buffers; Python itself does so too late to say that it failed.

    Raises:
        InputError: It cannot be written.
        BrokenPipeError: The program that reads it has ended.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(error) from error


def complain(text: str) -> None:
    """Prints a line on standard error; if that cannot be written either, the exit code has to say it."""
    with suppress(OSError):
        print(text, file=sys.stderr)  # noqa: T201


def discard() -> None:
    """Drops what could not be written, so that Python does not fail again when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            with suppress(OSError):  # a stream without a descriptor
                os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _unwritable(error: OSError) -> InputError:
    reason = error.strerror or error
    return InputError(f"the output cannot be written ({reason}); free disk space or send it elsewhere")

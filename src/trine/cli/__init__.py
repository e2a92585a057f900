"""The command line, `trine VERB`: one file for each verb; `verbs` lists them, `parser` parses the arguments.

A verb imports what it needs when it runs, so that `trine --help` answers without torch.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from trine import __version__
from trine.cli import output
from trine.cli.parser import Group, parse
from trine.cli.verbs import TRINE
from trine.display import printable
from trine.errors import Terminated, TrineError


def main(arguments: Sequence[str] | None = None, *, verbs: Group = TRINE) -> int:
    """Runs the command line.

    Args:
        arguments: The arguments after `trine`; None takes those of this process.
        verbs: What it offers.

    Returns:
        The exit code: 0; 1 if a check found problems; 2 for an error; 130 for Ctrl-C; 141 if the program that
        reads the output has ended, as `head` does; 143 for SIGTERM.
    """
    # torch reads this on import. Threads that spin while they wait take the core from the thread they
    # wait for, which makes training five times slower on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    words = sys.argv[1:] if arguments is None else arguments
    output.prepare()
    try:
        with _sigterm_raises():
            code = _run(words, verbs)
            output.complete()
        return code
    except TrineError as error:
        output.complain(f"trine: {error.with_options()}")
        return 2
    except KeyboardInterrupt:
        output.complain("trine: interrupted")
        return 130
    except Terminated as terminated:
        output.complain("trine: terminated")
        return int(str(terminated.code))
    except BrokenPipeError:
        return 141
    except OSError as error:  # whatever else the system refuses
        name = f"{error.filename}: " if error.filename else ""
        output.complain(f"trine: {printable(f'{name}{error.strerror or error}')}")
        return 2
    finally:
        output.discard()


def _run(words: Sequence[str], verbs: Group) -> int:
    try:
        return parse(words, verbs, prog="trine", version=f"trine {__version__}")()
    except Terminated:
        raise
    except SystemExit:  # the help or the version was printed
        output.complete()
        raise


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Lets SIGTERM end a command as Ctrl-C does: unfinished files are removed, and it is said."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated

    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or before != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

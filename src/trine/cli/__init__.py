"""The command line, `trine VERB`: one file for each verb; `verbs` lists them, `parser` parses the arguments.

A verb imports what it needs when it runs, so that `trine --help` answers without torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from trine import __version__
from trine.cli import output
from trine.cli.parser import parse
from trine.cli.verbs import TRINE
from trine.errors import TrineError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: The arguments after `trine`; None takes those of this process.

    Returns:
        The exit code: 0; 1 if a check found problems; 2 for an error; 130 for Ctrl-C; 141 if the program that
        reads the output has ended, as `head` does.
    """
    # torch reads this on import. Threads that spin while they wait take the core from the thread they
    # wait for, which makes training five times slower on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    words = sys.argv[1:] if arguments is None else arguments
    output.prepare()
    try:
        code = _run(words)
        output.complete()
        return code
    except TrineError as error:
        output.complain(f"trine: {error.with_options()}")
        return 2
    except KeyboardInterrupt:
        output.complain("trine: interrupted")
        return 130
    except BrokenPipeError:
        return 141
    finally:
        output.discard()


def _run(words: Sequence[str]) -> int:
    try:
        return parse(words, TRINE, prog="trine", version=f"trine {__version__}")()
    except SystemExit:  # the help or the version was printed
        output.complete()
        raise

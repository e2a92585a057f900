"""The command line: one verb per thing a person wants.

`main` reads the words and runs a verb; `parser` says how they are read; `verbs` holds one function for each
verb, which imports what it needs when it runs, so that `trine --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from trine.cli.parser import Group, make_parser
from trine.cli.verbs import VERBS
from trine.errors import TrineError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: The words after `trine`; those of this process where left out.

    Returns:
        The exit code: 0, 1 where a check found something, 2 after a mistake, 130 after Ctrl-C.
    """
    # Read when torch is loaded. Threads that wait by spinning take the core from whoever they wait for: on a
    # machine that does anything else besides, training is five times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        parser = make_parser(VERBS)
        words = list(sys.argv[1:] if arguments is None else arguments)
        if not words or (len(words) == 1 and isinstance(VERBS.get(words[0]), Group)):
            words.append("--help")
        settings = parser.parse_args(words)
        verb, chosen = VERBS[settings.verb], settings[settings.verb]
        if isinstance(verb, Group):
            verb, chosen = verb.verbs[chosen.verb], chosen[chosen.verb]
        return verb.run(chosen) or 0
    except TrineError as error:
        print(f"trine: {error.with_options()}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("trine: interrupted", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:
        return 0

"""How the words are read: each verb with its arguments and an example, each mistake in one sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from trine.errors import SettingError, require

EXAMPLES = """\
examples:
  trine demo
  trine train photos/ --out runs/faces
  trine evaluate runs/faces photos/
  trine enrol runs/faces known/ --gallery people
  trine identify photo.jpg --gallery people
"""

_NUMBER = re.compile(r"Parser key \"(\w+)\": Expected a <class '(int|float)'>\. Got value: (.*)")


@dataclass(frozen=True)
class Verb:
    """One verb of the command line.

    Attributes:
        run: Does it.
        arguments: Adds its arguments to a parser.
        help: One sentence.
        example: Lines that show how it is called.
    """

    run: Callable[[Any], None]
    arguments: Callable[[Any], None]
    help: str
    example: str


def make_parser(table: Mapping[str, Verb]) -> Any:
    """Makes the parser of the whole command line.

    Args:
        table: The verbs by name.

    Returns:
        A jsonargparse parser, whose mistakes are `SettingError`s.

    Raises:
        MissingDependencyError: jsonargparse is not installed.
    """
    jsonargparse = require("jsonargparse", extra="train")
    import argparse

    class Parser(jsonargparse.ArgumentParser):  # type: ignore[misc, name-defined]
        """Answers a mistake with one sentence rather than with the whole usage."""

        def error(self, message: str, ex: Exception | None = None) -> NoReturn:
            # The root names an argument with its verb, as in "train.out".
            asked = next((f"trine {verb}" for verb in table if f"{verb}." in message), self.prog)
            if "required" in message:
                message = re.sub(r"(?<=[ .])(out|gallery)(?=,|$)", r"--\1", message)
            sentence = " ".join(message.replace(f"{asked.removeprefix('trine ')}.", "").split()).rstrip(".")
            if wanted := _NUMBER.fullmatch(sentence):
                name, kind, given = wanted.groups()
                number = {"int": "a whole number", "float": "a number"}[kind]
                option = ("-" if len(name) == 1 else "--") + name.replace("_", "-")
                sentence = f"{option} takes {number}, given {given!r}"
            raise SettingError(f"{sentence}; see {asked} --help")

    def parser(description: str, epilog: str, **more: Any) -> Any:
        form = argparse.RawDescriptionHelpFormatter
        return Parser(description=description, epilog=epilog, formatter_class=form, **more)

    root = parser(
        "Metric learning with the triplet loss: learn what 'the same' means.", EXAMPLES, prog="trine"
    )
    root.add_argument("--version", action="version", version=f"trine {_version()}")
    verbs = root.add_subcommands(dest="verb", metavar="VERB")
    for name, verb in table.items():
        sub = parser(verb.help, f"example:\n{_indented(verb.example)}")
        verb.arguments(sub)
        verbs.add_subcommand(name, sub, help=verb.help)
        sub.prog = f"trine {name}"
    return root


def _version() -> str:
    from trine import __version__

    return __version__


def _indented(lines: str) -> str:
    return "\n".join(f"  {line}" for line in lines.splitlines())

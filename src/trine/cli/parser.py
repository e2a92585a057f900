"""How the words are read: each verb with its arguments and an example, each mistake in one sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from trine.errors import SettingError, require

_NUMBER = re.compile(r"Parser key \"(\w+)\": Expected a <class '(int|float)'>\. Got value: (.*)")

EXAMPLES = """\
examples:
  trine demo
  trine train photos/ --out runs/faces
  trine evaluate runs/faces photos/
  trine enrol runs/faces known/ --gallery people
  trine identify photo.jpg --gallery people
"""


@dataclass(frozen=True)
class Verb:
    """One verb of the command line.

    Attributes:
        run: Does it; returns the exit code, or nothing where all went well.
        arguments: Adds its arguments to a parser.
        help: One sentence.
        example: Lines that show how it is called.
    """

    run: Callable[[Any], int | None]
    arguments: Callable[[Any], None]
    help: str
    example: str


@dataclass(frozen=True)
class Group:
    """Several verbs under one word, as in `trine gallery stats`.

    Attributes:
        help: One sentence.
        example: Lines that show how they are called.
        verbs: The verbs by name.
    """

    help: str
    example: str
    verbs: Mapping[str, Verb]


def make_parser(table: Mapping[str, Verb | Group]) -> Any:
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

    parsers: dict[str, Any] = {}

    class Parser(jsonargparse.ArgumentParser):  # type: ignore[misc, name-defined]
        """Answers a mistake with one sentence rather than with the whole usage."""

        def error(self, message: str, ex: Exception | None = None) -> NoReturn:
            raise SettingError(_sentence(message, self.prog, parsers))

    def parser(description: str, example: str, **more: Any) -> Any:
        form = argparse.RawDescriptionHelpFormatter
        return Parser(
            description=description, epilog=example, formatter_class=form, allow_abbrev=False, **more
        )

    def add(place: Any, name: str, verb: Verb | Group) -> Any:
        sub = parser(verb.help, f"example:\n{_indented(verb.example)}")
        if isinstance(verb, Verb):
            verb.arguments(sub)
        place.add_subcommand(name.rpartition(" ")[2], sub, help=verb.help)
        sub.prog = f"trine {name}"
        parsers[name] = sub
        return sub

    root = parser(
        "Metric learning with the triplet loss: learn what 'the same' means.", EXAMPLES, prog="trine"
    )
    root.add_argument("--version", action="version", version=f"trine {_version()}")
    verbs = root.add_subcommands(dest="verb", metavar="VERB")
    for name, verb in table.items():
        sub = add(verbs, name, verb)
        if isinstance(verb, Group):
            inner = sub.add_subcommands(dest="verb", metavar="VERB")
            for word, inner_verb in verb.verbs.items():
                add(inner, f"{name} {word}", inner_verb)
    return root


def _sentence(message: str, asked: str, parsers: Mapping[str, Any]) -> str:
    """Says what is wrong in the user's words: the root names an argument with its verb, as in "train.out"."""
    for name in sorted(parsers, key=len, reverse=True):
        dotted = f"{name.replace(' ', '.')}."
        if dotted in message:
            asked, message = f"trine {name}", message.replace(dotted, "")
            break
    if "required" in message:
        known = parsers.get(asked.removeprefix("trine "))
        for action in known._actions if known is not None else ():
            if action.option_strings:
                message = re.sub(rf"(?<=[ .]){action.dest}(?=,|$)", action.option_strings[0], message)
    sentence = " ".join(message.split()).rstrip(".")
    if wanted := _NUMBER.fullmatch(sentence):
        name, kind, given = wanted.groups()
        option = ("-" if len(name) == 1 else "--") + name.replace("_", "-")
        sentence = f"{option} takes a {'whole ' if kind == 'int' else ''}number, given {given!r}"
    return f"{sentence}; see {asked} --help"


def _version() -> str:
    from trine import __version__

    return __version__


def _indented(lines: str) -> str:
    return "\n".join(f"  {line}" for line in lines.splitlines())

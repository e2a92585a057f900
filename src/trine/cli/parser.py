"""Parses the command line: verbs with their arguments, and one-sentence errors.

A verb is a function under the decorator `verb`. The first paragraph of its docstring is its help, and the
rest are its examples. Only the parser of the requested verb is built, with argparse. Unlike in argparse, a
mistake raises a `SettingError`, and the error for an unknown verb or option names the nearest one.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from trine.cli.output import write
from trine.errors import SettingError, nearest

Argument = Callable[[argparse.ArgumentParser], object]
"""Adds itself to a parser."""

Run = Callable[[Any], int | None]
"""Runs a verb with its parsed arguments; returns the exit code, or None for 0."""


@dataclass(frozen=True)
class Verb:
    """One verb of the command line.

    Attributes:
        name: Its name.
        help: One sentence.
        example: Lines that show how it is called.
        run: Runs it.
        arguments: Its arguments.
        extras: The extras that it needs, whatever it is given.
    """

    name: str
    help: str
    example: str
    run: Run
    arguments: tuple[Argument, ...]
    extras: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """A group of verbs, as in `trine gallery stats`.

    Attributes:
        name: The name of the group.
        help: One sentence.
        example: Lines that show how they are called.
        verbs: The verbs by name.
        notes: Lines at the end of the help.
    """

    name: str
    help: str
    example: str
    verbs: Mapping[str, Verb | Group]
    notes: str = ""


def argument(*names: str, **options: Any) -> Argument:
    """Declares an argument, with the parameters of `argparse.ArgumentParser.add_argument`."""
    return lambda parser: parser.add_argument(*names, **options)


def verb(*arguments: Argument, extras: tuple[str, ...] = ("train",)) -> Callable[[Run], Verb]:
    """Turns a function into a verb; if its name is a Python keyword, the function ends with an underscore."""

    def made(run: Run) -> Verb:
        text, _, example = inspect.cleandoc(run.__doc__ or "").partition("\n\n")
        return Verb(run.__name__.rstrip("_"), " ".join(text.split()), example, run, arguments, extras)

    return made


class Parser(argparse.ArgumentParser):
    """argparse's parser; a mistake raises a `SettingError` instead of printing the usage."""

    def __init__(self, prog: str, node: Verb | Group) -> None:
        self.options: list[str] = []
        notes = f"\n\n{node.notes}" if isinstance(node, Group) and node.notes else ""
        if isinstance(node, Verb) and node.extras:
            notes = f"\n\nneeds: pip install 'trine[{','.join(node.extras)}]'"
        super().__init__(
            prog=prog,
            description=node.help,
            epilog=f"examples:\n{node.example}".replace("\n", "\n  ") + notes,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        """Adds an argument as argparse does, and remembers the names of options."""
        action = super().add_argument(*names, **settings)
        self.options += action.option_strings
        return action

    def error(self, message: str) -> NoReturn:
        """Raises the message as a `SettingError`."""
        raise SettingError(f"{message}; see {self.prog} --help")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Prints the help or the version; argparse ignores that it cannot be written."""
        write(message.removesuffix("\n"), file=file)

    def parse_all(self, words: Sequence[str]) -> argparse.Namespace:
        """Reads the arguments; an unknown option is an error that names the nearest known one."""
        # With options between them, an optional argument would take the place of the one that follows it.
        optional = any(action.nargs == "?" for action in self._get_positional_actions())
        read = self.parse_known_intermixed_args if optional else self.parse_known_args
        settings, unknown = read(words)
        if unknown and unknown[0].startswith("-"):
            option = unknown[0].partition("=")[0]
            self.error(f"unknown option {option!r}; {nearest(option, self.options)}")
        if unknown:
            self.error(f"unexpected argument {unknown[0]!r}")
        return settings


def parse(words: Sequence[str], node: Verb | Group, *, prog: str, version: str = "") -> Callable[[], int]:
    """Reads a command line.

    Args:
        words: The arguments after `prog`.
        node: The verb that takes them, or the group whose verb they begin with.
        prog: The part parsed so far, such as `"trine gallery"`.
        version: What `--version` prints; empty leaves the option out.

    Returns:
        A function that runs the verb and returns the exit code.

    Raises:
        SettingError: A verb or an option is unknown, or an argument is missing or cannot be read.
        SystemExit: The help or the version was printed.
    """
    parser = Parser(prog, node)
    if isinstance(node, Verb):
        for add in node.arguments:
            add(parser)
        settings, run = parser.parse_all(words), node.run
        return lambda: run(settings) or 0
    word = words[0] if words else "--help"
    if word in node.verbs:
        return parse(words[1:], node.verbs[word], prog=f"{prog} {word}")
    if not word.startswith("-"):
        parser.error(f"unknown verb {word!r}; {nearest(word, node.verbs)}")
    if version:
        parser.add_argument("--version", action="version", version=version)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    for name, each in node.verbs.items():
        verbs.add_parser(name, help=each.help, prog=f"{prog} {name}", node=each)
    parser.parse_all([word])
    return parser.error(f"expected a verb, given {word!r}")

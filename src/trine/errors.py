"""Every error that trine raises on purpose.

    TrineError
    ├── InputError              an argument cannot be used (also a ValueError)
    │   ├── DataError           a file, a row or a label of the data cannot be used
    │   └── SettingError        a setting is unknown, out of range, or contradicts another
    ├── CalibrationError        a threshold is missing, or there is too little data to calibrate one
    ├── ModelError              a model folder is missing, incomplete, damaged or of another version
    ├── GalleryError            a gallery cannot be opened, or does not accept what it was given
    └── MissingDependencyError  an optional package is not installed (also an ImportError)

Each message states what was given, what was expected and what to do. The command line prints it as one
sentence and exits with code 2. A message that names a function argument contains it as an `Argument`, so that
the command line can name the option instead.

`Terminated` is no error: like `KeyboardInterrupt`, it ends a run from outside.
"""

from __future__ import annotations

import difflib
import importlib
import operator
import signal
from collections.abc import Iterable, Sized
from dataclasses import dataclass
from types import ModuleType, UnionType
from typing import Any

from trine.display import printable, shortened


@dataclass(frozen=True)
class Argument:
    """An argument of a function, as part of an error message.

    Attributes:
        name: Its name.
        value: The value to pass; None names the argument alone.

    Example:
        >>> print(Argument("unreadable", "skip"), Argument("unreadable", "skip").option)
        unreadable='skip' --unreadable skip
        >>> print(Argument("drop_missing", True), Argument("drop_missing", True).option)
        drop_missing=True --drop-missing
    """

    name: str
    value: str | bool | None = None

    def __str__(self) -> str:
        return f"{self.name}={'' if self.value is None else repr(self.value)}"

    @property
    def option(self) -> str:
        """The same as an option of the command line."""
        option = f"--{self.name.replace('_', '-')}"
        return f"{option} {self.value}" if isinstance(self.value, str) else option


class TrineError(Exception):
    """The base of every error that trine raises on purpose.

    Args:
        parts: The message, in one piece or in several; each is a text or an `Argument`.

    Example:
        >>> error = TrineError("2 images are damaged; leave them out with ", Argument("unreadable", "skip"))
        >>> str(error)
        "2 images are damaged; leave them out with unreadable='skip'"
        >>> error.with_options()
        '2 images are damaged; leave them out with --unreadable skip'
    """

    def __init__(self, *parts: str | Argument) -> None:
        super().__init__(*parts)

    def __str__(self) -> str:
        return _line("".join(map(str, self.args)))

    def with_options(self) -> str:
        """The message with each argument written as an option of the command line."""
        parts = (part.option if isinstance(part, Argument) else str(part) for part in self.args)
        return _line("".join(parts))


def _line(text: str) -> str:
    """A message as one line, whatever it quotes: what would act on a terminal is escaped."""
    return printable(shortened(text, most=_LONGEST))


_LONGEST = 1000  # characters of a message; a longer one quotes something that is not a name


class InputError(TrineError, ValueError):
    """An argument cannot be used: wrong shape, wrong range, not finite."""


class DataError(InputError):
    """A file, a row or a label of the data cannot be used."""


class SettingError(InputError):
    """A setting is unknown, out of range, or contradicts another."""


class CalibrationError(TrineError):
    """A threshold is missing, or there are too few identities or pairs to calibrate one."""


class ModelError(TrineError):
    """A model folder is missing, incomplete, damaged or of another version."""


class GalleryError(TrineError):
    """A gallery cannot be opened, or does not accept what it was given."""


class MissingDependencyError(TrineError, ImportError):
    """An optional package is not installed."""


class Terminated(SystemExit):
    """SIGTERM ended the work in an orderly way, as Ctrl-C does with a `KeyboardInterrupt`.

    A script that does not catch it exits with code 143, as after a signal.
    """

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


def require(module: str, *, extra: str) -> ModuleType:
    """Imports an optional module; if it is not installed, the error names the command that installs it.

    Args:
        module: The module to import, such as `"faiss"`.
        extra: The extra of trine that installs it, such as `"gallery"`.

    Returns:
        The imported module.

    Raises:
        MissingDependencyError: The module is not installed.

    Example:
        >>> require("json", extra="train").dumps([1])
        '[1]'
        >>> require("no_such_module", extra="gallery")
        Traceback (most recent call last):
        trine.errors.MissingDependencyError: no_such_module is not installed; install it with: \
pip install 'trine[gallery]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and not module.startswith(error.name.split(".")[0]):
            raise
        package = module.split(".")[0]
        raise MissingDependencyError(
            f"{package} is not installed; install it with: pip install 'trine[{extra}]'"
        ) from error


def check_choice(
    name: str, given: object, known: Iterable[str], *, error: type[InputError] = InputError
) -> None:
    """Checks that a value is one of the known ones.

    Args:
        name: The value's name in the error.
        given: The value.
        known: The known values.
        error: The kind of error to raise.

    Raises:
        InputError: It is unknown; the message names the nearest known value.

    Example:
        >>> check_choice("distance", "euclid", ["cosine", "euclidean"])
        Traceback (most recent call last):
        trine.errors.InputError: unknown distance 'euclid': did you mean 'euclidean'? known: cosine, euclidean
    """
    names = tuple(known)
    if not isinstance(given, str) or given not in names:
        raise error(f"unknown {name} {shown(given)}: {nearest(str(given), names)}")


def check_flags(**flags: object) -> None:
    """Checks that arguments are True or False, in Python or numpy.

    Args:
        flags: The arguments by name.

    Raises:
        InputError: One is anything else.

    Example:
        >>> check_flags(swap="no")
        Traceback (most recent call last):
        trine.errors.InputError: swap must be True or False, given 'no'
    """
    for name, given in flags.items():
        # numpy's own booleans, without importing numpy
        numpys = str(getattr(given, "dtype", "")) == "bool" and getattr(given, "shape", None) == ()
        if not isinstance(given, bool) and not numpys:
            raise InputError(f"{name} must be True or False, given {shown(given)}")


def check_type(
    name: str,
    given: object,
    kind: type | tuple[type, ...] | UnionType,
    expected: str,
    *,
    error: type[InputError] = InputError,
) -> None:
    """Checks that a value is of a type.

    Args:
        name: The value's name in the error.
        given: The value.
        kind: The type, or several.
        expected: What the error says that was expected.
        error: The kind of error to raise.

    Raises:
        InputError: It is of another type.

    Example:
        >>> check_type("pattern", 3, str, "a text")
        Traceback (most recent call last):
        trine.errors.InputError: pattern must be a text, given 3
    """
    if not isinstance(given, kind):
        raise error(f"{name} must be {expected}, given {shown(given)}")


def check_list(
    name: str, given: object, expected: str, *, error: type[InputError] = InputError
) -> tuple[Any, ...]:
    """Checks that a value lists something; a text is no list of letters.

    Args:
        name: The value's name in the error.
        given: The value.
        expected: What it lists, for the error.
        error: The kind of error to raise.

    Returns:
        The list.

    Raises:
        InputError: It is no list.
    """
    try:
        return tuple(None if isinstance(given, str | bytes) else given)  # type: ignore[arg-type]
    except TypeError:
        raise error(f"{name} must list {expected}, given {shown(given)}") from None


def check_texts(
    name: str, given: object, expected: str, *, error: type[InputError] = InputError
) -> tuple[str, ...]:
    """Checks that a value lists texts; see `check_list`.

    Example:
        >>> check_texts("features", "age", "names of columns")
        Traceback (most recent call last):
        trine.errors.InputError: features must list names of columns, given 'age'
    """
    texts = check_list(name, given, expected, error=error)
    if not all(isinstance(text, str) for text in texts):
        raise error(f"{name} must list {expected}, given {shown(given)}")
    return texts


def shown(given: object) -> str:
    """Writes a value into an error message; of an array or a long value only what it is.

    Example:
        >>> shown(2.5), shown([0] * 100)
        ('2.5', 'a list of 100')
    """
    text = repr(given)
    if len(text) <= _SHOWN and "\n" not in text and getattr(given, "shape", ()) == ():
        return text
    what = type(given).__name__
    article = "an" if what[0] in "aeiouAEIOU" or what == "ndarray" else "a"
    shape = getattr(given, "shape", None)
    if shape is not None:
        return f"{article} {what} of shape {tuple(shape)}"
    return f"{article} {what} of {len(given)}" if isinstance(given, Sized) else f"{article} {what}"


_SHOWN = 120  # characters of a value that an error message shows


def check_count(name: str, given: object, *, at_least: int = 1, error: type[InputError] = InputError) -> int:
    """Checks that a value is a whole number, in any integer type, and not below the least one.

    Args:
        name: The value's name in the error.
        given: The value.
        at_least: The least value allowed.
        error: The kind of error to raise.

    Returns:
        The number.

    Raises:
        InputError: It is no whole number, or too small.

    Example:
        >>> check_count("k", 2.0)
        Traceback (most recent call last):
        trine.errors.InputError: k must be a whole number, given 2.0
    """
    try:
        number = operator.index(given)  # type: ignore[arg-type]
    except TypeError:
        number = None
    # bool subclasses int; reject it.
    if number is None or isinstance(given, bool):
        raise error(f"{name} must be a whole number, given {shown(given)}")
    if number < at_least:
        raise error(f"{name} must be at least {at_least}, given {number}")
    return number


def nearest(given: str, known: Iterable[str], *, most: int | None = None) -> str:
    """Ends an error message about an unknown name: the nearest known one, then all of them.

    Args:
        given: The unknown name.
        known: The known names.
        most: The most names to list; None lists all.

    Returns:
        A phrase such as `"did you mean 'hard'? known: all, hard"`.

    Example:
        >>> nearest("batch_hard", ["all", "hard", "semihard"])
        "did you mean 'hard'? known: all, hard, semihard"
    """
    names = list(known)
    close = closest(given, names)
    suggestion = f"did you mean {close!r}? " if close is not None else ""
    listed = names if most is None or len(names) <= most else [*names[:most], "..."]
    return f"{suggestion}known: {', '.join(listed)}"


def closest(given: str, known: Iterable[str]) -> str | None:
    """Returns the known name that is most like an unknown one, or part of it; None if none is.

    Case, hyphens and underscores do not count, and of a dotted name the last part is compared, too.

    Args:
        given: The unknown name.
        known: The known names.

    Example:
        >>> closest("Semi_Hard", ["hard", "semihard"]), closest("steps", ["seed", "training.steps"])
        ('semihard', 'training.steps')
    """
    best, most, wanted = None, _ALIKE, _letters(given)
    matcher = difflib.SequenceMatcher(b=wanted)
    for name in known:
        whole = _letters(name)
        for one in {whole, whole.rpartition(".")[2]}:
            matcher.set_seq1(one)
            # The first two are cheap upper bounds of the third.
            if all(
                ratio() > most for ratio in (matcher.real_quick_ratio, matcher.quick_ratio, matcher.ratio)
            ):
                best, most = name, matcher.ratio()
            short, long = sorted((one, wanted), key=len)
            if len(short) >= _PART and short in long and (1 + len(short) / len(long)) / 2 > most:
                best, most = name, (1 + len(short) / len(long)) / 2
    return best


_ALIKE = 0.6  # the share of letters in common above which names are alike; difflib's own
_PART = 3  # letters that a name needs to be recognised as a part of another


def _letters(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")

"""Settings as YAML: parsed into plain values, whatever a stranger wrote."""

from __future__ import annotations

from typing import Any

from trine.errors import SettingError, require

MOST_VALUES = 1_000_000


def parse_yaml(text: str, *, source: str) -> Any:
    """Parses YAML.

    Args:
        text: The text.
        source: What it is, the first words of an error.

    Returns:
        Lists, dictionaries, texts, numbers, dates, booleans or None.

    Raises:
        SettingError: It is no YAML, lies too deep inside itself, or stands for more than a million values.

    Example:
        >>> parse_yaml("size: [112, 112]", source="a file")
        {'size': [112, 112]}
    """
    yaml = require("yaml", extra="train")
    try:
        content = yaml.safe_load(text)
        _check_size(content)
        return content
    except (RecursionError, OverflowError) as error:
        raise SettingError(
            f"{source} is not a recipe: its sections lie too deep inside each other"
        ) from error
    except ValueError as error:  # a date or a number that there is not
        raise SettingError(f"{source} is not valid YAML ({error}); fix it") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}: {error.problem})" if mark is not None else ""
        raise SettingError(f"{source} is not valid YAML{where}; fix it") from error


def _check_size(content: Any) -> None:
    """Raises an `OverflowError` for a few lines of YAML that refer to each other and stand for millions."""
    sizes: dict[int, int] = {}

    def size(value: Any) -> int:
        inside = [*value, *value.values()] if isinstance(value, dict) else value
        if not isinstance(inside, list | tuple | set):
            return 1
        if id(value) not in sizes:
            sizes[id(value)] = MOST_VALUES  # of one that is inside itself
            sizes[id(value)] = 1 + sum(map(size, inside))
        if sizes[id(value)] >= MOST_VALUES:
            raise OverflowError
        return sizes[id(value)]

    size(content)

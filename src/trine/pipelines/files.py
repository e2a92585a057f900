"""Files of a run, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from trine.errors import InputError


def write_json(path: Path, value: object) -> None:
    """Writes values as JSON; see `write_file`."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file whole or not at all.

    Args:
        path: The file; the folders above it are made.
        write: Writes to the path it is given.

    Raises:
        InputError: The file cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); name another place") from error

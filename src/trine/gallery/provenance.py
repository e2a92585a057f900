"""Where an enrolled item came from: a sync tells what changed there from what changed in the gallery.

A store keeps the provenance in the source of an item: a path, or JSON with the path and the provenance. So a
gallery that an earlier version wrote needs no upgrade, and a copy or an exported table has it too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from trine.data import source_kind
from trine.data.content import blake
from trine.plain_json import parse_json


@dataclass(frozen=True)
class Provenance:
    """Where an item came from.

    Attributes:
        origin: The folder or the table: an absolute path, or any name.
        identity: The identity that the item has there; the gallery may have renamed it since.
        digest: A digest of the item's content; `None` if it is unknown.
    """

    origin: str
    identity: str
    digest: str | None = None


def to_source(path: str | None, provenance: Provenance | None) -> str | None:
    """Writes the source of a record.

    Example:
        >>> to_source("/known/ann/1.png", Provenance("/known", "ann", "c0ffee"))
        '{"digest": "c0ffee", "identity": "ann", "origin": "/known", "path": "/known/ann/1.png"}'
    """
    if provenance is None:
        return path
    return json.dumps({**asdict(provenance), "path": path}, ensure_ascii=False, sort_keys=True)


def from_source(source: str | None) -> tuple[str | None, Provenance | None]:
    """Reads the source of a record: its path and its provenance, each `None` if it is unknown.

    Example:
        >>> from_source(to_source(None, Provenance("/rows.csv", "ann")))
        (None, Provenance(origin='/rows.csv', identity='ann', digest=None))
        >>> from_source("/known/ann/1.png")
        ('/known/ann/1.png', None)
    """
    if source is None or not source.startswith("{"):
        return source, None
    try:
        held = parse_json(source)
        path = held.pop("path")
        return path, Provenance(**held)
    except (KeyError, TypeError, ValueError):  # a path that begins with a brace
        return source, None


def origin_of(source: str | Path) -> str | None:
    """Returns the name of what was loaded: an absolute path, or the name of a built-in data set.

    `None` for anything else, such as an object in memory, which cannot be found again.
    """
    kind = source_kind(source)
    if kind == "builtin":
        return str(source)
    if kind == "missing":
        return None
    return os.fsencode(os.path.abspath(source)).decode(errors="backslashreplace")  # noqa: PTH100


def digest_of(content: Any, *, part: str = "") -> str | None:
    """Returns a digest of an item's content: the bytes of a file, a text, numbers, or a row of a table.

    If the item is only a part of its content, such as a face of a photo, `part` says which.

    It tells whether a source changed, and stores keep it. Whether an encoder was trained on an item is
    another question, which `trine.data.content` answers.

    `None` if a file cannot be read, and for other content, such as an object of another library.

    Example:
        >>> digest_of(np.zeros(2)) == digest_of(np.zeros(2)), digest_of(np.zeros(2)) == digest_of(np.ones(2))
        (True, False)
    """
    if part:
        whole = digest_of(content)
        return None if whole is None else blake(f"{whole} {part}".encode()).hexdigest()
    if isinstance(content, str | Path):
        try:
            if Path(content).is_file():
                return _of_file(Path(content))
        except (OSError, ValueError):  # a text that is too long for the name of a file
            pass
        return None if isinstance(content, Path) else blake(content.encode(errors="replace")).hexdigest()
    if isinstance(content, Tensor):
        content = content.detach().to("cpu", copy=False).numpy()
    if isinstance(content, np.ndarray) and content.dtype.kind in "fiub":
        head = f"{content.dtype.str} {content.shape} ".encode()
        return blake(head + np.ascontiguousarray(content).tobytes()).hexdigest()
    if isinstance(content, Mapping):
        text = json.dumps([[str(name), _plain(value)] for name, value in content.items()])
        return blake(text.encode()).hexdigest()
    return None


def _of_file(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, blake).hexdigest()
    except OSError:
        return None


def _plain(value: Any) -> str:
    # A column of whole numbers becomes one of floats when another row gets a fraction.
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)

"""The notes that a store makes for itself: under which names, and what they say, the same in every store."""

from __future__ import annotations

import json
from collections.abc import Iterable

from trine.errors import GalleryError
from trine.gallery.store import Binding
from trine.migrations import upgrade_gallery

PREFIX = "trine:"
"""The prefix of these notes, which users of a store do not see."""

TRACES = f"{PREFIX}traces"
"""The note that deleted items may have left traces."""

STAGED = f"{PREFIX}staged"
"""The note that says for which binding embeddings are staged."""


def without_internal(notes: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Returns the notes but for the store's own.

    Example:
        >>> without_internal([("clusters", "0.5"), (TRACES, "")])
        {'clusters': '0.5'}
    """
    return {name: text for name, text in notes if not name.startswith(PREFIX)}


def staged_for(binding: Binding) -> str:
    """Writes what `STAGED` says while embeddings are staged for a binding."""
    return json.dumps(binding.to_texts(), sort_keys=True)


def is_staged_for(noted: str | None, binding: Binding) -> bool:
    """Says whether the note `STAGED` is about this binding."""
    return noted is not None and upgrade_gallery(json.loads(noted)) == binding.to_texts()


def check_staging(noted: str | None, binding: Binding, address: object) -> None:
    """Raises a `GalleryError` where embeddings are staged for another binding than this one."""
    if not is_staged_for(noted, binding):
        raise GalleryError(f"the gallery {address} is being rebuilt with another encoder by another process")

"""For hatchling: the description of the package is README without links that only work in the repository.

With an address of the repository under `[project.urls]` (`Repository`) its relative links become absolute;
without one their words stay, and pictures are left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class ReadmeHook(MetadataHookInterface):
    """Sets the description."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Reads README and makes its links absolute."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        address = metadata.get("urls", {}).get("Repository")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute_links(text, address)}


def absolute_links(text: str, repository: str | None) -> str:
    """Returns a README whose links work anywhere.

    Args:
        text: Markdown.
        repository: The address of the repository at its host; None if it has none.

    Returns:
        The text with absolute links to files and pictures of the repository, or without them.
    """
    relative = r"\((?!https?://|#)([^)\s]+)\)"
    if repository is None:
        text = re.sub(rf"!\[[^\]]*\]{relative}\n*", "", text)
        return re.sub(rf"\[([^\]]+)\]{relative}", r"\1", text)
    repository = repository.rstrip("/")
    text = re.sub(rf"!\[([^\]]*)\]{relative}", rf"![\1]({repository}/raw/main/\2)", text)
    return re.sub(rf"(?<!!)\[([^\]]+)\]{relative}", rf"[\1]({repository}/blob/main/\2)", text)

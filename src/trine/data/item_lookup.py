"""Finds the items that a table of pairs or triplets names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from trine.data.image_decoding import SUFFIXES as IMAGE_SUFFIXES
from trine.errors import DataError

SEARCHED = 20_000
"""How many names are searched for the one nearest to an unknown name."""


class ItemLookup:
    """Finds items by name.

    A name may leave out the suffix of an image, and may be just the number of an item of an array.

    Args:
        names: The names of the items, as `Dataset.names` has them.

    Example:
        >>> lookup = ItemLookup(["shoes/a.png", "shoes/b.jpg"])
        >>> lookup.find("shoes/b", where="t.csv, row 1:")
        1
        >>> ItemLookup(["item 0", "item 1"]).find("1", where="t.csv, row 1:")
        1
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._by_name = {name: [at] for at, name in enumerate(names)}
        self._by_short_name: dict[str, list[int]] = {}
        for at, name in enumerate(names):
            self._by_short_name.setdefault(_short(name), []).append(at)

    def find(self, name: str, *, where: str) -> int:
        """Finds one item.

        Args:
            name: Its name; a full name is tried before a short one.
            where: Where the name was read: the first words of an error.

        Returns:
            Its position among the names.

        Raises:
            DataError: The name is unknown or ambiguous.
        """
        at = self._by_name.get(name) or self._by_short_name.get(name, [])
        if not at:
            raise DataError(f"{where} {name!r} is not an item of the data; {self._nearest(name)}")
        if len(at) > 1:
            one, other = (self._names[place] for place in at[:2])
            raise DataError(f"{where} {name!r} is ambiguous: {one!r} or {other!r}; include the extension")
        return at[0]

    def _nearest(self, name: str) -> str:
        close = difflib.get_close_matches(name, self._names[:SEARCHED], n=1)
        if close:
            return f"did you mean {close[0]!r}?"
        return f"items are named {self._names[0]!r} and so on" if self._names else "there are no items"


def _short(name: str) -> str:
    """A name without the suffix of an image, or the number of an item alone."""
    number = name.removeprefix("item ")
    if number != name and number.isdecimal():
        return number
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else name

"""How a table of pairs or of triplets refers to items: by the names that the data gives them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from trine.data.image_decoding import SUFFIXES as PICTURES
from trine.errors import DataError

_SEARCHED = 20_000  # names among which the nearest to an unknown one is looked for


class Places:
    """Finds items by name.

    A name may leave out the suffix of a picture, and be the bare number of an item of an array.

    Args:
        names: The names of the items, as `Dataset.names` has them.

    Example:
        >>> places = Places(["shoes/a.png", "shoes/b.jpg"])
        >>> places.find("shoes/b", where="t.csv, row 1")
        1
        >>> Places(["item 0", "item 1"]).find("1", where="t.csv, row 1")
        1
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._known: list[dict[str, list[int]]] = [{}, {}]
        for at, name in enumerate(names):
            self._known[0][name] = [at]
            self._known[1].setdefault(_short(name), []).append(at)

    def find(self, name: str, *, where: str, what: str = "") -> int:
        """Finds one item.

        Args:
            name: What it is called; its full name goes before a short one.
            where: The source and its row: the first words of an error.
            what: What it is there, such as "the anchor".

        Returns:
            Its position among the names.

        Raises:
            DataError: It is no item of the data, or may be one of several.
        """
        at = next((known[name] for known in self._known if name in known), [])
        said = f"{where}: {what} {name!r}" if what else f"{where}: {name!r}"
        if not at:
            raise DataError(f"{said} is no item of the data; {nearest_name(name, self._names)}")
        if len(at) > 1:
            one, other = (self._names[place] for place in at[:2])
            raise DataError(f"{said} may be {one!r} or {other!r}; write its suffix, too")
        return at[0]


def nearest_name(name: str, names: Sequence[str]) -> str:
    """Ends an error about an unknown item: the nearest name, or what the items are called."""
    close = difflib.get_close_matches(name, names[:_SEARCHED], n=1)
    known = close[0] if close else names[0] if names else None
    if known is None:
        return "there are no items"
    return f"did you mean {known!r}?" if close else f"items are called {known!r} and so on"


def _short(name: str) -> str:
    """A name as others write it: without the suffix of a picture, or the number of an item alone."""
    number = name.removeprefix("item ")
    if number != name and number.isdecimal():
        return number
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in PICTURES else name

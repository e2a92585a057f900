"""What loading is allowed to leave out, and what it found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from trine.data.dataset import Kind
from trine.data.image_decoding import MAX_PIXELS
from trine.errors import SettingError, nearest

Strictness = Literal["error", "skip"]
"""Stop with one error that names what was found, or leave it out and say so in the report."""

Tolerance = Literal["error", "skip", "keep"]
"""As `Strictness`, or keep it and say so in the report."""


@dataclass(frozen=True)
class LoadPolicy:
    """What to do with items that cannot, or perhaps should not, be used.

    Args:
        unreadable: Pictures that are missing, no picture, damaged or too large; rows with an infinite
            feature.
        missing: Rows with an empty feature, or NaN; an encoder fills what is kept with what is usual.
        duplicates: One file listed more than once. "skip" keeps the first; where the copies name
            different identities it keeps none of them, as nobody can tell which is right.
        repeated: Items with the same content as another. "skip" keeps the first; where the copies have
            different identities it keeps none of them.
        unlabelled: Items without an identity.
        singletons: Identities with one item, which can be no positive.
        max_pixels: The most pixels that a picture may have, at most 89,478,485 (Pillow's limit).

    Raises:
        SettingError: A value is unknown or out of range.
    """

    unreadable: Strictness = "error"
    missing: Tolerance = "error"
    duplicates: Tolerance = "error"
    repeated: Tolerance = "keep"
    unlabelled: Strictness = "error"
    singletons: Tolerance = "keep"
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        choices = {
            "unreadable": get_args(Strictness),
            "missing": get_args(Tolerance),
            "duplicates": get_args(Tolerance),
            "repeated": get_args(Tolerance),
            "unlabelled": get_args(Strictness),
            "singletons": get_args(Tolerance),
        }
        for name, known in choices.items():
            given = getattr(self, name)
            if given not in known:
                raise SettingError(f"{name}={given!r} is no policy: {nearest(str(given), known)}")
        if not 1 <= self.max_pixels <= MAX_PIXELS:
            raise SettingError(f"max_pixels={self.max_pixels} is out of range: expected 1 to {MAX_PIXELS}")


NOUNS: dict[Kind, tuple[str, str]] = {
    "images": ("picture", "pictures"),
    "vectors": ("row", "rows"),
    "texts": ("text", "texts"),
}
"""What one item of a kind is called, and several."""

STRICT = LoadPolicy()
"""The default: anything that cannot be used is an error; identities with one item stay."""


@dataclass(frozen=True)
class LoadReport:
    """What loading found; `str(report)` is a few lines with counts and the first names.

    Args:
        source: What was loaded.
        kind: "images", "vectors" or "texts".
        items: How many items are in the data set.
        identities: How many identities they have.
        fewest: The fewest items that an identity has; 0 without identities.
        most: The most items that an identity has; 0 without identities.
        unreadable: Each item that was left out because it cannot be read, with the reason.
        missing: Each item with a missing value, with its column; left out, unless the policy keeps it.
        duplicates: Each item that names a file named before; left out, unless the policy keeps it.
        unlabelled: Each item that was left out because it has no identity.
        singletons: Each identity with one item; left out if the policy skips them.
        repeated: Pairs of items with the same content: a later one and the first; left out if the policy
            skips them.
        conflicting: Those of `repeated` whose two items have different identities; with such a policy both
            are left out.
        policy: What was asked for.
        notes: What else a user should know: files and columns that were not looked at.
    """

    source: str
    kind: Kind
    items: int
    identities: int
    fewest: int
    most: int
    unreadable: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()
    singletons: tuple[str, ...] = ()
    repeated: tuple[tuple[str, str], ...] = ()
    conflicting: tuple[tuple[str, str], ...] = ()
    policy: LoadPolicy = STRICT
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        one, what = NOUNS[self.kind]
        head = f"{self.source}: {self.items:,} {what}"
        if self.identities:
            size = f"{self.fewest:,}" + (f" to {self.most:,}" if self.most > self.fewest else "")
            known = count(self.identities, "identity", "identities")
            head += f" of {known}, {size} {'each' if self.identities > 1 else 'in all'}"
        copies = [f"{later} = {first}" for later, first in self.repeated]
        crossing = [f"{later} = {first}" for later, first in self.conflicting]
        left = "left out, " if self.policy.repeated == "skip" else ""
        did = {"skip": "left out", "keep": "kept", "error": ""}
        findings = [
            ("left out, cannot be read", self.unreadable),
            ("left out, no identity", self.unlabelled),
            (f"{did[self.policy.missing]}, with missing values", self.missing),
            (f"{did[self.policy.duplicates]}, file listed before", self.duplicates),
            (f"{did[self.policy.singletons]}, identity with one {one}", self.singletons),
            (f"{left}same content as another", copies),
            (f"{left}same content under another identity", crossing),
        ]
        lines = [f"{name}: {len(found):,} ({some(found)})" for name, found in findings if found]
        return "\n  ".join([head, *lines, *self.notes])


def count(number: int, one: str, many: str) -> str:
    """Puts a number before the right form of a noun.

    Args:
        number: How many.
        one: The noun for one.
        many: The noun for none or several.

    Returns:
        Such as "1 identity" or "1,200 identities".
    """
    return f"{number:,} {one if number == 1 else many}"


def some(names: Sequence[str], *, limit: int = 3) -> str:
    """Lists the first few names and counts the rest.

    Args:
        names: The names.
        limit: How many to list.

    Returns:
        Such as "a, b, c and 10 more".
    """
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest:,} more" if rest > 0 else "")

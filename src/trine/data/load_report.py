"""What loading may skip, and what it found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from trine.data.dataset import Kind
from trine.data.image_decoding import MAX_PIXELS
from trine.display import printable
from trine.errors import SettingError, check_choice, check_count

Strictness = Literal["error", "skip"]
"""Stop with an error that lists the items, or skip them and list them in the report."""

Tolerance = Literal["error", "skip", "keep"]
"""As `Strictness`, or keep the items and list them in the report."""


@dataclass(frozen=True)
class LoadPolicy:
    """What to do with items that cannot, or perhaps should not, be used.

    Args:
        unreadable: Images that are missing, not an image, damaged or too large; rows with an infinite
            feature.
        missing: Rows with an empty feature or NaN; if they are kept, the encoder imputes the training
            median.
        duplicates: Files that are listed more than once. "skip" keeps the first; if the entries name
            different identities it keeps none of them, since either may be wrong.
        repeated: Items with the same content as another. "skip" keeps the first; if the copies have
            different identities it keeps none of them.
        unlabelled: Items without an identity.
        singletons: Identities with only one item, which has no positive.
        max_pixels: The most pixels that an image may have, at most 89,478,485 (Pillow's limit).

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
        for name, kind in get_type_hints(LoadPolicy).items():
            given, known = getattr(self, name), get_args(kind)
            if known:
                check_choice(f"policy for {name}", given, known, error=SettingError)
        if not 1 <= check_count("max_pixels", self.max_pixels, at_least=0, error=SettingError) <= MAX_PIXELS:
            raise SettingError(f"max_pixels={self.max_pixels} is out of range: expected 1 to {MAX_PIXELS}")


NOUNS: dict[Kind, tuple[str, str]] = {
    "images": ("image", "images"),
    "vectors": ("row", "rows"),
    "texts": ("text", "texts"),
}
"""What one item of a kind is called, and several."""

STRICT = LoadPolicy()
"""The default: items that cannot be used are an error; identities with one item are kept."""


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
        unreadable: Each item that was skipped because it cannot be read, with the reason.
        missing: Each item with a missing value, with its column; skipped, unless the policy keeps it.
        duplicates: Each item whose file was listed before; skipped, unless the policy keeps it.
        unlabelled: Each item that was skipped because it has no identity.
        skipped: The name of each item that was skipped, whatever the reason; a folder that cannot be listed
            has a slash at the end.
        singletons: Each identity with only one item; skipped if the policy is to skip them.
        repeated: Pairs of items with the same content: a later one and the first; skipped if the policy says
            so.
        conflicting: Those of `repeated` whose two items have different identities; both are skipped if the
            policy says so.
        policy: The policy.
        notes: What else to tell the user, such as files and columns that were skipped.
        label: Where the identities come from, such as "column 'class'"; empty if no column was chosen.
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
    skipped: tuple[str, ...] = ()
    singletons: tuple[str, ...] = ()
    repeated: tuple[tuple[str, str], ...] = ()
    conflicting: tuple[tuple[str, str], ...] = ()
    policy: LoadPolicy = STRICT
    notes: tuple[str, ...] = ()
    label: str = ""

    def __str__(self) -> str:
        items, identities = NOUNS[self.kind], ("identity", "identities")
        head = f"{self.source}: {self.items:,} {items[1]}"
        if self.identities:
            size = f"{self.fewest:,}" + (f" to {self.most:,}" if self.most > self.fewest else "")
            known = count(self.identities, *identities) + (f" in {self.label}" if self.label else "")
            head += f" of {known}, {size} {'each' if self.identities > 1 else 'in all'}"
        copies = [f"{later} = {first}" for later, first in self.repeated]
        crossing = [f"{later} = {first}" for later, first in self.conflicting]
        did = {"skip": "skipped: ", "keep": "kept: ", "error": ""}
        skipped = did["skip"] if self.policy.repeated == "skip" else ""
        alone = f"with only one {items[0]}"
        findings = [
            ("skipped: ", items, "that cannot be read", self.unreadable),
            ("skipped: ", items, "without an identity", self.unlabelled),
            (did[self.policy.missing], items, "with missing values", self.missing),
            (did[self.policy.duplicates], items, "listed more than once", self.duplicates),
            (skipped, items, "with the same content as another", copies),
            (skipped, items, "with the same content under another identity", crossing),
            (did[self.policy.singletons], identities, alone, self.singletons),
        ]
        lines = [
            f"{done}{count(len(found), *nouns)} {why} ({some(found)})"
            for done, nouns, why, found in findings
            if found
        ]
        return "\n  ".join(map(printable, (head, *lines, *self.notes)))


def count(number: int, one: str, many: str) -> str:
    """Writes a number and a noun in the right form.

    Args:
        number: How many.
        one: The singular.
        many: The plural.

    Returns:
        Such as "1 identity" or "1,200 identities".
    """
    return f"{number:,} {one if number == 1 else many}"


def some(names: Sequence[str], *, limit: int = 3) -> str:
    """Lists the first names, safe to print, and counts the rest.

    Args:
        names: The names.
        limit: How many to list.

    Returns:
        Such as "a, b, c and 10 more".
    """
    rest = len(names) - limit
    return ", ".join(map(printable, names[:limit])) + (f" and {rest:,} more" if rest > 0 else "")

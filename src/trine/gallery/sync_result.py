"""What a sync changed, or would change."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass

from trine.data.load_report import some
from trine.errors import GalleryError


@dataclass(frozen=True)
class Moved:
    """An item whose name or identity changed at its origin.

    Attributes:
        item: Its name.
        identity: Its identity in the gallery.
        item_before: Its name before.
        identity_before: Its identity in the gallery before.
    """

    item: str
    identity: str
    item_before: str
    identity_before: str


@dataclass(frozen=True)
class Kept:
    """An item that has another identity in the gallery than at its origin, and keeps it.

    Attributes:
        item: Its name.
        identity: Its identity in the gallery.
        identity_at_origin: Its identity in the folder or table.
    """

    item: str
    identity: str
    identity_at_origin: str


@dataclass(frozen=True)
class Taken:
    """An item that is left alone, because the gallery has one of that name from another origin.

    Attributes:
        item: Its name.
        origin: Where the gallery has it from.
    """

    item: str
    origin: str


@dataclass(frozen=True)
class SyncResult:
    """What a sync changed, or would change; `str(result)` is one screen, `to_json()` all of it.

    An item may be in several of the lists: moved to another identity and with another content, for example.

    Attributes:
        origin: The folder or the table.
        dry_run: Whether nothing was changed.
        before: How many items of the gallery came from there before.
        lost: How many of those have a content that is there no more; a name alone may have changed.
        new: Items that the gallery did not have.
        changed: Items with another content.
        described: Items with other metadata.
        moved: Items with another identity.
        renamed: Items with another name; their content and their identity are the same.
        removed: Items that are gone.
        unchanged: How many items are as they were.
        kept: Items whose identity was changed in the gallery, and stays as it is there.
        unreadable: Items that cannot be read; the gallery keeps those that it has.
        taken: Items whose name is that of an item from another origin, which stays as it is.

    Example:
        >>> print(SyncResult("known", True, 4, new=("ann/3.png",), removed=("bob/1.png",), unchanged=3))
        known: 1 new, 1 gone, 3 unchanged; nothing was changed yet
          new: ann/3.png
          gone: bob/1.png
    """

    origin: str
    dry_run: bool
    before: int
    lost: int = 0
    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    described: tuple[str, ...] = ()
    moved: tuple[Moved, ...] = ()
    renamed: tuple[Moved, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: int = 0
    kept: tuple[Kept, ...] = ()
    unreadable: tuple[str, ...] = ()
    taken: tuple[Taken, ...] = ()

    @property
    def share_lost(self) -> float:
        """The share of the items from there whose content is there no more."""
        return self.lost / self.before if self.before else 0.0

    def to_json(self) -> dict[str, object]:
        """Returns the result as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        lists = {
            "new": self.new,
            "with another content": self.changed,
            "with other metadata": self.described,
            "moved to another identity": [_arrow(each, "identity") for each in self.moved],
            "renamed": [_arrow(each, "item") for each in self.renamed],
            "gone": self.removed,
        }
        counts = [f"{len(found):,} {kind}" for kind, found in lists.items() if found]
        undone = "; nothing was changed yet" if self.dry_run else ""
        head = f"{self.origin}: {', '.join([*counts, f'{self.unchanged:,} unchanged'])}{undone}"
        names = Counter(f"{each.identity_at_origin} is {each.identity}" for each in self.kept)
        lists = {kind: found for kind, found in lists.items() if found}
        if self.kept:
            kind = f"{len(self.kept):,} with the identity given in the gallery"
            lists[kind] = [name for name, _ in names.most_common()]
        if self.unreadable:
            lists[f"{len(self.unreadable):,} unreadable or skipped, left as before"] = self.unreadable
        if self.taken:
            kind = f"{len(self.taken):,} left alone, named as items of another origin"
            lists[kind] = sorted({each.origin for each in self.taken})
        limit = 12 if self.dry_run else 3
        return "\n  ".join([head, *(f"{kind}: {some(found, limit=limit)}" for kind, found in lists.items())])


def refused(result: SyncResult, most: float) -> GalleryError:
    """Returns the error for a sync that would remove too many items."""
    return GalleryError(
        f"{removal(result)}, more than {100 * most:g} %; nothing was changed: check that it is complete, or "
        "allow it with max_removed=1"
    )


def removal(result: SyncResult) -> str:
    """Says how many of how many items a sync would remove."""
    return f"{result.lost:,} of {result.before:,} items that came from {result.origin} would be removed"


def _arrow(step: Moved, what: str) -> str:
    if what == "item" or step.item != step.item_before:
        return f"{step.item_before} is {step.item}"
    return f"{step.item} of {step.identity_before} is of {step.identity}"

"""Errors that all stores of a gallery raise with the same messages."""

from __future__ import annotations

from collections.abc import Iterable

from trine.errors import Argument, GalleryError

REPAIR = "repair it, or restore a backup"


class UnknownNameError(GalleryError):
    """An identity or an item is not in the gallery."""


class UnusableStoreError(GalleryError):
    """The file or the server of a gallery cannot be used: it is gone, damaged, full, locked or read-only."""


class DamagedBindingError(UnusableStoreError):
    """What a gallery is bound to was damaged in its file or database; the items may be sound."""


def damaged_binding(gallery: object, why: str, *, restorable: bool) -> DamagedBindingError:
    """The binding of the gallery was damaged; no item may be judged by it."""
    can = "repair restores it from its copy there" if restorable else "restore the gallery from a backup"
    return DamagedBindingError(f"the gallery {gallery} is damaged: {why}; its items were not touched: {can}")


def missing(gallery: object) -> GalleryError:
    """The gallery does not exist and must not be created."""
    options = (Argument("dimension"), " and ", Argument("fingerprint"), ")")
    return GalleryError(
        f"the gallery {gallery} does not exist: enrol into it first, or create it with an encoder (or ",
        *options,
    )


def newer(gallery: object, version: int, known: int) -> GalleryError:
    """The gallery was written by a newer trine."""
    versions = f"schema version {version}, supported up to {known}"
    text = f"was written by a newer trine ({versions}): upgrade with: pip install -U trine"
    return GalleryError(f"the gallery {gallery} {text}")


def rebuilt_since(gallery: object) -> GalleryError:
    """The gallery was rebuilt with another encoder, or restored, after it was opened."""
    what = "was rebuilt with another encoder or restored after it was opened"
    return UnusableStoreError(f"the gallery {gallery} {what}: open it again")


def damaged(gallery: object, damage: str, *, advice: str = "restore it from a backup") -> GalleryError:
    """The gallery holds what trine did not write."""
    return UnusableStoreError(f"the gallery {gallery} is damaged: {damage}: {advice}")


def unreadable(gallery: object, error: Exception) -> GalleryError:
    """The gallery holds an embedding of the wrong length."""
    return damaged(gallery, f"an embedding cannot be read ({error})", advice=REPAIR)


def check_column(
    values: Iterable[object], kind: type, what: str, gallery: object, *, optional: bool = False
) -> None:
    """Raises an error if a column of a table holds values of another type, as after damage.

    Args:
        values: The values.
        kind: The type of all of them.
        what: What they are, in the plural.
        gallery: The address of the gallery.
        optional: Whether they may be missing.
    """
    wrong = set(map(type, values)) - ({kind, type(None)} if optional else {kind})
    if wrong:
        kinds = " and ".join(sorted(each.__name__ for each in wrong))
        raise damaged(gallery, f"some {what} are {kinds}, not {kind.__name__}", advice=REPAIR)


def traces_left(gallery: object, why: str) -> GalleryError:
    """The files of the gallery may still hold forgotten items."""
    return GalleryError(f"the items are deleted, but traces of them may remain in {gallery}{why}")

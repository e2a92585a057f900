"""Changes which identity items belong to: rename, merge, split and move."""

from __future__ import annotations

from collections.abc import Sequence

from trine.errors import GalleryError, InputError
from trine.gallery.entries import Record, check_items, check_name, unknown_identity, unknown_item
from trine.gallery.store import Store


def check_known(store: Store, identity: str) -> None:
    """Raises a `GalleryError` if an identity is not in a gallery."""
    known = store.identities()
    if check_name(identity, "identity") not in known:
        raise unknown_identity(identity, known, store.address)


def check_new(store: Store, identity: str) -> None:
    """Raises a `GalleryError` if an identity is already in a gallery."""
    if check_name(identity, "identity") in store.identities():
        raise GalleryError(
            f"identity {identity[:80]!r} is already in the gallery {store.address}: merge them"
        )


def rename(store: Store, identity: str, to: str) -> int:
    """Gives an identity another name; see `Gallery.rename`."""
    check_known(store, identity)
    check_new(store, to)
    return store.rename(identity, to)


def merge(store: Store, identity: str, other: str) -> int:
    """Moves all items of `other` to `identity`; see `Gallery.merge`."""
    check_known(store, identity)
    check_known(store, other)
    if identity == other:
        raise GalleryError(f"an identity cannot be merged with itself, given {identity[:80]!r} twice")
    return store.rename(other, identity)


def split(store: Store, items: Sequence[str], identity: str) -> int:
    """Moves some items of one identity to a new one; see `Gallery.split`."""
    records = _known(store, items, "split")
    owners = sorted({record.identity for record in records.values()})
    if len(owners) > 1:
        raise GalleryError(
            f"split takes items of one identity, given {owners[0][:80]!r} and {owners[1][:80]!r}"
        )
    check_new(store, identity)
    return store.relabel(list(records), identity)


def move(store: Store, items: Sequence[str], identity: str) -> int:
    """Moves items to an existing or a new identity; see `Gallery.move`."""
    return store.relabel(list(_known(store, items, "move")), check_name(identity, "identity"))


def _known(store: Store, items: Sequence[str], call: str) -> dict[str, Record]:
    items = check_items(items, call)
    if not items:
        raise InputError(f"{call} needs at least one item to move to the identity")
    records = store.get(items)
    missing = next((item for item in items if item not in records), None)
    if missing is not None:
        raise unknown_item(missing, store.address)
    return records

"""Refusals that every store of a gallery makes in the same words."""

from __future__ import annotations

from trine.errors import Argument, GalleryError


def missing(gallery: object) -> GalleryError:
    """A gallery that does not exist and is not to be created."""
    options = (Argument("dimension"), " and ", Argument("fingerprint"), ")")
    return GalleryError(
        f"the gallery {gallery} does not exist: enrol into it first, or create it with an encoder (or ",
        *options,
    )


def newer(gallery: object, version: int, known: int) -> GalleryError:
    """A gallery that a newer trine wrote, which this one could only damage."""
    found = f"schema {version}, this one knows up to {known}"
    text = f"was written by a newer trine ({found}): upgrade with: pip install -U trine"
    return GalleryError(f"the gallery {gallery} {text}")


def rebuilt_since(gallery: object) -> GalleryError:
    """A gallery that was bound to another encoder after it was opened."""
    return GalleryError(
        f"the gallery {gallery} was rebuilt with another encoder after it was opened: open it again"
    )


def unreadable(gallery: object, error: Exception) -> GalleryError:
    """A gallery with an embedding of another length."""
    damage = f"an embedding cannot be read ({error})"
    return GalleryError(f"the gallery {gallery} is damaged: {damage}: repair it, or restore a backup")


def traces_left(gallery: object, why: str) -> GalleryError:
    """A gallery whose files may still hold what was forgotten."""
    return GalleryError(f"the items are deleted, but traces of them may remain in {gallery}{why}")

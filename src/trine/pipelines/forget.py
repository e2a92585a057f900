"""Forgets a person: in a gallery, in its files of faces, and in the library that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trine.faces.journal import Journal, crops_among, forget_crops
from trine.gallery import Gallery
from trine.pipelines.find_faces import write_found
from trine.pipelines.library import is_library, rewrite_library
from trine.pipelines.library_tables import FOUND


@dataclass(frozen=True)
class Forgotten:
    """What was deleted of a person.

    Attributes:
        items: How many items the gallery deleted, embeddings and distances kept with the model included.
        crops: The crops that were removed.
        library: The library whose tables, links and page were written again; None for none.
    """

    items: int
    crops: tuple[Path, ...] = ()
    library: Path | None = None


def forget_person(gallery: Gallery, identity: str) -> Forgotten:
    """Deletes an identity from a gallery, with its crops, and from tables, links and pages that show it.

    Photos are not touched; see `Gallery.forget`.

    Args:
        gallery: The gallery.
        identity: The identity.

    Returns:
        What was deleted; nothing if the identity is unknown.

    Raises:
        GalleryError: As for `Gallery.forget`.
        InputError: A crop cannot be removed, or a file cannot be read or written.
    """
    folder = Path(gallery.address).parent
    library = folder if is_library(folder) and Path(gallery.address).is_file() else None
    crops = set(gallery.crops(identity))
    if library is not None:  # which may have been moved since it was written
        names = (entry.item for entry in gallery.entries() if entry.identity == identity)
        crops |= set(crops_among([library.absolute() / FOUND / name for name in names]))
    folders = forget_crops(sorted(crops))
    deleted = gallery.forget(identity)
    for faces in folders:
        write_found(faces, Journal.read(faces).results.values())
    if library is not None:
        rewrite_library(library)
    return Forgotten(deleted, tuple(sorted(crops)), library)

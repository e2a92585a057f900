"""How a gallery is named on the command line, and opened."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from trine.cli.parser import argument
from trine.errors import GalleryError, ModelError

if TYPE_CHECKING:
    from trine.gallery import Gallery

GALLERY = "the gallery (a name, a file, postgresql://..., lance:///folder or s3://bucket/name)"
GALLERY_ARGUMENT = argument("gallery", help=GALLERY)
DTYPE = argument("--dtype", help="how a new gallery stores numbers: float32, float16 or int8")
THRESHOLD = argument("--threshold", type=float, help="the largest distance that counts as the same identity")
ENCODER = argument(
    "--encoder", metavar="RUN", help="the folder of its encoder (default: the one stored in the gallery)"
)


def address_of(name: str) -> str:
    """Returns the address of a gallery; a plain name means a file NAME.db, or else the photo library NAME.

    Raises:
        GalleryError: The name is ":memory:".

    Example:
        >>> [address_of(name) for name in ("people", "people.db", "postgresql://host/people")]
        ['people.db', 'people.db', 'postgresql://host/people']
        >>> address_of("lance:///shared/people")
        'lance:///shared/people'
    """
    if name == ":memory:":
        raise GalleryError("a gallery in memory ends with the command: name a file, such as people.db")
    if name.endswith(".db") or is_url(name):
        return name
    library = os.path.join(name, "people.db")  # noqa: PTH118
    file = f"{name.rstrip('/')}.db"
    return library if os.path.isfile(library) and not os.path.exists(file) else file  # noqa: PTH110, PTH113


def is_url(address: str) -> bool:
    """Whether the address of a gallery is a URL, and not the path of a file."""
    return "://" in address


def is_server(address: str) -> bool:
    """Whether the address of a gallery is that of a database server.

    Example:
        >>> is_server("postgresql://db/people"), is_server("lance:///shared/people"), is_server("postgres.db")
        (True, False, False)
    """
    from trine.gallery.postgres import SCHEMES

    scheme, separator, _ = address.partition("://")
    return separator != "" and scheme in SCHEMES


def existing(name: str) -> Gallery:
    """Opens an existing gallery, without an encoder.

    Raises:
        GalleryError: It is missing or cannot be opened.
    """
    from trine import Gallery

    return Gallery.open(address_of(name), create=False)


def opened(name: str, encoder: str | None = None) -> Gallery:
    """Opens an existing gallery with its encoder.

    Args:
        name: The gallery.
        encoder: The folder of its encoder; by default the one stored in the gallery.

    Raises:
        GalleryError: It is missing, cannot be opened, is bound to another encoder, or names none.
        ModelError: The encoder cannot be loaded.
    """
    from trine import load

    with ExitStack() as stack:
        gallery = stack.enter_context(existing(name))
        folder = encoder or gallery.model
        if folder is None:
            raise GalleryError(
                f"the gallery {gallery.address} has no stored encoder; name its run folder with --encoder"
            )
        try:
            gallery.use_encoder(load(folder))
        except ModelError as error:
            if encoder is not None:
                raise
            raise ModelError(
                f"the encoder of the gallery {gallery.address} cannot be loaded ({error}); name its current "
                f"folder with --encoder"
            ) from error
        stack.pop_all()
    return gallery


def model_folder(run: str) -> str:
    """Returns a gallery's stored encoder as a name valid from any working directory."""
    from trine.model import PACKAGED

    return run if run.startswith(PACKAGED) else os.path.realpath(run)

"""How a gallery is named on the command line, and opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trine.errors import GalleryError, ModelError

if TYPE_CHECKING:
    from trine.encoders import Encoder
    from trine.gallery import Gallery

GALLERY = "the gallery (a name, a file, or postgresql://…)"


def address_of(name: str) -> str:
    """Returns the address of a gallery: a name is that of a file that ends with .db.

    Example:
        >>> [address_of(name) for name in ("people", "people.db", "postgresql://host/people")]
        ['people.db', 'people.db', 'postgresql://host/people']
    """
    return name if name.endswith(".db") or "://" in name else f"{name}.db"


def encoder_argument(parser: Any) -> None:
    """Adds `--encoder`, for a gallery whose own is not where it was."""
    parser.add_argument(
        "--encoder",
        type=str,
        default=None,
        help="the run or model folder of the gallery's encoder; the one it names where left out",
    )


def existing(name: str) -> Gallery:
    """Opens a gallery as it stands, without an encoder.

    Raises:
        GalleryError: It is missing or cannot be opened.
    """
    from trine import Gallery

    return Gallery.open(address_of(name), create=False)


def opened(name: str, encoder: str | None = None) -> Gallery:
    """Opens a gallery with the encoder that made it.

    Args:
        name: The gallery.
        encoder: The folder of its encoder; the one that the gallery names where left out.

    Raises:
        GalleryError: It is missing, cannot be opened, is of another encoder, or names none.
        ModelError: The encoder cannot be loaded.
    """
    from trine import Gallery, load

    if encoder is not None:
        return Gallery.open(address_of(name), encoder=load(encoder), create=False)
    with existing(name) as gallery:
        model, address = gallery.model, gallery.address
    if model is None:
        raise GalleryError(
            f"the gallery {address} does not say which encoder made it: name its run folder with --encoder"
        )
    return Gallery.open(address_of(name), encoder=_own(model, address), create=False)


def model_folder(run: str) -> Path:
    """Returns the folder that a gallery keeps as that of its encoder, wherever it is opened from."""
    return Path(run).resolve()


def _own(model: str, address: str) -> Encoder:
    from trine import load

    try:
        return load(model)
    except ModelError as error:
        raise ModelError(
            f"the encoder of the gallery {address} cannot be loaded ({error}): name the folder where it is "
            f"now with --encoder"
        ) from error

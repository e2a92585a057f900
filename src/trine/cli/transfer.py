"""The verbs of `trine gallery` that move or re-embed a whole gallery: export, import, copy, rebuild."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trine.cli.arguments import (
    JSON,
    OPTIONAL_DATA,
    chunk_size,
    echo,
    echo_json,
    items,
    load_data,
    progress_bar,
)
from trine.cli.detection import FIND, detected
from trine.cli.gallery_address import DTYPE, GALLERY, GALLERY_ARGUMENT, address_of, existing, model_folder
from trine.cli.parser import argument, verb
from trine.errors import InputError

if TYPE_CHECKING:
    from trine.data import Dataset


@verb(GALLERY_ARGUMENT, argument("file", help="the .parquet file to write"))
def export(settings: Any) -> None:
    """Write every item with its embedding to a Parquet table.

    trine gallery export people people.parquet
    """
    if not settings.file.lower().endswith(".parquet"):
        raise InputError(f"output must end in .parquet, given {settings.file}")
    with existing(settings.gallery) as gallery:
        count = gallery.export_parquet(settings.file)
    echo(f"{settings.file} holds {items(count)} with their embeddings")


@verb(
    argument("gallery", help=f"{GALLERY}; created if it is missing"),
    argument("file", help="a .parquet file that `trine gallery export` wrote"),
)
def import_(settings: Any) -> None:
    """Enrol the items of an exported table.

    trine gallery import people people.parquet
    """
    from trine import Gallery

    with Gallery.open_for_table(settings.file, address_of(settings.gallery)) as gallery:
        done = gallery.import_parquet(settings.file)
        echo(done, f"{gallery.address} holds {items(len(gallery))}")


@verb(
    GALLERY_ARGUMENT,
    argument("file", help="the file to write"),
    argument("--overwrite", action="store_true", help="replace a file that is there"),
)
def backup(settings: Any) -> None:
    """Write a backup: one file, of one moment, while others go on writing.

    trine gallery backup people people-2024-05-31.db
    """
    with existing(settings.gallery) as gallery:
        count = gallery.backup(settings.file, overwrite=settings.overwrite)
        echo(f"{settings.file} holds {items(count)} of {gallery.address}, and people who are forgotten later")


@verb(
    argument("file", help="a file that `trine gallery backup` wrote"),
    GALLERY_ARGUMENT,
    argument("--overwrite", action="store_true", help="replace a gallery that is there; it is kept beside"),
)
def restore(settings: Any) -> None:
    """Make a gallery from a backup.

    trine gallery restore people-2024-05-31.db people
    trine gallery restore people-2024-05-31.db people --overwrite
    """
    from trine import Gallery

    address = address_of(settings.gallery)
    kept = Gallery.restore(settings.file, address, overwrite=settings.overwrite)
    with existing(settings.gallery) as gallery:
        echo(f"{gallery.address} holds {items(len(gallery))}")
    if kept is not None:
        echo(f"what was there before is kept as {kept}: delete it when you no longer need it")


@verb(
    argument("source", help=GALLERY),
    argument("target", help=f"{GALLERY} to copy it to; created if it is missing"),
    DTYPE,
)
def copy(settings: Any) -> None:
    """Copy a gallery to another, of any kind; nothing is deleted from the target.

    trine gallery copy people postgresql://host/database
    trine gallery copy people small --dtype int8
    """
    target = address_of(settings.target)
    with existing(settings.source) as source:
        if target == address_of(settings.source):
            raise InputError(f"the gallery {source.address} cannot be copied to itself: name another target")
        with progress_bar("copying", len(source)) as progress:
            copied = source.copy_to(target, dtype=settings.dtype, progress=progress)
    echo(copied)


def _items_for(settings: Any, encoder: object, *, quiet: bool = False) -> Dataset | None:
    """The items that `--data` names, or all faces on them; None without it."""
    if settings.data is None:
        return None
    data = load_data(settings, quiet=quiet)
    return detected(settings, encoder, data, several="all", low_quality="keep")[0]


@verb(
    GALLERY_ARGUMENT,
    argument("--encoder", metavar="RUN", required=True, help="the run or model folder of the other encoder"),
    *OPTIONAL_DATA,
    FIND,
    JSON,
)
def compare(settings: Any) -> None:
    """Compare another encoder with the one in use, on the gallery's own items; nothing is switched.

    trine gallery compare people --encoder runs/new
    trine gallery rebuild people --encoder runs/new
    """
    from trine import load

    encoder = load(settings.encoder)
    data = _items_for(settings, encoder, quiet=settings.json)
    with existing(settings.gallery) as gallery:
        with progress_bar("embedding", len(gallery)) as progress:
            found = gallery.compare(
                encoder,
                data=data,
                model=model_folder(settings.encoder),
                chunk=chunk_size(len(gallery)),
                progress=progress,
            )
        if settings.json:
            echo_json(found.to_json())
            return
        echo(
            found,
            f"{gallery.address} answers by {gallery.model or 'its encoder'} until trine gallery rebuild",
        )


@verb(
    GALLERY_ARGUMENT,
    argument("--encoder", metavar="RUN", required=True, help="the run or model folder of the new encoder"),
    *OPTIONAL_DATA,
    FIND,
    argument("--drop-missing", action="store_true", help="delete items whose data cannot be read"),
)
def rebuild(settings: Any) -> None:
    """Embed every item again with another encoder, then switch to it at once.

    trine gallery rebuild people --encoder runs/new
    trine gallery rebuild rows --encoder runs/new --data rows.csv --label family
    trine gallery rebuild people --encoder runs/faces --data photos/
    """
    from trine import load

    encoder = load(settings.encoder)
    data = _items_for(settings, encoder)
    with existing(settings.gallery) as gallery:
        with progress_bar("rebuilding", len(gallery)) as progress:
            done = gallery.rebuild(
                encoder,
                data=data,
                drop_missing=settings.drop_missing,
                model=model_folder(settings.encoder),
                chunk=chunk_size(len(gallery)),
                progress=progress,
            )
        echo(done, f"{gallery.address} holds {items(len(gallery))} and uses the encoder {gallery.model}")
        if gallery.threshold is None:
            echo("no threshold: calibrate the encoder with trine evaluate --calibrate, or pass --threshold")

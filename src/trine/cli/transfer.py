"""The sub-verbs of `trine gallery` that move all of it: export, import, copy, rebuild."""

from __future__ import annotations

from typing import Any

from trine.cli.arguments import chunk_size, data_arguments, echo, items, load_data, progress_bar
from trine.cli.gallery_address import GALLERY, address_of, existing, model_folder
from trine.cli.parser import Verb
from trine.errors import InputError


def _export_arguments(parser: Any) -> None:
    parser.add_argument("gallery", type=str, help=GALLERY)
    parser.add_argument("file", type=str, help="the .parquet file to write")


def _export(settings: Any) -> None:
    if not settings.file.lower().endswith(".parquet"):
        raise InputError(
            f"a gallery is exported as Parquet, and {settings.file} is no such name: end it with .parquet"
        )
    with existing(settings.gallery) as gallery:
        count = gallery.export_parquet(settings.file)
    echo(f"{settings.file} holds {items(count)} with their embeddings")


def _import_arguments(parser: Any) -> None:
    parser.add_argument("gallery", type=str, help=f"{GALLERY}; made where it is missing")
    parser.add_argument("file", type=str, help="a .parquet file that export wrote")


def _import(settings: Any) -> None:
    from trine import Gallery

    with Gallery.open_for_table(settings.file, address_of(settings.gallery)) as gallery:
        done = gallery.import_parquet(settings.file)
        echo(f"{done}\n{gallery.address} holds {items(len(gallery))}")


def _copy_arguments(parser: Any) -> None:
    parser.add_argument("source", type=str, help=GALLERY)
    parser.add_argument("target", type=str, help=f"{GALLERY} to copy it into; made where it is missing")
    parser.add_argument(
        "--dtype", type=str, default=None, help="how a new gallery keeps numbers: float32, float16 or int8"
    )


def _copy(settings: Any) -> None:
    target = address_of(settings.target)
    with existing(settings.source) as gallery:
        if target == address_of(settings.source):
            raise InputError(f"the gallery {gallery.address} cannot be copied into itself: name another")
        with progress_bar("copying", len(gallery)) as progress:
            done = gallery.copy_to(target, dtype=settings.dtype, progress=progress)
    with existing(settings.target) as copy:
        echo(f"{done}\n{copy.address} holds {items(len(copy))}")


def _rebuild_arguments(parser: Any) -> None:
    parser.add_argument("gallery", type=str, help=GALLERY)
    parser.add_argument(
        "--encoder", type=str, required=True, help="the run or model folder of the new encoder"
    )
    data_arguments(parser, "--data")
    parser.add_argument(
        "--drop-missing", action="store_true", help="delete the items that cannot be read from anywhere"
    )


def _rebuild(settings: Any) -> None:
    from trine import load

    encoder = load(settings.encoder)
    data = None if settings.data is None else load_data(settings)
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
        echo(f"{done}\n{gallery.address} holds {items(len(gallery))} of the encoder {gallery.model} now")
        if gallery.threshold is None:
            echo("no threshold yet: calibrate the encoder (trine evaluate --calibrate), or give --threshold")


MOVING = {
    "export": Verb(
        _export,
        _export_arguments,
        "Write every item with its embedding as a Parquet table.",
        "trine gallery export people people.parquet",
    ),
    "import": Verb(
        _import,
        _import_arguments,
        "Enrol the items of a table that export wrote.",
        "trine gallery import people people.parquet",
    ),
    "copy": Verb(
        _copy,
        _copy_arguments,
        "Copy a gallery into another, of any kind; nothing is deleted there.",
        "trine gallery copy people postgresql://host/database\ntrine gallery copy people small --dtype int8",
    ),
    "rebuild": Verb(
        _rebuild,
        _rebuild_arguments,
        "Embed everything anew with another encoder, and switch to it at once.",
        "trine gallery rebuild people --encoder runs/new\n"
        "trine gallery rebuild rows --encoder runs/new --data rows.csv --label family",
    ),
}

"""`trine enrol`: labelled data, or pictures of one identity, into a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trine.cli.arguments import chunk_size, column_names, data_arguments, echo, items, load_data, progress_bar
from trine.cli.gallery_address import GALLERY, address_of, model_folder
from trine.cli.parser import Verb
from trine.cli.where import value_of
from trine.errors import InputError, SettingError

if TYPE_CHECKING:
    from trine.data import Dataset

Metadata = dict[str, dict[str, Any]]


def _arguments(parser: Any) -> None:
    parser.add_argument("run", type=str, help="the run folder, or a model folder")
    data_arguments(parser)
    parser.add_argument("--gallery", type=str, required=True, help=f"{GALLERY}; made where it is missing")
    parser.add_argument(
        "--identity", type=str, default=None, help="whose all the items are; data may be one picture then"
    )
    parser.add_argument(
        "--metadata",
        type=str,
        nargs="+",
        default=[],
        help="what to keep with items: a table with a column 'item', or KEY=VALUE for all of them",
    )
    parser.add_argument(
        "--dtype", type=str, default=None, help="how a new gallery keeps numbers: float32, float16 or int8"
    )


def _enrol(settings: Any) -> None:
    from trine import Gallery, load
    from trine.data import source_kind

    if settings.identity is None and source_kind(settings.data) == "picture":
        raise SettingError(f"{settings.data} is one picture: say whose it is with --identity")
    encoder = load(settings.run)
    data = load_data(settings) if settings.identity is None else _of_one(settings)
    metadata = _metadata(settings.metadata, data)
    address, model = address_of(settings.gallery), model_folder(settings.run)
    with Gallery.open(address, encoder=encoder, dtype=settings.dtype, model=model) as gallery:
        try:
            with progress_bar("enrolling", len(data)) as progress:
                chunk = chunk_size(len(data))
                done = gallery.enrol_dataset(data, metadata=metadata, chunk=chunk, progress=progress)
        except KeyboardInterrupt:
            echo("interrupted; what is enrolled stays, and the same command enrols the rest")
            raise
        identities = len(gallery.identities())
        echo(f"{done}\n{gallery.address} holds {items(len(gallery))} of {identities:,} identities")


def _of_one(settings: Any) -> Dataset:
    """Loads items whose identity is given, not read."""
    import numpy as np

    from trine.data import LoadPolicy, load_unlabelled
    from trine.gallery.entries import check_name

    for word, given in (("--label", settings.label), ("--pattern", settings.pattern)):
        if given is not None:
            raise SettingError(f"--identity says whose all the items are: leave {word} out")
    data, report = load_unlabelled(
        settings.data,
        **column_names(settings),
        policy=LoadPolicy(
            unreadable=settings.unreadable,
            missing=settings.missing,
            duplicates=settings.duplicates,
            repeated=settings.repeated,
        ),
    )
    if len(data) > 1:
        echo(report)
    identity = check_name(settings.identity, "identity")
    return replace(data, labels=np.zeros(len(data), dtype=np.int64), identities=(identity,))


def _metadata(words: Sequence[str], data: Dataset) -> Metadata:
    """Reads tables and pairs; of two that say something about the same, the later counts."""
    from trine.data import read_metadata

    found: Metadata = {name: {} for name in data.names}
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key:
            for about in found.values():
                about[key] = _value(word, value)
            continue
        said = read_metadata(word)
        known = [name for name in found if name in said]
        if not known:
            raise InputError(
                f"{word} has no row about any of the items, which are named as {data.names[0][:80]!r}: "
                f"name them so in its column 'item'"
            )
        if len(known) < len(data):
            echo(f"{word} is about {len(known):,} of the {len(data):,} items")
        for name in known:
            found[name] |= said[name]
    return found


def _value(word: str, text: str) -> Any:
    try:
        return value_of(text)
    except ValueError:
        raise InputError(f"--metadata {word!r} has quotes that do not fit: write KEY=VALUE") from None


ENROL = Verb(
    _enrol,
    _arguments,
    "Add labelled pictures to a gallery of those we know.",
    "trine enrol runs/faces known/ --gallery people\n"
    "trine enrol runs/faces ann.jpg --identity ann --metadata year=2024 --gallery people\n"
    "trine enrol runs/faces known/ --metadata about.csv --dtype int8 --gallery small",
)

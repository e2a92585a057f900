"""`trine enrol`: adds labelled data, or images of one identity, to a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trine.cli.arguments import (
    COLUMNS,
    DATA,
    RUN,
    chunk_size,
    echo,
    items,
    load_data,
    pick,
    policy,
    progress_bar,
)
from trine.cli.gallery_address import DTYPE, GALLERY, address_of, model_folder
from trine.cli.parser import argument, verb
from trine.cli.where import value_of
from trine.errors import InputError, SettingError

if TYPE_CHECKING:
    from trine.data import Dataset

Metadata = dict[str, dict[str, Any]]

METADATA = "what to store with items: a table with a column 'item', or KEY=VALUE for all of them"


@verb(
    RUN,
    *DATA,
    argument("--gallery", required=True, help=f"{GALLERY}; created if it is missing"),
    argument("--identity", help="assign all items to this identity; the data may then be a single image"),
    argument("--metadata", nargs="+", default=[], help=METADATA),
    DTYPE,
)
def enrol(settings: Any) -> None:
    """Add labelled items to a gallery.

    trine enrol runs/faces known/ --gallery people
    trine enrol runs/faces ann.jpg --identity ann --metadata year=2024 --gallery people
    trine enrol runs/faces known/ --metadata about.csv --dtype int8 --gallery small
    """
    from trine import Gallery, load
    from trine.data import source_kind

    if settings.identity is None and source_kind(settings.data) == "image":
        raise SettingError(f"{settings.data} is a single image: name its identity with --identity")
    encoder = load(settings.run)
    data = load_data(settings) if settings.identity is None else _of_one_identity(settings)
    metadata = _metadata(settings.metadata, data)
    address, model = address_of(settings.gallery), model_folder(settings.run)
    with Gallery.open(address, encoder=encoder, dtype=settings.dtype, model=model) as gallery:
        try:
            with progress_bar("enrolling", len(data)) as progress:
                chunk = chunk_size(len(data))
                done = gallery.enrol_dataset(data, metadata=metadata, chunk=chunk, progress=progress)
        except KeyboardInterrupt:
            echo("interrupted; enrolled items are kept, and the same command enrols the rest")
            raise
        identities = len(gallery.identities())
        echo(done, f"{gallery.address} holds {items(len(gallery))} of {identities:,} identities")


def _of_one_identity(settings: Any) -> Dataset:
    """Loads items that all belong to the identity of the arguments."""
    import numpy as np

    from trine.data import load
    from trine.gallery.entries import check_name

    for option, given in (("--label", settings.label), ("--pattern", settings.pattern)):
        if given is not None:
            raise SettingError(f"--identity assigns all items to one identity: leave {option} out")
    data, report = load(settings.data, **pick(settings, *COLUMNS), policy=policy(settings), labelled=False)
    if len(data) > 1:
        echo(report)
    identity = check_name(settings.identity, "identity")
    return replace(data, labels=np.zeros(len(data), dtype=np.int64), identities=(identity,))


def _metadata(words: Sequence[str], data: Dataset) -> Metadata:
    """Reads tables and KEY=VALUE pairs; a later value replaces an earlier one."""
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
                f"{word} has no row for any of the items: its column 'item' must hold names such as "
                f"{data.names[0][:80]!r}"
            )
        if len(known) < len(data):
            echo(f"{word} describes {len(known):,} of {items(len(data))}")
        for name in known:
            found[name] |= said[name]
    return found


def _value(word: str, text: str) -> Any:
    try:
        return value_of(text)
    except ValueError:
        raise InputError(f"--metadata {word!r} has unbalanced quotes: write KEY=VALUE") from None

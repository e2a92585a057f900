"""Restores a gallery from a backup, whichever store it goes to."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

from trine.gallery.binding import is_url, scheme_of
from trine.gallery.bulk_write import CHUNK
from trine.gallery.lance import SCHEMES as LANCE
from trine.gallery.lance.restore import restore as restore_to_lance
from trine.gallery.parquet import copy_gallery
from trine.gallery.postgres import Address, replace
from trine.gallery.sqlite import SqliteStore


def restore(backup: str | Path, address: str | Path, *, overwrite: bool) -> str | None:
    """Puts a copy of a backup at an address; see `Gallery.restore`."""
    with closing(SqliteStore(Path(backup).expanduser())) as source:
        if scheme_of(address) in LANCE:
            return restore_to_lance(source, str(address), overwrite=overwrite)
        if is_url(address):
            return _to_server(source, str(address), overwrite=overwrite)
        kept = source.restore_to(Path(address).expanduser(), overwrite=overwrite)
        return None if kept is None else str(kept)


def _to_server(source: SqliteStore, address: str, *, overwrite: bool) -> str | None:
    """Builds the gallery under another name in the same database, and then renames it."""
    final = Address.parse(address)
    built = replace.unfinished(final)
    if not overwrite:
        replace.check_free(final)
    replace.drop(built)
    try:
        copy_gallery(source, _renamed(address, built.gallery), None, chunk=CHUNK, progress=None)
        kept = replace.put_in_place(built, final, overwrite=overwrite)
    except BaseException:
        replace.drop(built)
        raise
    return None if kept is None else _renamed(final.shown, kept.gallery)


def _renamed(address: str, gallery: str) -> str:
    place, _, query = address.partition("?")
    others = [pair for pair in query.split("&") if pair and not re.match(r"gallery(=|$)", pair)]
    return f"{place}?{'&'.join([*others, f'gallery={gallery}'])}"

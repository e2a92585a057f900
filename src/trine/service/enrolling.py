"""Enrols what requests bring, with their pictures: all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from trine.data.file_part import file_of
from trine.gallery import Enrolment, Entry
from trine.gallery.entries import stored_path
from trine.service.errors import ApiError
from trine.service.hosted import Hosted
from trine.service.schemas import NewItem
from trine.service.service import Service


def enrol_all(
    service: Service,
    hosted: Hosted,
    given: Sequence[NewItem],
    *,
    who: str,
    name_now: Callable[[str], str | None] = lambda identity: identity,
) -> Enrolment:
    """Embeds and writes items with their pictures: all or none.

    Args:
        service: The service.
        hosted: The gallery.
        given: The items.
        who: The name of the key, for the log of changes.
        name_now: Returns the name that an identity has since, None if it was forgotten; asked when nothing
            else changes the gallery.

    Raises:
        ApiError: An item cannot be embedded, or a name is given twice.
    """
    names = [new.item for new in given]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ApiError("invalid_request", f"the item {twice[:80]!r} is given twice")
    prepared = [hosted.entry(new) for new in given]
    kept: dict[str, str] = {}
    with hosted.changing:
        try:
            entries: list[Entry] = []
            for (entry, part), new in zip(prepared, given, strict=True):
                identity = name_now(new.identity)
                if identity is None:
                    continue
                entry = replace(entry, identity=identity)
                path = None if new.picture is None else _keep(service, hosted, entry.item, new.picture)
                if path is not None:
                    kept[entry.item] = path
                    entry = replace(entry, source=stored_path(path, part=part))
                entries.append(entry)
            done = hosted.gallery.enrol_many(entries, chunk=max(len(entries), 1))
        except BaseException:
            _drop_unused(hosted, kept)
            raise
        names = [entry.item for entry in entries]
        if done.new < len(names):  # those of items that were not there have no earlier picture
            hosted.pictures.drop_all({name: kept.get(name) for name in names})
        if done.new or done.replaced:
            identities = sorted({entry.identity for entry in entries})
            service.log.add(who, hosted.name, "enrol", items=names, identities=identities[:20])
    return done


def _keep(service: Service, hosted: Hosted, item: str, picture: bytes) -> str | None:
    if not service.settings.keep_pictures:
        return None
    try:
        return hosted.pictures.keep(item, picture)
    except OSError as error:
        raise ApiError("unavailable", f"the picture cannot be kept ({error.strerror or error})") from error


def _drop_unused(hosted: Hosted, kept: dict[str, str]) -> None:
    """Deletes pictures that were kept for items that are not enrolled."""
    sources: dict[str, str | None] = {}
    for item in kept:
        sources[item] = None
        with suppress(Exception):
            sources[item] = file_of(hosted.gallery.get(item).source)
    hosted.pictures.drop_all(sources)

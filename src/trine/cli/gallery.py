"""`trine gallery`: creates, lists, changes and checks galleries."""

from __future__ import annotations

import sys
from typing import Any

from trine.cli.arguments import echo, echo_json, items
from trine.cli.cluster import GALLERY_CLUSTERS
from trine.cli.gallery_address import (
    DTYPE,
    address_of,
    existing,
    gallery_argument,
    json_argument,
    model_folder,
    threshold_argument,
)
from trine.cli.parser import Verb
from trine.cli.transfer import TRANSFER_VERBS
from trine.errors import SettingError


def _create_arguments(parser: Any) -> None:
    gallery_argument(parser)
    add = parser.add_argument
    add("--encoder", metavar="RUN", help="the run or model folder of the encoder")
    add("--dimension", type=int, help="the length of embeddings that are computed elsewhere")
    add("--fingerprint", help="what computes them: any text that changes when it does")
    add("--distance", help="how they are compared: euclidean or cosine")
    threshold_argument(parser)
    add("--dtype", help=DTYPE)


def _create(settings: Any) -> None:
    from trine import Gallery, load

    if settings.encoder is None and None in (settings.dimension, settings.fingerprint):
        raise SettingError(
            "a gallery is bound to what computes its embeddings: pass --encoder, or --dimension and "
            "--fingerprint"
        )
    with Gallery.open(
        address_of(settings.gallery),
        encoder=None if settings.encoder is None else load(settings.encoder),
        dimension=settings.dimension,
        fingerprint=settings.fingerprint,
        distance=settings.distance,
        threshold=settings.threshold,
        dtype=settings.dtype,
        model=None if settings.encoder is None else model_folder(settings.encoder),
        exist_ok=False,
    ) as gallery:
        bound = gallery.binding
        echo(f"created {gallery.address}: {bound.dimension} numbers of {bound.dtype}, {bound.distance}")


def _list_arguments(parser: Any) -> None:
    gallery_argument(parser)
    parser.add_argument(
        "identity", nargs="?", help="list the items of this identity (default: all identities)"
    )
    json_argument(parser)


def _list(settings: Any) -> None:
    with existing(settings.gallery) as gallery:
        if settings.identity is not None:
            entries = sorted(gallery.entries(settings.identity), key=lambda entry: entry.item)
        else:
            counts = gallery.identities()
    if settings.identity is None and settings.json:
        echo_json(counts)
    elif settings.identity is None:
        _echo_all(f"{count:7,}  {name}" for name, count in counts.items())
    elif settings.json:
        for entry in entries:
            echo_json({"item": entry.item, "metadata": {**entry.metadata}, "source": entry.source})
    else:
        _echo_all(
            entry.item + "".join(f"  {key}={value}" for key, value in entry.metadata.items())
            for entry in entries
        )


def _remove_arguments(parser: Any) -> None:
    gallery_argument(parser)
    parser.add_argument("item", nargs="+", help="items, as `trine gallery list GALLERY IDENTITY` names them")


def _remove(settings: Any) -> None:
    with existing(settings.gallery) as gallery:
        for item in settings.item:
            gallery.get(item)  # all or none
        count = sum(gallery.remove(item) for item in settings.item)
        echo(f"{items(count)} removed; {gallery.address} holds {items(len(gallery))}")


def _forget_arguments(parser: Any) -> None:
    gallery_argument(parser)
    parser.add_argument("identity", help="the identity to delete")


def _forget(settings: Any) -> None:
    from trine.gallery.entries import unknown_identity

    with existing(settings.gallery) as gallery:
        count = gallery.forget(settings.identity)
        if not count:
            raise unknown_identity(settings.identity, gallery.identities(), gallery.address)
        echo(
            f"{settings.identity} is forgotten, with {items(count)}; backups, copies and exported tables of "
            f"{gallery.address} may still hold them"
        )
        if "://" in gallery.address:
            echo("their bytes stay in the server's files until trine gallery repair wipes them")


def _rename_arguments(parser: Any) -> None:
    gallery_argument(parser)
    parser.add_argument("identity", help="current name")
    parser.add_argument("to", help="new name")


def _rename(settings: Any) -> None:
    with existing(settings.gallery) as gallery:
        count = gallery.rename(settings.identity, settings.to)
        echo(f"renamed {settings.identity} to {settings.to}, with {items(count)}")


def _merge_arguments(parser: Any) -> None:
    gallery_argument(parser)
    parser.add_argument("identity", help="the identity to keep")
    parser.add_argument("other", help="the identity whose items are moved to it")


def _merge(settings: Any) -> None:
    with existing(settings.gallery) as gallery:
        count = gallery.merge(settings.identity, settings.other)
        total = gallery.identities()[settings.identity]
        echo(f"moved {items(count)} of {settings.other} to {settings.identity}, which now has {items(total)}")


def _split_arguments(parser: Any) -> None:
    gallery_argument(parser)
    parser.add_argument("item", nargs="+", help="items of one identity")
    parser.add_argument("--identity", required=True, help="the new identity to move them to")


def _split(settings: Any) -> None:
    with existing(settings.gallery) as gallery:
        count = gallery.split(settings.item, settings.identity)
        echo(f"moved {items(count)} to {settings.identity}, a new identity of {gallery.address}")


def _stats_arguments(parser: Any) -> None:
    gallery_argument(parser)
    json_argument(parser)


def _stats(settings: Any) -> None:
    with existing(settings.gallery) as gallery:
        found, threshold, model = gallery.stats(), gallery.threshold, gallery.model
    if settings.json:
        echo_json({**found.to_json(), "threshold": threshold and threshold.value, "model": model})
        return
    echo(found)
    echo("no threshold" if threshold is None else threshold)
    echo("no encoder folder" if model is None else f"encoder {model}")


def _check(settings: Any) -> int:
    with existing(settings.gallery) as gallery:
        problems, address = gallery.check(), gallery.address
    if settings.json:
        echo_json({"problems": problems})
    elif not problems:
        echo(f"{address}: no problems found")
    else:
        _echo_all([*problems, "fix it with: trine gallery repair"])
    return 1 if problems else 0


def _repair_arguments(parser: Any) -> None:
    gallery_argument(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask before deleting unreadable items")


def _repair(settings: Any) -> None:
    with existing(settings.gallery) as gallery:
        problems = gallery.check()
        _echo_all(problems)
        if problems and not (settings.yes or _agreed("unreadable items are deleted; continue?")):
            raise SettingError(
                "nothing was repaired, because unreadable items would be deleted: export the gallery or copy "
                "its file first, then add --yes"
            )
        # A server may have traces to wipe, which are no problem of its tables.
        _echo_all(gallery.repair() or [f"{gallery.address} needs no repair"])


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _echo_all(lines: Any) -> None:
    for line in lines:
        echo(line)


GALLERY_VERBS: dict[str, Verb] = {
    "create": Verb(
        _create,
        _create_arguments,
        "Create an empty gallery, bound to an encoder.",
        "trine gallery create people --encoder runs/faces --dtype int8\n"
        "trine gallery create rows --dimension 128 --fingerprint 'facenet 1.2' --distance cosine",
    ),
    "list": Verb(
        _list,
        _list_arguments,
        "List the identities, or the items of one identity.",
        "trine gallery list people\ntrine gallery list people ann",
    ),
    "stats": Verb(
        _stats, _stats_arguments, "Count items, identities and bytes.", "trine gallery stats people --json"
    ),
    "remove": Verb(
        _remove, _remove_arguments, "Delete items by name.", "trine gallery remove people ann/1.jpg ann/2.jpg"
    ),
    "forget": Verb(
        _forget,
        _forget_arguments,
        "Delete an identity and every trace of it from the gallery's files.",
        "trine gallery forget people ann",
    ),
    "rename": Verb(_rename, _rename_arguments, "Rename an identity.", "trine gallery rename people anne ann"),
    "merge": Verb(
        _merge,
        _merge_arguments,
        "Merge two identities under the first name.",
        "trine gallery merge people ann anne",
    ),
    "split": Verb(
        _split,
        _split_arguments,
        "Move some items of an identity to a new one.",
        "trine gallery split people ann/3.jpg ann/4.jpg --identity zoe",
    ),
    "clusters": GALLERY_CLUSTERS,
    "check": Verb(
        _check,
        _stats_arguments,
        "Read everything and report problems; the exit code is 1 if there are any.",
        "trine gallery check people",
    ),
    "repair": Verb(
        _repair,
        _repair_arguments,
        "Fix what check finds, delete unreadable items, and wipe traces of forgotten ones.",
        "trine gallery repair people --yes",
    ),
    **TRANSFER_VERBS,
}

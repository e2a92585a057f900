"""`trine gallery`: everything that is done to a gallery rather than asked of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from trine.cli.arguments import echo, echo_json, items
from trine.cli.cluster import GALLERY_CLUSTERS
from trine.cli.gallery_address import GALLERY, address_of, existing, model_folder
from trine.cli.parser import Verb
from trine.cli.transfer import MOVING
from trine.errors import GalleryError, SettingError


def _gallery_argument(parser: Any) -> None:
    parser.add_argument("gallery", type=str, help=GALLERY)


def _json_argument(parser: Any) -> None:
    parser.add_argument("--json", action="store_true", help="answer with JSON")


def _create_arguments(parser: Any) -> None:
    _gallery_argument(parser)
    add = parser.add_argument
    add("--encoder", type=str, default=None, help="the run or model folder of the encoder")
    add("--dimension", type=int, default=None, help="the length of embeddings that are made elsewhere")
    add("--fingerprint", type=str, default=None, help="what makes them: any text that changes when it does")
    add("--distance", type=str, default=None, help="how they are compared: euclidean or cosine")
    add("--threshold", type=float, default=None, help="the largest distance that counts as the same")
    add("--dtype", type=str, default=None, help="how numbers are kept: float32, float16 or int8")


def _create(settings: Any) -> None:
    from trine import Gallery, load

    if settings.encoder is None and None in (settings.dimension, settings.fingerprint):
        raise SettingError(
            "a gallery is bound to what makes its embeddings: give --encoder, or --dimension and "
            "--fingerprint"
        )
    encoder = None if settings.encoder is None else load(settings.encoder)
    address = address_of(settings.gallery)
    if _is_there(address):
        raise GalleryError(f"there is a gallery {address} already: choose another name, or enrol into it")
    with Gallery.open(
        address,
        encoder=encoder,
        dimension=settings.dimension,
        fingerprint=settings.fingerprint,
        distance=settings.distance,
        threshold=settings.threshold,
        dtype=settings.dtype,
        model=None if encoder is None else model_folder(settings.encoder),
    ) as gallery:
        bound = gallery.binding
        echo(f"{gallery.address} is made for {bound.dtype} of {bound.dimension} numbers, {bound.distance}")


def _is_there(address: str) -> bool:
    try:
        existing(address).close()
    except GalleryError:
        return False
    return True


def _list_arguments(parser: Any) -> None:
    _gallery_argument(parser)
    parser.add_argument(
        "identity", type=str, nargs="?", default=None, help="whose items; all identities if not"
    )
    _json_argument(parser)


def _list(settings: Any) -> None:
    with existing(settings.gallery) as gallery:
        if settings.identity is None:
            counts = gallery.identities()
            if settings.json:
                echo_json(counts)
                return
            for name, count in counts.items():
                echo(f"{count:7,}  {name}")
            return
        entries = sorted(gallery.entries(settings.identity), key=lambda entry: entry.item)
    for entry in entries:
        if settings.json:
            echo_json({"item": entry.item, "metadata": {**entry.metadata}, "source": entry.source})
        else:
            echo(entry.item + "".join(f"  {key}={value}" for key, value in entry.metadata.items()))


def _remove_arguments(parser: Any) -> None:
    _gallery_argument(parser)
    parser.add_argument("item", type=str, nargs="+", help="items; see trine gallery list GALLERY IDENTITY")


def _remove(settings: Any) -> None:
    with existing(settings.gallery) as gallery:
        for item in settings.item:
            gallery.get(item)  # All or none.
        count = sum(gallery.remove(item) for item in settings.item)
        echo(f"{items(count)} removed; {gallery.address} holds {items(len(gallery))}")


def _forget_arguments(parser: Any) -> None:
    _gallery_argument(parser)
    parser.add_argument("identity", type=str, help="whom")


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
    _gallery_argument(parser)
    parser.add_argument("identity", type=str, help="the name there is")
    parser.add_argument("to", type=str, help="the new one")


def _rename(settings: Any) -> None:
    with existing(settings.gallery) as gallery:
        count = gallery.rename(settings.identity, settings.to)
        echo(f"{settings.identity} is called {settings.to} now, with {items(count)}")


def _merge_arguments(parser: Any) -> None:
    _gallery_argument(parser)
    parser.add_argument("identity", type=str, help="whose name stays")
    parser.add_argument("other", type=str, help="whose items become those of the first")


def _merge(settings: Any) -> None:
    with existing(settings.gallery) as gallery:
        count = gallery.merge(settings.identity, settings.other)
        total = gallery.identities()[settings.identity]
        are = "is" if count == 1 else "are"
        echo(f"{items(count)} of {settings.other} {are} {settings.identity}'s now, who has {items(total)}")


def _split_arguments(parser: Any) -> None:
    _gallery_argument(parser)
    parser.add_argument("item", type=str, nargs="+", help="items of one identity")
    parser.add_argument("--identity", type=str, required=True, help="the new identity that they become")


def _split(settings: Any) -> None:
    with existing(settings.gallery) as gallery:
        count = gallery.split(settings.item, settings.identity)
        are = "is" if count == 1 else "are"
        echo(f"{items(count)} {are} {settings.identity}'s now, who is new in {gallery.address}")


def _stats_arguments(parser: Any) -> None:
    _gallery_argument(parser)
    _json_argument(parser)


def _stats(settings: Any) -> None:
    with existing(settings.gallery) as gallery:
        found, threshold, model = gallery.stats(), gallery.threshold, gallery.model
    if settings.json:
        echo_json({**found.to_json(), "threshold": threshold and threshold.value, "model": model})
        return
    echo(found)
    echo("no threshold" if threshold is None else threshold)
    echo("made by hand" if model is None else f"encoder {model}")


def _check(settings: Any) -> int:
    with existing(settings.gallery) as gallery:
        problems, address = gallery.check(), gallery.address
    if settings.json:
        echo_json({"problems": problems})
    elif not problems:
        echo(f"{address} is sound")
    else:
        _tell(problems)
        echo("mend it with: trine gallery repair")
    return 1 if problems else 0


def _repair_arguments(parser: Any) -> None:
    _gallery_argument(parser)
    parser.add_argument("--yes", action="store_true", help="do it without asking")


def _repair(settings: Any) -> None:
    with existing(settings.gallery) as gallery:
        problems = gallery.check()
        _tell(problems)
        if problems and not (settings.yes or _agreed("items that cannot be read are deleted; go on?")):
            raise SettingError(
                "nothing was repaired, since what cannot be read would be deleted: export the gallery or "
                "copy its file first, then add --yes"
            )
        # A server may have traces of the forgotten to wipe, which are no damage.
        done = gallery.repair()
        _tell(done or [f"{gallery.address} needs no repair"])


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _tell(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        echo(sentence)


SUBVERBS: dict[str, Verb] = {
    "create": Verb(
        _create,
        _create_arguments,
        "Make an empty gallery, bound to an encoder.",
        "trine gallery create people --encoder runs/faces --dtype int8\n"
        "trine gallery create rows --dimension 128 --fingerprint 'facenet 1.2' --distance cosine",
    ),
    "list": Verb(
        _list,
        _list_arguments,
        "List the identities, or the items of one.",
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
        "Delete an identity, with every trace of it in the gallery's files.",
        "trine gallery forget people ann",
    ),
    "rename": Verb(
        _rename, _rename_arguments, "Give an identity another name.", "trine gallery rename people anne ann"
    ),
    "merge": Verb(
        _merge,
        _merge_arguments,
        "Make two identities one, under the first name.",
        "trine gallery merge people ann anne",
    ),
    "split": Verb(
        _split,
        _split_arguments,
        "Make some items of an identity a new one.",
        "trine gallery split people ann/3.jpg ann/4.jpg --identity zoe",
    ),
    "clusters": GALLERY_CLUSTERS,
    "check": Verb(
        _check,
        _stats_arguments,
        "Read everything and say what is wrong; exit code 1 where something is.",
        "trine gallery check people",
    ),
    "repair": Verb(
        _repair,
        _repair_arguments,
        "Mend what check finds, deleting what cannot be read, and wipe traces of the forgotten.",
        "trine gallery repair people --yes",
    ),
    **MOVING,
}

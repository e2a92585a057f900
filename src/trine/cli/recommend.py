"""`trine recommend`: items for a user, or like other items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trine.cli.arguments import JSON, echo, echo_json, pick
from trine.cli.gallery_address import GALLERY, existing
from trine.cli.parser import argument, verb
from trine.cli.query import HITS, as_json, list_hits
from trine.cli.where import conditions
from trine.errors import SettingError

if TYPE_CHECKING:
    from trine.encoders import Recommendation

ITEMS: dict[str, Any] = {"nargs": "+", "action": "extend", "metavar": "ITEM", "default": []}


@verb(
    argument("run", nargs="?", help="the folder of a run on interactions (instead of --gallery)"),
    argument("--user", help="with a run: the user to recommend items to"),
    argument("--item", help="with a run: the item to find similar items for"),
    argument("--seen", action="store_true", help="with a run: include items the user has interacted with"),
    argument("--like", **ITEMS, help="with a gallery: find items similar to these"),
    argument("--unlike", **ITEMS, help="with a gallery: find items dissimilar to these"),
    argument("--gallery", help=f"{GALLERY} to search"),
    *HITS,
    argument(
        "--diversity", type=float, default=0.0, help="with a gallery: variety, from 0 to 1 (default: 0)"
    ),
    JSON,
)
def recommend(settings: Any) -> None:
    """Recommend items: for a user, like an item, or like some items and unlike others.

    trine recommend runs/films --user 17 -k 20
    trine recommend runs/films --item 318
    trine recommend --like a.jpg b.jpg --unlike c.jpg --diversity 0.3 --gallery shop
    """
    if (settings.run is None) == (settings.gallery is None):
        raise SettingError(
            "recommend takes either the folder of a run on interactions, with --user or --item, or --gallery "
            "with --like"
        )
    if settings.run is not None:
        _from_run(settings)
    else:
        _from_gallery(settings)


def _from_run(settings: Any) -> None:
    from trine.encoders import load_two_tower

    _refuse(settings, ("like", "unlike", "where", "diversity"), needs="--gallery")
    if (settings.user is None) == (settings.item is None):
        raise SettingError("recommend from a run takes either --user or --item")
    if settings.item is not None:
        _refuse(settings, ("seen",), needs="--user")
    towers = load_two_tower(settings.run)
    if settings.user is not None:
        found = towers.recommend(settings.user, k=settings.k, seen=settings.seen)
        query = {"user": settings.user}
    else:
        found = towers.similar_items(settings.item, k=settings.k)
        query = {"item": settings.item}
    if settings.json:
        hits = [{"item": each.item, "title": each.title, "score": each.score} for each in found]
        echo_json({**query, "hits": hits})
        return
    if not found:
        echo("nothing found")
    for rank, each in enumerate(found, 1):
        echo(f"{rank:3}. {each.score:.3f}  {_named(each)}")


def _from_gallery(settings: Any) -> None:
    _refuse(settings, ("user", "item", "seen"), needs="the folder of a run")
    if not settings.like:
        raise SettingError("recommend from a gallery needs at least one item: name it with --like")
    where = conditions(settings.where)
    with existing(settings.gallery) as gallery:
        hits = gallery.recommend(settings.like, where=where, **pick(settings, "unlike", "k", "diversity"))
    if settings.json:
        echo_json({"like": settings.like, "unlike": settings.unlike, "hits": [as_json(hit) for hit in hits]})
    else:
        list_hits(hits)


def _refuse(settings: Any, names: tuple[str, ...], *, needs: str) -> None:
    for name in names:
        if getattr(settings, name):
            raise SettingError(f"--{name} needs {needs}; leave it out")


def _named(found: Recommendation) -> str:
    return f"{found.title}  ({found.item})" if found.title else found.item

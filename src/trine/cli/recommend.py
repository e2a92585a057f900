"""The verb that recommends, and the training on interactions that one of its forms asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trine.cli.arguments import echo, echo_json
from trine.cli.gallery_address import GALLERY, existing
from trine.cli.parser import Verb
from trine.cli.query import as_json, hits_arguments, json_argument, list_hits
from trine.cli.where import conditions
from trine.errors import SettingError

if TYPE_CHECKING:
    from trine.encoders import Suggestion
    from trine.training import Recipe

OF_ITEMS = ("label", "path_column", "features", "categories", "pattern", "triplets", "pairs")
"""Arguments of `trine train` that say something of labelled items, and nothing of interactions."""


def interactions_arguments(parser: Any) -> None:
    """Adds the tables beside a table of interactions."""
    for name in ("item", "user"):
        parser.add_argument(
            f"--{name}-table",
            type=str,
            default=None,
            metavar="TABLE",
            help=f"with a recipe for interactions: a table of what is known of the {name}s",
        )


def train_interactions(settings: Any, recipe: Recipe) -> None:
    """Trains on a table of interactions, and prints what was reached.

    Args:
        settings: The parsed arguments of `trine train`.
        recipe: The recipe, with a section `interactions`.

    Raises:
        SettingError: An argument belongs to labelled items.
    """
    from trine.pipelines import train_recommender

    for name in OF_ITEMS:
        if getattr(settings, name):
            raise SettingError(
                f"--{name.replace('_', '-')} says something of labelled items, and this recipe is for "
                "interactions; leave it out"
            )
    try:
        report = train_recommender(
            settings.data,
            recipe,
            out=settings.out,
            users=settings.user_table,
            items=settings.item_table,
            resume=settings.resume,
        )
    except KeyboardInterrupt:
        tables = "".join(
            f" --{name}-table {table}"
            for name, table in (("item", settings.item_table), ("user", settings.user_table))
            if table
        )
        echo(f"interrupted; go on with: trine train {settings.data} --out {settings.out}{tables} --resume")
        raise
    user = report.towers.settings.users[0]
    echo(
        f"{report}\n\n{settings.out} holds the model and metrics.json; ask it with: "
        f"trine recommend {settings.out} --user {user}"
    )


def check_no_tables(settings: Any) -> None:
    """Raises a `SettingError` where a recipe for labelled items is given tables beside interactions."""
    for name, table in (("item", settings.item_table), ("user", settings.user_table)):
        if table is not None:
            raise SettingError(
                f"--{name}-table goes with a table of interactions, and this recipe is for labelled items; "
                "leave it out, or take --recipe recommendation"
            )


def _arguments(parser: Any) -> None:
    parser.add_argument(
        "run",
        type=str,
        nargs="?",
        default=None,
        help="the folder of a run on interactions, in place of a gallery",
    )
    parser.add_argument("--user", type=str, default=None, help="of a run: the user to recommend items to")
    parser.add_argument("--item", type=str, default=None, help="of a run: the item to find others like")
    parser.add_argument(
        "--seen", action="store_true", help="of a run: recommend also what the user has met already"
    )
    for name, text in (("--like", "items to be near to"), ("--unlike", "items to keep away from")):
        parser.add_argument(
            name,
            type=str,
            nargs="+",
            action="extend",
            metavar="ITEM",
            default=[],
            help=f"of a gallery: {text}",
        )
    parser.add_argument("--gallery", type=str, default=None, help=f"{GALLERY} to look in")
    hits_arguments(parser)
    parser.add_argument(
        "--diversity",
        type=float,
        default=0.0,
        help="of a gallery, from 0, the nearest, to 1: how much each is to differ from those before it",
    )
    json_argument(parser)


def _recommend(settings: Any) -> None:
    if (settings.run is None) == (settings.gallery is None):
        raise SettingError(
            "recommend asks one thing: name the folder of a run on interactions with --user or --item, or "
            "--gallery with --like"
        )
    if settings.run is not None:
        _from_run(settings)
    else:
        _from_gallery(settings)


def _from_run(settings: Any) -> None:
    from trine.encoders import load_towers

    _refuse(settings, ("like", "unlike", "where", "diversity"), of="a gallery")
    if (settings.user is None) == (settings.item is None):
        raise SettingError("a run recommends to a user, or finds what is like an item: give --user or --item")
    if settings.item is not None:
        _refuse(settings, ("seen",), of="a user")
    towers = load_towers(settings.run)
    if settings.user is not None:
        found = towers.recommend(settings.user, k=settings.k, seen=settings.seen)
        asked = {"user": settings.user}
    else:
        found = towers.alike(settings.item, k=settings.k)
        asked = {"item": settings.item}
    if settings.json:
        hits = [{"item": each.item, "title": each.title, "score": each.score} for each in found]
        echo_json({**asked, "hits": hits})
        return
    if not found:
        echo("nothing found")
    for rank, each in enumerate(found, 1):
        echo(f"{rank:3}. {each.score:.3f}  {_named(each)}")


def _from_gallery(settings: Any) -> None:
    _refuse(settings, ("user", "item", "seen"), of="a run")
    if not settings.like:
        raise SettingError(
            "a gallery is asked for more of something: name at least one of its items with --like"
        )
    where = conditions(settings.where)
    with existing(settings.gallery) as gallery:
        hits = gallery.recommend(
            settings.like,
            unlike=settings.unlike,
            k=settings.k,
            diversity=settings.diversity,
            where=where,
        )
    if settings.json:
        echo_json({"like": settings.like, "unlike": settings.unlike, "hits": [as_json(hit) for hit in hits]})
    else:
        list_hits(hits)


def _refuse(settings: Any, names: tuple[str, ...], *, of: str) -> None:
    for name in names:
        if getattr(settings, name):
            raise SettingError(f"--{name} is a question to {of}; leave it out")


def _named(found: Suggestion) -> str:
    return f"{found.title}  ({found.item})" if found.title else found.item


RECOMMEND = Verb(
    _recommend,
    _arguments,
    "Which items suit this user, or are like these, and unlike those?",
    "trine recommend runs/films --user 17 -k 20\n"
    "trine recommend runs/films --item 318\n"
    "trine recommend --like a.jpg b.jpg --unlike c.jpg --diversity 0.3 --gallery shop",
)

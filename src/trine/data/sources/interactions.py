"""A table of interactions: which user interacted with which item, when, and with what rating."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from trine.data.interactions import Interactions
from trine.data.table_file import Columns, TableFile
from trine.errors import DataError
from trine.shapes import Float, Int64

USERS = ("user", "user_id", "userid", "customer", "customer_id", "session", "session_id")
"""The usual names of a user column; case is ignored."""

ITEMS = ("item", "item_id", "itemid", "movieid", "movie_id", "product", "product_id", "article_id")
"""The usual names of an item column; case is ignored."""

TIMES = ("time", "timestamp", "date", "datetime", "t_dat")
"""The usual names of a time column; case is ignored."""

RATINGS = ("rating", "weight", "score", "stars", "count", "plays")
"""The usual names of a rating column; case is ignored."""


@dataclass(frozen=True)
class InteractionColumns:
    """Which columns of a table of interactions to use; None takes a column with a usual name.

    Attributes:
        user: The user.
        item: The item.
        time: The time; if the table has none, its rows are taken to be in the order of time.
        rating: How much the user liked the item; a table may have none.
    """

    user: str | None = None
    item: str | None = None
    time: str | None = None
    rating: str | None = None


def read_interactions(
    path: str | Path, *, columns: InteractionColumns | None = None, at_least: float | None = None
) -> Interactions:
    """Reads a table with one interaction a row.

    Args:
        path: The table: .csv, .tsv (either also with .gz) or .parquet. Times are numbers, dates, or text such
            as 2024-05-31T12:00:00.
        columns: Which columns to use, where their names are not the usual ones.
        at_least: The lowest rating that counts as liked; None counts every interaction as liked.

    Returns:
        The interactions in the order of the table; users and items are numbered in order of appearance. If a
        user interacts with an item again, the first time counts and the best rating.

    Raises:
        DataError: The table is missing, damaged or empty, a column is missing, or a row has no user,
            no item, or a time or rating that cannot be read.
        MissingDependencyError: pyarrow is not installed.
    """
    columns = columns or InteractionColumns()
    file = TableFile(path, of="interaction")
    user, item, time, rating = _used_columns(file, columns, rated=at_least is not None)
    table = file.read(text=[user, item])
    users, user_of = table.numbered(user)
    items, item_of = table.numbered(item)
    times = None if time is None else _times(table, time)
    ratings = np.ones(len(table)) if rating is None else _ratings(table, rating)
    liked = np.ones(len(table), dtype=bool) if at_least is None else ratings >= at_least
    first, again = _first_of_each(user_of, item_of, times)
    best = np.zeros(len(first), dtype=bool)
    np.logical_or.at(best, again, liked)
    return Interactions(
        source=str(path),
        users=users,
        items=items,
        user=user_of[first],
        item=item_of[first],
        liked=best,
        time=None if times is None else times[first],
        repeats=len(again) - len(first),
    )


def _used_columns(
    file: TableFile, given: InteractionColumns, *, rated: bool
) -> tuple[str, str, str | None, str | None]:
    user = file.column(given.user, USERS, how="name the user column with interactions.user")
    item = file.column(given.item, ITEMS, how="name the item column with interactions.item")
    time = file.known_as(TIMES) if given.time is None else file.column(given.time)
    if given.rating is None and not rated:
        return user, item, time, file.known_as(RATINGS)
    how = "interactions.at_least needs ratings; set it to null, or name their column with interactions.rating"
    return user, item, time, file.column(given.rating, RATINGS, how=how)


def _ratings(table: Columns, column: str) -> Float[np.ndarray, " n"]:
    given = table.numbers(column)
    if given is None:
        raise DataError(f"{table.path}: the rating column {column!r} has no numbers: name another one")
    wrong = np.flatnonzero(~np.isfinite(given))
    if len(wrong):
        raise table.empty(column, int(wrong[0]))
    return given


def _times(table: Columns, column: str) -> Float[np.ndarray, " n"]:
    given = table.times(column)
    texts = table.texts(column) if given is None else []
    times = np.array([_seconds(text) for text in texts]) if given is None else given
    wrong = np.flatnonzero(~np.isfinite(times))
    if len(wrong):
        row = int(wrong[0])
        said = repr(texts[row]) if texts and texts[row] else "empty"
        raise DataError(
            f"{table.path}, row {row + 1}: the {column} is {said}, expected a number or a date such as "
            "2024-05-31"
        )
    return times.astype(np.float64)


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return np.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _first_of_each(
    user: Int64[np.ndarray, " n"], item: Int64[np.ndarray, " n"], time: Float[np.ndarray, " n"] | None
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " n"]]:
    """The first row of each pair of user and item, and for each row the first one that it repeats."""
    order = np.arange(len(user)) if time is None else np.argsort(time, kind="stable")
    pair = (user * (item.max(initial=0) + 1) + item)[order]
    _, start, same = np.unique(pair, return_index=True, return_inverse=True)
    in_table = np.argsort(order[start])
    again = np.empty(len(order), dtype=np.int64)
    again[order] = np.argsort(in_table)[same]
    return order[start][in_table], again

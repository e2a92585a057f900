"""A table of interactions: which user interacted with which item, when, and with what rating."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from trine.data.columns import Columns
from trine.data.interactions import Interactions
from trine.data.table import is_finite
from trine.data.table_file import open_table
from trine.data.table_reader import TableReader
from trine.errors import DataError, SettingError, check_type, require
from trine.shapes import Int64, Shaped

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
    path: object, *, columns: InteractionColumns | None = None, at_least: float | None = None
) -> Interactions:
    """Reads a table with one interaction a row.

    Args:
        path: The table: .csv, .tsv (either also with .gz) or .parquet, a DataFrame or a mapping of columns.
            Times are numbers, dates, or text such as 2024-05-31T12:00:00.
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
    columns = InteractionColumns() if columns is None else columns
    check_type("columns", columns, InteractionColumns, "InteractionColumns", error=SettingError)
    file = open_table(path, of="interaction")
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
        source=file.source,
        users=users,
        items=items,
        user=user_of[first],
        item=item_of[first],
        liked=best,
        time=None if times is None else times[first],
        repeats=len(again) - len(first),
        columns=tuple(name for name in (user, item, time, rating) if name is not None),
    )


def _used_columns(
    file: TableReader, given: InteractionColumns, *, rated: bool
) -> tuple[str, str, str | None, str | None]:
    user = file.column(given.user, USERS, "name the user column with interactions.user")
    item = file.column(given.item, ITEMS, "name the item column with interactions.item")
    time = next(iter(file.known_as(TIMES)), None) if given.time is None else file.column(given.time)
    if given.rating is None and not rated:
        return user, item, time, next(iter(file.known_as(RATINGS)), None)
    how = "interactions.at_least needs ratings; set it to null, or name their column with interactions.rating"
    return user, item, time, file.column(given.rating, RATINGS, how)


def _ratings(table: Columns, column: str) -> Shaped[np.ndarray, " n"]:
    given = table.numbers(column)
    if given is None:
        raise DataError(f"{table.source}: the rating column {column!r} has no numbers: name another one")
    wrong = np.flatnonzero(~is_finite(given))
    if len(wrong):
        raise table.empty(column, int(wrong[0]))
    return given


def _times(table: Columns, column: str) -> Shaped[np.ndarray, " n"]:
    given = table.times(column)
    texts = table.texts(column) if given is None else []
    times = _read_times(texts) if given is None else given
    wrong = np.flatnonzero(~is_finite(times))
    if len(wrong):
        row = int(wrong[0])
        said = repr(texts[row]) if texts and texts[row] else "empty"
        raise DataError(
            f"{table.source}, row {row + 1}: the {column} is {said}, expected a number or a date such as "
            "2024-05-31"
        )
    return times


def _read_times(texts: Sequence[str]) -> Shaped[np.ndarray, " n"]:
    """Reads texts as times: whole nanoseconds if all are ISO 8601, else seconds, NaN where one is no time."""
    arrow = require("pyarrow", extra="train")
    for zone in (None, "UTC"):
        try:
            moments = arrow.array(texts).cast(arrow.timestamp("ns", zone))
        except arrow.ArrowInvalid:
            continue
        return np.asarray(moments.cast(arrow.int64()).to_numpy())
    return np.array([_seconds(text) for text in texts])


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
    user: Int64[np.ndarray, " n"], item: Int64[np.ndarray, " n"], time: Shaped[np.ndarray, " n"] | None
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " n"]]:
    """The first row of each pair of user and item, and for each row the first one that it repeats."""
    order = np.arange(len(user)) if time is None else np.argsort(time, kind="stable")
    pair = (user * (item.max(initial=0) + 1) + item)[order]
    _, start, same = np.unique(pair, return_index=True, return_inverse=True)
    in_table = np.argsort(order[start])
    again = np.empty(len(order), dtype=np.int64)
    again[order] = np.argsort(in_table)[same]
    return order[start][in_table], again

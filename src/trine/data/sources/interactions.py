"""A CSV or Parquet table of interactions: which user met which item, when, and how it was rated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from trine.data.interactions import Interactions
from trine.data.sources.table import SUFFIXES, header, numbers, read_columns, strings
from trine.errors import DataError, nearest, require
from trine.shapes import Float

USERS = ("user", "user_id", "userid", "customer", "customer_id", "session", "session_id")
"""The names by which a user column is known when none is given; capitals do not matter."""

ITEMS = ("item", "item_id", "itemid", "movieid", "movie_id", "product", "product_id", "article_id")
"""The names by which an item column is known when none is given; capitals do not matter."""

TIMES = ("time", "timestamp", "date", "datetime", "t_dat")
"""The names by which a time column is known when none is given; capitals do not matter."""

RATINGS = ("rating", "weight", "score", "stars", "count", "plays")
"""The names by which a rating column is known when none is given; capitals do not matter."""


@dataclass(frozen=True)
class InteractionColumns:
    """Which column of a table of interactions is which; what is None goes by a usual name.

    Attributes:
        user: The user.
        item: The item.
        time: When it was; a table may have none, and then its rows are in the order of time.
        rating: How much the user liked it; a table may have none.
    """

    user: str | None = None
    item: str | None = None
    time: str | None = None
    rating: str | None = None


def read_interactions(
    path: str | Path, *, columns: InteractionColumns | None = None, at_least: float | None = None
) -> Interactions:
    """Reads a table of interactions: one row for each.

    Args:
        path: The table: .csv, .tsv (either also with .gz) or .parquet. Times are numbers, dates, or text such
            as 2024-05-31T12:00:00.
        columns: Which column is which, where they go by other names than the usual ones.
        at_least: The rating from which an item counts as liked; None counts all as liked.

    Returns:
        The interactions in the order of the table; users and items are numbered as they come. Where a user
        meets an item again, the first time counts and the best rating.

    Raises:
        DataError: There is no such table, it is damaged or empty, a column is missing, or a row has no user,
            no item, or a time or rating that cannot be read.
        MissingDependencyError: pyarrow is not installed.
    """
    path, columns = Path(path), columns or InteractionColumns()
    names = table_header(path, "interactions")
    user = column_of(path, names, columns.user, USERS, "user")
    item = column_of(path, names, columns.item, ITEMS, "item")
    time = column_of(path, names, columns.time, TIMES, "time", needed=columns.time is not None)
    wanted = columns.rating is not None or at_least is not None
    rating = column_of(path, names, columns.rating, RATINGS, "rating", needed=wanted)
    assert user is not None
    assert item is not None
    table = read_columns(path, [user, item])
    if table.num_rows == 0:
        raise DataError(f"{path} has no rows below its header, expected one for each interaction")
    numbered = [_numbered(path, table, column) for column in (user, item)]
    times = None if time is None else _times(path, table, time)
    ratings = np.ones(table.num_rows) if rating is None else _ratings(path, table, rating)
    liked = np.ones(table.num_rows, dtype=bool) if at_least is None else ratings >= at_least
    (users, user_of), (items, item_of) = numbered
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


def table_header(path: Path, what: str) -> list[str]:
    """Returns the names of a table's columns; a `DataError` where it is no table, or two have one name."""
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(f"{path} is no table of {what}: expected a file that ends with {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"there is no table of {what} {path}; name a file that is there")
    names = header(path)
    if repeats := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path} has two columns called {repeats[0]!r}: rename one")
    return names


def column_of(
    path: Path, names: list[str], given: str | None, usual: Sequence[str], what: str, *, needed: bool = True
) -> str | None:
    """Finds a column: the one that is given, or the one that goes by a usual name.

    Raises:
        DataError: The given one is not there; or none is, and one is needed.
    """
    if given is not None and given not in names:
        raise DataError(f"{path} has no column {given!r}: {nearest(given, names)}")
    if given is not None:
        return given
    found = next((held for name in usual for held in names if held.lower() == name), None)
    if found is None and needed:
        asked = "interactions.at_least asks for one; set it to null, or " if what == "rating" else ""
        raise DataError(
            f"{path} has no {what} column ({', '.join(usual)}): {asked}name it with interactions.{what}; it "
            f"has {', '.join(names[:12])}"
        )
    return found


def _numbered(path: Path, table: Any, column: str) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of a column as they come, and the number of each row's name."""
    number: dict[str, int] = {}
    rows = np.empty(table.num_rows, dtype=np.int64)
    for row, name in enumerate(strings(table, column)):
        if not name:
            raise DataError(f"{path}, row {row + 1} has no {column}: fill it in, or leave the row out")
        rows[row] = number.setdefault(name, len(number))
    return tuple(number), rows


def _ratings(path: Path, table: Any, column: str) -> Float[np.ndarray, " n"]:
    given = numbers(table, column)
    if given is None:
        raise DataError(f"{path}: the rating column {column!r} has no numbers: name another one")
    wrong = np.flatnonzero(~np.isfinite(given))
    if len(wrong):
        raise DataError(f"{path}, row {wrong[0] + 1} has no {column}: fill it in, or leave the row out")
    return given


def _times(path: Path, table: Any, column: str) -> Float[np.ndarray, " n"]:
    arrow = require("pyarrow", extra="train")
    given = numbers(table, column)
    kind = table.schema.field(column).type
    if given is None and arrow.types.is_temporal(kind):
        moments = table.column(column).cast(arrow.timestamp("us")).cast(arrow.int64())
        given = np.asarray(moments.cast(arrow.float64()).to_numpy(zero_copy_only=False))
    texts = strings(table, column) if given is None else []
    times = np.array([_moment(text) for text in texts]) if given is None else given
    wrong = np.flatnonzero(~np.isfinite(times))
    if len(wrong):
        row = int(wrong[0])
        said = repr(texts[row]) if texts and texts[row] else "empty"
        raise DataError(
            f"{path}, row {row + 1}: the {column} is {said}, expected a number or a date such as 2024-05-31"
        )
    return times.astype(np.float64)


def _moment(text: str) -> float:
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
    user: np.ndarray, item: np.ndarray, time: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The rows where a user meets an item for the first time; and for each row, which of them it repeats."""
    rows = np.arange(len(user))
    order = np.lexsort((rows, rows if time is None else time, item, user))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (user[order][1:] != user[order][:-1]) | (item[order][1:] != item[order][:-1])
    first = order[new]
    in_table = np.argsort(first)
    place = np.empty(len(first), dtype=np.int64)
    place[in_table] = np.arange(len(first))
    again = np.empty(len(order), dtype=np.int64)
    again[order] = place[np.cumsum(new) - 1]
    return first[in_table], again

"""Who liked what: a table read as it is written, and parts of it that a loop over users makes, too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.data import InteractionColumns, Interactions, leave_last_out, read_features, read_interactions
from trine.errors import DataError

SIX = """userId,movieId,rating,timestamp
7,film b,4.0,50
7,film a,5.0,40
9,film a,1.0,10
7,film c,3.5,60
7,film b,2.0,70
9,film c,4.5,20
"""


def table(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def random_interactions(users, items, times, liked):
    """Interactions in the order given, each pair of user and item once."""
    pairs = dict.fromkeys(zip(users, items, strict=True))
    rows = len(pairs)
    user, item = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    return Interactions(
        "t",
        tuple(f"u{i}" for i in range(max(users) + 1)),
        tuple(f"i{i}" for i in range(max(items) + 1)),
        user,
        item,
        np.array(liked[:rows], dtype=bool),
        None if times is None else np.array(times[:rows], dtype=np.float64),
    )


@st.composite
def interactions(draw):
    rows = draw(st.integers(1, 60))
    numbers = st.lists(st.integers(0, 5), min_size=rows, max_size=rows)
    times = draw(st.none() | numbers)
    liked = draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    items = draw(st.lists(st.integers(0, 15), min_size=rows, max_size=rows))
    return random_interactions(draw(numbers), items, times, liked)


def twin_parts(given):
    """The parts by a loop: of each user the history in order, cut at the last two liked."""
    train, validation, test, left_out = [], [], [], []
    for user in range(len(given.users)):
        rows = [row for row in range(len(given)) if given.user[row] == user]
        if given.time is not None:
            rows.sort(key=lambda row: (given.time[row], row))
        liked = [place for place, row in enumerate(rows) if given.liked[row]]
        if len(liked) < 3:
            train += rows
            continue
        for place, row in enumerate(rows):
            part = (
                test
                if place == liked[-1]
                else validation
                if place == liked[-2]
                else train
                if place < liked[-2]
                else left_out
            )
            part.append(row)
    return [sorted(part) for part in (train, validation, test, left_out)]


@given(interactions())
def test_the_last_liked_are_held_out_as_a_loop_over_users_does(given):
    expected = twin_parts(given)
    if not expected[2]:
        with pytest.raises(DataError, match="no user liked 3 items"):
            leave_last_out(given)
        return
    parts = leave_last_out(given)
    assert [p.tolist() for p in (parts.train, parts.validation, parts.test, parts.left_out)] == expected


@given(interactions())
def test_no_pair_of_a_held_out_part_is_in_another_and_nothing_later_is_learned(given):
    try:
        parts = leave_last_out(given)
    except DataError:
        return
    together = np.concatenate([parts.train, parts.validation, parts.test, parts.left_out])
    assert sorted(together.tolist()) == list(range(len(given)))
    pairs = [
        {tuple(pair) for pair in given.pairs[part]} for part in (parts.train, parts.validation, parts.test)
    ]
    assert len(pairs[0] | pairs[1] | pairs[2]) == sum(map(len, pairs))
    assert given.liked[parts.test].all()
    assert given.liked[parts.validation].all()
    if given.time is None:
        return
    for row in parts.validation:
        own = parts.train[given.user[parts.train] == given.user[row]]
        assert (given.time[own] <= given.time[row]).all()


def test_a_table_is_read_with_its_usual_names_and_repeats_count_once(tmp_path):
    found = read_interactions(table(tmp_path, SIX), at_least=4)
    assert found.users == ("7", "9")
    assert found.items == ("film b", "film a", "film c")
    assert found.user.tolist() == [0, 0, 1, 0, 1]
    assert found.item.tolist() == [0, 1, 1, 2, 2]
    # The second rating of film b is a repeat: the first time counts, and the best rating.
    assert found.liked.tolist() == [True, True, False, False, True]
    assert found.time.tolist() == [50, 40, 10, 60, 20]
    assert found.repeats == 1
    assert "5 interactions of 2 users with 3 items, 3 liked, 1 repeated" in str(found)


def test_all_counts_as_liked_without_a_limit_and_rows_are_in_order_without_a_time(tmp_path):
    text = "customer\tproduct\nann\tbread\nann\tmilk\nann\ttea\nbob\ttea\n"
    found = read_interactions(table(tmp_path, text, "t.tsv"))
    assert found.time is None
    assert found.liked.all()
    parts = leave_last_out(found)
    assert (parts.test.tolist(), parts.validation.tolist(), parts.train.tolist()) == ([2], [1], [0, 3])
    assert parts.unasked == 1


@pytest.mark.parametrize("kind", ["parquet", "zone", "plain", "seconds"])
def test_times_may_be_numbers_texts_and_dates(tmp_path, kind):
    moments = ["2024-05-31T12:00:00", "2023-01-01T00:00:00"]
    if kind == "parquet":
        arrow = pytest.importorskip("pyarrow")
        when = arrow.array(moments).cast(arrow.timestamp("ms"))
        path = tmp_path / "t.parquet"
        pytest.importorskip("pyarrow.parquet").write_table(
            arrow.table({"user": ["a", "a"], "item": [3, 1], "when": when}), path
        )
    else:
        written = {"zone": [f"{each}+00:00" for each in moments], "plain": moments, "seconds": ["9.5", "8"]}
        rows = "".join(f"a,{item},{each}\n" for item, each in zip((3, 1), written[kind], strict=True))
        path = table(tmp_path, f"user,item,when\n{rows}")
    found = read_interactions(path, columns=InteractionColumns(time="when"))
    assert found.items == ("3", "1")
    assert found.time[0] > found.time[1]


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("user,film\na,b\n", {}, "has no column named item, item_id"),
        ("who,item\na,b\n", {}, "name the user column with interactions.user; its columns are who, item"),
        ("user,item\na,b\n", {"at_least": 4.0}, "has no column named rating, .* set it to null"),
        ("user,item\n", {}, "has no rows below its header"),
        ("user,item\na,b\n,c\n", {}, "row 2 has no user"),
        ("user,item\na,\n", {}, "row 1 has no item"),
        ("user,item,rating\na,b,4\na,c,\n", {"at_least": 4.0}, "row 2 has no rating"),
        ("user,item,rating\na,b,good\n", {"at_least": 4.0}, "'rating' has no numbers"),
        ("user,item,time\na,b,2024-01-01\na,c,soon\n", {}, "row 2: the time is 'soon'"),
        ("user,item,time\na,b,5\na,c,\n", {}, "row 2: the time is empty"),
        ("user,item,user\na,b,c\n", {}, "two columns named 'user'"),
        ("user,item\na,b\n", {"columns": InteractionColumns(item="itme")}, "did you mean 'item'"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, text, settings, message):
    path = table(tmp_path, text)
    with pytest.raises(DataError, match=message) as refused:
        read_interactions(path, **settings)
    assert str(path) in str(refused.value)


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no table of interactions"):
        read_interactions(tmp_path / "none.csv")
    with pytest.raises(DataError, match="is not a table of interactions: expected a file that ends in"):
        read_interactions(tmp_path / "t.txt")


FILMS = """movieId,title,genres,year,maker
1,One,Comedy|Drama,1990,x
2,Two,Drama,,y
3,Three,,2000,z
4,Four,Comedy,,v
9,Nine,War,1950,w
"""


def test_features_are_numbers_categories_and_several_at_once(tmp_path):
    path = table(tmp_path, FILMS)
    found = read_features(path, ["2", "1", "5", "3", "4"])
    assert found.columns == ("genres=Comedy", "genres=Drama", "year")
    assert found.titles == ("Two", "One", "", "Three", "Four")
    # The mean year of those that are asked for is 1995 and the deviation 5; what is not known is the mean.
    np.testing.assert_allclose(found.values, [[0, 1, 0], [0.5, 0.5, -1], [0, 0, 0], [0, 0, 1], [1, 0, 0]])
    assert found.notes == (
        f"{path} lacks 1 of the 5 items",
        f"skipped: columns of {path} whose text hardly repeats (maker)",
    )
    chosen = read_features(path, ["1", "2"], only=["maker"])
    assert chosen.columns == ("maker=x", "maker=y")
    assert chosen.values.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("text", "names", "only", "message"),
    [
        (FILMS, ["77"], None, "has none of the 1 items"),
        (FILMS + "1,Again,,,\n", ["1"], None, "row 6 repeats the item '1' of row 1"),
        (FILMS, ["1"], ["genre"], "did you mean 'genres'"),
        ("film,year\n1,1990\n", ["1"], None, "has no column named item, item_id"),
    ],
)
def test_a_table_of_features_that_cannot_be_used_is_refused(tmp_path, text, names, only, message):
    with pytest.raises(DataError, match=message):
        read_features(table(tmp_path, text), names, only=only)

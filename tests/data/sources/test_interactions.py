"""Tables of interactions: usual names, repeats, times, ratings and mistakes."""

import pytest

from trine.data import InteractionColumns, leave_last_out, read_interactions
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
    assert str(found).endswith(
        "5 interactions of 2 users with 3 items, 3 liked, 1 repeated ones skipped "
        "(columns userId, movieId, timestamp, rating)"
    )


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


def test_times_that_differ_by_nanoseconds_are_in_order(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    ticks = [1700000000000000001, 1700000000000000000]
    for name, times in {
        "moments": arrow.array(ticks, arrow.timestamp("ns")),
        "numbers": arrow.array(ticks),
        "texts": arrow.array(["2024-05-31T12:00:00.000000001", "2024-05-31T12:00:00"]),
        "zoned": arrow.array(["2024-05-31T12:00:00.000000001+02:00", "2024-05-31T10:00:00Z"]),
    }.items():
        table = arrow.table({"user": ["u", "u"], "item": ["a", "b"], "time": times})
        parquet.write_table(table, tmp_path / f"{name}.parquet")
        import pyarrow.csv as write

        write.write_csv(table, tmp_path / f"{name}.csv")
        for suffix in ("parquet", "csv"):
            found = read_interactions(tmp_path / f"{name}.{suffix}")
            assert found.time[0] == found.time[1] + 1


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

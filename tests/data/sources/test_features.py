"""Tables about items and users: metadata to keep, and features to learn from."""

import datetime

import numpy as np
import pytest

from trine.data import read_features, read_metadata
from trine.errors import DataError

arrow = pytest.importorskip("pyarrow")


def test_csv_and_parquet_say_the_same(tmp_path):
    rows = {
        "item": ["1", "2", "3"],
        "year": [2024, None, 2023],
        "share": [0.5, 1.0, None],
        "sold": [True, False, None],
        "day": [datetime.date(2024, 5, 31), None, datetime.date(2023, 1, 1)],
        "colour": ["red, faded", "", "blue"],
    }
    expected = {
        "1": {"year": 2024, "share": 0.5, "sold": True, "day": "2024-05-31", "colour": "red, faded"},
        "2": {"share": 1.0, "sold": False},
        "3": {"year": 2023, "day": "2023-01-01", "colour": "blue"},
    }
    table = arrow.table(rows)
    import pyarrow.csv as write
    import pyarrow.parquet as parquet

    parquet.write_table(table, tmp_path / "t.parquet")
    write.write_csv(table, tmp_path / "t.csv")
    assert read_metadata(tmp_path / "t.parquet") == expected
    assert read_metadata(tmp_path / "t.csv") == expected


def test_what_is_no_table_of_metadata(tmp_path):
    with pytest.raises(DataError, match="is not a table of items"):
        read_metadata(tmp_path / "t.txt")
    (tmp_path / "t.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match="damaged"):
        read_metadata(tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(DataError, match="is empty"):
        read_metadata(tmp_path / "t.csv")


def table(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


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


def test_numbers_beyond_float32_and_float64_are_standardised_by_their_digits(tmp_path):
    names, large = ["1", "2", "3"], [2**60, 2**60 + 2, 2**60 + 4]
    text = "item,large,huge,tiny\n" + "".join(
        f"{name},{whole},{huge}e300,{tiny}e-200\n"
        for name, whole, huge, tiny in zip(names, large, (1, 2, 3), (3, 2, 1), strict=True)
    )
    found = read_features(table(tmp_path, text), names)
    unit = np.sqrt(1.5)
    np.testing.assert_allclose(
        found.values, [[-unit, -unit, unit], [0, 0, 0], [unit, unit, -unit]], atol=1e-6
    )


def test_lists_of_texts_and_of_numbers(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"item": ["1", "2"], "genres": [["Comedy", "Drama"], ["Drama"]], "e": [[1.0, 5.0], [3.0, 5.0]]}
    parquet.write_table(arrow.table(columns), tmp_path / "t.parquet")
    found = read_features(tmp_path / "t.parquet", ["1", "2"], only=["genres", "e"])
    assert found.columns == ("genres=Comedy", "genres=Drama", "e[0]", "e[1]")
    np.testing.assert_allclose(found.values, [[0.5, 0.5, -1, 0], [0, 1, 1, 0]])


def test_metadata_keeps_codes_durations_and_whole_numbers(tmp_path):
    path = table(tmp_path, "item,zip,hash,share,when\n007,01234,18446744073709551615,1e39,2024-05-31 12:00\n")
    assert read_metadata(path) == {
        "007": {"zip": "01234", "hash": 2**64 - 1, "share": 1e39, "when": "2024-05-31 12:00"}
    }


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

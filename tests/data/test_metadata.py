"""Metadata of items from a table: numbers, booleans, dates and texts, and nothing for an empty cell."""

import datetime

import pytest

from trine.data import read_metadata
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

"""Tables of triplets: read by name, checked row by row, and dealt into batches."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trine.data import TripletTable, read_triplets
from trine.errors import DataError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_items_are_found_by_name_in_either_kind_of_table(tmp_path: Path) -> None:
    names = ["ann/1.png", "ann/2.png", "bob/1.png", "row 7"]
    rows = [("ann/1.png", "ann/2.png", "bob/1.png"), ("row 7", "ann/1.png", "ann/2.png")]
    lines = ["anchor,d_ap,positive,negative", *(f"{a},0.5,{p},{n}" for a, p, n in rows)]
    columns = {"negative": [n for *_, n in rows], "anchor": [a for a, *_ in rows]}
    pq.write_table(pa.table({**columns, "positive": [p for _, p, _ in rows]}), tmp_path / "t.parquet")
    for path in (write(tmp_path / "t.csv", "\n".join(lines) + "\n"), tmp_path / "t.parquet"):
        table = read_triplets(path)
        assert len(table) == 2
        assert table.positions(names).tolist() == [[0, 1, 2], [3, 0, 1]]


def test_numbers_are_names_as_well(tmp_path: Path) -> None:
    table = read_triplets(write(tmp_path / "t.csv", "anchor,positive,negative\n007,7,70\n"))
    assert table.positions(["7", "70", "007"]).tolist() == [[2, 0, 1]]


def test_an_unknown_name_is_named_with_its_row() -> None:
    table = TripletTable("t.csv", ("a.png", "b.png"), ("b.png", "a.png"), ("c.png", "d.png"))
    with pytest.raises(
        DataError,
        match=r"^t.csv, row 2: the negative 'd.png' is not an item of the data; did you mean 'c.png'\?$",
    ):
        table.positions(["a.png", "b.png", "c.png"])
    with pytest.raises(
        DataError, match=r"the anchor 'a.png' is not an item of the data; items are named 'row 1'"
    ):
        table.positions(["row 1", "row 2"])
    with pytest.raises(DataError, match=r"the anchor 'a.png' is not an item .* there are no items$"):
        table.positions([])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "t.csv",
            "anchor,positive\na,b\n",
            r"no column named negative, .*: a table of triplets has",
        ),
        ("t.csv", "anchor,positive,negative\n", r"t.csv has no rows below its header"),
        ("t.csv", "anchor,positive,negative\na,b,c\na,b,a\n", r"row 2 names one item twice \(a, b, a\)"),
        (
            "t.csv",
            "anchor,positive,negative\na,,c\n",
            r"row 1 has no positive: fill it in, or remove",
        ),
        ("t.txt", "", r"t.txt is not a table of triplets: expected a file that ends in .csv, "),
        ("t.parquet", "nothing", r"t.parquet is not a Parquet file, or it is damaged"),
    ],
)
def test_mistakes_in_a_table(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_triplets(write(tmp_path / name, text))
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no table of triplets at .*t.csv: give the path"):
        read_triplets(tmp_path / "t.csv")

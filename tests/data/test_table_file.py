"""Table files: what is read of them, and what is refused."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trine.data import load, read_metadata
from trine.data.table_file import open_table
from trine.errors import DataError

BODY = "label,a,b\nx,1,2\nx,2,3\ny,5,6\ny,6,7\n"


def rows_of(path):
    data, _ = load(path)
    return [data.identity(at) for at in range(len(data))], data.items.rows.tolist()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("utf16.csv", BODY.encode("utf-16")),
        ("utf16.tsv", BODY.replace(",", "\t").encode("utf-16")),
        ("blank.csv", b"\n\n" + BODY.encode()),
        ("comment.csv", b"# by a tool\n" + BODY.encode()),
        ("old mac.csv", BODY.replace("\n", "\r").encode()),
        ("excel.csv", ("sep=;\n" + BODY.replace(",", ";")).encode()),
        ("bom.csv", BODY.encode("utf-8-sig")),
        ("packed.CSV.GZ", gzip.compress(BODY.encode("utf-16"), mtime=0)),
        (
            "numbered.csv",
            "".join(f"{at},{row}" for at, row in enumerate(BODY.splitlines(True))).replace("0,", ",", 1),
        ),
        (
            "pandas.csv",
            "".join(f"{at},{row}" for at, row in enumerate(BODY.splitlines(True))).replace(
                "0,", "Unnamed: 0,", 1
            ),
        ),
        ("quoted.csv", '"' + BODY.strip().replace(",", '","').replace("\n", '"\n"') + '"'),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value[:14] else "",
)
def test_files_that_others_write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert rows_of(path) == (["x", "x", "y", "y"], [[1, 2], [2, 3], [5, 6], [6, 7]])


def test_letters_that_are_not_utf8_are_read_and_it_is_said(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("label,größe\nMüller,1\nÅse,2\n".encode("latin-1"))
    data, report = load(path)
    assert (data.identities, data.items.features) == (("Müller", "Åse"), ("größe",))
    assert report.notes == ("read as cp1252, since it is not UTF-8: save it as UTF-8 if letters look wrong",)
    path.write_bytes("item,größe\nx,1\n".encode("latin-1"))
    assert read_metadata(path) == {"x": {"größe": 1}}


def test_a_letter_far_below_the_header_decides_the_encoding_as_well(tmp_path):
    path = tmp_path / "t.csv"
    rows = b"x,1\n" * 100_000
    path.write_bytes(b"label,a\n" + rows + "Müller,2\n".encode("latin-1"))
    assert load(path)[0].identities == ("Müller", "x")
    path.write_bytes("label,größe\n".encode() + rows + "Müller,2\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"the header is UTF-8 and some rows are not: save all as UTF-8"):
        load(path)


def test_a_header_longer_than_the_first_sample_is_read_whole(tmp_path):
    names = [f"column {at:06}" for at in range(30_000)]
    path = tmp_path / "t.csv"
    path.write_text(",".join(["label", *names]) + "\n" + ",".join(["x", *["1"] * len(names)]) + "\n")
    assert open_table(path).names == ("label", *names)


def test_a_packed_file_that_fills_the_memory_is_refused(tmp_path):
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(b"label,a\n", mtime=0) + 80 * gzip.compress(b"x,1\n" * (1 << 20)))
    with pytest.raises(DataError, match=r"bomb\.csv\.gz unpacks to more than 200 times its size"):
        load(path)
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"label": np.zeros(1 << 26, dtype=np.int8)}), path)
    with pytest.raises(DataError, match=r"bomb\.parquet unpacks to more than 200 times its size"):
        load(path)


def test_names_of_parquet_columns_and_folders_mean_nothing_else(tmp_path):
    folder = tmp_path / "label=z"
    folder.mkdir()
    pq.write_table(pa.table({"label": ["x", "y"], "a.b": [1, 2]}), folder / "t.parquet")
    assert rows_of(folder / "t.parquet") == (["x", "y"], [[1], [2]])


@pytest.mark.parametrize("name", ["x" * 300 + ".csv", "no\0.csv"])
def test_names_that_no_file_has(name):
    with pytest.raises(DataError, match="there is no table of items at"):
        open_table(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"label,a\nx,1,2\n", r"cannot be read as a table: .*Expected 2 columns, got 3"),
        (b"", r"is empty, expected a header line"),
        (b"label,a\n", r"has no rows below its header"),
        (b"label,a\n\n\n", r"has no rows below its header"),
        (gzip.compress(BODY.encode(), mtime=0)[:-12], r"cannot be read: "),
    ],
)
def test_files_that_cannot_be_read(tmp_path, content, message):
    path = tmp_path / ("t.csv.gz" if content.startswith(b"\x1f") else "t.csv")
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(path)


def test_many_columns_take_linear_time(tmp_path):
    path = tmp_path / "wide.csv"
    names = [f"c{at}" for at in range(5000)]
    path.write_text(
        "\n".join(
            ",".join(row) for row in ([*names, "label"], *[["1.5"] * 5000 + [str(k)] for k in range(4)])
        )
    )
    data, _ = load(path)
    assert data.items.features == tuple(names)

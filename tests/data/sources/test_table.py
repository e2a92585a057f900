from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from support.paths import SHARED_DATA
from trine.data import LoadPolicy, Table, has_identities, load
from trine.errors import DataError, InputError, SettingError


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_features_are_the_remaining_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,label,note,b,camera\n1,x,hi,2.5,1\n3,y,ho,4,2\n5,x,he,6,1\n")
    data, report = load(path)
    assert isinstance(data.items, Table)
    assert data.items.rows.tolist() == [[1, 2.5], [3, 4], [5, 6]]
    assert data.identities == ("x", "y")
    assert data.names == ("row 1", "row 2", "row 3")
    assert data.columns["camera"].tolist() == ["1", "2", "1"]
    assert report.notes == ("skipped: columns without numbers (note)",)
    chosen, _ = load(path, features=["b"])
    assert chosen.items.rows[0].tolist() == [2.5]


def test_labels_are_kept_as_written(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "Label,v\n007,1\n7,2\nNA,3\n1.0,4\nnull,5\n")
    assert load(path)[0].identities == ("1.0", "007", "7", "NA", "null")


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_separators_byte_order_marks_and_line_ends(tmp_path: Path, mark: str) -> None:
    text = (
        "\ufeff" + "\r\n".join(mark.join(row) for row in (["label", "v w"], ["a", "1"], ["b", "2"])) + "\r\n"
    )
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", newline="")
    data, _ = load(tmp_path / "t.csv")
    assert data.identities == ("a", "b")
    assert data.items.rows[1].tolist() == [2.0]


def test_a_column_may_change_from_integers_to_fractions_far_down(tmp_path: Path) -> None:
    rows = ["a,1"] * 300_000 + ["b,0.5"]
    data, _ = load(write(tmp_path / "t.csv", "\n".join(["label,v", *rows])))
    assert data.items.rows[300_000].tolist() == [0.5]


def test_pictures_are_relative_to_the_table(tmp_path: Path) -> None:
    for name, value in (("a.png", 1), ("b.png", 2)):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.new("L", (2, 2), value).save(tmp_path / "pictures" / name)
    path = write(
        tmp_path / "t.csv",
        f"file,person,size,group\npictures/a.png,ann,3,g\n{tmp_path}/pictures/b.png,bob,4,h\n",
    )
    data, _ = load(path)
    assert data.kind == "images"
    assert [int(data.items[i].max()) for i in range(2)] == [1, 2]
    assert data.names[0] == "pictures/a.png"
    assert data.columns["group"].tolist() == ["g", "h"]
    by_size, _ = load(path, label="size", path_column="file")
    assert by_size.identities == ("3", "4")


def test_a_column_called_file_may_hold_something_else(tmp_path: Path) -> None:
    data, _ = load(write(tmp_path / "t.csv", "file,label,v\n8fa3,x,1\n77bc,y,2\n"))
    assert data.kind == "vectors"


def test_a_path_listed_twice(tmp_path: Path) -> None:
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    path = write(tmp_path / "t.csv", "path,label\na.png,x\n./a.png,x\na.png,x\n")
    with pytest.raises(DataError, match=r"2 images listed more than once: \./a\.png, a\.png \(item 2\)"):
        load(path)
    assert len(load(path, policy=LoadPolicy(duplicates="skip"))[0]) == 1
    data, _ = load(path, policy=LoadPolicy(duplicates="keep"))
    assert data.names == ("a.png (item 0)", "./a.png", "a.png (item 2)")


def test_missing_labels_paths_and_numbers_are_named_by_row(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "label,v,w\nx,1,2\n ,3,4\ny,,6\ny,7,inf\ny,1,1\n")
    with pytest.raises(DataError, match=r"t\.csv: 1 row without an identity: row 2;"):
        load(path)
    with pytest.raises(
        DataError,
        match=r"1 row that cannot be read: row 4 \(column 'w' is not finite\)",
    ):
        load(path, policy=LoadPolicy(unlabelled="skip"))
    with pytest.raises(
        DataError,
        match=r"1 row with missing values: row 3 \(column 'v' is empty\); .* or keep them with missing=",
    ):
        load(path, policy=LoadPolicy(unlabelled="skip", unreadable="skip"))
    kept = LoadPolicy(unlabelled="skip", unreadable="skip", missing="keep")
    data, report = load(path, policy=kept)
    assert data.names == ("row 1", "row 3", "row 5")
    assert report.missing == ("row 3 (column 'v' is empty)",)
    assert "kept: 1 row with missing values (row 3" in str(report)
    data, report = load(path, policy=replace(kept, missing="skip"))
    assert data.names == ("row 1", "row 5")
    assert "skipped: 1 row with missing values (row 3" in str(report)

    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"row 2 \(row 2 has no path\), b\.png \(no such file\)"):
        load(write(tmp_path / "p.csv", "path,label\na.png,x\n,x\nb.png,y\n"))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            "label,v\nx,1\n",
            {"label": "lable"},
            r"has no column 'lable': did you mean 'label'\? known: label, v",
        ),
        (
            "who,v\nx,1\n",
            {},
            r"no column named label, .* name the label column .* columns are who, v",
        ),
        ("label,v\nx,1\n", {"path_column": "p"}, r"has no column 'p'"),
        ("label,v\nx,1\n", {"features": ["w"]}, r"has no column 'w'"),
        ("label,v,t\nx,1,a\n", {"features": ["t"]}, r"the column 't' has no numbers"),
        ("label,t\nx,a\n", {}, r"neither a path column .* nor columns of numbers"),
        ("label,v,v\nx,1,2\n", {}, r"two columns named 'v'"),
        ("label,v\nx,1,2\n", {}, r"cannot be read as a table: .*Expected 2 columns, got 3"),
        ("", {}, r"is empty, expected a header line"),
        ("label,v\n", {}, r"has no rows below its header"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, options: dict[str, str], message: str) -> None:
    path = write(tmp_path / "t.csv", text)
    with pytest.raises(DataError, match=message):
        load(path, **options)  # type: ignore[arg-type]


def test_a_wide_table_lists_the_near_columns_only(tmp_path: Path) -> None:
    names = ["label", *(f"column{number}" for number in range(500))]
    path = write(tmp_path / "t.csv", ",".join(names) + "\n" + ",".join(["1"] * 501) + "\n")
    with pytest.raises(DataError, match=r"did you mean 'label'\?") as caught:
        load(path, label="labels")
    assert len(str(caught.value)) < 400


def test_parquet(tmp_path: Path) -> None:
    table = pa.table(
        {
            "identity": pa.array([1.0, 2.0, None]),
            "v": pa.array([1, 2, 3], pa.int8()),
            "flag": pa.array([True, False, True]),
            "price": pa.array([Decimal("1"), Decimal("2.5"), Decimal("3")], pa.decimal128(10, 2)),
            "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
            "__index_level_0__": pa.array([5, 6, 7]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    data, _ = load(tmp_path / "t.parquet", policy=LoadPolicy(unlabelled="skip"))
    assert data.identities == ("1", "2")
    assert data.items.rows[1].tolist() == [2.0, 0.0, 2.5]
    by_kind, _ = load(tmp_path / "t.parquet", label="kind", features=["v"])
    assert by_kind.identities == ("a", "b")
    content = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(content[:100])
    with pytest.raises(DataError, match=r"is not a Parquet file, or it is damaged"):
        load(tmp_path / "t.parquet")


def test_a_table_without_labels_does_not_make_them_features(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "v,class\n1,0\n2,1\n")
    data, _ = load(path, labelled=False)
    assert data.items.rows[1].tolist() == [2.0]
    assert data.identities == ()


@pytest.mark.parametrize(
    ("name", "label", "items", "identities", "features", "repeated"),
    [
        ("malware_clamp/ClaMP_Integrated-5184.csv", None, 5210, 2, 68, 3),
        ("malware_clamp/ClaMP_Raw-5184.csv", None, 5184, 2, 53, 624),
        ("malware_big2015/big2015.csv.gz", "family", 6095, 6, 103, 0),
    ],
)
def test_real_tables(
    name: str, label: str | None, items: int, identities: int, features: int, repeated: int
) -> None:
    if not (SHARED_DATA / name).exists():
        pytest.skip(f"real data {name} is not beside the checkout")
    data, report = load(SHARED_DATA / name, label=label)
    assert (len(data), len(data.identities)) == (items, identities)
    assert data.items.rows.shape == (items, features)
    assert len(report.repeated) == repeated
    for later, first in report.repeated[:1]:
        rows = [data.items.rows[data.names.index(name)] for name in (later, first)]
        np.testing.assert_array_equal(*rows)


TABLE = (
    "label,size,packer,code,empty,when\nx,1,upx,007,,2020-01-01\ny,2,,8,,2020-01-02\ny,3,upx,7,,2020-01-03\n"
)


def test_categories_and_columns_that_are_carried_along(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", TABLE)
    data, report = load(path)
    assert data.items.features == ("size", "code")
    assert report.notes == ("skipped: columns without numbers (packer, empty, when)",)
    assert set(data.items.columns) == {"size", "packer", "code", "empty", "when"}
    with pytest.raises(DataError, match=r"1 row with missing values: row 2 \(column 'packer' is empty\)"):
        load(path, categories=["packer", "code"])
    data, _ = load(path, categories=["packer", "code"], policy=LoadPolicy(missing="keep"))
    assert data.items.features == ("size", "packer", "code")
    assert data.items.categories == ("packer", "code")
    assert data.items[0] == {
        "size": 1.0,
        "packer": "upx",
        "code": "007",
        "when": "2020-01-01",
        "empty": pytest.approx(np.nan, nan_ok=True),
    }
    assert data.items.subset([2, 0]).columns["code"].tolist() == ["7", "007"]
    with pytest.raises(InputError, match=r"column 'packer' holds texts, and rows are numbers"):
        _ = data.items.rows
    alone, _ = load(path, features=["size"], categories=["code"])
    assert alone.items.features == ("size", "code")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"categories": ["packr"]}, r"has no column 'packr': did you mean 'packer'"),
        ({"categories": ["label"]}, r"the label column 'label' cannot be a feature"),
        (
            {"features": ["empty"]},
            r"the column 'empty' has no numbers: remove it from features, or name it in",
        ),
        ({"features": ["packer"]}, r"the column 'packer' has no numbers"),
    ],
)
def test_bad_features(tmp_path: Path, options: dict[str, list[str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(write(tmp_path / "t.csv", TABLE), **options)  # type: ignore[arg-type]


def test_categories_belong_to_tables(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.eye(2), y=np.arange(2))
    with pytest.raises(SettingError, match=r"categories=\['a'\] names a column of a table"):
        load(tmp_path / "d.npz", categories=["a"])


def test_tables_that_do_not_fit_together() -> None:
    with pytest.raises(DataError, match=r"'b' has 1 values and column 'a' has 2: expected"):
        Table({"a": np.zeros(2), "b": np.zeros(1)}, ("a",))
    with pytest.raises(DataError, match=r"feature 'c' is not a column"):
        Table({"a": np.zeros(2)}, ("c",))
    with pytest.raises(DataError, match=r"a table without columns"):
        Table({}, ())


def test_the_report_names_the_column_of_the_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "Class,a\n0,1\n1,2\n")
    _, report = load(path)
    assert report.label == "column 'Class'"
    assert str(report).startswith(f"{path}: 2 rows of 2 identities in column 'Class', 1 each")
    assert load(path, label="a", features=["Class"])[1].label == "column 'a'"
    assert load(path, labelled=False)[1].label == ""


def test_where_two_columns_may_be_the_label_one_must_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "two.csv", "class,target,a\n1,0,1.5\n3,0,2.5\n1,1,3.5\n3,1,4.5\n")
    with pytest.raises(
        DataError,
        match=r"two\.csv has the columns 'class' and 'target', and each may be the label: name one with",
    ) as refused:
        load(path)
    assert refused.value.with_options().endswith("name one with --label class")
    data, report = load(path, label="class")
    assert data.identities == ("1", "3")
    assert data.items.features == ("a",)
    assert report.notes == ("skipped: columns that may be other labels (target)",)
    assert load(path, label="class", features=["target"])[0].items.features == ("target",)
    assert load(path, labelled=False)[0].items.features == ("a",)
    assert has_identities(path)


def test_a_coordinate_y_is_no_label(tmp_path: Path) -> None:
    rows = "1,2,3,walk\n1,2,4,walk\n5,3,1,sit\n"
    path = write(tmp_path / "xyz.csv", f"x,y,z,activity\n{rows}")
    with pytest.raises(DataError, match=r"its column 'y' may be a coordinate beside 'x': name .* label='y'"):
        load(path)
    assert not has_identities(path)
    assert load(path, label="activity")[0].items.features == ("x", "y", "z")
    assert load(path, label="y")[0].identities == ("2", "3")
    data, _ = load(write(tmp_path / "xyl.csv", f"x,y,z,label\n{rows}"))
    assert data.items.features == ("x", "y", "z")


def test_missing_labels_of_every_spelling_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "label,v\nx,1\nnan,2\nNaT,3\n <NA>,4\n,5\nNA,6\n")
    with pytest.raises(
        DataError, match=r"4 rows without an identity: row 2, row 3, row 4 and 1 more; .*skip"
    ):
        load(path)
    assert load(path, policy=LoadPolicy(unlabelled="skip"))[0].identities == ("NA", "x")


def test_a_missing_camera_or_group_is_none_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "label,v,camera\nx,1,1\nx,2,\ny,3,2\n")
    with pytest.raises(DataError, match=r"t\.csv, row 2 has no camera: fill it in, or remove the row"):
        load(path)
    assert load(path, labelled=False)[0].columns["camera"].tolist() == ["1", "", "2"]


def test_rows_with_whole_numbers_beyond_float64_are_not_the_same(tmp_path: Path) -> None:
    numbers = [2**53, 2**53 + 1, 2**63, 2**63 + 1]
    write(tmp_path / "t.csv", "label,v,w\n" + "".join(f"x,{n},0.5\n" for n in numbers))
    pq.write_table(
        pa.table({"label": ["x"] * 4, "v": pa.array(numbers, pa.uint64()), "w": [0.5] * 4}),
        tmp_path / "t.parquet",
    )
    for name in ("t.csv", "t.parquet"):
        data, report = load(tmp_path / name)
        assert report.repeated == ()
        assert data.items.columns["v"].tolist() == numbers


def test_the_cell_that_makes_a_column_of_numbers_one_of_texts_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "label,age,a,note\nx,31,1,x\nx,?,2,1\ny,40,3,y\n")
    _, report = load(path)
    assert report.notes == ("skipped: columns without numbers (age: row 2 is '?', note)",)
    with pytest.raises(DataError, match=r"the column 'age' has no numbers"):
        load(path, features=["age"])


def test_a_table_without_a_header_is_told_so(tmp_path: Path) -> None:
    path = write(tmp_path / "iris.csv", "5.1,3.5,1.4,setosa\n4.9,3.0,1.4,setosa\n")
    with pytest.raises(
        DataError, match=r"columns are 5\.1, 3\.5, 1\.4, setosa; its first line must name the col"
    ):
        load(path)


def test_numbers_in_the_format_of_another_country(tmp_path: Path) -> None:
    data, report = load(write(tmp_path / "t.csv", "label;a;b\nx;1,5;1.234\ny;2,25;5.678\n"))
    assert data.items.rows.tolist() == [[1.5, 1234.0], [2.25, 5678.0]]
    assert report.notes == ("numbers with a decimal comma: a", "numbers in groups of thousands: b")


def test_a_column_of_lists_is_read_as_trine_embed_writes_it(tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    width = pa.list_(pa.float32(), 3)
    table = {"item": list("abcd"), "identity": ["x", "x", "y", "y"]}
    table["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), type=width)
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    data, _ = load(tmp_path / "t.parquet")
    assert data.items.features == ("embedding[0]", "embedding[1]", "embedding[2]")
    assert data.items.rows.tolist() == rows.tolist()
    assert data.names == ("a", "b", "c", "d")
    chosen, _ = load(tmp_path / "t.parquet", features=["embedding"])
    assert chosen.items.features == data.items.features


def test_rows_that_differ_after_the_seventh_digit_are_not_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "label,v,note\nx,4294967290,a\nx,4294967291,b\nx,4294967290,c\n")
    assert load(path)[1].repeated == (("row 3", "row 1"),)

"""Texts as items: tables of them, and data that comes as a table for each part."""

import pytest

from trine.data import LoadPolicy, Table, Texts, load, split, texts_of
from trine.errors import DataError, SettingError

TRAIN = """text,intent,camera
where is my card?,card,1
'tis lost,card,2
"top, up",money,1
where is my card?,money,1
"""
TEST = "intent,text,camera\nmoney,pay in,3\n"


def written(folder, **tables):
    folder.mkdir(exist_ok=True)
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def test_a_column_called_text_makes_texts(tmp_path):
    data, report = load(written(tmp_path, rows=TRAIN) / "rows.csv", label="intent")
    assert data.kind == report.kind == "texts"
    assert list(data.items) == ["where is my card?", "'tis lost", "top, up", "where is my card?"]
    assert data.names[2] == "row 3"
    assert data.columns["camera"].tolist() == ["1", "2", "1", "1"]
    assert data.items.subset([2, 0]) == Texts(("top, up", "where is my card?"))
    assert (
        str(report).splitlines()[0].endswith("rows.csv: 4 texts of 2 identities in column 'intent', 2 each")
    )
    assert "1 text with the same content under another identity (row 4 = row 1)" in str(report)
    few, _ = load(tmp_path / "rows.csv", label="intent", policy=LoadPolicy(repeated="skip"))
    assert list(few.items) == ["'tis lost", "top, up"]
    unknown, _ = load(tmp_path / "rows.csv", labelled=False)
    assert unknown.kind == "texts"


def test_another_column_is_named_and_features_come_first(tmp_path):
    path = written(tmp_path, rows="said,text,y,size\na b,x,1,5\nc d,y,2,6\n") / "rows.csv"
    assert list(load(path, text_column="said")[0].items) == ["a b", "c d"]
    assert isinstance(load(path, features=["size"])[0].items, Table)
    assert isinstance(load(path, categories=["text"])[0].items, Table)
    with pytest.raises(DataError, match=r"has no column 'sad': did you mean 'said'"):
        load(path, text_column="sad")
    with pytest.raises(SettingError, match=r"text_column='said' names a column of a table, but digits is no"):
        load("digits", text_column="said")


def test_an_empty_text_is_named(tmp_path):
    path = written(tmp_path, rows="text,y\na,1\n  ,1\nb,2\n") / "rows.csv"
    with pytest.raises(DataError, match=r"1 text that cannot be read: row 2 \(column 'text' is empty\)"):
        load(path)
    assert len(load(path, policy=LoadPolicy(unreadable="skip"))[0]) == 2
    with pytest.raises(DataError, match=r"an empty text cannot be embedded: write something in text 2 of 2"):
        texts_of(["a", " "])
    assert texts_of(["b", "a"]).names == ("b", "a")


def test_a_folder_of_tables_is_divided_by_their_names(tmp_path):
    folder = written(tmp_path / "questions", train=TRAIN, test=TEST, categories="x\n")
    data, report = load(folder, label="intent")
    assert data.columns["split"].tolist() == ["train"] * 4 + ["test"]
    assert data.names[-1] == "test row 1"
    assert "split by its tables into train, test" in str(report)
    parts = split(data)
    assert (parts.method, parts.train.tolist(), parts.test.tolist()) == ("column", [0, 1, 2, 3], [4])
    written(folder, test="text,intent,camera\npay in,money,3\n ,card,1\n")
    with pytest.raises(DataError, match=r"test row 2 \(column 'text' is empty\)"):
        load(folder, label="intent")


def test_tables_of_numbers_are_joined_by_name_and_must_agree(tmp_path):
    folder = written(tmp_path / "rows", train="y,a,b\n1,1,2\n2,3,\n", valid="b,y,a\n7,1,8\n")
    data, _ = load(folder, policy=LoadPolicy(missing="keep"))
    assert data.items.columns["a"].tolist() == [1, 3, 8]
    assert data.columns["split"].tolist() == ["train", "train", "validation"]
    with pytest.raises(DataError, match=r"train row 2 \(column 'b' is empty\)"):
        load(folder)
    written(folder, valid="y,a\n1,8\n")
    with pytest.raises(DataError, match=r"valid.csv has other feature columns than .*train.csv"):
        load(folder, policy=LoadPolicy(missing="keep"))
    written(folder, valid="text,y\nhello,1\n")
    with pytest.raises(DataError, match=r"train.csv holds vectors and .*valid.csv texts"):
        load(folder, policy=LoadPolicy(missing="keep"))
    written(folder, valid="y,a,b,camera\n1,1,1,2\n")
    with pytest.raises(DataError, match=r"valid.csv has other columns than .*train.csv"):
        load(folder, policy=LoadPolicy(missing="keep"))
    written(folder, val="y,a,b\n1,1,1\n")
    with pytest.raises(DataError, match=r"val.csv and .*valid.csv are both the validation part"):
        load(folder)


def test_the_labels_of_all_parts_are_in_one_column(tmp_path):
    (tmp_path / "train.csv").write_text("label,a\nx,1\ny,2\n")
    (tmp_path / "test.csv").write_text("class,label,a\nx,1,1\ny,1,2\n".replace("class,label", "class,b"))
    with pytest.raises(
        DataError, match=r"test\.csv are in column 'class', and those of .* in column 'label': name"
    ):
        load(tmp_path)


def test_whole_numbers_stay_whole_beside_smaller_ones_of_another_part(tmp_path):
    (tmp_path / "train.csv").write_text(f"label,a\nx,{2**53 + 1}\nx,{2**53}\n")
    (tmp_path / "test.csv").write_text("label,a\nx,1\nx,2\n")
    data, report = load(tmp_path)
    assert data.items.columns["a"].tolist() == [2**53 + 1, 2**53, 1, 2]
    assert report.repeated == ()
    assert report.label == "column 'label'"

"""Lists of pairs are read as they are written, and what cannot be read is named with its row."""

import numpy as np
import pytest

from trine.data import Dataset, Vectors, read_pairs
from trine.errors import DataError
from trine.evaluation import load_pairs

NAMES = ("ann/ann_0001.jpg", "ann/ann_0002.jpg", "bob/bob_0001.jpg", "bob/bob_0012.jpg", "cy/cy_0001.png")
VIEW_2 = "2\t1\nann\t1\t2\nann\t2\tbob\t12\nbob\t1\t12\nbob\t1\tcy\t1\n"


@pytest.fixture
def data():
    labels = np.array([0, 0, 1, 1, 2])
    return Dataset(Vectors(np.zeros((5, 2), np.float32)), labels, ("ann", "bob", "cy"), NAMES)


def test_the_list_of_view_2(tmp_path, data):
    path = tmp_path / "pairs.txt"
    path.write_text(VIEW_2)
    pairs, same, fold = load_pairs(data, path)
    assert pairs.tolist() == [[0, 1], [1, 3], [2, 3], [2, 4]]
    assert same.tolist() == [True, False, True, False]
    assert fold.tolist() == [0, 0, 1, 1]


def test_the_list_of_the_development_set(tmp_path, data):
    path = tmp_path / "pairsDevTest.txt"
    path.write_text("2\nann\t1\t2\nbob\t1\t12\nann\t1\tcy\t1\nbob\t12\tann\t2\n\n")
    pairs, same, fold = load_pairs(data, path)
    assert pairs.tolist() == [[0, 1], [2, 3], [0, 4], [3, 1]]
    assert same.tolist() == [True, True, False, False]
    assert fold is None


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_table_with_folds_in_any_order(tmp_path, data, suffix):
    path = tmp_path / f"pairs.{suffix}"
    rows = [
        ("note", "fold", "b", "a", "same"),
        ("x", "third", NAMES[1], NAMES[0], "1"),
        ("y", "first", NAMES[2], NAMES[0], "False"),
        ("z", "third", "cy/cy_0001", NAMES[3], "0"),
    ]
    path.write_text("\n".join({"csv": ",", "tsv": "\t"}[suffix].join(row) for row in rows))
    pairs, same, fold = load_pairs(data, path)
    assert pairs.tolist() == [[0, 1], [0, 2], [3, 4]]
    assert same.tolist() == [True, False, False]
    assert fold.tolist() == [0, 1, 0]


def test_a_table_without_folds_and_rows_of_a_table(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("a,b,same\nrow 1,row 2,true\nrow 2,row 1,true\nrow 1,row 3,false\n")
    table = read_pairs(path)
    assert table.fold is None
    assert table.positions(["row 1", "row 2", "row 3"]).tolist() == [[0, 1], [1, 0], [0, 2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\nx,y\n", "has no column named same: a table of pairs has the columns a, b and same"),
        ("a,b,same\n", "has no rows below its header"),
        ("a,b,same\nx,y,1\nx,z,maybe\n", "row 2: same is 'maybe', expected 1 or 0, true or false"),
        ("a,b,same\nx,,1\n", "row 1 has no b: fill it in, or remove the row"),
        ("a,b,same,fold\nx,y,1,1\nx,z,0,\n", "row 2 has no fold: fill it in, or remove the row"),
        ("a,b,same\nx,y,1\ny,y,1\n", "row 2 pairs 'y' with itself, expected two items"),
        (
            "a,b,same\nx,y,1\nz,x,0\ny,x,0\n",
            "row 3 contradicts row 1, which says the opposite of 'y' and 'x'",
        ),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_pairs(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 must hold the number of folds"),
        ("ann\t1\t2\n", "line 1 must hold the number of folds .* given 'ann"),
        (
            "2 2\nann 1 2\n",
            "announces 2 × 2 pairs of either kind, so 8 more lines, but 1 follow",
        ),
        (
            "1\nann 1 bob 1\nann 1 bob 1\n",
            "line 2 must be a pair of one person, 'name n1 n2', given 'ann 1 bob 1'",
        ),
        ("1\nann 1 2\nann one bob 1\n", "line 3 must be a pair of two people, 'name1 n1 name2 n2'"),
        ("1\nann 1 2\nann 1 ann 2\n", "line 3 contradicts line 2"),
    ],
)
def test_a_list_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "pairs.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_pairs(path)


def test_a_list_in_another_encoding(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_bytes(b"1\nJos\xe9 1 2\nann 1 bob 1\n")
    with pytest.raises(DataError, match="cannot be read as a list of pairs"):
        read_pairs(path)


def test_names_that_are_no_items(tmp_path, data):
    path = tmp_path / "pairs.txt"
    with pytest.raises(DataError, match="there is no list of pairs"):
        read_pairs(path)
    path.write_text(VIEW_2.replace("bob\t1\t12", "bob\t1\t13"))
    with pytest.raises(DataError, match=r"line 4: 'bob/bob_0013' is not an item .* did you mean 'bob/"):
        load_pairs(data, path)
    table = tmp_path / "pairs.csv"
    table.write_text("a,b,same\nx,y,1\n")
    with pytest.raises(
        DataError, match=r"row 1: 'x' is ambiguous: 'x.png' or 'x.jpg'; include the extension"
    ):
        read_pairs(table).positions(["x.png", "x.jpg", "y.png"])

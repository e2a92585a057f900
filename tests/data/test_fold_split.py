"""The folds of a list of pairs divide the identities, and an identity in two parts is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.paths import SHARED_DATA
from trine.data import Dataset, PairTable, Vectors, load, read_pairs, split_by_folds
from trine.errors import DataError, SettingError

LFW = SHARED_DATA / "faces_lfw"


def people(sizes: list[int]) -> Dataset:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    names = tuple(f"p{label}/{item}" for label, size in enumerate(sizes) for item in range(size))
    identities = tuple(f"p{label}" for label in range(len(sizes)))
    return Dataset(Vectors(np.zeros((len(labels), 1), np.float32)), labels, identities, names)


def table(rows: list[tuple[str, str, str]], folds: tuple[str, ...]) -> PairTable:
    """Rows of fold, a and b."""
    same = np.array([a.split("/")[0] == b.split("/")[0] for _, a, b in rows])
    fold = np.array([folds.index(name) for name, _, _ in rows], dtype=np.int64)
    a, b = tuple(a for _, a, _ in rows), tuple(b for _, _, b in rows)
    return PairTable("pairs.csv", a, b, same, fold, fold_names=folds)


def twin(
    data: Dataset, rows: list[tuple[str, str, str]], test: set[str], validation: set[str]
) -> list[list[int]]:
    part_of = {}
    for fold, a, b in rows:
        for name in (a, b):
            part_of[name.split("/")[0]] = 2 if fold in test else 1 if fold in validation else 0
    found: list[list[int]] = [[], [], []]
    for at, name in enumerate(data.names):
        found[part_of.get(name.split("/")[0], 0)].append(at)
    return found


@given(st.data())
def test_equals_the_twin(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=6, max_size=14))
    items = people(sizes)
    folds = ("1", "2", "3", "rest")
    home = [folds[person % 4] for person in range(len(sizes))]  # a fold's pairs are among its own people
    rows = [
        (home[one], f"p{one}/0", f"p{other}/{sizes[other] - 1}")
        for one in range(len(sizes))
        for other in range(one + 1, len(sizes))
        if home[one] == home[other] and data.draw(st.booleans())
    ]
    rows += [(folds[at], f"p{at}/0", f"p{at + 4}/0") for at in range(2)]  # the two folds that are named
    listed = table(rows, tuple(dict.fromkeys([*(fold for fold, _, _ in rows), *folds])))
    parts = split_by_folds(items, listed, test=[2], validation=["1"])
    assert [part.tolist() for part in (parts.train, parts.validation, parts.test)] == twin(
        items, rows, {"2"}, {"1"}
    )
    assert parts.method == "folds"
    assert len(parts.test)
    assert len(parts.validation)


def test_an_identity_in_two_parts_is_named() -> None:
    rows = [("1", "p0/0", "p1/0"), ("2", "p2/0", "p3/0"), ("2", "p3/0", "p1/1")]
    with pytest.raises(
        DataError, match=r"^pairs.csv, row 1: 'p1' is in a fold for training and in one for test; put all"
    ):
        split_by_folds(people([2, 2, 1, 1, 1, 1]), table(rows, ("1", "2")), test=["2"])
    # In two folds of one part nobody is learned from that is tested.
    parts = split_by_folds(people([2, 2, 1, 1, 1, 1]), table(rows, ("1", "2")), test=["2", 1])
    assert parts.train.tolist() == [6, 7]


@pytest.mark.parametrize(
    ("test", "validation", "error", "message"),
    [
        ([], [1], SettingError, r"the split has no test fold"),
        ([4], [], SettingError, r"pairs.csv has no fold 4 for test: .*known: 1, 2"),
        ([1], ["two"], SettingError, r"pairs.csv has no fold two for validation"),
        ([1], [1], SettingError, r"fold 1 is used for validation and for the test"),
        ([1], [2], DataError, r"leave 1 of 5 identities for training, expected at least two"),
    ],
)
def test_folds_that_do_not_fit(
    test: list[int], validation: list[int | str], error: type[Exception], message: str
) -> None:
    listed = table([("1", "p0/0", "p1/0"), ("2", "p2/0", "p3/0")], ("1", "2"))
    with pytest.raises(error, match=message):
        split_by_folds(people([1, 1, 1, 1, 1]), listed, test=test, validation=validation)


def test_a_list_without_folds() -> None:
    listed = PairTable("pairs.csv", ("p0/0",), ("p1/0",), np.array([False]), None)
    with pytest.raises(DataError, match=r"pairs.csv has no folds to split by: add a column fold"):
        split_by_folds(people([1, 1, 1]), listed, test=[1])


def test_what_a_list_calls_its_folds(tmp_path: Path) -> None:
    lfw, named = tmp_path / "pairs.txt", tmp_path / "pairs.csv"
    lfw.write_text("2\t1\nann\t1\t2\nann\t2\tbob\t12\nbob\t1\t12\nbob\t1\tcy\t1\n")
    named.write_text("a,b,same,fold\nx,y,1,late\nx,z,0,early\nu,v,1,late\n")
    assert read_pairs(lfw).fold_names == ("1", "2")
    assert read_pairs(named).fold_names == ("late", "early")


def test_one_fold_of_labeled_faces_in_the_wild() -> None:
    if not LFW.is_dir():
        pytest.skip("the pictures of Labeled Faces in the Wild are not beside the checkout")
    data, _ = load(LFW / "images")
    listed = read_pairs(LFW / "pairs.csv")
    parts = split_by_folds(data, listed, test=[5], validation=[4])
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [3321, 1181, 871]
    found = [set(data.labels[part].tolist()) for part in (parts.train, parts.validation, parts.test)]
    assert [len(each) for each in found] == [1241, 423, 422]
    assert len(set.union(*found)) == 1241 + 423 + 422

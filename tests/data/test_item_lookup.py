"""Items are found by the names that tables of pairs and triplets use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trine.data import (
    TripletTable,
    load,
    read_triplets,
)
from trine.errors import DataError


def test_rows_of_a_table_go_by_their_name(tmp_path: Path):
    table = tmp_path / "shoes.csv"
    table.write_text("a,Name,b\n1,boot,2\n3,,4\n5,clog,6\n")
    data, _ = load(table, labelled=False)
    assert data.names == ("boot", "row 2", "clog")
    assert data.items.features == ("a", "b")
    table.write_text("id,label,a\n7,x,2\n9,y,4\n")
    data, _ = load(table)
    assert (data.names, data.identities, data.items.features) == (("7", "9"), ("x", "y"), ("a",))
    # Who asks for it as a feature, or as the label, has it so.
    assert load(table, features=["id", "a"])[0].names == ("row 1", "row 2")
    assert load(table, label="id")[0].names == ("row 1", "row 2")


def test_rows_of_an_array_go_by_their_names(tmp_path: Path):
    path = tmp_path / "shoes.npz"
    np.savez(path, x=np.eye(3), names=np.array(["boot", "", "clog"]))
    assert load(path, labelled=False)[0].names == ("boot", "item 1", "clog")
    np.savez(path, x=np.eye(3), id=np.array([5, 7, 9]), y=np.array([0, 0, 1]))
    assert load(path)[0].names == ("5", "7", "9")
    assert load(path, label="id")[0].names == ("item 0", "item 1", "item 2")
    # Names of another number are of something else.
    np.savez(path, x=np.eye(3), names=np.array(["ann", "bob"]), y=np.array([0, 0, 1]))
    assert load(path)[0].names == ("item 0", "item 1", "item 2")


def test_the_columns_have_other_names_elsewhere(tmp_path: Path):
    names = ["0.jpg", "1.png", "2.jpg", "sub/3.jpg"]
    for head in (
        "head,close,far",
        "Anchor,Positive,Negative",
        "target,winner,loser",
        "anchor,nearer,farther",
    ):
        table = tmp_path / "t.csv"
        table.write_text(f"{head},note\n0,2.jpg,1,x\nsub/3,1,0,y\n")
        assert read_triplets(table).positions(names).tolist() == [[0, 2, 1], [3, 1, 0]]
    table.write_text("far,near,close,anchor\n0,2,1,3\n")
    assert read_triplets(table).positions(["item 0", "item 1", "item 2", "item 3"]).tolist() == [[3, 1, 0]]
    table.write_text("head,close,distant\n0,2,1\n")
    with pytest.raises(DataError, match=r"has no column named negative, .* or head, close, far; its columns"):
        read_triplets(table)
    table.write_text("head,close,far\n0,1,2\n")
    with pytest.raises(
        DataError, match=r"row 1: the anchor '0' is ambiguous: '0.jpg' or '0.png'; include the extension"
    ):
        read_triplets(table).positions(["0.jpg", "0.png", "1.jpg", "2.jpg"])


def test_a_full_name_goes_before_a_short_one():
    found = TripletTable("t", ("1",), ("item 0",), ("2",)).positions(["item 0", "item 1", "1", "2"])
    assert found.tolist() == [[2, 0, 3]]

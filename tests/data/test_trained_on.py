"""What was trained on is known again by its content."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.data import Dataset, ImageArray, Table, Texts, TrainedOn, Vectors
from trine.errors import InputError


def dataset(items, labels=None, identities=("ann", "bob", "cid")):
    labels = np.zeros(len(items), dtype=np.int64) if labels is None else np.array(labels)
    return Dataset(items, labels, identities, tuple(f"row {i}" for i in range(len(items))))


@given(st.lists(st.integers(0, 9), max_size=9), st.lists(st.integers(0, 9), max_size=9))
def test_items_are_known_as_a_loop_finds_them(trained_on, asked):
    rows = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    trained = TrainedOn.of(dataset(Vectors(rows[trained_on])))
    expected = [any(np.array_equal(rows[at], rows[other]) for other in trained_on) for at in asked]
    assert trained.items(Vectors(rows[asked].astype(np.float64))).tolist() == expected
    assert [trained.knows(rows[at]) for at in asked] == expected
    assert len(trained.digests) == len(set(trained_on))


def test_names_and_labels_say_nothing_about_items():
    rows = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    trained = TrainedOn.of(dataset(Vectors(rows[:3]), [0, 0, 2]))
    assert trained.identities == {"ann", "cid"}
    assert not trained.items(dataset(Vectors(rows[3:]), [0, 0, 2])).any()
    assert trained.items(dataset(Vectors(rows[[2, 5, 0]]), [1, 1, 1])).tolist() == [True, False, True]


def test_the_columns_that_the_encoder_sees_decide():
    columns = {"size": np.array([1.0, 2.0]), "packer": np.array(["upx", "none"], dtype=object)}
    trained = TrainedOn.of(dataset(Table(columns, ("size", "packer"))), columns=("size", "packer"))
    other = {"year": np.array([1990.0, 2000.0]), **{name: values[::-1] for name, values in columns.items()}}
    assert trained.items(Table(other, ("year",))).all()
    assert not trained.items(Table({**columns, "packer": columns["packer"][::-1]}, ("size",))).any()
    assert not trained.items(Table({"size": columns["size"]}, ("size",))).any()
    assert trained.knows({"packer": "none", "size": 2, "note": "x"})
    with pytest.raises(InputError, match="has no column 'packer'"):
        trained.knows({"size": 2})


def test_items_of_another_kind_were_not_trained_on():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4), dtype=np.uint8)
    trained = TrainedOn.of(dataset(ImageArray(pixels)))
    assert trained.items(ImageArray(pixels[::-1])).all()
    assert not trained.items(Vectors(pixels.reshape(2, 16).astype(np.float32))).any()
    assert not trained.items(Texts(("a", "b"))).any()
    assert trained.knows(pixels[1])
    assert not trained.knows(pixels[1] ^ 1)


def test_unknown_identities():
    items = Vectors(np.eye(2, dtype=np.float32))
    assert TrainedOn.of(Dataset(items, np.full(2, -1), (), ("a", "b"))).identities == frozenset()

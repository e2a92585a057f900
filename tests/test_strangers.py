"""Strangers are kept in a file and left out by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.errors import InputError, ModelError
from trine.strangers import LeftOut, Strangers

ROWS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
NAMES = ["ann", "bob", "ann", "Zoë", "bob"]


def test_names_are_numbered_as_they_come():
    strangers = Strangers.of(ROWS, NAMES)
    assert (strangers.names, len(strangers)) == (("ann", "bob", "Zoë"), 5)
    assert strangers.identity.tolist() == [0, 1, 0, 2, 1]
    assert Strangers.of(ROWS[:0], []).names == ()


def test_a_file_keeps_them(tmp_path):
    path = tmp_path / "strangers.safetensors"
    for strangers in (Strangers.of(ROWS, NAMES), Strangers.of(ROWS[:0], [])):
        path.write_bytes(strangers.to_file())
        read = Strangers.from_file(path)
        np.testing.assert_array_equal(read.embeddings, strangers.embeddings)
        np.testing.assert_array_equal(read.identity, strangers.identity)
        assert read.names == strangers.names
        assert (read.embeddings.dtype, read.identity.dtype) == (np.float32, np.int64)


def test_rows_of_any_layout_are_written(tmp_path):
    path = tmp_path / "strangers.safetensors"
    path.write_bytes(Strangers.of(np.asfortranarray(ROWS)[::-1], NAMES).to_file())
    np.testing.assert_array_equal(Strangers.from_file(path).embeddings, ROWS[::-1])


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "no names", "missing"])
def test_a_damaged_file_is_refused(tmp_path, damage):
    from safetensors.numpy import save

    path, whole = tmp_path / "strangers.safetensors", Strangers.of(ROWS, NAMES).to_file()
    if damage != "missing":
        path.write_bytes(
            {
                "empty": b"",
                "text": b"not tensors",
                "cut": whole[:-5],
                "no names": save({"embeddings": ROWS, "identity": np.arange(5)}),
            }[damage]
        )
    with pytest.raises(
        ModelError, match=r"strangers.safetensors is damaged .*; copy the folder again, or delete this file"
    ):
        Strangers.from_file(path)


def test_identities_beyond_the_names_are_a_damage(tmp_path):
    from safetensors.numpy import save

    path = tmp_path / "strangers.safetensors"
    path.write_bytes(save({"embeddings": ROWS, "identity": np.arange(5)}, {"about": '{"names": ["ann"]}'}))
    with pytest.raises(ModelError, match=r"must be positions among their 1 names, given 0 to 4"):
        Strangers.from_file(path)


@given(left_out=st.sets(st.sampled_from([*NAMES, "nobody"])))
def test_some_are_left_out_by_name(left_out):
    left = Strangers.of(ROWS, NAMES).without(left_out)
    kept = [at for at, name in enumerate(NAMES) if name not in left_out]
    np.testing.assert_array_equal(left.embeddings, ROWS[kept])
    assert [left.names[at] for at in left.identity] == [NAMES[at] for at in kept]
    assert set(left.names) == set(NAMES) - left_out


def test_unnamed_people_stay_apart():
    """Each item without an identity is another person; none of them has a name that a gallery may hold."""
    strangers = Strangers(ROWS, np.arange(5), ("",) * 5).without({"ann"})
    assert strangers.identity.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("rows", "identity", "message"),
    [
        (ROWS, np.arange(4), "need one identity for each embedding, given 5 embeddings and 4 identities"),
        (ROWS, np.array([0, 1, 2, 1, 3]), "positions among their 3 names, given 0 to 3"),
        (ROWS, np.array([0, 1, -1, 1, 2]), "positions among their 3 names, given -1 to 2"),
    ],
)
def test_what_does_not_fit_is_named(rows, identity, message, as_in_production):
    with pytest.raises(InputError, match=message):
        Strangers(rows, identity, ("ann", "bob", "cid"))


def test_distances_of_folds_survive_a_file_and_scale_with_the_gallery(tmp_path):
    left_out = LeftOut(np.array([1.0, 2.0, 3.0], np.float32), np.array([0, 1, 1]), ("ann", "bob"), met=10.0)
    path = tmp_path / "left_out.safetensors"
    path.write_bytes(left_out.to_file())
    read = LeftOut.from_file(path)
    np.testing.assert_array_equal(read.distances, left_out.distances)
    assert (read.identity.tolist(), read.names, read.met) == ([0, 1, 1], ("ann", "bob"), 10.0)
    # Ann is accepted, and half of Bob: 3/4 among 10 people, 1 − (1 − 3/4)² among 20.
    assert read.rates(10).at(2.0)[0] == pytest.approx(0.75)
    assert read.rates(20).at(2.0)[0] == pytest.approx(1 - 0.25**2)
    assert read.without({"bob"}).distances.tolist() == [1.0]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ModelError, match="is damaged"):
        LeftOut.from_file(path)

"""Some identities of a data set alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.runs import rows
from trine.data import few_of_each, load, of_identities
from trine.errors import DataError, SettingError
from trine.pipelines import train_run
from trine.training import load_recipe


def test_the_items_of_the_named_are_taken_as_they_are():
    data, _ = load("digits")
    chosen = of_identities(data, ["9", 4])
    assert [chosen.identity(at) for at in range(len(chosen))] == [
        data.identity(at) for at in range(len(data)) if data.identity(at) in ("4", "9")
    ]
    assert chosen.identities == data.identities
    assert (chosen.items[5] == data.items[data.names.index(chosen.names[5])]).all()


def test_a_name_that_is_not_there_has_its_sentence():
    data = rows([3, 3, 3], spread=1)
    with pytest.raises(DataError, match="identity 'id 3' is not in rows; did you mean 'id 0'"):
        of_identities(data, ["id 1", "id 3"])
    with pytest.raises(DataError, match="identity 'id 1' is not in"):
        of_identities(data.subset(np.array([0, 1])), ["id 1"])
    many = rows([2] * 30, spread=1)
    with pytest.raises(DataError, match="identity 'nobody' is not in rows; it has 30 others"):
        of_identities(many, ["nobody"])


def test_a_run_takes_them_from_its_recipe(tmp_path):
    data = rows([8] * 6, spread=0.5)
    chosen = {"data.identities": ["id 1", "id 2", "id 5"], "training.steps": 5, "data.split": "stratified"}
    train_run(data, load_recipe(overrides=chosen), out=tmp_path / "run", progress=False)
    record = (tmp_path / "run/split.json").read_text()
    assert {name for name in data.identities if f'"{name}"' in record} == {"id 1", "id 2", "id 5"}
    wrong = load_recipe(overrides={"data.identities": ["nobody"]})
    with pytest.raises(DataError, match="identity 'nobody' is not in"):
        train_run(data, wrong, out=tmp_path / "other", progress=False)
    with pytest.raises(SettingError, match=r"data\.identities"):
        load_recipe(overrides={"data.identities": "4"})


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 5), st.integers(0, 3))
def test_few_of_each_keeps_so_many_and_no_more(labels, most, seed):
    labels = np.array(labels)
    kept = few_of_each(labels, most=most, seed=seed)
    assert kept.tolist() == sorted(set(kept.tolist()))
    for label in set(labels.tolist()):
        assert (labels[kept] == label).sum() == min(most, (labels == label).sum())
    assert kept.tolist() == few_of_each(labels, most=most, seed=seed).tolist()


def test_few_of_each_draws_by_the_seed():
    labels = np.zeros(30, dtype=np.int64)
    assert len({tuple(few_of_each(labels, most=5, seed=seed).tolist()) for seed in range(6)}) == 6
    with pytest.raises(SettingError, match=r"most must be at least 1, given 0"):
        few_of_each(labels, most=0)

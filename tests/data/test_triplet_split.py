"""Dividing judgements: no question, and no item, is on two sides; and the data forms that they refer to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.data import (
    Split,
    query_numbers,
    split_triplets,
)
from trine.errors import DataError, SettingError

ITEMS = 12
listed = st.lists(st.permutations(range(4)).map(lambda order: tuple(order[:3])), min_size=1, max_size=12)


def asked(triplet):
    anchor, *others = triplet
    return anchor, frozenset(others)


def rows_of(parts: Split):
    return [[tuple(row) for row in part.tolist()] for part in parts.parts.values()]


@given(st.integers(0, 10**6), st.sampled_from([0.1, 0.2, 0.5]), st.sampled_from([0.0, 0.2]))
def test_no_question_is_on_two_sides(seed, test, validation):
    random = np.random.default_rng(seed)
    given_rows = np.array([random.permutation(5)[:3] for _ in range(40)])  # 30 questions: many come again
    triplets = [tuple(row) for row in given_rows.tolist()]
    parts = split_triplets(given_rows, items=5, test=test, validation=validation, seed=seed % 5)
    train, held, tested = rows_of(parts)
    assert sorted(train + held + tested) == sorted(triplets)
    assert parts.left_out == 0
    sides = [{asked(row) for row in rows} for rows in (train, held, tested)]
    assert len(set.union(*sides)) == sum(map(len, sides))
    all_asked = len({asked(row) for row in triplets})
    assert len(sides[2]) == round(test * all_asked)
    assert len(sides[1]) == round(validation * all_asked)
    held_back = {asked(row) for row in tested}
    assert tested == [row for row in triplets if asked(row) in held_back]


@given(st.integers(0, 20), st.sampled_from([0.3, 0.4]), st.sampled_from([0.0, 0.25]))
def test_no_item_is_on_two_sides(seed, test, validation):
    random = np.random.default_rng(seed)
    triplets = np.array([random.permutation(ITEMS)[:3] for _ in range(1500)])
    parts = split_triplets(triplets, items=ITEMS, method="items", test=test, validation=validation, seed=seed)
    items = [{item for row in rows for item in row} for rows in rows_of(parts)]
    assert len(set.union(*items)) == sum(map(len, items))
    assert len(items[2]) <= round(test * ITEMS)
    assert len(items[1]) <= round(validation * ITEMS)
    # The twin: a judgement is in the part that holds all its items, else it is left out.
    twin = [[], [], []]
    for row in map(tuple, triplets.tolist()):
        for rows, own in zip(twin, items, strict=True):
            if set(row) <= own:
                rows.append(row)
    assert rows_of(parts) == twin
    assert parts.left_out == len(triplets) - sum(map(len, twin)) > 0


def test_a_repeated_and_a_contradicted_judgement_stay_together():
    one, opposite = (0, 1, 2), (0, 2, 1)
    others = [(a, p, n) for a in range(3, 9) for p in range(3, 9) for n in range(3, 9) if len({a, p, n}) == 3]
    triplets = np.array([one, *others, opposite, one])
    seen = set()
    for seed in range(20):
        rows = rows_of(split_triplets(triplets, items=9, test=0.5, seed=seed))
        (part,) = [at for at, each in enumerate(rows) if one in each]
        assert [rows[part].count(each) for each in (one, opposite)] == [2, 1]
        seen.add(part)
    assert seen == {0, 2}


def test_the_same_seed_divides_alike():
    triplets = np.array([np.random.default_rng(i).permutation(20)[:3] for i in range(200)])
    first, again, other = (split_triplets(triplets, items=20, seed=seed).test.tolist() for seed in (3, 3, 4))
    assert first == again != other


@given(listed)
def test_questions_are_numbered_by_what_was_asked(triplets):
    numbers = query_numbers(np.array(triplets, dtype=np.int64)).tolist()
    for i, one in enumerate(triplets):
        for j, other in enumerate(triplets):
            assert (numbers[i] == numbers[j]) == (asked(one) == asked(other))
    assert query_numbers(np.empty((0, 3), dtype=np.int64)).tolist() == []


def test_what_cannot_be_split_is_named():
    few = np.array([[0, 1, 2], [3, 4, 5]])
    with pytest.raises(SettingError, match=r"unknown split of judgements '.*': did you mean 'items'"):
        split_triplets(few, items=6, method="item")
    with pytest.raises(SettingError, match=r"test must be a number > 0 and < 1, given 1\.0"):
        split_triplets(few, items=6, test=1.0)
    with pytest.raises(DataError, match=r"positions from 0 to 5, expected those of the 4 items"):
        split_triplets(few, items=4)
    with pytest.raises(DataError, match=r"splitting 2 judgements by items leaves none for .*, or the spl"):
        split_triplets(few, items=6, method="items", test=0.2)
    with pytest.raises(DataError, match=r"splitting 2 judgements by triplets leaves none for test"):
        split_triplets(few, items=6, test=0.1)

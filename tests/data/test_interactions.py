"""Who liked what: a table read as it is written, and parts of it that a loop over users makes, too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.data import Interactions, leave_last_out
from trine.errors import DataError


def random_interactions(users, items, times, liked):
    """Interactions in the order given, each pair of user and item once."""
    pairs = dict.fromkeys(zip(users, items, strict=True))
    rows = len(pairs)
    user, item = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    return Interactions(
        "t",
        tuple(f"u{i}" for i in range(max(users) + 1)),
        tuple(f"i{i}" for i in range(max(items) + 1)),
        user,
        item,
        np.array(liked[:rows], dtype=bool),
        None if times is None else np.array(times[:rows], dtype=np.float64),
    )


@st.composite
def interactions(draw):
    rows = draw(st.integers(1, 60))
    numbers = st.lists(st.integers(0, 5), min_size=rows, max_size=rows)
    times = draw(st.none() | numbers)
    liked = draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    items = draw(st.lists(st.integers(0, 15), min_size=rows, max_size=rows))
    return random_interactions(draw(numbers), items, times, liked)


def twin_parts(given):
    """The parts by a loop: of each user the history in order, cut at the last two liked."""
    train, validation, test, left_out = [], [], [], []
    for user in range(len(given.users)):
        rows = [row for row in range(len(given)) if given.user[row] == user]
        if given.time is not None:
            rows.sort(key=lambda row: (given.time[row], row))
        liked = [place for place, row in enumerate(rows) if given.liked[row]]
        if len(liked) < 3:
            train += rows
            continue
        for place, row in enumerate(rows):
            part = (
                test
                if place == liked[-1]
                else validation
                if place == liked[-2]
                else train
                if place < liked[-2]
                else left_out
            )
            part.append(row)
    return [sorted(part) for part in (train, validation, test, left_out)]


@given(interactions())
def test_the_last_liked_are_held_out_as_a_loop_over_users_does(given):
    expected = twin_parts(given)
    if not expected[2]:
        with pytest.raises(DataError, match="no user liked 3 items"):
            leave_last_out(given)
        return
    parts = leave_last_out(given)
    assert [p.tolist() for p in (parts.train, parts.validation, parts.test, parts.left_out)] == expected


@given(interactions())
def test_no_pair_of_a_held_out_part_is_in_another_and_nothing_later_is_learned(given):
    try:
        parts = leave_last_out(given)
    except DataError:
        return
    together = np.concatenate([parts.train, parts.validation, parts.test, parts.left_out])
    assert sorted(together.tolist()) == list(range(len(given)))
    pairs = [
        {tuple(pair) for pair in given.pairs[part]} for part in (parts.train, parts.validation, parts.test)
    ]
    assert len(pairs[0] | pairs[1] | pairs[2]) == sum(map(len, pairs))
    assert given.liked[parts.test].all()
    assert given.liked[parts.validation].all()
    if given.time is None:
        return
    for row in parts.validation:
        own = parts.train[given.user[parts.train] == given.user[row]]
        assert (given.time[own] <= given.time[row]).all()

"""The stored choice: thresholds between and beyond the measured numbers of items, and its JSON."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.cluster_threshold import ClusterThreshold, LinkageThreshold
from trine.errors import InputError, ModelError


def linkage(*knots, threshold=0.4):
    return LinkageThreshold(threshold, 0.8, 30, knots or ((100, 0.5), (200, 0.4), (400, 0.2)))


def chosen(**changed):
    fields = {
        "linkage": "average", "linkages": {"average": linkage(), "connected": linkage((200, 0.3))},
        "metric": "bcubed_f", "distance": "euclidean", "items": 200, "identities": 25,
        "alone": 0.2, "all_in_one": 0.1,
    }  # fmt: skip
    return ClusterThreshold(**{**fields, **changed})


def test_thresholds_lie_between_the_knots_and_fall_on_behind_them():
    found = linkage()
    assert [found.at(n) for n in (1, 100, 200, 400)] == [0.5, 0.5, 0.4, pytest.approx(0.2)]
    assert found.at(141) == pytest.approx(0.45, abs=0.001)
    # From 100 to 400 items it fell by 2.5; it falls by as much from 400 to 1,600.
    assert found.at(1600) == pytest.approx(0.08)
    assert linkage((200, 0.3)).at(10**9) == 0.3
    assert linkage((200, 0.3), (400, 0.0)).at(800) == 0


@given(st.lists(st.floats(0, 10), min_size=1, max_size=6), st.lists(st.integers(1, 10**7), min_size=2))
def test_more_items_never_get_a_larger_threshold(thresholds, numbers):
    falling = sorted(thresholds, reverse=True)
    found = linkage(*((10 * 2**i, t) for i, t in enumerate(falling)))
    values = [found.at(n) for n in sorted(numbers)]
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(values))
    assert all(0 <= value <= falling[0] for value in values)


def test_the_best_linkage_is_taken_unless_another_is_asked_for():
    found = chosen()
    assert (found.at(200), found.at(200, "connected"), found.score) == (0.4, 0.3, 0.8)
    assert found.linkage_for(10_000) == "average"
    assert found.linkage_for(10_001) == "connected"
    assert chosen(linkages={"average": linkage()}).linkage_for(10_001) == "average"


def test_json_and_back():
    found = chosen()
    assert ClusterThreshold.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"linkage": "complete"}, "linkages must hold 'complete', given average, connected"),
        ({"alone": 1.5}, r"alone must be from 0 to 1, given 1\.5"),
        ({"items": 0}, "items must be at least 1, given 0"),
    ],
)
def test_what_cannot_be_is_refused(changed, message):
    with pytest.raises(InputError, match=message):
        chosen(**changed)


def test_a_linkage_that_cannot_be_is_refused():
    with pytest.raises(InputError, match="ascending numbers of items above 0"):
        linkage((200, 0.4), (100, 0.5))
    with pytest.raises(InputError, match="thresholds must be finite distances of at least 0"):
        linkage(threshold=-1.0)
    with pytest.raises(InputError, match="score must be from 0 to 1, given 2"):
        LinkageThreshold(0.4, 2.0, 3, ((10, 0.4),))
    with pytest.raises(InputError, match="there is no threshold for 'complete', only for average, connected"):
        chosen().at(100, "complete")
    with pytest.raises(InputError, match="items must be at least 1, given 0"):
        chosen().at(0)


def test_a_damaged_file_is_refused():
    fields = chosen().to_json()
    with pytest.raises(ModelError, match=r"unknown field 'linkagee'.*did you mean 'linkage'"):
        ClusterThreshold.from_json({**fields, "linkagee": 1})
    for broken in (
        {name: value for name, value in fields.items() if name != "linkages"},
        {**fields, "linkages": []},
        {**fields, "linkages": {"average": {"threshold": 1}}},
        {**fields, "items": "many"},
        {**fields, "linkages": {"average": {**fields["linkages"]["average"], "by_items": 7}}},
    ):
        with pytest.raises(ModelError, match=r"the cluster threshold is invalid .* evaluate --calibrate"):
            ClusterThreshold.from_json(broken)

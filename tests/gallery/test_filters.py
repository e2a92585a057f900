"""Filters, exclusions and pages of a search, as a caller passes them."""

import pytest

from trine.errors import InputError, SettingError
from trine.gallery import Filter, Gallery


@pytest.fixture
def gallery(tmp_path):
    with Gallery.open(tmp_path / "g.db", dimension=2, fingerprint="by hand", threshold=1.0) as opened:
        for identity, item, row in [
            ("ann", "a1", (0, 0)), ("ann", "a2", (0, 1)), ("bob", "b1", (5, 0)), ("bob", "b2", (5, 1)),
        ]:  # fmt: skip
            opened.enrol(identity, item, embedding=row, metadata={"of": identity})
        yield opened


def test_filters_exclusions_and_pages(gallery):
    probe = {"embedding": (0, 0)}
    assert [hit.item for hit in gallery.search(**probe, k=2)] == ["a1", "a2"]
    assert [hit.item for hit in gallery.search(**probe, k=2, offset=2)] == ["b1", "b2"]
    assert [hit.item for hit in gallery.search(**probe, k=2, offset=3)] == ["b2"]
    assert gallery.search(**probe, offset=9) == []
    assert [hit.item for hit in gallery.search(**probe, where={"of": "bob"})] == ["b1", "b2"]
    assert [hit.item for hit in gallery.search(**probe, where=Filter.of({"of": {"bob", "cid"}}))] == [
        "b1",
        "b2",
    ]
    assert [hit.item for hit in gallery.search(**probe, exclude=["a1", "b1"], k=1)] == ["a2"]
    assert gallery.search(**probe, where={"unknown": 1}) == []
    with pytest.raises(SettingError, match="offset must be at least 0, given -1"):
        gallery.search(**probe, offset=-1)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            {"x": (1, 2, 3)},
            r"the range of 'x' must be two numbers or two strings, .* to match one of several",
        ),
        ({"x": (1, "b")}, "the range of 'x' must be two numbers or two strings"),
        ({"x": (None, None)}, "the range of 'x' must be two numbers or two strings"),
        ({"x": (True, False)}, "the range of 'x' must be two numbers or two strings"),
        ({"x": (2, 1)}, r"ends before it begins, given \(2, 1\): swap its ends"),
        ({"x": (1, float("nan"))}, "must not contain NaN, given"),
        ({"x": {"y": 1}}, "the condition on 'x' must be a string, a number, a boolean or None, a set"),
        ({"x": float("nan")}, "the condition on 'x' must be"),
        ({"x": [[1]]}, "the condition on 'x' must be"),
    ],
)
def test_conditions_that_compare_nothing(gallery, where, message):
    with pytest.raises(InputError, match=message):
        gallery.search(embedding=(0, 0), where=where)

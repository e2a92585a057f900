"""Identities are renamed, merged and split, and items moved."""

import pytest

from trine.errors import GalleryError, InputError
from trine.gallery import Gallery


@pytest.fixture
def gallery(tmp_path):
    with Gallery.open(tmp_path / "g.db", dimension=2, fingerprint="by hand", threshold=1.0) as opened:
        for identity, item, row in [
            ("ann", "a1", (0, 0)), ("ann", "a2", (0, 1)), ("bob", "b1", (5, 0)), ("bob", "b2", (5, 1)),
        ]:  # fmt: skip
            opened.enrol(identity, item, embedding=row, metadata={"of": identity})
        yield opened


def test_a_new_name(gallery):
    assert gallery.rename("ann", "Änne") == 2
    assert gallery.identities() == {"bob": 2, "Änne": 2}
    assert gallery.identify(embedding=(0, 0)).identity == "Änne"
    assert gallery.get("a1").metadata == {"of": "ann"}
    with pytest.raises(
        GalleryError, match=r"identity 'ann' is not in the gallery .*: list its identities, or enrol"
    ):
        gallery.rename("ann", "new")
    with pytest.raises(GalleryError, match=r"identity 'bob' is already in the gallery .*: merge them"):
        gallery.rename("Änne", "bob")


def test_two_become_one(gallery):
    assert gallery.merge("ann", "bob") == 2
    assert gallery.identities() == {"ann": 4}
    assert gallery.verify(embedding=(5, 0), identity="ann").score == 0
    for wrong, message in [
        (("ann", "bob"), "identity 'bob' is not in the gallery"),
        (("cid", "ann"), "identity 'cid' is not in the gallery"),
        (("ann", "ann"), "cannot be merged with itself, given 'ann' twice"),
    ]:
        with pytest.raises(GalleryError, match=message):
            gallery.merge(*wrong)


def test_one_becomes_two(gallery):
    assert gallery.split(["a2"], "cid") == 1
    assert gallery.identities() == {"ann": 1, "bob": 2, "cid": 1}
    assert gallery.identify(embedding=(0, 1)).identity == "cid"
    for items, message in [
        (["a1", "none"], "item 'none' is not in the gallery"),
        (
            ["a1", "b1"],
            "takes items of one identity, given 'ann' and 'bob'",
        ),
    ]:
        with pytest.raises(GalleryError, match=message):
            gallery.split(items, "new")
    with pytest.raises(GalleryError, match="identity 'bob' is already in the gallery"):
        gallery.split(["a1"], "bob")
    with pytest.raises(InputError, match="needs at least one item"):
        gallery.split([], "new")


def test_items_of_several_identities_move_to_one(gallery):
    assert gallery.move(["a1", "b1", "b2"], "bob") == 1
    assert gallery.move(["a2"], "cid") == 1
    assert gallery.identities() == {"bob": 3, "cid": 1}
    for items, error, message in [
        (["a1", "none"], GalleryError, "item 'none' is not in the gallery"),
        ([], InputError, "move needs at least one item"),
        ("a1", InputError, "move takes a list of item names"),
    ]:
        with pytest.raises(error, match=message):
            gallery.move(items, "new")


def test_items_are_listed_page_by_page(gallery):
    gallery.cluster(threshold=2.0)
    assert [entry.item for entry in gallery.items(limit=3)] == ["a1", "a2", "b1"]
    (last,) = gallery.items(after="b1", limit=3)
    assert (last.item, last.identity, last.metadata) == ("b2", "bob", {"of": "bob"})
    assert [entry.item for entry in gallery.items("ann", after="a1")] == ["a2"]
    assert [entry.item for entry in gallery.items(cluster=gallery.clusters()["b1"])] == ["b1", "b2"]
    with pytest.raises(GalleryError, match="identity 'anne' is not in the gallery"):
        gallery.items("anne")
    with pytest.raises(InputError, match="limit must be at least 1"):
        gallery.items(limit=0)

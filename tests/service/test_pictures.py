"""Pictures that a service keeps, and those of files that it shows."""

import os

import pytest

from support.services import picture
from trine.service.pictures import Decoder, Pictures


def test_pictures_of_several_items_are_dropped_together(tmp_path):
    pictures = Pictures(tmp_path / "kept", Decoder(pixels=1000, at_once=1))
    first, second, other = (pictures.keep(item, b"one") for item in ("a", "b", "c"))
    earlier = pictures.keep("a", b"earlier")
    pictures.drop_all({"a": first, "b": None})
    left = {str(path) for path in (tmp_path / "kept").iterdir()}
    assert left == {first, other}
    assert second not in left
    assert earlier not in left
    pictures.drop("c")
    assert [str(path) for path in (tmp_path / "kept").iterdir()] == [first]


def test_new_items_do_not_read_the_folder_of_pictures(pictures, monkeypatch):
    read = []
    monkeypatch.setattr(pictures.service.galleries["shop"].pictures, "drop_all", read.append)
    entries = [{"identity": "z", "item": f"z{i}", "embedding": [i, 1.0]} for i in range(50)]
    path = "/v1/galleries/shop/enrol_many"
    assert pictures.post(path, json={"entries": entries}).json()["new"] == 50
    assert read == []
    entries[0]["embedding"] = [7.0, 7.0]
    assert pictures.post(path, json={"entries": entries}).json()["replaced"] == 1
    assert len(read) == 1, "once, not for each item"


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_links_out_of_the_folder_are_not_read(tmp_path):
    photos, secret = tmp_path / "photos", tmp_path / "secret"
    for folder in (photos / "ann", secret):
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(picture(200))
    (photos / "ann" / "2.png").symlink_to("1.png")
    (photos / "ann" / "3.png").symlink_to(secret / "1.png")
    (photos / "bob").symlink_to(secret)
    (photos / "cid").symlink_to("ann")
    (tmp_path / "link").symlink_to(photos)
    pictures = Pictures(None, Decoder(pixels=1000, at_once=1))

    def shown(path, origin):
        origin = None if origin is None else str(origin)
        return pictures.thumbnail("x", str(path), 64, origin=origin) is not None

    for origin in (photos, photos / "ann", None):
        assert shown(photos / "ann" / "1.png", origin)
        assert shown(photos / "ann" / "2.png", origin)
        assert not shown(photos / "ann" / "3.png", origin)
    assert not shown(photos / "bob" / "1.png", photos)
    assert shown(photos / "cid" / "1.png", photos)
    assert shown(tmp_path / "link" / "ann" / "1.png", tmp_path / "link"), "the folder itself may be a link"
    assert not shown(tmp_path / "link" / "ann" / "3.png", tmp_path / "link")
    (photos / "ann" / "4.png").symlink_to("4.png")
    assert not shown(photos / "ann" / "4.png", photos), "a link to itself"

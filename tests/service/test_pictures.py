"""Pictures that a service keeps."""

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

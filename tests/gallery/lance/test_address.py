"""Where a gallery in LanceDB's tables is."""

from pathlib import Path

import pytest

from trine.errors import GalleryError, InputError
from trine.gallery import Gallery
from trine.gallery.lance import Address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lance://", "given no folder"),
        ("lance:///?search=exact", "given no folder"),
        ("lance:///x?gallery=people", "unknown parameter 'gallery'"),
        ("lance:///x?search=exat", "unknown search 'exat': did you mean 'exact'"),
        ("s3://bucket", "with a name after the bucket"),
        ("s3:///people", "with a name after the bucket"),
    ],
)
def test_a_malformed_address_is_explained(text, message):
    with pytest.raises(InputError, match=message):
        Address.parse(text)


def test_keys_in_an_address_are_refused_and_not_repeated():
    with pytest.raises(InputError, match="put the keys in the environment") as found:
        Address.parse("s3://AKIA:hushhush@bucket/people")
    assert "hush" not in str(found.value)


def test_a_relative_folder_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert Address.parse("lance://people").folder == tmp_path / "people"
    assert Address.parse("lance://~/people").folder == Path.home() / "people"
    assert Address.parse("s3://bucket/people").folder is None


def test_opening_what_is_missing_makes_no_folder(tmp_path):
    with pytest.raises(GalleryError, match="does not exist: enrol into it first"):
        Gallery.open(f"lance://{tmp_path}/people")
    (tmp_path / "empty").mkdir()
    with pytest.raises(GalleryError, match="does not exist: enrol into it first"):
        Gallery.open(f"lance://{tmp_path}/empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(GalleryError, match="is a file, expected a folder"):
        Gallery.open(f"lance://{tmp_path}/file", dimension=2, fingerprint="x")
    assert {left.name for left in tmp_path.iterdir()} == {"empty", "file"}

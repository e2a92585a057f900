"""Where items came from, and whether their content is the same."""

import os

import numpy as np
import pytest
import torch

from trine.data import Table
from trine.gallery import Provenance
from trine.gallery.provenance import digest_of, from_source, origin_of, to_source


@pytest.mark.parametrize("path", [None, "/a/b.png", '{"a": 1}', "{not json", '"é日本'])
def test_a_source_is_read_as_it_was_written(path):
    came = Provenance("/known é", 'ann "a"', "00ff")
    assert from_source(to_source(path, came)) == (path, came)
    assert from_source(to_source(path, None)) == (path, None)  # as an earlier version wrote it


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    one, other = tmp_path / "1.png", tmp_path / "2.png"
    one.write_bytes(b"abc")
    other.write_bytes(b"abc")
    assert digest_of(one) == digest_of(str(other)) != None  # noqa: E711
    os.utime(other, (0, 0))
    assert digest_of(one) == digest_of(other)
    other.write_bytes(b"abd")
    assert digest_of(one) != digest_of(other)
    assert digest_of(tmp_path / "missing.png") is None
    os.mkfifo(tmp_path / "pipe.png")
    assert digest_of(tmp_path / "pipe.png") is None


def test_the_digest_of_other_content():
    assert digest_of("a text") == digest_of("a text") != digest_of("a tex")
    assert digest_of("x" * 10_000) is not None
    row = np.array([1, 2], dtype="f4")
    assert digest_of(row) == digest_of(torch.tensor(row)) != digest_of(row[:1])
    assert digest_of(np.zeros((2, 3), "u1")) != digest_of(np.zeros((3, 2), "u1"))
    assert digest_of(object()) is None
    # A column of whole numbers becomes one of floats when another row gets a fraction.
    whole = Table({"size": np.array([2**53 + 1, 3]), "kind": np.array(["a", "b"])}, ("size",))
    mixed = Table({"size": np.array([2.5, 3.0]), "kind": np.array(["a", "b"])}, ("size",))
    assert digest_of(whole[1]) == digest_of(mixed[1]) != digest_of(whole[0])
    assert digest_of({"size": float("nan")}) == digest_of({"size": float("nan")})


def test_an_origin_is_an_absolute_path_or_the_name_of_a_data_set(tmp_path, monkeypatch):
    (tmp_path / "known").mkdir()
    monkeypatch.chdir(tmp_path)
    assert origin_of("known/../known/") == origin_of(tmp_path / "known") == str(tmp_path / "known")
    assert origin_of("digits") == "digits"
    assert origin_of("12 images") is None

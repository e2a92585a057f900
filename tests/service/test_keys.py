"""Keys: only digests are stored, comparison takes one time, and a revoked key is none."""

import pytest

from trine.errors import InputError
from trine.service.keys import LOCAL, SCOPES, Keys
from trine.service.state import State


@pytest.fixture
def keys(tmp_path):
    state = State(tmp_path)
    yield Keys(state)
    state.close()


def test_a_key_says_who_and_what(keys):
    assert not keys.are_needed
    key = keys.add("ann", ["write"], ["people"])
    assert keys.are_needed
    caller = keys.caller(key)
    assert (caller.name, caller.may("read"), caller.may("write"), caller.may("pictures")) == (
        "ann",
        True,
        True,
        False,
    )
    assert caller.may_use("people")
    assert not caller.may_use("shop")
    assert set(SCOPES) == LOCAL.scopes
    assert LOCAL.may_use("anything")


def test_other_texts_are_no_keys(keys):
    key = keys.add("ann")
    name, number, secret = key.split("-", 2)
    other = keys.add("bob").split("-", 2)[2]
    for wrong in (
        *("", "x", "--", "trine--", key[:-1], f"{key}x", key.upper(), f" {key}", f"{name}-{number}-"),
        "é" * 60,
        *(f"{name}-{number}-{other}", f"{name}-{'0' * len(number)}-{secret}", f"{name}-%-{secret}"),
    ):  # fmt: skip
        assert keys.caller(wrong) is None, wrong
    assert len(secret) >= 43, "256 bits"
    assert keys.caller(key).name == "ann"


def test_a_name_is_taken_once(keys):
    keys.add("ann")
    with pytest.raises(InputError, match="already: revoke it"):
        keys.add("ann")
    keys.revoke("ann")
    with pytest.raises(InputError, match="there are: none"):
        keys.revoke("ann")
    assert keys.are_needed, "revoking the last key opens nothing"
    keys.add("ann")


def test_the_file_is_readable_by_its_owner_alone_and_known_again(tmp_path):
    state = State(tmp_path / "a")
    assert state.path.stat().st_mode & 0o777 == 0o600
    assert state.path.parent.stat().st_mode & 0o777 == 0o700
    key = Keys(state).add("ann")
    state.close()
    state = State(tmp_path / "a")
    assert Keys(state).caller(key).name == "ann"
    state.close()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "service.db").write_text("no database, but long enough to be one " * 30)
    with pytest.raises(InputError, match="cannot be opened"):
        State(tmp_path / "b")
    (tmp_path / "c").write_text("a file")
    with pytest.raises(InputError, match="cannot be opened"):
        State(tmp_path / "c")

"""`trine keys`: made, listed and revoked, in the folder of a service."""

import json

import pytest

from support.commands import refused
from trine.cli import main
from trine.cli.keys import state_of
from trine.service.keys import Keys
from trine.service.state import State


def test_keys_are_made_listed_and_revoked(tmp_path, capsys):
    where = ("--gallery", str(tmp_path / "people"))
    assert main(["keys", "add", "alice", *where]) == 0
    key = capsys.readouterr().out.strip()
    assert main(["keys", "add", "desk", "--scope", "write", "pictures", "--only", "people", *where]) == 0
    capsys.readouterr()
    assert main(["keys", "list", *where]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("alice  read  (made 20")
    assert "desk  read, write, pictures, only people  (made" in shown
    assert key not in shown
    assert main(["keys", "list", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[1])["scopes"] == ["read", "write", "pictures"]
    folder = tmp_path / "people.service"
    assert all(key.encode() not in path.read_bytes() for path in folder.iterdir()), "only a digest is kept"
    state = State(folder)
    caller = Keys(state).caller(key)
    assert (caller.name, caller.scopes) == ("alice", {"read"})
    assert main(["keys", "revoke", "alice", *where]) == 0
    assert Keys(state).caller(key) is None
    state.close()
    assert "there is no key named 'alice'; there are: 'desk'" in refused(
        capsys, "keys", "revoke", "alice", *where
    )
    assert "already: revoke it" in refused(capsys, "keys", "add", "desk", *where)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "x"], "name the gallery with --gallery, or the folder of the service with --state"),
        (["add", "x", "--gallery", "postgresql://h/d"], "has no folder beside it: name one with --state"),
        (["add", "x", "--state", "s", "--scope", "rite"], "unknown scope 'rite': did you mean 'write'?"),
        (["add", "a\nb", "--state", "s"], "printable name"),
        (["list", "--state", "s"], "there is no service in s"),
    ],
)
def test_mistakes(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, "keys", *words)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_service(tmp_path):
    from types import SimpleNamespace

    def of(**given):
        return str(state_of(SimpleNamespace(**{"state": None, "gallery": None, **given})))

    assert of(gallery="people") == of(gallery=["people.db", "shop"]) == "people.service"
    assert of(gallery="a/people.db", state="b") == "b"

"""`trine serve`: says where it answers, stops when it is told to, and refuses what is not safe."""

import os
import signal
import subprocess
import sys

import pytest

from support.commands import refused
from support.services import people
from trine import Client
from trine.cli.serve import name_of
from trine.service.server import bind

pytest.importorskip("fastapi", reason="needs the extra serve")


@pytest.fixture
def gallery(tmp_path):
    people(tmp_path).close()
    return tmp_path / "people.db"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_it_serves_until_it_is_told_to_stop(gallery):
    process = subprocess.Popen(
        [sys.executable, "-m", "trine", "serve", str(gallery), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        lines = [process.stdout.readline() for _ in range(2)]
        assert lines[0] == "people: 3 items; it has no encoder: ask with embeddings\n"
        assert lines[1].startswith("open http://127.0.0.1:"), process.stderr.read()
        where = lines[1].split()[1]
        with Client(where) as client:
            assert client.identify(embedding=[0.0, 0.9]).identity == "ann"
        port = where.rstrip("/").rpartition(":")[2]
        taken = subprocess.run(
            [sys.executable, "-m", "trine", "serve", str(gallery), "--port", port],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert taken.returncode == 2
        assert f"trine: cannot listen at 127.0.0.1:{port}" in taken.stderr
        assert "choose another with --port" in taken.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "trine: terminated\n")


def test_it_is_not_reached_from_elsewhere_without_keys(gallery, capsys):
    for option in (("--host", "0.0.0.0"), ("--allow-host", "faces.example.org")):
        told = refused(capsys, "serve", "--gallery", gallery, "--port", "0", *option)
        assert "needs keys: make one with `trine keys add NAME --state" in told
        assert option[1] in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "needs something to serve: name a gallery with --gallery, the folder of a run, or a folder"),
        (["none/"], "there is no none/: name a gallery with --gallery"),
        (["--gallery", "none"], "does not exist"),
        (["--gallery", "people", "--gallery", "people.db"], "two galleries would be served as 'people'"),
        (["--gallery", "people", "--rate", "-1"], "rate must be at least 0"),
        (["--gallery", "people", "--port", "70000"], "port must be from 0 to 65535"),
        (["--gallery", "people", "--host", "203.0.113.9"], "cannot listen at 203.0.113.9"),
    ],
)
def test_mistakes(words, said, gallery, capsys, monkeypatch):
    monkeypatch.chdir(gallery.parent)
    given = words if "--port" in words else [*words, "--port", "0"]
    assert said in refused(capsys, "serve", *given)


def test_names_that_can_be_part_of_an_address(tmp_path):
    assert name_of(str(tmp_path / "gallery.db")) == "gallery"
    (tmp_path / "model").mkdir()
    assert name_of(str(tmp_path / "gallery.db")) == tmp_path.name, "of two runs, two names"
    assert name_of("data/Ann & Bob.db") == "Ann---Bob"
    assert name_of("postgresql://host/database?gallery=people") == "people"


def test_a_free_port_is_found():
    with bind("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0

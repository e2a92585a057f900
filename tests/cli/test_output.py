"""What a verb does when its output cannot be written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import fork_server, small_disk
from support.commands import draw_bars, train_bars
from trine import Gallery
from trine.cli import main
from trine.data import load
from trine.data.table_file import open_table
from trine.gallery import Entry

FULL = "trine: the output cannot be written (No space left on device); free disk space or send it elsewhere\n"


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    path = tmp_path_factory.mktemp("galleries") / "people.db"
    with Gallery.open(path, dimension=2, fingerprint="f") as made:
        made.enrol_many([Entry(f"Zo\u00eb {i}", f"{i}.png", [i, 1.0]) for i in range(3000)])
    return path


def trine(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings):
    """Runs the command line in a process of its own, whose streams are real ones."""
    command = [sys.executable, "-m", "trine", *map(str, words)]
    return subprocess.run(command, stdout=stdout, stderr=stderr, text=True, **settings)


@pytest.mark.parametrize("words", [["gallery", "list"], ["gallery", "stats", "--json"], ["--help"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_under_standard_output_is_one_sentence(words, unbuffered, gallery):
    with Path("/dev/full").open("w") as full:
        named = [gallery] if "gallery" in words else []
        ended = trine(*words, *named, stdout=full, env={**os.environ, "PYTHONUNBUFFERED": unbuffered})
    assert (ended.returncode, ended.stderr) == (2, FULL)


def test_a_full_standard_error_leaves_the_exit_code(gallery):
    with Path("/dev/full").open("w") as full:
        assert trine("gallery", "list", gallery / "no", stderr=full).returncode == 2
        assert trine("gallery", "list", gallery, stdout=full, stderr=full).returncode == 2


def test_a_reader_that_ends_early_ends_the_verb_in_silence(gallery):
    reading, writing = os.pipe()
    os.close(reading)
    ended = trine("gallery", "list", gallery, stdout=writing)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_letters_that_an_encoding_lacks_are_escapes(gallery):
    told = trine("gallery", "list", gallery, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.splitlines()[0].strip() == r"1  Zo\xeb 0"


def test_without_standard_streams_the_exit_code_is_kept(gallery):
    command = f"exec {sys.executable} -m trine gallery list {gallery} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", command]).returncode == 0
    command = f"exec {sys.executable} -m trine gallery list {gallery}.no <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", command]).returncode == 2


OUTPUTS = {
    "embed": ["embed", "{run}", "{bars}", "--out", "new.parquet"],
    "mine": ["mine", "{run}", "{bars}", "--out", "new.parquet"],
    "mine as CSV": ["mine", "{run}", "{bars}", "--out", "new.csv"],
    "audit": ["audit", "{run}", "{bars}", "--page", "new.html"],
    "cluster": ["cluster", "{run}", "{bars}", "--threshold", "0.5", "--out", "new.csv"],
    "evaluate": ["evaluate", "{run}", "{bars}", "--out", "new"],
    "enrol": ["enrol", "{run}", "{bars}", "--gallery", "new.db"],
    "train": ["train", "{bars}", "--out", "new", "--set", "training.steps=2", "sampler.identities=4"],
}


@pytest.mark.parametrize("verb", OUTPUTS)
def test_a_file_that_cannot_be_written_is_one_sentence_and_leaves_nothing(verb, run, bars, tmp_path):
    words = [word.format(run=run, bars=bars) for word in OUTPUTS[verb]]
    words = [str(tmp_path / word) if word.startswith("new") else word for word in words]
    context = fork_server.processes()
    ours, theirs = context.Pipe()
    process = context.Process(target=small_disk.run_limited, args=(theirs, words, 512))
    process.start()
    theirs.close()
    code, said = ours.recv()
    process.join()
    assert code == 2
    (line,) = said.splitlines()
    assert re.search(r"^trine: .*(cannot write|cannot be created|full disk)", line)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".yaml"] == []


HOSTILE = "=cmd|' /C calc'!A0\x1b[2K\r\n\u202egpj<script>alert(1)</script>\x07".replace("/", "")


def test_names_act_neither_on_terminals_nor_in_pages_nor_in_spreadsheets(tmp_path, capsys):
    pictures, made = draw_bars(tmp_path / "bars"), tmp_path / "made"
    (pictures / "bar0").rename(pictures / HOSTILE)
    (pictures / "bar1/0.png").rename(pictures / f"bar1/{HOSTILE}.png")
    made.mkdir()
    run = train_bars(pictures, made / "run")
    for words in (
        *(["evaluate", run, pictures, "--out", made / "page"], ["doctor", run], ["audit", run, pictures]),
        ["audit", run, pictures, "--out", made / "audit.csv", "--page", made / "audit.html", "--part", "all"],
        ["mine", run, pictures, "--out", made / "mined.csv"],
        ["cluster", run, pictures, "--threshold", "0.2", "--out", made / "clusters.csv"],
        ["enrol", run, pictures, "--gallery", made / "g.db"],
        ["gallery", "list", made / "g.db"],
        ["gallery", "list", made / "g.db", HOSTILE],
        ["identify", pictures / "bar1", "--gallery", made / "g.db", "--threshold", "1", "--candidates", "9"],
    ):
        assert main(list(map(str, words))) == 0, words
        said = capsys.readouterr()
        assert all(line.isprintable() for line in (said.out + said.err).split("\n")), words
    for page in [*made.rglob("*.html"), *made.rglob("README.md")]:
        assert all(line.isprintable() for line in page.read_text("utf-8").split("\n")), page
        assert "<script>alert" not in page.read_text("utf-8")
    for table in ("audit", "mined", "clusters"):
        text = (made / f"{table}.csv").read_text("utf-8")
        assert "'=cmd" in text
        assert not re.search(r'(^|,|\n)"?=cmd', text)
    named = open_table(made / "clusters.csv").read(text=["item"]).texts("item")
    assert sorted(named) == sorted(load(str(pictures))[0].names)

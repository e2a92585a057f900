"""What holds for every verb: its advice can be followed, and no kind of file makes it wait or fail."""

import os
import re
import shutil
from pathlib import Path

import pytest

from support.commands import answered, refused
from trine.cli.parser import Group, Parser
from trine.cli.verbs import TRINE


def verbs(group=TRINE, prefix=()):
    for name, each in group.verbs.items():
        if isinstance(each, Group):
            yield from verbs(each, (*prefix, name))
        else:
            yield " ".join((*prefix, name)), each


def parser_of(verb):
    parser = Parser("trine", verb)
    for add in verb.arguments:
        add(parser)
    return parser


READERS = {
    "train": "DATA --out OUT",
    "evaluate": "RUN DATA --out OUT",
    "audit": "RUN DATA",
    "mine": "RUN DATA --out OUT.parquet",
    "embed": "RUN DATA --out OUT.parquet",
    "export": "RUN --data DATA --out OUT",
    "enrol": "RUN DATA --gallery OUT.db",
    "verify": "RUN PICTURE DATA/bar1/1.png",
    "identify": "DATA --gallery GALLERY --threshold 1",
    "search": "DATA --gallery GALLERY",
    "cluster": "RUN DATA --threshold 0.1",
    "gallery compare": "GALLERY --encoder RUN --data DATA",
    "gallery rebuild": "GALLERY --encoder RUN --data DATA",
}
"""How each verb that reads pictures is called."""


def test_the_list_of_readers_is_whole():
    taking = {"data", "probe", "probes", "images"}
    found = {name for name, verb in verbs() if taking & {each.dest for each in parser_of(verb)._actions}}
    assert found == {*READERS}


@pytest.fixture(scope="module")
def gallery(run, bars, tmp_path_factory):
    from trine import Gallery, load
    from trine.data import load as load_data

    path = tmp_path_factory.mktemp("galleries") / "bars.db"
    with Gallery.open(path, encoder=load(run), model=run) as opened:
        opened.enrol_dataset(load_data(bars)[0])
    return path


@pytest.fixture
def called(run, gallery, tmp_path):
    """Fills in a command line of `READERS`; the gallery is a copy."""

    def words(name, data, picture):
        copy = shutil.copy(gallery, tmp_path / "copy.db")
        places = {"DATA": data, "RUN": run, "GALLERY": copy, "OUT": tmp_path / "out", "PICTURE": picture}
        text = re.sub("|".join(places), lambda found: str(places[found[0]]), READERS[name])
        return [*name.split(), *text.split(" ")]

    return words


@pytest.fixture
def kept(bars, tmp_path):
    """A folder as people keep them."""
    folder = tmp_path / "kept"
    shutil.copytree(bars, folder)
    (folder / "bar0/text.png").write_text("no picture")
    (folder / "bar1/copy.png").symlink_to(folder / "bar1/0.png")
    os.mkfifo(folder / "bar2/pipe.png")
    shutil.copy(bars / "bar0/0.png", folder / "stray.png")
    return folder


@pytest.mark.parametrize("name", READERS)
def test_no_advice_names_an_option_that_the_verb_lacks(name, called, kept, capsys):
    line = refused(capsys, *called(name, kept, kept / "bar0/text.png"))
    assert "text.png" in line
    parser = parser_of(dict(verbs())[name])
    advised = re.findall(r"(--[a-z-]+)(?: (\w+))?", line)
    assert {option for option, _ in advised} <= {*parser.options}
    assert ("--unreadable", "skip") in advised
    if name not in ("train", "evaluate"):  # these take seconds, and load as the others do
        words = [word for option, value in advised for word in (option, value)]
        answered(capsys, *called(name, kept, kept / "bar0/text.png"), *words)


SHORT = {
    "train": ("--set", "training.steps=2", "data.split=stratified", "sampler.identities=3", "sampler.items=2")
}


def test_what_is_skipped_is_named(called, kept, capsys):
    for name in ("identify", "search", "verify"):
        capsys.readouterr()
        said = answered_all(
            capsys, *called(name, kept, kept / "bar0/text.png"), "--unreadable", "skip", "--json"
        )
        assert re.search(r"^skipped: \S*bar0/text\.png \(not an image\)$", said.err, re.M)
        assert len(said.out.splitlines()) == (0 if name == "verify" else 50)


def answered_all(capsys, *words):
    from trine.cli import main

    assert main(list(map(str, words))) == 0
    return capsys.readouterr()


@pytest.mark.parametrize("name", READERS)
def test_names_that_are_not_utf8(name, called, bars, tmp_path, capsys):
    odd = os.fsencode(tmp_path / "kept") + b"\xff"
    shutil.copytree(bars, os.fsdecode(odd))
    folder = Path(os.fsdecode(odd))
    (folder / "bar0").rename(folder / os.fsdecode(b"bar\xe9"))
    answered(capsys, *called(name, folder, folder / "bar1/0.png"), *SHORT.get(name, ()))


@pytest.mark.parametrize(
    "words",
    [
        ("gallery", "stats", "PIPE.db"),
        ("gallery", "import", "OUT.db", "PIPE.parquet"),
        ("embed", "RUN", "PIPE.npz", "--out", "OUT.parquet"),
        ("embed", "RUN", "PIPE.csv", "--out", "OUT.parquet"),
        ("embed", "RUN", "PIPE.parquet", "--out", "OUT.parquet"),
        ("identify", "PIPE.png", "--gallery", "GALLERY"),
        ("verify", "RUN", "PIPE.png", "PIPE.png"),
        ("train", "digits", "--pairs", "PIPE.csv", "--out", "OUT"),
        ("train", "digits", "--recipe", "PIPE.yaml", "--out", "OUT"),
        ("gallery", "stats", "DEVICE.db"),
        ("verify", "RUN", "DEVICE.png", "DEVICE.png"),
        ("embed", "RUN", "DEVICE.npz", "--out", "OUT.parquet"),
    ],
)
def test_no_verb_waits_for_a_pipe_or_reads_a_device(words, run, gallery, tmp_path, capsys):
    for word in words:
        if word.startswith("PIPE") and not (tmp_path / word).exists():
            os.mkfifo(tmp_path / word)
        if word.startswith("DEVICE") and not (tmp_path / word).exists():
            (tmp_path / word).symlink_to("/dev/zero")
    places = {"PIPE": tmp_path / "PIPE", "DEVICE": tmp_path / "DEVICE", "OUT": tmp_path / "OUT"}
    places |= {"RUN": run, "GALLERY": gallery}
    refused(capsys, *(re.sub("|".join(places), lambda found: str(places[found[0]]), word) for word in words))


def test_names_in_a_gallery_do_not_act_on_the_terminal(run, gallery, bars, tmp_path, capsys):
    from trine import Gallery, load

    path, spoof = (
        tmp_path / "g.db",
        "bob\r\x1b[2Kphoto.png: this is ALICE\x1b]0;title\x07\nphoto2.png: this is ALICE",
    )
    with Gallery.open(path, encoder=load(run), model=run) as opened:
        opened.enrol(spoof, spoof, content=bars / "bar0/0.png", metadata={spoof: spoof})
    picture = bars / "bar0/0.png"
    for words in (
        ("identify", picture, "--gallery", path, "--threshold", "1"),
        ("identify", picture, "--gallery", path, "--threshold", "1", "--json"),
        ("search", picture, "--gallery", path),
        ("search", picture, "--gallery", path, "--json"),
        ("verify", picture, "--gallery", path, "--identity", spoof, "--threshold", "1"),
        ("gallery", "list", path),
        ("gallery", "list", path, spoof),
    ):
        said = answered(capsys, *words)
        assert len(said.splitlines()) == 1
        assert said.strip().isprintable()
        assert r"this is ALICE" in said
    assert r"bob\x0d\x1b[2K" in answered(capsys, "gallery", "rename", path, spoof, f"{spoof}2")
    assert r"did you mean" in refused(capsys, "gallery", "list", path, f"{spoof}3")
